"""Says a text through espeak-ng and tells when each word is heard; it knows nothing of clips, rooms or other sounds."""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from favor_stream.aveb import accents
from favor_stream.aveb.script import Word
from favor_stream.errors import ConfigError, EngineError
from favor_stream.records import RATE, Sound

ESPEAK_RATE = 22_050  # hertz; what espeak-ng synthesises at

# Accents and variants of espeak-ng. The variants are those whose single words a classifier trained on other voices tells apart
# (93 of 100 or better), without near-twins across the two lists; whispers and robots are left out.
_REAL_ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan")
_TRAINING_ACCENTS = (*_REAL_ACCENTS, *accents.NAMES)
_TRAINING_VARIANTS = "f1 f2 f4 belinda grandma steph m1 m2 m3 m5 m7 Gene Storm rob paul miguel klatt klatt3"
_HELD_OUT_ACCENTS = ("en-029", "en-gb-x-gbcwmd")  # Caribbean, West Midlands
_HELD_OUT_VARIANTS = "f3 Annie aunty Nguyen m4 m8 pablo norbert"
TRAINING_VOICES = tuple(f"{accent}+{variant}" for accent in _TRAINING_ACCENTS for variant in _TRAINING_VARIANTS.split())
HELD_OUT_VOICES = tuple(f"{accent}+{variant}" for accent in _HELD_OUT_ACCENTS for variant in _HELD_OUT_VARIANTS.split())

# Names and values of espeak-ng's speak_lib.h.
_SYNCHRONOUS = 2
_DO_NOT_EXIT = 1 << 15
_UTF8 = 1
_SPEED, _VOLUME, _PITCH = 1, 2, 3
_WORD_EVENT = 1
_QUIET_VOLUME = 40  # of 100; at full volume the loud variants clip inside espeak-ng

_SILENCE = 0.005  # of the peak; -46 dB
_one_speaker = threading.Lock()


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text as it sounds."""

    sound: Sound  # [samples], peak 1.0, without silence before and after
    words: tuple[Word, ...]  # times from the start of the sound, one for each word of the text


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # of the word's first character, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),  # the same moment, exactly
        ("user_data", ctypes.c_void_p),
        ("identifier", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@lru_cache(maxsize=512)
def say(text: str, voice: str, words_per_minute: int, pitch: int, tract: float = 1.0) -> Spoken:
    """Synthesise `text`; `pitch` is 0..99 with 50 the voice's own. The same arguments give the same samples, which are read-only.

    `tract` is the length of the speaker's vocal tract against the voice's own, in steps of 1/32: longer is deeper and slower.
    Raises EngineError without espeak-ng, ConfigError for an unknown voice or a text without a word in it.
    """
    with _one_speaker:
        raw, starts = _synthesise(text, voice, words_per_minute, pitch)
    sound = _resample(raw, tract)
    level = np.abs(sound)
    loud = np.flatnonzero(level > _SILENCE * level.max(initial=0.0))
    if not loud.size or not re.search(r"\w", text):
        raise ConfigError(f"nothing to say in {text!r}: expected at least one word; give text with letters or digits")
    first, last = int(loud[0]), int(loud[-1]) + 1
    heard = sound[first:last] / level.max()
    heard.flags.writeable = False  # one array serves every caller of the cache
    return Spoken(heard, _words(text, {at: start_s * tract - first / RATE for at, start_s in starts.items()}, heard.size / RATE))


def _synthesise(text: str, voice: str, words_per_minute: int, pitch: int) -> tuple[Sound, dict[int, float]]:
    """The sound at ESPEAK_RATE, and the start in seconds of each word by its place in the text."""
    chunks: list[bytes] = []
    starts: dict[int, float] = {}

    def listen(samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if count > 0:
            chunks.append(ctypes.string_at(samples, count * 2))
        index = 0
        while (event := events[index]).type:
            if event.type == _WORD_EVENT:
                starts.setdefault(event.text_position - 1, event.sample / ESPEAK_RATE)
            index += 1
        return 0

    callback = _Callback(listen)
    with _espeak(voice.partition("+")[0]) as (library, data_path):
        _choose(voice, library, data_path)
        library.espeak_SetSynthCallback(callback)
        for parameter, value in ((_SPEED, words_per_minute), (_VOLUME, _QUIET_VOLUME), (_PITCH, pitch)):
            library.espeak_SetParameter(parameter, value, 0)
        encoded = text.encode()
        library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, 1, 0, _UTF8, None, None)
    return np.frombuffer(b"".join(chunks), np.int16).astype(np.float32), starts


@contextmanager
def _espeak(accent: str) -> Iterator[tuple[ctypes.CDLL, str]]:
    """espeak-ng that knows `accent`, and its data folder. A fresh one: its static memory keeps flutter and phase, and equal calls
    must sound equal.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise EngineError("no espeakng_loader found: expected it for speech; run pip install --editable '.[train]'") from error
    data_path = espeakng_loader.get_data_path()
    if accent in accents.NAMES:
        data_path = accents.data_with_accents(data_path)
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        if library.espeak_Initialize(_SYNCHRONOUS, 0, data_path.encode(), _DO_NOT_EXIT) != ESPEAK_RATE:
            raise EngineError(
                f"espeak-ng did not start from {data_path}: expected {ESPEAK_RATE} Hz sound; reinstall espeakng-loader"
            )
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        yield library, data_path
    finally:
        library.espeak_Terminate()
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))


def _choose(voice: str, library: ctypes.CDLL, data_path: str) -> None:
    """Set the voice. The variant is checked here, because espeak-ng passes over one that it does not know."""
    _, plus, variant = voice.partition("+")
    known = not plus or Path(data_path, "voices", "!v", variant).is_file()
    if not known or library.espeak_SetVoiceByName(voice.encode()):
        raise ConfigError(f"espeak-ng has no voice {voice!r}: expected one such as 'en-us+m3'; choose one of TRAINING_VOICES")


def _resample(sound: Sound, tract: float) -> Sound:
    """From ESPEAK_RATE to RATE, a ratio of 441 to 320, by cutting the spectrum at the new Nyquist frequency; then `tract` times
    as long, as if the sound had come more slowly.
    """
    blocks, per_block = -(-sound.size // 441) + 1, 2 * round(160 * tract)
    spectrum = np.fft.rfft(sound, blocks * 441)[: blocks * per_block // 2 + 1]
    return (np.fft.irfft(spectrum, blocks * per_block) * (per_block / 441)).astype(np.float32)


def _words(text: str, starts: dict[int, float], end_s: float) -> tuple[Word, ...]:
    """Each word lasts until the next starts; words that espeak-ng runs into one ("on the") share its time by their letters."""
    found = [(match.start(), match.group()) for match in re.finditer(r"\w\S*", text)]
    letters = np.cumsum([0, *(len(word) for _, word in found)])  # spoken before each word, and in all
    known = {0: 0.0} | {int(spoken): starts[at] for spoken, (at, _) in zip(letters, found, strict=False) if at in starts}
    known[int(letters[-1])] = end_s
    edges_s = np.interp(letters, list(known), np.clip(list(known.values()), 0.0, end_s)).tolist()
    return tuple(Word(word, start_s, next_s) for (_, word), start_s, next_s in zip(found, edges_s[:-1], edges_s[1:], strict=True))
