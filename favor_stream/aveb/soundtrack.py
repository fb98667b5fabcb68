"""Plays a script's voices and noises in its room; it decides nothing about what happens when."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from favor_stream.aveb.noises import noise
from favor_stream.aveb.script import Room, Script, Utterance, Word
from favor_stream.aveb.speech import say
from favor_stream.records import RATE, Sound

_FADE_S = 0.01
_ROOM_STREAM = 1  # keeps these draws apart from others with the script's seed
_KNEE = 0.8  # amplitude above which loud sound is bent softly


def timed(
    text: str, start_s: float, voice: str, words_per_minute: int, pitch: int, loudness: float, tract: float = 1.0
) -> Utterance:
    """An utterance that starts at `start_s`, with the times at which its words are heard. Raises what speech.say raises."""
    spoken = say(text, voice, words_per_minute, pitch, tract)
    words = tuple(Word(word.text, start_s + word.start_s, start_s + word.end_s) for word in spoken.words)
    end_s = start_s + spoken.sound.size / RATE
    return Utterance(text, start_s, end_s, voice, words_per_minute, pitch, loudness, words, tract)


def soundtrack(script: Script) -> Sound:
    """All that is heard in the clip, float32 [round(duration_s * RATE)] in -1..1; equal scripts give equal samples."""
    dry: Sound = np.zeros(round(script.duration_s * RATE), np.float32)
    for utterance in script.utterances:
        spoken = say(utterance.text, utterance.voice, utterance.words_per_minute, utterance.pitch, utterance.tract)
        _place(dry, spoken.sound * np.float32(utterance.loudness), utterance.start_s)
    for event in script.noises:
        sound = _faded(noise(event.kind, event.end_s - event.start_s, event.seed))
        _place(dry, sound * np.float32(event.loudness), event.start_s)
    draw = np.random.default_rng([script.seed, _ROOM_STREAM])
    return _bent(_reverberated(dry, script.room, draw) + _background(dry.size, script.room, draw))


def _place(track: Sound, sound: Sound, start_s: float) -> None:
    """Add in place; what reaches past the end of the track is not heard."""
    first = round(start_s * RATE)
    heard = sound[: max(track.size - first, 0)]
    track[first : first + heard.size] += heard


def _faded(sound: Sound) -> Sound:
    edge = min(round(_FADE_S * RATE), sound.size // 2)
    ramp = np.linspace(0.0, 1.0, edge, endpoint=False, dtype=np.float32)
    sound[:edge] *= ramp
    sound[sound.size - edge :] *= ramp[::-1]
    return sound


def _reverberated(dry: Sound, room: Room, draw: Generator) -> Sound:
    """Direct sound first and unchanged, then a tail of noise that falls by 60 dB in `reverb_s`."""
    if room.reverb_s <= 0 or not dry.any():
        return dry
    since_s = np.arange(round(room.reverb_s * RATE), dtype=np.float32) / RATE
    tail = draw.standard_normal(since_s.size, np.float32) * 10 ** (-3 * since_s / room.reverb_s)
    tail[: round(draw.uniform(0.004, 0.015) * RATE)] = 0.0  # the first echo comes a little later
    tail *= 10 ** (draw.uniform(-14, -8) / 20) / max(float(np.linalg.norm(tail)), 1e-9)
    size = _transform_size(dry.size + tail.size)
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(tail, size), size)
    return dry + wet[: dry.size].astype(np.float32)


def _background(samples: int, room: Room, draw: Generator) -> Sound:
    """Noise of `noise_db` RMS below full scale: amplitude falls with frequency to the power of `colour`, from 20 Hz upwards."""
    size = _transform_size(samples)
    spectrum = draw.standard_normal(size + 2, np.float32).view(np.complex64)
    spectrum *= np.maximum(np.fft.rfftfreq(size, 1 / RATE), 20.0) ** -room.colour
    sound: NDArray[np.float32] = np.fft.irfft(spectrum, size)[:samples].astype(np.float32)
    return sound * np.float32(10 ** (room.noise_db / 20) / max(float(np.sqrt(np.mean(sound**2))), 1e-12))


def _transform_size(samples: int) -> int:
    """A little more than asked, an even number, so that the Fourier transform is a fast one."""
    block = 1 << max(samples.bit_length() - 4, 1)
    return -(-samples // block) * block


def _bent(sound: Sound) -> Sound:
    """Unchanged up to the knee, then ever closer to 1 and never past it."""
    over = np.maximum(np.abs(sound) - _KNEE, 0.0) / (1 - _KNEE)
    return np.where(over > 0, np.sign(sound) * (_KNEE + (1 - _KNEE) * np.tanh(over)), sound).astype(np.float32)
