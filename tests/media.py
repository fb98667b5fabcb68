"""Media made in code: pictures that tell their number, sounds that tell their place, and films of every kind to hold them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from favor_stream.records import RATE, Picture, Sound

STEP = 12  # of brightness from one number to the next: what a lossy codec does not blur
NUMBERS = 20
TICKS_PER_S = 1000


def numbered(number: int, height: int = 48, width: int = 64) -> Picture:
    """A picture that tells its number, modulo NUMBERS, by its brightness."""
    return np.full((height, width, 3), 10 + STEP * (number % NUMBERS), np.uint8)


def number_of(picture: Picture | None) -> int | None:
    return None if picture is None else round((float(picture.mean()) - 10) / STEP)


def tone(seconds: float, hertz: float = 440.0, rate_hz: int = RATE, level: float = 0.5) -> NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def sweep(seconds: float, rate_hz: int = RATE) -> Sound:
    """A tone that rises from 200 to 3,000 Hz: any piece of it is like no other."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * (200 * time_s + 1400 * time_s**2 / seconds))).astype(np.float32)


def pitch_hz(sound: Sound) -> float:
    """The loudest frequency, to about the half of a hertz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 2 * RATE))
    return float(np.argmax(spectrum)) / 2


def likeness(heard: Sound, played: Sound, late: int = 0) -> float:
    """The correlation of two sounds, sample for sample, when the one is heard some samples late."""
    length = min(len(heard) - late, len(played))
    return float(np.corrcoef(heard[late : late + length], played[:length])[0, 1])


def film(
    path: Path,
    pictures: Iterable[Picture] = (),
    times_s: Iterable[float] = (),
    sound: NDArray[np.float32] | None = None,
    rate_hz: int = RATE,
    layout: str = "mono",
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    options: dict[str, str] | None = None,
) -> Path:
    """Writes pictures at their times, and sound [samples] on each channel of a layout. `sound=[]` is a track of no length."""
    seen = list(pictures)
    with av.open(str(path), "w", options=options or {}) as container:
        video = _video(container, video_codec, seen[0] if seen else numbered(0)) if seen or sound is None else None
        audio = None if sound is None else container.add_stream(audio_codec, rate=rate_hz, layout=layout)
        assert audio is None or isinstance(audio, AudioStream)
        container.start_encoding()  # else a film without anything in it would be no file
        if video and seen:
            for time_s, picture in zip(times_s, seen, strict=True):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = round(time_s * TICKS_PER_S), Fraction(1, TICKS_PER_S)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio and sound is not None and len(sound):
            channels = np.repeat(sound[None], av.AudioLayout(layout).nb_channels, axis=0)
            voice = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
            voice.sample_rate, voice.pts, voice.time_base = rate_hz, 0, Fraction(1, rate_hz)
            container.mux(audio.encode(voice))
            container.mux(audio.encode(None))
    return path


def _video(container: OutputContainer, codec: str, first: Picture) -> VideoStream:
    stream = container.add_stream(codec, rate=25)
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = first.shape[:2]
    stream.pix_fmt = "yuv444p" if codec == "libx264" else "yuv420p"  # which has room for a picture of one pixel
    stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
    return stream


def numbered_film(path: Path, seconds: float = 3.0, fps: float = 4.0, **kind: Any) -> Path:
    """A film whose picture k is number k, with a sweep as its sound."""
    count = round(seconds * fps)
    times_s = [index / fps for index in range(count)]
    return film(path, map(numbered, range(count)), times_s, sweep(seconds), **kind)
