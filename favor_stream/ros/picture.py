"""Pictures of ROS 2, raw and compressed, as FFmpeg's frames. It knows nothing of topics and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import av
import av.error
import numpy as np
from numpy.lib.stride_tricks import as_strided

from favor_stream.errors import DeviceError
from favor_stream.ros.messages import Message

MOST_PIXELS = 24_000_000  # of one picture, which then takes 100 MB
KINDS = {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"}
CODECS = {b"\xff\xd8\xff": "mjpeg", b"\x89PNG\r\n\x1a\n": "png"}  # by the first bytes, for the told format is often wrong


@dataclass(frozen=True, slots=True)
class Pixels:
    """How an encoding lies in memory."""

    name: str  # FFmpeg's
    size: int = 1  # bytes of one pixel
    cell: tuple[int, int] = (1, 1)  # rows and columns that share their colour


BAYER = (2, 2)
ENCODINGS = {
    "rgb8": Pixels("rgb24", 3),
    "bgr8": Pixels("bgr24", 3),
    "rgba8": Pixels("rgba", 4),
    "bgra8": Pixels("bgra", 4),
    "mono8": Pixels("gray"),
    "mono16": Pixels("gray16le", 2),
    "8UC1": Pixels("gray"),
    "8UC3": Pixels("bgr24", 3),  # OpenCV's order
    "yuv422": Pixels("uyvy422", 2, (1, 2)),
    "uyvy": Pixels("uyvy422", 2, (1, 2)),  # the same two under their newer names
    "yuyv": Pixels("yuyv422", 2, (1, 2)),
    "yuv422_yuy2": Pixels("yuyv422", 2, (1, 2)),
    "bayer_rggb8": Pixels("bayer_rggb8", 1, BAYER),
    "bayer_bggr8": Pixels("bayer_bggr8", 1, BAYER),
    "bayer_gbrg8": Pixels("bayer_gbrg8", 1, BAYER),
    "bayer_grbg8": Pixels("bayer_grbg8", 1, BAYER),
}


def frame(message: Message) -> av.VideoFrame:
    """The picture of a sensor_msgs Image, in its own pixels, or CompressedImage (JPEG or PNG).

    Raises DeviceError for an encoding that is not known, sizes that do not fit the data, and more than MOST_PIXELS.
    """
    kind = message.__msgtype__
    if kind not in KINDS:
        raise DeviceError(f"{kind} is no picture; expected {' or '.join(sorted(KINDS))}")
    read: Callable[[Message], av.VideoFrame] = _raw if kind == "sensor_msgs/msg/Image" else _compressed
    return read(message)


def _raw(message: Message) -> av.VideoFrame:
    pixels = ENCODINGS.get(message.encoding)
    if pixels is None:
        raise DeviceError(f"a picture's encoding is {message.encoding[:40]!r}; expected one of {', '.join(ENCODINGS)}")
    height, width, step, row = message.height, message.width, message.step, message.width * pixels.size
    _check(height, width, pixels.cell)
    if step < row or not height * step - (step - row) <= len(message.data) <= height * step:
        told = f"{width}x{height} {message.encoding} with step {step}"
        raise DeviceError(f"a picture of {told} has {len(message.data)} bytes; expected {height} rows of {row} bytes or more")
    name = "gray16be" if pixels.name == "gray16le" and message.is_bigendian else pixels.name
    made = av.VideoFrame(width, height, name)
    plane = made.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, :row]  # type: ignore[call-overload]
    rows[:] = as_strided(message.data, (height, row), (step, 1))
    return made


def _check(height: int, width: int, cell: tuple[int, int]) -> None:
    if not (height and width and height * width <= MOST_PIXELS):
        raise DeviceError(f"a picture is {width}x{height}; expected at least one pixel and at most {MOST_PIXELS:,}")
    if height % cell[0] or width % cell[1]:
        raise DeviceError(f"a picture is {width}x{height}; expected even sizes for its encoding, in which pixels share colours")


def _compressed(message: Message) -> av.VideoFrame:
    data = message.data.tobytes()
    codec = next((codec for magic, codec in CODECS.items() if data.startswith(magic)), None)
    if codec is None or "compressedDepth" in message.format:
        raise DeviceError(f"a compressed picture's format is {message.format[:40]!r}; expected a JPEG or PNG of what is seen")
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count, decoder.options = 1, {"max_pixels": str(MOST_PIXELS)}
    try:
        return next(chain(decoder.decode(av.Packet(data)), decoder.decode(None)))
    except (av.error.FFmpegError, StopIteration) as error:
        told = f"{len(data)} bytes of {message.format[:40]!r}"
        raise DeviceError(f"{told} cannot be decoded; expected a whole JPEG or PNG of at most {MOST_PIXELS:,} pixels") from error
