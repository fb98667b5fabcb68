"""Pictures and sound as files: a JPEG of one moment, an MP4 (H.264 and AAC) of some seconds. It knows nothing of streams."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from favor_stream.errors import DeviceError
from favor_stream.records import RATE, Picture, Sound
from favor_stream.ring import Clip

TICKS_PER_S = 90_000  # of the time stamps in a film
MOST_PIXELS = 24_000_000  # of a JPEG that is decoded, which then takes 100 MB
Shot = tuple[float, Picture]  # seconds from the film's start, and what was seen


def snapshot_jpeg(picture: Picture, quality: int = 85) -> bytes:
    """A picture as JPEG; quality from 1 (small) to 100 (true)."""
    scale = str(1 + round((100 - quality) * 30 / 99))  # the codec's own: 1 is the best, 31 the worst
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.thread_count = "yuvj420p", Fraction(1, 1), 1
    encoder.options = {"qmin": scale, "qmax": scale}
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in chain(encoder.encode(frame), encoder.encode(None)))


def picture_of(jpeg: bytes) -> Picture:
    """The picture that a JPEG shows."""
    return np.asarray(frame_of(jpeg).to_ndarray(format="rgb24"), np.uint8)


def frame_of(jpeg: bytes) -> av.VideoFrame:
    """The same as FFmpeg's frame. Raises DeviceError for what is no JPEG, or one that would fill the memory."""
    decoder = av.CodecContext.create("mjpeg", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count, decoder.options = 1, {"max_pixels": str(MOST_PIXELS)}
    try:
        return next(chain(decoder.decode(av.Packet(jpeg)), decoder.decode(None)))
    except (av.error.FFmpegError, StopIteration) as error:
        raise DeviceError("a picture cannot be decoded; expected a JPEG") from error


def write_clip(path: Path, clip: Clip) -> None:
    """Writes what a ring kept as an MP4. Raises DeviceError when there is nothing in it or it cannot be written."""
    if not clip.pictures and not len(clip.sound):
        raise DeviceError(f"{path}: the clip is empty; ask for it once something was seen or heard")
    write_mp4(path, ((time_s - clip.start_s, picture_of(jpeg)) for time_s, jpeg in clip.pictures), clip.sound)


def write_film(path: Path, pictures: Iterable[Picture], fps: float, sound: Sound) -> None:
    """Writes pictures at an even rate, and sound, as an MP4; the pictures are read one by one."""
    write_mp4(path, ((index / fps, picture) for index, picture in enumerate(pictures)), sound, fps)


def write_mp4(path: Path, shots: Iterable[Shot], sound: Sound, fps: float = 4.0) -> None:
    """Writes pictures at their times (rising) and sound [samples] from 0.0 as an MP4; no shots or no sound: without that track.

    All pictures take the size of the first, rounded up to even numbers; `fps` tells players how long the last one stands. The
    file appears when it is whole. Raises DeviceError when it cannot be written, and leaves nothing behind then.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with av.open(str(part), "w", format="mp4") as film:
            _encode(film, iter(shots), sound, fps)
        os.replace(part, path)
    except (OSError, av.error.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DeviceError(f"{path}: cannot be written ({reason}); free some space or choose another folder") from error
    finally:
        with suppress(OSError):
            part.unlink()


def _encode(film: OutputContainer, shots: Iterator[Shot], sound: Sound, fps: float) -> None:
    first = next(shots, None)
    sight = None if first is None else _Sight(film, first[1], fps)
    voice = _Voice(film, sound)
    for time_s, picture in chain([first], shots) if first else ():
        assert sight
        sight.write(time_s, picture)
        voice.write_until(time_s)
    if sight:
        sight.finish()
    voice.finish()


class _Sight:
    """The pictures of a film."""

    def __init__(self, film: OutputContainer, first: Picture, fps: float) -> None:
        options = {"preset": "veryfast", "crf": "23", "bf": "0"}
        self._film = film
        self._stream: VideoStream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
        self._stream.height, self._stream.width = (size + size % 2 for size in first.shape[:2])
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        self._scaler = VideoReformatter()

    def write(self, time_s: float, picture: Picture) -> None:
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = self._scaler.reformat(frame, self._stream.width, self._stream.height, "yuv420p")
        frame.pts, frame.time_base = round(time_s * TICKS_PER_S), Fraction(1, TICKS_PER_S)
        self._film.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._film.mux(self._stream.encode(None))


class _Voice:
    """The sound of a film, written along with the pictures, so that neither waits in memory for the other."""

    def __init__(self, film: OutputContainer, sound: Sound) -> None:
        self._film = film
        self._stream: AudioStream | None = film.add_stream("aac", rate=RATE, layout="mono") if len(sound) else None
        self._sound = sound
        self._written = 0

    def write_until(self, time_s: float) -> None:
        samples = self._sound[self._written : round(time_s * RATE)]
        if self._stream and len(samples):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None], np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, self._written, Fraction(1, RATE)
            self._film.mux(self._stream.encode(frame))
            self._written += len(samples)

    def finish(self) -> None:
        self.write_until(len(self._sound) / RATE)
        if self._stream:
            self._film.mux(self._stream.encode(None))
