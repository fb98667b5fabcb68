"""The generated world's speech, noises and soundtrack: true times, equal samples for equal seeds, kinds that stay distinct."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from favor_stream.aveb import accents
from favor_stream.aveb.lexicon import SOUNDS
from favor_stream.aveb.noises import noise
from favor_stream.aveb.script import Camera, Noise, Room, Script
from favor_stream.aveb.soundtrack import soundtrack, timed
from favor_stream.aveb.speech import HELD_OUT_VOICES, TRAINING_VOICES, say
from favor_stream.errors import ConfigError, EngineError
from favor_stream.records import RATE, Sound

speaks = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None and os.environ.get("FAVOR_REQUIRE_REAL") != "1",
    reason="espeakng_loader is not installed: pip install --editable '.[train]'",
)
Numbers = NDArray[Any]
REAL_VOICES = tuple(voice for voice in TRAINING_VOICES if not voice.startswith(accents.PREFIX))
INVENTED_VOICES = TRAINING_VOICES[len(REAL_VOICES) :]
EVERY_SOUND = (
    "help the three nurses behind a hot open church window: "
    "black jar, zoo, very blue boats, eight good mice up in our yard; ring four small saws, a chair"
)
QUIET = Room(noise_db=-120.0, colour=0.0, reverb_s=0.0)
SENTENCES = ("turn left", "the code is three five nine", "switch on the lamp", "the cup is under the box", "i lost my key")


def script(**parts: Any) -> Script:
    empty = Script(7, 6.0, 0, "plain", Camera(1.0, 0.0, 0.0, 0), QUIET, (), (), (), ())
    return replace(empty, **parts)


def rms(sound: Sound, start_s: float, end_s: float) -> float:
    return float(np.sqrt(np.mean(sound[round(start_s * RATE) : round(end_s * RATE)].astype(np.float64) ** 2)))


def power(sound: Sound) -> tuple[Numbers, Numbers]:
    spectrum = np.abs(np.fft.rfft(sound.astype(np.float64))) ** 2
    return spectrum / spectrum.sum(), np.fft.rfftfreq(sound.size, 1 / RATE)


def flatness(sound: Sound) -> float:
    spectrum = power(sound)[0] + 1e-15
    return float(np.exp(np.log(spectrum).mean()) / spectrum.mean())


def peaks_hz(sound: Sound) -> Numbers:
    """The strongest frequency of each 50 ms that is not near silence."""
    frames = sound[: sound.size // 800 * 800].reshape(-1, 800)
    frames = frames[np.abs(frames).max(1) > 0.3] * np.hanning(800)
    strongest: Numbers = np.abs(np.fft.rfft(frames)).argmax(1)
    return strongest * (RATE / 800)


# Speech


@speaks
@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize("voice", REAL_VOICES[::13] + INVENTED_VOICES[::61] + HELD_OUT_VOICES[::5])
def test_words_follow_one_another_from_the_start_of_the_sound_to_its_end(text: str, voice: str) -> None:
    spoken = say(text, voice, 165, 50)
    assert [word.text for word in spoken.words] == text.split()
    assert all(word.start_s < word.end_s for word in spoken.words)
    assert all(word.end_s == after.start_s for word, after in itertools.pairwise(spoken.words))
    assert spoken.words[0].start_s == 0.0
    assert spoken.words[-1].end_s == spoken.sound.size / RATE


@speaks
@pytest.mark.parametrize("words_per_minute", [120, 165, 220])
def test_a_word_starts_where_its_sound_starts(words_per_minute: int) -> None:
    """The lips close for the p of "pick" and open after it: silence, then sound."""
    spoken = say("now pick", "en-us+m1", words_per_minute, 50)
    start_s = spoken.words[1].start_s
    closed = rms(spoken.sound, start_s + 0.01, start_s + 0.03)
    assert rms(spoken.sound, start_s - 0.06, start_s - 0.01) > 10 * closed
    assert rms(spoken.sound, start_s + 0.07, start_s + 0.2) > 10 * closed


@speaks
def test_speech_is_a_sound_of_peak_one_that_starts_and_ends_audibly() -> None:
    sound = say("good morning anna", "en-us+m3", 165, 50).sound
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() == pytest.approx(1.0)
    assert min(abs(sound[0]), abs(sound[-1])) > 0.001


@speaks
def test_a_faster_voice_takes_less_time_and_a_higher_pitch_changes_the_sound() -> None:
    slow, fast, high = (say("look at the radio", "en+m1", *pace) for pace in ((120, 50), (220, 50), (120, 90)))
    assert fast.sound.size < 0.8 * slow.sound.size
    assert high.sound.tobytes() != slow.sound.tobytes()


@speaks
def test_a_longer_vocal_tract_speaks_slower_and_deeper_and_its_words_keep_up() -> None:
    plain, long = say("now pick", "en-us+m1", 165, 50), say("now pick", "en-us+m1", 165, 50, 9 / 8)
    assert long.sound.size == pytest.approx(9 / 8 * plain.sound.size, abs=40)
    assert [w.end_s for w in long.words] == pytest.approx([9 / 8 * w.end_s for w in plain.words], abs=0.005)
    assert centroid(long.sound) < 0.95 * centroid(plain.sound)


def centroid(sound: Sound) -> float:
    """The mean frequency of a sound, in hertz."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float((np.fft.rfftfreq(sound.size, 1 / RATE) * power).sum() / power.sum())


