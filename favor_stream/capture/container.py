"""What an opened film, stream or device holds, decoded: sound at RATE in mono, and pictures thinned out and small.

It keeps the container's own time; who paces it and where it lies on the session's clock is for the sources to say.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.codec import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from favor_stream.errors import DeviceError
from favor_stream.records import RATE, SLICE_S, Picture, Sound

LONGEST_SIDE = 640  # of a picture, in pixels; larger ones are scaled down
DRIFT_S = 0.040  # stamps this far from the count of samples are believed; nearer ones are rounding
BACK_S = 0.5  # stamps that go back further than this are a cut in the recording
AHEAD_S = 60.0  # and so are stamps that run ahead of everything else by this much
TEXT_ART = {"tty", "bin", "xbin", "adf", "idf"}  # what FFmpeg takes text files for
PADDING_S = 0.15  # no encoder's last block is longer
FULL_SCALE = 2.0**31  # integers, since FFmpeg mixes floats down to a mono sound louder than its channels
FAILED = (av.error.FFmpegError, OSError, ValueError)  # what PyAV raises


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of sound."""

    sound: Sound
    time_s: float  # of its first sample, on the container's clock
    arrived_s: float  # on the monotonic clock, before decoding

    @property
    def end_s(self) -> float:
        return self.time_s + len(self.sound) / RATE


@dataclass(frozen=True, slots=True)
class Seen:
    """A moment of the picture track."""

    picture: Picture | None  # None: thinned out
    time_s: float  # on the container's clock
    arrived_s: float  # on the monotonic clock, before decoding

    @property
    def end_s(self) -> float:
        return self.time_s


def opened(
    address: str,
    name: str,
    wanted: str,
    container_format: str | None = None,
    options: Mapping[str, str] | None = None,
    timeout_s: tuple[float, float] | None = None,
) -> InputContainer:
    """Opens what FFmpeg can read. Raises DeviceError with one line: `name` as it may be shown, what was `wanted` instead."""
    try:
        container = av.open(
            address, format=container_format, options=dict(options or {}), timeout=timeout_s, metadata_errors="ignore"
        )
    except FAILED as error:
        raise DeviceError(f"{name}: {reason(error)}; {wanted}") from None  # the cause would tell the address, password and all
    if container.format.name in TEXT_ART or _first_streams(container) == (None, None):
        container.close()
        raise DeviceError(f"{name}: holds neither pictures nor sound that can be decoded; {wanted}")
    return container


def reason(error: Exception) -> str:
    """What FFmpeg says went wrong, without the address that it adds."""
    if isinstance(error, av.error.ExitError):  # "Immediate exit requested": that was our own time-out
        return "it does not answer"
    return getattr(error, "strerror", None) or type(error).__name__


