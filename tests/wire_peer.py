"""Messages for the tests of wires, and a camera that speaks to them from a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from favor_stream.robot.wire import Quality, Trouble, Wire, open_wire

STRING, IMAGE, TRIGGER = "std_msgs/msg/String", "sensor_msgs/msg/Image", "std_srvs/srv/Trigger"
PICTURES = 200
WAIT_S = 60.0
store = get_typestore(Stores.ROS2_JAZZY)


def type_hash(kind: str) -> str:
    return str(store.hash_rihs01(kind)) if kind in store.fielddefs else f"RIHS01_{'0' * 64}"


def waited(is_so: Callable[[], object], limit_s: float = WAIT_S) -> None:
    give_up_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < give_up_s, "it did not come to it"
        time.sleep(0.005)


def text(data: str) -> bytes:
    """The CDR of a String."""
    return bytes(store.serialize_cdr(store.types[STRING](data=data), STRING))


def words(cdr: bytes) -> str:
    return str(store.deserialize_cdr(cdr, STRING).data)  # type: ignore[attr-defined]


@cache
def noise() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, 640 * 480 * 3, np.uint8)


def picture(number: int) -> bytes:
    """The CDR of an Image of 640x480, which no other number has."""
    stamp = store.types["builtin_interfaces/msg/Time"](sec=number, nanosec=0)
    header = store.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
    size = {"height": 480, "width": 640, "step": 1920}
    data = np.roll(noise(), number)
    image = store.types[IMAGE](header=header, **size, encoding="rgb8", is_bigendian=0, data=data)
    return bytes(store.serialize_cdr(image, IMAGE))


def number_of(cdr: bytes) -> int:
    return int.from_bytes(cdr[4:8], "little")


def camera(wire: Wire, quality: Quality) -> None:
    """Shows one picture after the other, each until it was seen."""
    seen = [0]
    more = threading.Event()

    def take(cdr: bytes) -> None:
        seen[0] = int(words(cdr))
        more.set()

    wire.subscribe("/seen", STRING, take, Quality.RELIABLE)
    show = wire.publisher("/camera/image_raw", IMAGE, quality)
    while seen[0] < PICTURES:
        more.clear()
        show(picture(seen[0]))
        more.wait(1.0)


@contextmanager
def camera_process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-W", "error", __file__, *arguments], stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()  # where it has not ended by itself, which is then seen


def see_all(wire: Wire, quality: Quality) -> tuple[list[int], list[int]]:
    """The numbers of all pictures that came, and of those that were not as they should be, from the camera."""
    seen, wrong = list[int](), list[int]()
    tell = wire.publisher("/seen", STRING, Quality.RELIABLE)

    def take(cdr: bytes) -> None:
        number, expected = number_of(cdr), picture(number_of(cdr))
        if number == len(seen):
            seen.append(number)
        if cdr[: len(expected)] != expected or any(cdr[len(expected) :]) or len(cdr) > len(expected) + 3:
            wrong.append(number)
        tell(text(str(len(seen))))

    wire.subscribe("/camera/image_raw", IMAGE, take, quality)
    waited(lambda: len(seen) == PICTURES, 4 * WAIT_S)
    return seen, wrong


class Troubled(list[Trouble]):
    """What was told."""

    def codes(self) -> list[str]:
        return [trouble.code for trouble in self]


if __name__ == "__main__":
    name, address, quality = sys.argv[1:]
    place: dict[str, Any] = {"router": address} if name == "zenoh" else {"domain": int(address), "fields": store.fielddefs}
    camera(open_wire(name, "camera", "/", type_hash, print, **place), Quality[quality])