@speaks
def test_the_same_words_sound_the_same_whatever_was_said_before() -> None:
    synthesise = say.__wrapped__
    first = synthesise("bring me the book", "en-us+f1", 165, 50)
    synthesise("come here frank", "en-gb-scotland+Storm", 200, 30)
    again = synthesise("bring me the book", "en-us+f1", 165, 50)
    assert np.array_equal(first.sound, again.sound)
    assert first.words == again.words


@speaks
def test_threads_may_speak_at_once() -> None:
    texts = [sentence for sentence in SENTENCES for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        spoken = list(threads.map(lambda text: say.__wrapped__(text, "en+m2", 165, 50), texts))
    assert all(np.array_equal(one.sound, say(text, "en+m2", 165, 50).sound) for text, one in zip(texts, spoken, strict=True))


@speaks
def test_every_voice_speaks_and_no_two_alike() -> None:
    heard = [say("wait nine minutes", voice, 165, 50).sound for voice in REAL_VOICES + HELD_OUT_VOICES]
    assert all(0.6 < sound.size / RATE < 2.0 and rms(sound, 0, 2) > 0.04 for sound in heard)
    assert len({sound.tobytes() for sound in heard}) == len(heard)


@speaks
def test_every_invented_accent_speaks_and_no_two_alike() -> None:
    heard = [say(EVERY_SOUND, f"{accent}+m2", 165, 50).sound for accent in accents.NAMES]
    assert all(4.0 < sound.size / RATE < 12.0 and rms(sound, 0, 2) > 0.04 for sound in heard)
    assert len({sound.tobytes() for sound in heard}) == len(heard)


def test_invented_accents_change_sounds_and_leave_held_out_vowels_alone() -> None:
    numbers = range(len(accents.NAMES))
    files = [accents.voice_file(number) for number in numbers]
    assert files == [accents.voice_file(number) for number in numbers]
    assert len(set(files)) == len(files)
    assert all("replace" in file for file in files)
    assert not any(table in file for file in files for table in ("en-wi", "en-wm"))


@speaks
def test_espeak_knows_every_sound_of_the_invented_accents(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoken(voice_file: str) -> Sound:
        monkeypatch.setattr(accents, "voice_file", lambda _: voice_file)
        accents.data_with_accents.cache_clear()
        return say.__wrapped__(EVERY_SOUND, "invented0+m2", 165, 50).sound

    sounds = {**accents.VOWELS, **accents.CONSONANTS}
    plain = "name invented0\nlanguage en\nphonemes en\n"
    base = spoken(plain)
    for old, new in [(old, new) for old, becomes in sounds.items() for new in becomes]:
        assert not np.array_equal(spoken(f"{plain}replace 00 {old} {new}\n"), base), (old, new)
    accents.data_with_accents.cache_clear()


@speaks
def test_accents_are_laid_beside_espeak_s_data_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ThreadPoolExecutor(4) as pool:  # as worker processes would, all at once
        folders = set(
            pool.map(accents.data_with_accents.__wrapped__, [importlib.import_module("espeakng_loader").get_data_path()] * 4)
        )
    assert {str(path) for path in (tmp_path / "favor_stream").iterdir()} == folders
    voices = Path(*folders, "voices")
    assert {path.name for path in voices.iterdir()} == {*accents.NAMES, "!v"}
    assert (voices / "!v" / "m3").is_file()
    assert Path(*folders, "phondata").is_file()


def test_held_out_voices_share_neither_accent_nor_variant_with_training() -> None:
    trained = {part for voice in TRAINING_VOICES for part in voice.split("+")}
    assert not trained & {part for voice in HELD_OUT_VOICES for part in voice.split("+")}
    assert len(set(TRAINING_VOICES)) == len(TRAINING_VOICES) >= 60
    assert len(set(HELD_OUT_VOICES)) == len(HELD_OUT_VOICES) >= 12


@speaks
@pytest.mark.parametrize(
    ("text", "voice"), [("hello", "en-us+nobody"), ("hello", "nowhere+m1"), ("--", "en-us+m1"), ("", "en-us+m1")]
)
def test_an_unknown_voice_or_a_text_without_words_is_refused(text: str, voice: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        say(text, voice, 165, 50)


def test_without_espeak_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(EngineError, match=r"pip install --editable '.\[train\]'"):
        say.__wrapped__("hello", "en-us+m1", 165, 50)


# Noises


@pytest.mark.parametrize("kind", SOUNDS)
@pytest.mark.parametrize("duration_s", [0.02, 0.3, 1.2345, 4.0])
def test_a_noise_has_the_asked_length_and_peak_one(kind: str, duration_s: float) -> None:
    for seed in range(5):
        sound = noise(kind, duration_s, seed)
        assert sound.dtype == np.float32
        assert sound.shape == (round(duration_s * RATE),)
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() == pytest.approx(1.0)


@pytest.mark.parametrize("kind", SOUNDS)
def test_a_seed_decides_a_noise(kind: str) -> None:
    assert np.array_equal(noise(kind, 1.0, 3), noise(kind, 1.0, 3))
    assert len({noise(kind, 1.0, seed).tobytes() for seed in range(20)}) == 20


@pytest.mark.parametrize("seed", range(10))
def test_kinds_differ_in_their_spectra(seed: int) -> None:
    sounds = {kind: noise(kind, 2.0, seed) for kind in SOUNDS}
    assert flatness(sounds["beep"]) < 0.01 * flatness(sounds["hiss"])
    centre_hz = {kind: float(np.dot(*power(sound))) for kind, sound in sounds.items()}
    assert centre_hz["knock"] < 500 < 1500 < centre_hz["whistle"] < centre_hz["hiss"]
    assert np.ptp(peaks_hz(sounds["beep"])) <= 2 * RATE / 800
    assert np.ptp(peaks_hz(sounds["siren"])) > 200
    assert np.ptp(peaks_hz(sounds["whistle"])) > 40
    assert {kind for kind, sound in sounds.items() if peaks_hz(sound).min() > 1300} >= {"whistle", "hiss"}


def test_a_kind_is_recognised_by_its_likeness_to_others_of_its_kind() -> None:
    """Nearest neighbour on a spectrum that has forgotten time: no kind may hide among another."""

    def look(kind: str, seed: int) -> Numbers:
        frames = np.lib.stride_tricks.sliding_window_view(noise(kind, 1.5, seed), 512)[::256] * np.hanning(512)
        bands = np.log10(np.abs(np.fft.rfft(frames))[:, 1:].reshape(len(frames), 32, 8).mean(2) + 1e-3)
        return np.concatenate([bands.mean(0), bands.std(0)])

    known = [(kind, look(kind, seed)) for kind in SOUNDS for seed in range(30)]
    asked = [(kind, look(kind, seed)) for kind in SOUNDS for seed in range(100, 110)]
    named = [min(known, key=lambda entry: float(np.linalg.norm(entry[1] - view)))[0] for _, view in asked]
    assert np.mean([kind == name for (kind, _), name in zip(asked, named, strict=True)]) > 0.9


@pytest.mark.parametrize(("kind", "duration_s"), [("moo", 1.0), ("beep", 0.0), ("beep", -1.0)])
def test_an_unknown_kind_or_an_empty_time_is_refused(kind: str, duration_s: float) -> None:
    with pytest.raises(ConfigError, match="expected one of beep, bell"):
        noise(kind, duration_s, 0)


# Soundtrack


def test_nothing_happening_is_silence_up_to_the_background_noise() -> None:
    assert np.abs(soundtrack(script())).max() < 1e-5


@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_the_background_has_the_asked_level_and_colour(colour: float) -> None:
    sound = soundtrack(script(room=Room(-40.0, colour, 0.0)))
    assert 20 * np.log10(rms(sound, 0, 6)) == pytest.approx(-40.0, abs=0.1)
    share, frequency_hz = power(sound)
    octaves = [share[(frequency_hz >= low) & (frequency_hz < 2 * low)].mean() for low in (500, 2000)]
    assert np.log2(octaves[0] / octaves[1]) / 2 == pytest.approx(2 * colour, abs=0.25)  # in powers of frequency


def test_a_noise_sounds_in_its_time_with_its_loudness_and_nowhere_else() -> None:
    sound = soundtrack(script(noises=(Noise("horn", 2.0, 3.0, 0.5, 1),)))
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.02)
    assert rms(sound, 2.0, 3.0) > 0.05
    assert max(rms(sound, 0, 2.0), rms(sound, 3.0, 6.0)) < 1e-5


def test_a_noise_is_faded_in_and_out() -> None:
    sound = soundtrack(script(noises=(Noise("buzzer", 2.0, 3.0, 0.7, 1),)))
    assert rms(sound, 2.0, 2.002) < 0.3 * rms(sound, 2.02, 2.1)
    assert rms(sound, 2.998, 3.0) < 0.3 * rms(sound, 2.9, 2.98)


def test_reverberation_leaves_the_onset_alone_and_adds_a_falling_tail() -> None:
    event = (Noise("beep", 2.0, 2.2, 0.5, 1),)
    dry = soundtrack(script(noises=event))
    wet = soundtrack(script(noises=event, room=replace(QUIET, reverb_s=0.6)))
    assert rms(wet, 0, 2.0) < 1e-5
    assert np.allclose(wet[2 * RATE : 2 * RATE + 60], dry[2 * RATE : 2 * RATE + 60], atol=1e-5)
    tail = [rms(wet, start_s, start_s + 0.1) for start_s in (2.2, 2.4, 2.6)]
    assert rms(dry, 2.0, 2.2) > 2 * tail[0] > 8 * tail[1] > 32 * tail[2] > 1e-3


def test_too_much_sound_is_bent_and_stays_within_one() -> None:
    crowd = tuple(Noise("buzzer", 1.0, 5.0, 1.0, seed) for seed in range(6))
    sound = soundtrack(script(noises=crowd))
    assert 0.95 < np.abs(sound).max() <= 1.0


def test_what_passes_the_end_of_the_clip_is_cut_there() -> None:
    sound = soundtrack(script(duration_s=2.5001, noises=(Noise("hiss", 2.0, 9.0, 0.5, 1), Noise("hiss", 8.0, 9.0, 0.5, 1))))
    assert sound.shape == (round(2.5001 * RATE),)
    assert rms(sound, 2.1, 2.5) > 0.01


def test_equal_scripts_give_equal_samples_and_another_seed_another_room() -> None:
    busy = script(noises=(Noise("bell", 1.0, 3.0, 0.5, 1),), room=Room(-50.0, 0.5, 0.4))
    assert np.array_equal(soundtrack(busy), soundtrack(busy))
    assert not np.array_equal(soundtrack(busy), soundtrack(replace(busy, seed=8)))


@speaks
def test_an_utterance_is_heard_between_its_start_and_its_end() -> None:
    said = timed("the code is three five nine", 2.25, HELD_OUT_VOICES[0], 165, 50, 0.6)
    sound = soundtrack(script(utterances=(said,)))
    assert np.abs(sound).max() == pytest.approx(0.6, abs=0.01)
    assert max(rms(sound, 0, said.start_s - 0.001), rms(sound, said.end_s + 0.001, 6.0)) < 1e-5
    assert min(rms(sound, word.start_s, word.end_s) for word in said.words) > 0.01


@speaks
def test_a_timed_utterance_carries_the_words_times_in_the_clip() -> None:
    said, spoken = timed("please help me", 3.0, "en-us+m1", 165, 50, 0.5), say("please help me", "en-us+m1", 165, 50)
    assert [word.start_s for word in said.words] == [3.0 + word.start_s for word in spoken.words]
    assert said.end_s == pytest.approx(said.words[-1].end_s) == pytest.approx(3.0 + spoken.sound.size / RATE)


@speaks
def test_a_full_clip_is_rendered_much_faster_than_it_plays() -> None:
    said = tuple(timed(text, 1.0 + 7 * index, "en-us+m1", 165, 50, 0.5) for index, text in enumerate(SENTENCES[:3]))
    events = tuple(Noise(kind, 3.0 + 5 * index, 5.0 + 5 * index, 0.4, index) for index, kind in enumerate(SOUNDS[:4]))
    busy = script(duration_s=25.0, utterances=said, noises=events, room=Room(-45.0, 0.5, 0.5))
    started_s = time.perf_counter()
    soundtrack(busy)
    assert time.perf_counter() - started_s < 2.5  # measured: 0.03