class Footage:
    """The first sound and the first pictures of a container, in the order in which they are read.

    Time starts at the first sample, or at the first picture where there is no sound or it comes much later. Iterating ends
    with the container or with the first error of reading (`error`); what cannot be decoded is counted (`damaged`).
    """

    def __init__(self, container: InputContainer, pictures_per_s: float) -> None:
        audio, video = _first_streams(container)
        self._container = container
        self._streams = [stream for stream in (audio, video) if stream is not None]
        self._start_s = _start_s(audio, video)
        self._ear = SoundTrack(_sound_end_s(container, audio, self._start_s))
        self._eye = PictureTrack(pictures_per_s, usual_fps=float(video.average_rate or 25) if video else 25.0)
        self.has_sound = audio is not None
        self.has_pictures = video is not None
        self.damaged = 0  # packets and pictures
        self.error: Exception | None = None

    @property
    def thinned(self) -> int:
        """Pictures passed over because more came than were asked for."""
        return self._eye.thinned

    @property
    def cuts(self) -> int:
        """Places where time stamps jumped and time was made to go on."""
        return self._ear.cuts.count + self._eye.cuts.count

    def __iter__(self) -> Iterator[Heard | Seen]:
        arrived_s = 0.0
        for arrived_s, packet in self._packets():
            for frame in self._frames(packet):
                yield from self._pieces(frame, arrived_s)
        for sound, time_s in self._ear.rest():
            yield Heard(sound, time_s, arrived_s)

    def _packets(self) -> Iterator[tuple[float, Packet[Stream]]]:
        """Packets with the moment of their arrival; at the end or after an error one empty packet for each stream."""
        while self.error is None:
            try:
                for packet in self._container.demux(self._streams):
                    yield time.monotonic(), packet
                return
            except av.error.BlockingIOError:  # some cameras say so when the next picture isn't there yet
                time.sleep(0.005)
            except FAILED as error:
                self.error = error
        for stream in self._streams:
            flush: Packet[Stream] = Packet()
            flush.stream = stream
            yield time.monotonic(), flush

    def _frames(self, packet: Packet[Stream]) -> list[av.AudioFrame | av.VideoFrame]:
        try:
            frames = packet.decode()
        except FAILED:
            self.damaged += 1
            return []
        media = [frame for frame in frames if isinstance(frame, av.AudioFrame | av.VideoFrame)]
        self.damaged += sum(frame.is_corrupt for frame in media)
        return media

    def _pieces(self, frame: av.AudioFrame | av.VideoFrame, arrived_s: float) -> Iterator[Heard | Seen]:
        if self._start_s is None:
            self._start_s = frame.time
        stamp_s = None if frame.time is None or self._start_s is None else frame.time - self._start_s
        furthest_s = max(self._ear.expected_s, self._eye.expected_s)
        if isinstance(frame, av.AudioFrame):
            for sound, time_s in self._ear.hear(frame, stamp_s, furthest_s):
                yield Heard(sound, time_s, arrived_s)
        else:
            picture, time_s = self._eye.see(frame, stamp_s, furthest_s)
            yield Seen(picture, time_s, arrived_s)


def in_order(pieces: Iterable[Heard | Seen], ahead_s: float = 1.0) -> Iterator[Heard | Seen]:
    """The same pieces sorted by their end, read `ahead_s` in advance: a decoder gives its pictures later than its sound."""
    waiting: list[tuple[float, int, Heard | Seen]] = []
    for number, piece in enumerate(pieces):
        heappush(waiting, (piece.end_s, number, piece))
        while waiting[0][0] < piece.end_s - ahead_s:
            yield heappop(waiting)[2]
    while waiting:
        yield heappop(waiting)[2]


class Cuts:
    """Makes a track's time go on where its stamps jump: back (two recordings in one file), or ahead out of all reason."""

    def __init__(self) -> None:
        self.count = 0
        self._shift_s = 0.0

    def mended_s(self, stamp_s: float | None, expected_s: float, furthest_s: float) -> float:
        """The stamp, or the expected time in its place; `furthest_s` is how far the whole container has come."""
        if stamp_s is None:
            return expected_s
        time_s = stamp_s + self._shift_s
        if expected_s - BACK_S < time_s < furthest_s + AHEAD_S:
            return time_s
        self.count += 1
        self._shift_s += expected_s - time_s
        return expected_s


