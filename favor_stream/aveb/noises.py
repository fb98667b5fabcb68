"""Makes the world's sound events, one recipe for each kind, from a seed; it knows nothing of where in a clip they are heard."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from favor_stream.errors import ConfigError
from favor_stream.records import RATE, Sound

Signal = NDArray[np.float64]  # [samples]
_TABLE = 4096


def noise(kind: str, duration_s: float, seed: int) -> Sound:
    """The sound of a `kind` of lexicon.SOUNDS, float32 [round(duration_s * RATE)], peak 1.0.

    The seed draws pitch, rhythm and timbre. Raises ConfigError for an unknown kind or a duration under one sample.
    """
    samples = round(duration_s * RATE)
    if kind not in _RECIPES or samples < 1:
        known = ", ".join(_RECIPES)
        raise ConfigError(f"no noise {kind!r} of {duration_s} s: expected one of {known} and a positive length; mend the script")
    sound = _RECIPES[kind](np.arange(samples) / RATE, np.random.default_rng(seed))
    return (sound / max(float(np.abs(sound).max()), 1e-9)).astype(np.float32)


def _beep(time_s: Signal, draw: Generator) -> Signal:
    """A near-pure tone, on and off."""
    pitch_hz = _between(draw, 500, 2800)
    period_s = draw.uniform(0.15, 0.6)
    tone = np.sin(2 * np.pi * pitch_hz * time_s) + draw.uniform(0, 0.08) * np.sin(4 * np.pi * pitch_hz * time_s)
    return tone * _pulses(time_s, period_s, draw.uniform(0.45, 0.8), edge_s=0.006)


def _bell(time_s: Signal, draw: Generator) -> Signal:
    """Struck metal: inharmonic partials, the high ones dying first, struck again and again."""
    pitch_hz = _between(draw, 350, 1100)
    ratios = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.52, 2.66, 3.01, 4.17, 5.43]) * draw.uniform(0.985, 1.015, 10)
    levels = draw.uniform(0.2, 1.0, 10) / (1 + 0.25 * np.arange(10))
    decay_s = draw.uniform(0.35, 1.0) / np.sqrt(ratios)
    since_s = time_s % draw.uniform(0.5, 1.3)
    partials = (
        level * np.sin(2 * np.pi * ratio * pitch_hz * since_s) * np.exp(-since_s / decay)
        for ratio, level, decay in zip(ratios, levels, decay_s, strict=True)
        if ratio * pitch_hz < RATE / 2
    )
    return sum(partials, np.zeros_like(time_s))


def _knock(time_s: Signal, draw: Generator) -> Signal:
    """Knuckles on wood: rows of two to five low thumps, with a pause between rows."""
    sound = np.zeros_like(time_s)
    pitch_hz, decay_s = _between(draw, 90, 220), draw.uniform(0.02, 0.045)
    gap_s, pause_s, count = draw.uniform(0.13, 0.28), draw.uniform(0.3, 0.6), int(draw.integers(2, 6))
    start_s, struck = 0.01, 0
    while start_s < time_s[-1] or not struck:
        first = round(start_s * RATE)
        thump = _thump(pitch_hz * draw.uniform(0.96, 1.04), decay_s, draw) * draw.uniform(0.75, 1.0)
        sound[first : first + thump.size] += thump[: max(sound.size - first, 0)]
        struck += 1
        start_s += (gap_s if struck % count else pause_s + gap_s) * draw.uniform(0.93, 1.07)
    return sound


def _thump(pitch_hz: float, decay_s: float, draw: Generator) -> Signal:
    since_s = np.arange(round(0.25 * RATE)) / RATE
    modes = sum(
        level * np.sin(2 * np.pi * ratio * pitch_hz * since_s) * np.exp(-since_s * ratio / decay_s)
        for ratio, level in ((1.0, 1.0), (2.3, 0.5), (3.9, 0.25))
    )
    click = np.convolve(draw.standard_normal(since_s.size), np.ones(12) / 12, "same") * np.exp(-since_s / 0.006)
    return modes + 0.8 * click


def _siren(time_s: Signal, draw: Generator) -> Signal:
    """A slow wail up and down over about an octave."""
    swing = np.sin(2 * np.pi * (time_s / draw.uniform(0.9, 2.4) + draw.uniform()))
    if draw.uniform() < 0.5:
        swing = np.arcsin(swing) * 2 / np.pi
    pitch_hz = _between(draw, 600, 1000) * 2 ** (draw.uniform(0.4, 0.7) * swing)
    return _tone(pitch_hz, _falling(4, draw.uniform(1.2, 2.2)))


def _whistle(time_s: Signal, draw: Generator) -> Signal:
    """Lips or a flute: a high tone that glides, trembles and breathes."""
    knots = draw.uniform(-0.35, 0.35, max(2, round(float(time_s[-1]) / 0.35) + 1))
    glide = np.interp(time_s, np.linspace(0, time_s[-1] + 1 / RATE, knots.size), knots)
    vibrato = draw.uniform(0.005, 0.025) * np.sin(2 * np.pi * draw.uniform(4.5, 7.5) * time_s)
    pitch_hz = _between(draw, 1700, 3000) * 2 ** (glide + vibrato)
    breath = np.convolve(draw.standard_normal(time_s.size), np.ones(32) / 32)[: time_s.size]
    trembling = _tone(pitch_hz, np.array([1.0, 0.04])) * (1 + draw.uniform(0.5, 1.2) * breath)
    airy = draw.uniform(0.03, 0.08) * draw.standard_normal(time_s.size)
    return (trembling + airy) * _pulses(time_s, draw.uniform(0.6, 1.2), 0.9, edge_s=0.05)


def _buzzer(time_s: Signal, draw: Generator) -> Signal:
    """A harsh low hum, rich in harmonics, as of a quiz or a door."""
    pitch_hz = _between(draw, 85, 180)
    levels = _falling(int(5500 / pitch_hz), draw.uniform(0.35, 0.7))
    if draw.uniform() < 0.5:
        levels[1::2] *= 0.1  # a square wave has odd harmonics only
    roughness = 1 + draw.uniform(0.1, 0.4) * np.sign(np.sin(2 * np.pi * draw.uniform(20, 45) * time_s))
    return _tone(np.full_like(time_s, pitch_hz), levels) * roughness


def _horn(time_s: Signal, draw: Generator) -> Signal:
    """A car's or ship's horn: a chord of two or three brassy tones, in one or more long blasts."""
    root_hz = _between(draw, 190, 400)
    chords = ((1.0, 1.25), (1.0, 1.5), (1.0, 1.335), (1.0, 1.26, 1.5))
    levels = _falling(10, draw.uniform(0.9, 1.3))
    chord_hz = root_hz * np.array(chords[draw.integers(len(chords))])
    blast = sum(
        (_tone(np.full_like(time_s, pitch_hz * draw.uniform(0.997, 1.003)), levels) for pitch_hz in chord_hz),
        np.zeros_like(time_s),
    )
    return blast * _pulses(time_s, draw.uniform(0.6, 1.6), draw.uniform(0.75, 0.9), edge_s=0.04)


def _hiss(time_s: Signal, draw: Generator) -> Signal:
    """Escaping steam or air: a band of noise that swells and sinks."""
    spectrum = np.fft.rfft(draw.standard_normal(time_s.size))
    frequency_hz = np.fft.rfftfreq(time_s.size, 1 / RATE)
    low_hz, high_hz = draw.uniform(1500, 3500), draw.uniform(5500, 7800)
    spectrum *= 1 / (1 + (low_hz / (frequency_hz + 1)) ** 6) / (1 + (frequency_hz / high_hz) ** 8)
    swell = 0.7 + 0.3 * np.sin(2 * np.pi * (time_s * draw.uniform(0.4, 3.0) + draw.uniform()))
    return np.fft.irfft(spectrum, time_s.size) * swell


def _between(draw: Generator, low: float, high: float) -> float:
    """A draw that is even in octaves, as ears hear pitch."""
    return float(low * (high / low) ** draw.uniform())


def _tone(pitch_hz: Signal, levels: Signal) -> Signal:
    """A tone of changing pitch; `levels` are the amplitudes of its harmonics from the first, all below RATE / 2."""
    angle = 2 * np.pi * np.arange(_TABLE) / _TABLE
    table = np.sin(np.arange(1, levels.size + 1)[None, :] * angle[:, None]) @ levels
    cycles = np.cumsum(pitch_hz) / RATE
    return table[(cycles * _TABLE).astype(np.int64) % _TABLE]


def _falling(harmonics: int, steepness: float) -> Signal:
    """Amplitudes [harmonics] that fall with the harmonic's number."""
    levels: Signal = np.arange(1.0, harmonics + 1) ** -steepness
    return levels


def _pulses(time_s: Signal, period_s: float, duty: float, edge_s: float) -> Signal:
    """An envelope that is open for `duty` of each period, with linear edges; open at the start."""
    since_s = time_s % period_s
    return np.clip(np.minimum(since_s, duty * period_s - since_s) / edge_s, 0.0, 1.0)


_RECIPES: dict[str, Callable[[Signal, Generator], Signal]] = {
    "beep": _beep,
    "bell": _bell,
    "knock": _knock,
    "siren": _siren,
    "whistle": _whistle,
    "buzzer": _buzzer,
    "horn": _horn,
    "hiss": _hiss,
}
