"""One MCAP file with what an agent saw, heard and said, as messages of ROS 2: Foxglove opens it, and a Bag plays it again.

It takes the ring's newest seconds again and again and writes of them what it has not written yet; it asks no agent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
from mcap.well_known import MessageEncoding, Profile, SchemaEncoding
from mcap.writer import CompressionType, Writer

from favor_stream.errors import DeviceError
from favor_stream.records import RATE, SLICE_SAMPLES, Answer, Event, Perceived, Sound
from favor_stream.ring import Clip
from favor_stream.ros.messages import NS_PER_S, Message, definition, encode, header, make, stamp, type_hash

CHUNK_BYTES = 64 << 10  # about two seconds of sound or one of pictures: what a crash may take with it
SAMPLE_NS = NS_PER_S // RATE
PICTURE, SOUND = "/favor/picture/compressed", "/favor/sound"
EVENTS, SCENE, ANSWER, CHANCES = "/favor/events", "/favor/scene", "/favor/answer", "/favor/chances"
KINDS = {
    PICTURE: "sensor_msgs/msg/CompressedImage",
    SOUND: "foxglove_msgs/msg/RawAudio",
    EVENTS: "std_msgs/msg/String",
    SCENE: "std_msgs/msg/String",
    ANSWER: "std_msgs/msg/String",
    CHANCES: "std_msgs/msg/String",
}
PICTURE_FORMATS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png"}


class Recording:
    """A new file, written from any thread until it is closed; `began_ns` is the wall-clock stamp of the stream's 0.0.

    What was written stays readable whatever becomes of the process, but for the chunk at its end. Raises DeviceError when the
    file is there already or cannot be written; after that nothing more is.
    """

    def __init__(self, path: Path | str, began_ns: int) -> None:
        self.path = Path(path)
        self.samples = self.pictures = 0  # written
        self._began_ns = began_ns
        self._lock = Lock()  # guards all that is below
        self._heard = 0  # samples of the stream that are written or were never there
        self._seen_s = self._judged_s = -1.0  # the newest picture, and the newest chances, that are written
        try:
            self._file = open(self.path, "wb" if self.path.is_char_device() else "xb")  # noqa: SIM115
        except FileExistsError:
            raise DeviceError(f"{self.path}: is there already; give a recording a name of its own") from None
        except OSError as error:
            raise self._unwritable(error) from None
        self._writer = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
        self._channels = self._begun()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add_clip(self, clip: Clip) -> None:
        """The newest seconds of a ring: what is new of them is written, each sample and picture once."""
        with self._lock:
            start = round(clip.start_s * RATE)
            first = max(start, self._heard)
            for at in range(first, start + len(clip.sound), SLICE_SAMPLES):
                self._write_sound(clip.sound[at - start : at - start + SLICE_SAMPLES], at)
            self._heard = max(self._heard, start + len(clip.sound))
            for time_s, packed in clip.pictures:
                if time_s > self._seen_s:
                    self._write_picture(packed, time_s)
            self._flush()

    def add_event(self, event: Event) -> None:
        """What is perceived goes to the scene, all else to the events; both as their records are."""
        self._add_words(SCENE if isinstance(event, Perceived) else EVENTS, asdict(event), event.time_s)

    def add_answer(self, answer: Answer) -> None:
        self._add_words(ANSWER, asdict(answer), answer.heard_until_s)

    def add_levels(self, levels: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        """How likely each watch was: by its name, the end of each half second on the stream's clock and a value 0..1."""
        told: dict[float, dict[str, float]] = {}
        for name, level in levels.items():
            for time_s, chance in level:
                if time_s > self._judged_s:
                    told.setdefault(time_s, {})[name] = round(chance, 4)
        for time_s, chances in sorted(told.items()):
            self._add_words(CHANCES, {"time_s": time_s, "chances": chances}, time_s)
            self._judged_s = time_s

    def close(self) -> None:
        """Writes the index; a second time it does nothing."""
        with self._lock:
            if self._file.closed:
                return
            try:
                self._writer.finish()  # type: ignore[no-untyped-call]
                self._file.close()
            except OSError as error:
                raise self._broken(error) from None

    def _add_words(self, topic: str, told: dict[str, Any], time_s: float) -> None:
        message = make(KINDS[topic], data=json.dumps(told, default=_plain))
        with self._lock:
            self._write(topic, message, self._began_ns + round(time_s * NS_PER_S))
            self._flush()

    # Under the lock.

    def _begun(self) -> dict[str, int]:
        """The channel of each topic."""
        try:
            self._writer.start(profile=Profile.ROS2, library="favor_stream")
            schemas = {
                kind: self._writer.register_schema(kind, SchemaEncoding.ROS2, definition(kind).encode())
                for kind in dict.fromkeys(KINDS.values())
            }
            return {
                topic: self._writer.register_channel(
                    topic,
                    MessageEncoding.CDR,
                    schemas[kind],
                    {"offered_qos_profiles": "", "topic_type_hash": type_hash(kind)},
                )
                for topic, kind in KINDS.items()
            }
        except OSError as error:
            raise self._broken(error) from None

    def _write_sound(self, samples: Sound, at: int) -> None:
        whole = np.rint(samples.astype(np.float64) * 32_768).clip(-32_768, 32_767).astype("<i2")
        at_ns = self._began_ns + at * SAMPLE_NS
        told = {"format": "pcm-s16", "sample_rate": RATE, "number_of_channels": 1}
        self._write(SOUND, make(KINDS[SOUND], timestamp=stamp(at_ns), data=whole.tobytes(), **told), at_ns)
        self.samples += len(samples)

    def _write_picture(self, packed: bytes, time_s: float) -> None:
        at_ns = self._began_ns + round(time_s * NS_PER_S)
        told = next((name for magic, name in PICTURE_FORMATS.items() if packed.startswith(magic)), "")
        self._write(PICTURE, make(KINDS[PICTURE], header=header(at_ns), format=told, data=packed), at_ns)
        self._seen_s, self.pictures = time_s, self.pictures + 1

    def _write(self, topic: str, message: Message, at_ns: int) -> None:
        if self._file.closed:
            raise DeviceError(f"{self.path}: the recording is closed; begin another one")
        try:
            self._writer.add_message(self._channels[topic], at_ns, encode(message), at_ns)
        except OSError as error:
            raise self._broken(error) from None

    def _flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            raise self._broken(error) from None

    def _broken(self, error: OSError) -> DeviceError:
        """What is there is left as it is: a Bag reads it."""
        with suppress(OSError):  # it would write what it still holds
            self._file.close()
        return self._unwritable(error)

    def _unwritable(self, error: OSError) -> DeviceError:
        return DeviceError(f"{self.path}: cannot be written ({error.strerror}); free some space or choose another folder")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