class SoundTrack:
    """Sound of any kind becomes RATE, mono, -1..1; time is counted, and taken from the stamps where they disagree for good.

    What an encoder added after `end_s` to fill its last block is taken off.
    """

    def __init__(self, end_s: float = math.inf) -> None:
        self.cuts = Cuts()
        self.expected_s = 0.0  # where the next frame should start
        self._end_s = end_s
        self._resampler: av.AudioResampler | None = None
        self._kind: tuple[str, str, int] | None = None
        self._start_s = 0.0  # of what was counted since the stamps were last believed
        self._heard = 0  # samples since then, at the frame's rate
        self._told = 0  # samples since then, at RATE

    def hear(self, frame: av.AudioFrame, stamp_s: float | None, furthest_s: float) -> Iterator[tuple[Sound, float]]:
        """Sound and its start for each piece that is ready; the resampler keeps a few samples back."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        time_s = self.cuts.mended_s(stamp_s, self.expected_s, furthest_s)
        if kind != self._kind or abs(time_s - self.expected_s) > DRIFT_S:
            yield from self.rest()
            self._resampler, self._kind = av.AudioResampler("s32", "mono", RATE), kind
            self._start_s, self._heard, self._told = time_s, 0, 0
        self._heard += frame.samples
        self.expected_s = self._start_s + self._heard / frame.sample_rate
        assert self._resampler is not None
        frame.pts = None  # the resampler would look at it; here samples are counted
        yield from self._pieces(self._resampler.resample(frame))

    def rest(self) -> Iterator[tuple[Sound, float]]:
        """What the resampler still held."""
        if self._resampler is not None:
            yield from self._pieces(self._resampler.resample(None))
        self._resampler = self._kind = None

    def _pieces(self, frames: list[av.AudioFrame]) -> Iterator[tuple[Sound, float]]:
        for frame in frames:
            time_s = self._start_s + self._told / RATE
            self._told += frame.samples
            sound = frame.to_ndarray()[0]
            if time_s + len(sound) / RATE > self._end_s > time_s - PADDING_S:
                sound = sound[: max(0, round((self._end_s - time_s) * RATE))]
            if len(sound):
                yield sound.astype(np.float32) / FULL_SCALE, time_s


class PictureTrack:
    """Pictures become small RGB arrays; those that nobody asked for are passed over before they cost anything."""

    def __init__(self, pictures_per_s: float, usual_fps: float) -> None:
        self.cuts = Cuts()
        self.expected_s = 0.0
        self.thinned = 0
        self._per_s = pictures_per_s
        self._usual_s = 1 / usual_fps
        self._last = -math.inf  # the last picture's place in an even row of `pictures_per_s`
        self._scaler = VideoReformatter()

    def see(self, frame: av.VideoFrame, stamp_s: float | None, furthest_s: float) -> tuple[Picture | None, float]:
        """The picture, or None when it is one too many, and its time."""
        time_s = self.cuts.mended_s(stamp_s, self.expected_s, furthest_s)
        self.expected_s = time_s + (float((frame.duration or 0) * (frame.time_base or 0)) or self._usual_s)
        place = math.floor(time_s * self._per_s + 1e-6)
        if place <= self._last:
            self.thinned += 1
            return None, time_s
        self._last = place
        return self._small(frame), time_s

    def _small(self, frame: av.VideoFrame) -> Picture:
        scale = min(1.0, LONGEST_SIDE / max(frame.width, frame.height))
        width, height = (max(1, round(size * scale)) for size in (frame.width, frame.height))
        picture = self._scaler.reformat(frame, width, height, "rgb24").to_ndarray()
        return np.array(np.rot90(picture, round(frame.rotation / 90)), np.uint8, order="C")  # a telephone held upright


def _first_streams(container: InputContainer) -> tuple[AudioStream | None, VideoStream | None]:
    """The first sound and the first pictures that can be decoded and are no cover of a piece of music."""
    audio = (stream for stream in container.streams.audio if _has_decoder(stream))
    video = (stream for stream in container.streams.video if _has_decoder(stream))
    return next(audio, None), next((stream for stream in video if not stream.disposition & Disposition.attached_pic), None)


def _has_decoder(stream: Stream) -> bool:
    context: CodecContext | None = stream.codec_context  # None where FFmpeg knows no decoder, whatever the stubs say
    return context is not None


def _begins_s(stream: Stream | None) -> float | None:
    """A stream's first moment on the container's clock, if the container tells it."""
    if stream is None or stream.start_time is None or stream.time_base is None:
        return None
    return float(stream.start_time * stream.time_base)


def _start_s(audio: AudioStream | None, video: VideoStream | None) -> float | None:
    """The container's time of our 0.0; None when only the first frame can tell."""
    heard_s, seen_s = _begins_s(audio), _begins_s(video)
    if heard_s is None or seen_s is None:
        return seen_s if heard_s is None else heard_s
    return heard_s if heard_s - seen_s < SLICE_S else seen_s


def _sound_end_s(container: InputContainer, audio: AudioStream | None, start_s: float | None) -> float:
    """Where the sound ends on our clock, if the container knows it to the sample."""
    begins_s = _begins_s(audio)
    if audio is None or begins_s is None or start_s is None or not audio.duration or "mp4" not in container.format.name:
        return math.inf
    return begins_s - start_s + float(audio.duration * (audio.time_base or 0))
