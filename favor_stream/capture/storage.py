"""The messages that a bag of ROS 2 holds, one at a time, in the order in which they were written. It knows not what they say.

A bag is an MCAP file, a sqlite3 file, or a folder of one sort of them; what is cut off or damaged is read as far as it goes.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, Protocol
from urllib.parse import quote

import zstandard
from mcap.exceptions import EndOfFile, McapError
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, McapRecord, Schema
from mcap.records import Message as McapMessage
from mcap.stream_reader import StreamReader, breakup_chunk
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from favor_stream.errors import DeviceError

SUFFIXES = (".mcap", ".db3")
METADATA = "metadata.yaml"
MOST_BYTES = 1 << 30  # of a chunk or message, unpacked: nobody writes larger ones
WANTED = "give the folder of a bag, an .mcap or a .db3"
# Damage shows itself in every one of these, deep in the libraries.
BROKEN = (
    McapError,
    zstandard.ZstdError,
    sqlite3.Error,
    struct.error,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    EOFError,
    OSError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it was recorded."""

    topic: str
    kind: str  # such as sensor_msgs/msg/Image
    received_ns: int  # by the recorder's clock
    data: bytes  # CDR


class Storage(Protocol):
    """A bag that was opened."""

    damaged: int  # parts that were passed over, in the last reading
    error: str  # why the last reading stopped before the end, "" where it did not

    def kinds(self) -> dict[str, str]:
        """The topics that hold messages in CDR, and their kinds."""

    def read(self, topics: Collection[str]) -> Iterator[Stored]:
        """The messages of these topics; each call reads anew."""


def opened(path: Path) -> Storage:
    """Raises DeviceError where there is no bag."""
    if not path.exists():
        raise DeviceError(f"{path}: no such file or folder; {WANTED}")
    if path.is_dir():
        return Folder(path)
    if path.suffix not in SUFFIXES:
        raise DeviceError(f"{path}: is no bag; {WANTED}")
    return McapFile(path) if path.suffix == ".mcap" else SqliteFile(path)


