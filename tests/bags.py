"""Bags of ROS 2 made in code: messages of pictures and sound, and the files that hold them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import IndexType
from mcap.writer import Writer as McapWriter
from media import numbered, sweep
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as BagWriter

from favor_stream.clip import snapshot_jpeg
from favor_stream.records import RATE, Picture, Sound
from favor_stream.ros.messages import Message, definition, encode, header, make, stamp, type_hash

NS_PER_S = 1_000_000_000
BEGAN_NS = 1_700_000_000_123_456_789  # whose seconds no float holds to the nanosecond
BLOCK = 800  # samples: 50 ms


@dataclass(frozen=True, slots=True)
class Said:
    """A message on its topic."""

    topic: str
    message: Message
    received_ns: int


def image(picture: Picture, stamp_ns: int = 0, encoding: str = "rgb8", padding: int = 0) -> Message:
    """A sensor_msgs/Image of three bytes for each pixel, its rows `padding` bytes longer than they need be."""
    height, width = picture.shape[:2]
    rows = np.pad(picture.reshape(height, -1), ((0, 0), (0, padding)), constant_values=99)
    size = {"height": height, "width": width, "step": rows.shape[1]}
    return make("sensor_msgs/msg/Image", header=header(stamp_ns), encoding=encoding, data=rows.tobytes(), **size)


def jpeg(picture: Picture, stamp_ns: int = 0) -> Message:
    data = snapshot_jpeg(picture, 95)
    return make("sensor_msgs/msg/CompressedImage", header=header(stamp_ns), format="rgb8; jpeg compressed bgr8", data=data)


def raw_audio(sound: Sound, stamp_ns: int, rate_hz: int = RATE) -> Message:
    told = {"format": "pcm-s16", "sample_rate": rate_hz, "number_of_channels": 1}
    return make("foxglove_msgs/msg/RawAudio", timestamp=stamp(stamp_ns), data=s16(sound).tobytes(), **told)


def s16(sound: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
    return np.rint(sound.astype(np.float64) * 32_768).clip(-32_768, 32_767).astype("<i2")


def heard(sound: Sound) -> Sound:
    """What 16 bits leave of it."""
    out: Sound = (s16(sound) / 32_768).astype(np.float32)
    return out


def talk(seconds: float = 3.0, topic: str = "/sound", began_ns: int = BEGAN_NS) -> Iterator[Said]:
    """A sweep in blocks."""
    sound = sweep(seconds)
    for start in range(0, len(sound), BLOCK):
        at_ns = began_ns + start * NS_PER_S // RATE
        yield Said(topic, raw_audio(sound[start : start + BLOCK], at_ns), at_ns + 60_000_000)


def view(seconds: float = 3.0, fps: int = 4, topic: str = "/camera", began_ns: int = BEGAN_NS) -> Iterator[Said]:
    """Picture k is number k; the stamps end in anything."""
    for number in range(round(seconds * fps)):
        at_ns = began_ns + number * NS_PER_S // fps + number
        yield Said(topic, image(numbered(number), at_ns), at_ns + 5_000_000)


def mixed(*tracks: Iterable[Said]) -> list[Said]:
    """As a recorder gets them."""
    return sorted((said for track in tracks for said in track), key=lambda said: said.received_ns)


def folder(path: Path, said: Iterable[Said], storage: str = "sqlite3", packed: str = "none") -> Path:
    """A bag as rosbag2 writes it."""
    writer = BagWriter(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if packed != "none":
        writer.set_compression(CompressionMode[packed.upper()], CompressionFormat.ZSTD)
    with writer as bag:
        connections: dict[str, Any] = {}
        for each in said:
            kind = each.message.__msgtype__
            if each.topic not in connections:
                told = definition(kind)
                connections[each.topic] = bag.add_connection(each.topic, kind, msgdef=told, rihs01=type_hash(kind))
            bag.write(connections[each.topic], each.received_ns, encode(each.message))
    return path


def mcap(path: Path, said: Iterable[Said], is_whole: bool = True, chunk_bytes: int = 50_000) -> Path:
    """One file; where it is not whole, without an index and an end."""
    with open(path, "wb") as file:
        writer = McapWriter(file, chunk_size=chunk_bytes, index_types=IndexType.ALL if is_whole else IndexType.NONE)
        writer.start(profile="ros2")
        channels: dict[str, int] = {}
        for each in said:
            kind = each.message.__msgtype__
            if each.topic not in channels:
                schema = writer.register_schema(kind, "ros2msg", definition(kind).encode())
                channels[each.topic] = writer.register_channel(each.topic, "cdr", schema)
            writer.add_message(channels[each.topic], each.received_ns, encode(each.message), each.received_ns)
        writer.finish()  # type: ignore[no-untyped-call]
    if not is_whole:
        data = path.read_bytes()
        (summary_start,) = struct.unpack("<Q", data[-28:-20])  # in the footer, which the magic alone follows
        path.write_bytes(data[: summary_start - 13])  # the end of the data is a record of so many bytes
    return path
