"""Sound of ROS 2 as mono at RATE: both packages called audio_common_msgs, and foxglove_msgs/RawAudio. It knows no time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from favor_stream.errors import DeviceError
from favor_stream.records import RATE, Sound
from favor_stream.ros.messages import Message

KINDS = {f"audio_common_msgs/msg/{name}" for name in ("AudioData", "AudioDataStamped", "Audio", "AudioStamped")} | {
    "foxglove_msgs/msg/RawAudio"
}
INFO_KIND = "audio_common_msgs/msg/AudioInfo"
FORMATS = {  # GStreamer's names, which ros-drivers uses, and what NumPy calls them
    "S8": "<i1",
    "U8": "<u1",
    "S16LE": "<i2",
    "S16BE": ">i2",
    "S32LE": "<i4",
    "S32BE": ">i4",
    "F32LE": "<f4",
    "F32BE": ">f4",
    "F64LE": "<f8",
}
ARRAYS = ("float32_data", "int32_data", "int16_data", "int8_data", "uint8_data")  # of which mgonzs13 fills one
WAVE = {"wave", "wav", "pcm"}
NOTHING: Sound = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Shape:
    """What sound is made of, where its own messages do not say. The defaults are those of ros-drivers' audio_capture."""

    rate_hz: int = 16_000
    channels: int = 1
    sample_format: str = "S16LE"  # one of FORMATS
    coding: str = "wave"

    def __post_init__(self) -> None:
        if not (1_000 <= self.rate_hz <= 768_000 and 1 <= self.channels <= 64):
            raise DeviceError(
                f"sound has {self.channels} channels at {self.rate_hz} Hz; expected 1 to 64 at 1000 to 768000; correct its sender"
            )
        if self.coding.lower() not in WAVE:
            raise DeviceError(f"sound is coded as {self.coding[:40]!r}; expected wave; set its sender's format to wave")
        if self.sample_format not in FORMATS:
            raise DeviceError(f"sound's samples are {self.sample_format[:40]!r}; expected one of {', '.join(FORMATS)}")


