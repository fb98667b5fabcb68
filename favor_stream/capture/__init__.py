"""Where sound and pictures come from. A source is a context manager whose threads fill a ring: a file, a camera, a stream.

It knows rings and events, and imports a device's library only when that device is asked for.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

from favor_stream.capture.clock import SoundLine
from favor_stream.errors import DeviceError, TrackTakenError
from favor_stream.records import Event, Picture, Sound
from favor_stream.ring import Ring

OnEvent = Callable[[Event], None]  # called from a source's threads

AGAIN = "; trying again until it is back"  # the end of what a loss is told with
LEAVE_S = 10.0  # how long leaving a source waits for a library call to return
log = logging.getLogger(__name__)


def log_event(event: Event) -> None:
    """What is done with events that nobody asked for."""
    log.log(logging.WARNING if event.is_news else logging.INFO, "%.1f s: %s", event.time_s, event.text)


class Source(ABC):
    """Fills a ring from a thread, from entering to leaving; leaving ends the source's tracks in the ring."""

    is_endless = False  # nobody knows an end of it

    def __init__(self, name: str, ring: Ring, on_event: OnEvent) -> None:
        self.name = name  # as it may be shown: without passwords
        self.pictures_thinned = 0  # came, but more than were asked for
        self.drift_ppm: float | None = None  # how much faster its sound's clock runs than the monotonic one; None: not known
        self._ring = ring
        self._on_event = on_event
        self._sound = self._pictures = False  # the tracks that it fills
        self._leaving = threading.Event()
        self._threads = [threading.Thread(target=self._watched_run, name=f"capture {name}", daemon=True)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leaving.set()
        self._end()
        for thread in self._threads:
            thread.join(LEAVE_S)

    @property
    def began_ns(self) -> int | None:
        """UTC of the session's 0.0, in nanoseconds since 1970, of a recording that knows it."""
        return None

    @abstractmethod
    def _run(self) -> None:
        """Fills the ring until the source has nothing more to give or is left."""

    def _watched_run(self) -> None:
        try:
            self._run()
        except Exception as error:  # whatever it is, it is the reader's, who would wait for ever otherwise
            self._ring.fail(error)
        else:
            self._end()

    def _expect(self, sound: bool, pictures: bool, hold_s: float | None = None) -> None:
        """Announces the tracks, the first time that they are known."""
        if not (self._sound or self._pictures):
            self._ring.expect(sound, pictures, hold_s)
            self._sound, self._pictures = sound, pictures

    def _end(self) -> None:
        self._ring.end(self._sound, self._pictures)

    def _tell(self, kind: str, text: str) -> None:
        self._on_event(Event(kind, self._ring.elapsed_s, text, self.name))


class LiveSource(Source):
    """A source that may be lost and come back: it is opened again and again, and each loss and each return is an event.

    When nothing came for `lost_after_s` it counts as lost even though the library says nothing.
    """

    is_endless = True
    lost_after_s = 3.0
    opens_within_s = 10.0

    def __init__(self, name: str, ring: Ring, on_event: OnEvent) -> None:
        super().__init__(name, ring, on_event)
        self._threads.append(threading.Thread(target=self._watch, name=f"watch {name}", daemon=True))
        self._state = threading.Lock()  # guards the three below
        self._lost = False
        self._came = False  # something, since it was last opened
        self._due_s = float("inf")  # on the monotonic clock: when it counts as lost

    @abstractmethod
    def _fill(self) -> None:
        """Opens the device and fills the ring, calling `_alive` for all that comes. Raises DeviceError when it is lost."""

    def _put_picture(self, picture: Picture, arrived_s: float) -> None:
        time_s = self._ring.session_s(arrived_s)
        if time_s is not None:  # a picture from before the first sound is of no use
            self._ring.put_picture(picture, time_s)

    def _put_sound(self, line: SoundLine, sound: Sound, device_s: float, arrived_s: float) -> None:
        self._ring.put_sound(*line.place(sound, device_s, arrived_s))
        self.drift_ppm = line.drift.ppm

    def _interrupt(self) -> None:
        """Called when nothing comes: ends a call into a library that hangs, where there is a way."""

    def _run(self) -> None:
        delays = growing_delays()
        while not self._leaving.is_set():
            self._came, self._due_s = False, time.monotonic() + self.opens_within_s
            try:
                self._fill()
            except TrackTakenError:
                raise
            except DeviceError as error:
                self._gone(str(error))
            self._due_s = float("inf")
            if self._came:
                delays = growing_delays()
            self._leaving.wait(next(delays))

    def _alive(self) -> None:
        with self._state:
            self._came, self._due_s = True, time.monotonic() + self.lost_after_s
            returned, self._lost = self._lost, False
        if returned:
            self._tell("found", f"{self.name}: is back")

    def _gone(self, text: str) -> None:
        with self._state:
            first, self._lost = not self._lost and not self._leaving.is_set(), True
        if first:
            self._tell("lost", f"{text}{AGAIN}")

    def _watch(self) -> None:
        while not self._leaving.wait(0.1):
            if time.monotonic() > self._due_s:
                self._gone(f"{self.name}: nothing came for {self.lost_after_s:g} s")
                self._interrupt()


def growing_delays(first_s: float = 0.25, most_s: float = 5.0) -> Iterator[float]:
    """Seconds to wait before each attempt: drawn from a range that doubles, so that many clients do not come back at once."""
    reach_s = first_s
    while True:
        yield random.uniform(0.05, reach_s)
        reach_s = min(2 * reach_s, most_s)


def open_source(name: str, ring: Ring, on_event: OnEvent = log_event, pictures_per_s: float = 4.0) -> Source:
    """The source that a name stands for, to be entered with `with`; several may share a ring, one for each track.

    A path or file:// address; rtsp:// and other addresses; `camera`, `camera:1`, `/dev/video0`; `microphone`,
    `microphone:NAME`; `lavfi:GRAPH`, a test picture made by FFmpeg; a bag of ROS 2 (its folder, .mcap, .db3), which may name its
    topics: `BAG?pictures=/TOPIC&sound=/TOPIC&speed=2`. A lossless ring gets a file as fast as it is read, a live one at its own
    speed. Raises DeviceError for a name that is none of these.
    """
    kind, _, rest = name.partition(":")
    if kind == "microphone":
        from favor_stream.capture.microphone import Microphone

        return Microphone(rest, ring, on_event)
    if kind == "camera" or name.startswith("/dev/video"):
        from favor_stream.capture.camera import Camera

        return Camera(rest if kind == "camera" else name, ring, on_event, pictures_per_s)
    if "://" in name and kind != "file" and kind != "lavfi":
        from favor_stream.capture.rtsp import Rtsp

        return Rtsp(name, ring, on_event, pictures_per_s)
    pace: Literal["realtime", "fast"] = "fast" if ring.pace == "lossless" else "realtime"
    path, mark, query = name.partition("?")
    path = local(path) if kind == "file" else path
    if kind != "lavfi" and is_bag(path):
        from favor_stream.capture.bag import Bag

        return Bag(f"{path}{mark}{query}", ring, pace, on_event, pictures_per_s)
    from favor_stream.capture.file import File

    return File(path if kind == "file" else name, ring, pace, on_event, pictures_per_s)


def local(address: str) -> str:
    """The path of a file:// address. Raises DeviceError for what is none."""
    try:
        return unquote(urlsplit(address).path)
    except ValueError as error:
        raise DeviceError(f"{address}: {error}; expected file:///path") from error


def is_bag(path: str) -> bool:
    """Whether this is a bag of ROS 2, by its name or, of a folder, by what is in it."""
    with suppress(OSError):  # of a name that is too long for one
        return path.endswith((".mcap", ".db3")) or (Path(path) / "metadata.yaml").is_file()
    return False