class McapFile:
    """Read from its start to its end or to where it breaks; an index at its end is looked at for its topics alone."""

    def __init__(self, path: Path) -> None:
        self.damaged, self.error = 0, ""
        self._path = path

    def kinds(self) -> dict[str, str]:
        return self._summary() or {stored.topic: stored.kind for stored in self._messages()}

    def read(self, topics: Collection[str]) -> Iterator[Stored]:
        return (stored for stored in self._messages() if stored.topic in topics)

    def _messages(self) -> Iterator[Stored]:
        self.damaged, self.error = 0, ""
        schemas, channels = dict[int, Schema](), dict[int, Channel]()
        for record in self._records():
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = record
            elif isinstance(record, McapMessage):
                channel = channels.get(record.channel_id)
                schema = channel and schemas.get(channel.schema_id)
                if channel and schema and channel.message_encoding == "cdr":
                    yield Stored(channel.topic, schema.name, record.log_time, record.data)

    def _records(self) -> Iterator[McapRecord]:
        try:
            with open(self._path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                reader = StreamReader(Within(file, size), emit_chunks=True, record_size_limit=size)  # type: ignore[arg-type]
                for record in reader.records:
                    yield from self._unpacked(record) if isinstance(record, Chunk) else [record]
        except EndOfFile:
            self.error = "the file breaks off"
        except BROKEN as error:
            self.error = reason(error)

    def _unpacked(self, chunk: Chunk) -> list[McapRecord]:
        """What is in a chunk; nothing where its checksum is wrong."""
        try:
            return breakup_chunk(chunk, validate_crc=True) if chunk.uncompressed_size <= MOST_BYTES else self._none()
        except BROKEN:
            return self._none()

    def _none(self) -> list[McapRecord]:
        self.damaged += 1
        return []

    def _summary(self) -> dict[str, str] | None:
        """The topics by the file's own index; None where it has none that can be used."""
        try:
            with open(self._path, "rb") as file:
                summary = make_reader(Within(file, os.fstat(file.fileno()).st_size)).get_summary()  # type: ignore[arg-type]
            if summary is None or summary.statistics is None or len(summary.channels) < summary.statistics.channel_count:
                return None
            counts = summary.statistics.channel_message_counts
            used = [channel for channel in summary.channels.values() if counts.get(channel.id)]
            return {each.topic: summary.schemas[each.schema_id].name for each in used if each.message_encoding == "cdr"}
        except BROKEN:
            return None


class Within:
    """A file that is never asked for more than it has, whatever length a damaged record tells."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def read(self, count: int) -> bytes:
        return self._file.read(max(0, min(count, self._size - self._file.tell())))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


class SqliteFile:
    """Read row by row, in the order of writing; the file is not touched."""

    def __init__(self, path: Path) -> None:
        self.damaged, self.error = 0, ""
        self._path = path

    def kinds(self) -> dict[str, str]:
        try:
            with closing(self._connected()) as connection:
                return dict(
                    connection.execute(
                        "SELECT name, type FROM topics WHERE serialization_format = 'cdr'"
                        " AND EXISTS (SELECT 1 FROM messages WHERE topic_id = topics.id)"
                    )
                )
        except sqlite3.Error as error:
            raise DeviceError(f"{self._path}: is no bag in sqlite3 ({reason(error)}); {WANTED}") from None

    def read(self, topics: Collection[str]) -> Iterator[Stored]:
        self.damaged, self.error = 0, ""
        try:
            with closing(self._connected()) as connection:
                marks = ", ".join("?" * len(topics))
                rows = connection.execute(
                    "SELECT topics.name, topics.type, messages.timestamp, messages.data FROM messages"
                    f" JOIN topics ON topics.id = messages.topic_id WHERE topics.name IN ({marks}) ORDER BY messages.id",
                    tuple(topics),
                )
                for topic, kind, received_ns, data in rows:
                    if isinstance(received_ns, int) and isinstance(data, bytes):
                        yield Stored(topic, kind, received_ns, data)
                    else:
                        self.damaged += 1
        except (sqlite3.Error, MemoryError) as error:
            self.error = reason(error)

    def _connected(self) -> sqlite3.Connection:
        """Where nothing waits to be merged into it, a file on a medium that cannot be written to is read as well."""
        mode = "mode=ro" if Path(f"{self._path}-wal").exists() else "mode=ro&immutable=1"
        return sqlite3.connect(f"file:{quote(str(self._path))}?{mode}", uri=True)


class Folder:
    """A bag as `ros2 bag record` writes it: files that follow each other, and metadata.yaml, which names them."""

    def __init__(self, path: Path) -> None:
        self.damaged, self.error = 0, ""
        names, self._is_packed = _described(path)
        self._files = [opened(path / name) for name in names]

    def kinds(self) -> dict[str, str]:
        return {topic: kind for file in self._files for topic, kind in file.kinds().items()}

    def read(self, topics: Collection[str]) -> Iterator[Stored]:
        self.damaged, self.error = 0, ""
        for file in self._files:
            before = self.damaged
            for stored in file.read(topics):
                self.damaged = before + file.damaged
                if unpacked := self._unpacked(stored):
                    yield unpacked
            self.damaged, self.error = before + file.damaged, self.error or file.error

    def _unpacked(self, stored: Stored) -> Stored | None:
        """Where each message was compressed by itself."""
        if not self._is_packed:
            return stored
        try:
            if not 0 < zstandard.frame_content_size(stored.data) <= MOST_BYTES:
                raise ValueError("its size is not told, or out of all reason")
            data = zstandard.decompress(stored.data)
        except BROKEN:
            self.damaged += 1
            return None
        return Stored(stored.topic, stored.kind, stored.received_ns, data)


def _described(path: Path) -> tuple[list[str], bool]:
    """The names of a folder's files, and whether each of their messages is compressed, as its metadata.yaml tells it."""
    try:
        told = YAML(typ="safe", pure=True).load((path / METADATA).read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        names = [PurePath(name).name for name in told["relative_file_paths"]]
        mode = str(told.get("compression_mode") or "none").lower()
    except FileNotFoundError:
        raise DeviceError(f"{path}: there is no {METADATA} in this folder; {WANTED}") from None
    except (OSError, YAMLError, *BROKEN, AttributeError) as error:
        raise DeviceError(f"{path / METADATA}: is damaged ({reason(error)}); give one of the files beside it") from None
    if mode == "file":
        raise DeviceError(f"{path}: its files are compressed; unpack them first: ros2 bag convert, or zstd -d and {METADATA}")
    if not names:
        raise DeviceError(f"{path / METADATA}: names no files; give one of the files beside it")
    return names, mode == "message"


def reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