@dataclass(slots=True)
class Ears:
    """Hears messages of one topic, one after the other, and of the AudioInfo beside it.

    ros-drivers' AudioData tells nothing of itself: `shape` is what it is taken for until an AudioInfo comes, and `is_assumed`
    says that it was.
    """

    shape: Shape = field(default_factory=Shape)
    is_assumed: bool = False  # sound was heard of which nobody told the shape
    length_s: Fraction = Fraction(0)  # of the last message's sound
    _told: bool = False
    _family: str = ""
    _resampler: av.AudioResampler | None = None
    _rate_hz: int = RATE

    def hear(self, message: Message) -> Sound:
        """What of its sound is ready; the resampler keeps a little of it for the next.

        Raises DeviceError for what cannot be heard; the next message may be one that can.
        """
        self.length_s = Fraction(0)
        if message.__msgtype__ == INFO_KIND:
            self._learn(message)
            return NOTHING
        samples, rate_hz = self._samples(message)
        self.length_s = Fraction(len(samples), rate_hz)
        return self._at_rate(samples, rate_hz)

    def rest(self) -> Sound:
        """What the resampler still held; sound after it begins anew."""
        resampler, self._resampler, self._rate_hz = self._resampler, None, RATE
        return NOTHING if resampler is None else _joined(resampler.resample(None))

    def _learn(self, info: Message) -> None:
        if hasattr(info, "coding_format"):
            self._one_family("ros-drivers")
            coding = info.coding_format or ("wave" if info.sample_format else "")
            self.shape, self._told = Shape(info.sample_rate, info.channels, info.sample_format, coding), True
        else:
            self._one_family("mgonzs13")
            self.shape, self._told = replace(self.shape, rate_hz=info.rate, channels=info.channels), True

    def _samples(self, message: Message) -> tuple[Sound, int]:
        """All channels as one, and their rate."""
        if message.__msgtype__ not in KINDS:
            raise DeviceError(f"{message.__msgtype__} is no sound; expected one of {', '.join(sorted(KINDS))}")
        if hasattr(message, "number_of_channels"):
            return self._foxglove(message)
        inner = getattr(message, "audio", message)
        if info := getattr(inner, "info", None):
            self._learn(info)
        data = getattr(inner, "audio_data", inner)
        raw = self._ros_drivers(data) if hasattr(data, "data") else self._mgonzs13(data)
        self.is_assumed = self.is_assumed or not self._told
        return _mono(raw, self.shape.channels), self.shape.rate_hz

    def _foxglove(self, message: Message) -> tuple[Sound, int]:
        self._one_family("foxglove")
        if message.format != "pcm-s16":
            raise DeviceError(f"sound's format is {message.format[:40]!r}; expected pcm-s16; set its sender to that")
        shape = Shape(message.sample_rate, message.number_of_channels)
        return _mono(_parsed(message.data, shape.sample_format), shape.channels), shape.rate_hz

    def _ros_drivers(self, data: Message) -> NDArray[np.generic]:
        self._one_family("ros-drivers")
        if not self._told and _looks_like_mp3(data.data):
            raise DeviceError("sound without an AudioInfo looks like MP3; expected wave; set its sender's format to wave")
        return _parsed(data.data, self.shape.sample_format)

    def _mgonzs13(self, data: Message) -> NDArray[np.generic]:
        self._one_family("mgonzs13")
        filled: list[NDArray[np.generic]] = [array for name in ARRAYS if len(array := getattr(data, name))]
        if len(filled) > 1:
            raise DeviceError(f"sound comes in {len(filled)} sample formats at once; expected one; correct its sender")
        return filled[0] if filled else NOTHING

    def _one_family(self, family: str) -> None:
        self._family = self._family or family
        if family != self._family:
            raise DeviceError(
                f"sound comes from {self._family} and from {family} at once; expected one of them on a topic; stop the other"
            )

    def _at_rate(self, samples: Sound, rate_hz: int) -> Sound:
        before = self.rest() if rate_hz != self._rate_hz else NOTHING
        if rate_hz == RATE or not len(samples):
            return np.concatenate([before, samples])
        if self._resampler is None:
            self._resampler, self._rate_hz = av.AudioResampler("flt", "mono", RATE), rate_hz
        played = av.AudioFrame.from_ndarray(samples[None], "flt", "mono")
        played.sample_rate = rate_hz
        return np.concatenate([before, _joined(self._resampler.resample(played))])


def _parsed(data: NDArray[np.uint8], sample_format: str) -> NDArray[np.generic]:
    dtype = np.dtype(FORMATS[sample_format])
    if len(data) % dtype.itemsize:
        raise DeviceError(f"{len(data)} bytes of sound are no whole samples of {sample_format}; check its AudioInfo")
    return np.frombuffer(data.tobytes(), dtype)


def _mono(samples: NDArray[np.generic], channels: int) -> Sound:
    """Interleaved samples of any type in -1..1, the mean of the channels."""
    if len(samples) % channels:
        raise DeviceError(f"{len(samples)} samples of sound do not fit {channels} channels; correct its sender")
    if samples.dtype.kind == "f":
        level = np.nan_to_num(samples.astype(np.float64), nan=0.0).clip(-1.0, 1.0)
    else:
        half = 2.0 ** (8 * samples.dtype.itemsize - 1)
        level = (samples.astype(np.float64) - (half if samples.dtype.kind == "u" else 0.0)) / half
    mixed: Sound = level.reshape(-1, channels).mean(1).astype(np.float32)
    return mixed


def _looks_like_mp3(data: NDArray[np.uint8]) -> bool:
    """ID3, or the header of a layer III frame; sound as samples begins so once in ten thousand times."""
    start = data[:3].tobytes()
    is_frame = len(start) == 3 and start[0] == 0xFF and start[1] & 0xE6 == 0xE2 and 0x10 <= start[2] < 0xF0
    return start == b"ID3" or (is_frame and start[2] & 0x0C != 0x0C)


def _joined(frames: list[av.AudioFrame]) -> Sound:
    """What the resampler gave, without its overshoot."""
    return np.concatenate([NOTHING, *(frame.to_ndarray()[0] for frame in frames)]).astype(np.float32).clip(-1.0, 1.0)
