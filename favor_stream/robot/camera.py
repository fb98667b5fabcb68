"""Any source of pictures as a camera of LeRobot's shape: connect, read, async_read, read_latest. It does not need LeRobot.

It knows sources and what they put pictures into, and keeps one picture, the newest.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from favor_stream.capture import AGAIN, Source, open_source
from favor_stream.errors import DeviceError
from favor_stream.records import Event, Picture, Sound
from favor_stream.ring import Ring

READ_S = 10.0  # how long the next picture is waited for where the caller does not say
ALL_FPS = 1000.0  # more than any camera brings
UNEVEN = 1.5  # pictures of a camera do not come evenly: at just its own rate some would count as too many
COLORS = ("rgb", "bgr")


class DeviceNotConnectedError(DeviceError, ConnectionError):
    """Nothing is connected; LeRobot's error of this name is a ConnectionError as well."""


class DeviceAlreadyConnectedError(DeviceError, ConnectionError):
    """It is connected; LeRobot's error of this name is a ConnectionError as well."""


class Newest(Ring):
    """A ring for who wants the newest picture and nothing else: what comes takes the place of what was there."""

    def __init__(self) -> None:
        super().__init__(keep_s=5.0)
        self._came = threading.Condition()
        self._newest: tuple[Picture, float] | None = None  # and its time on the session's clock
        self._number = self._taken = 0  # of pictures that came; of the one that was last taken
        self.is_over = False
        self.error: Exception | None = None  # that the source failed with

    def put_sound(self, samples: Sound, start_s: float) -> None:
        """Nobody hears it."""

    def put_picture(self, picture: Picture, time_s: float) -> None:
        with self._came:
            self._newest, self._number = (picture, time_s), self._number + 1
            self._came.notify_all()

    def end(self, sound: bool = True, pictures: bool = True) -> None:
        super().end(sound, pictures)
        with self._came:
            self.is_over = True
            self._came.notify_all()

    def fail(self, error: Exception) -> None:
        self.error = error
        super().fail(error)

    def wait(self, timeout_s: float, after_now: bool) -> Picture | None:
        """The newest picture that nobody took, or that is still to come; None when there is none in time, or never again."""
        with self._came:
            seen = self._number if after_now else self._taken
            self._came.wait_for(lambda: self._number > seen or self.is_over, timeout_s)
            if self._number == seen or self._newest is None:
                return None
            self._taken = self._number
            return self._newest[0]

    def peek(self) -> tuple[Picture, float] | None:
        """The newest picture and its age in seconds; taken or not, it stays what it is."""
        with self._came:
            return self._newest and (self._newest[0], max(0.0, self.elapsed_s - self._newest[1]))


class RobotCamera:
    """Pictures of any source that `favor_stream.capture.open_source` knows by name; any thread may read, several at once.

    Pictures are uint8 [height, width, 3], the reader's own, with 640 pixels on the longer side at most: sources scale larger ones
    down. Raises DeviceNotConnectedError where it is not connected, TimeoutError for pictures that do not come or are too old, and
    RuntimeError for those that can come no more or are not as large as was asked.
    """

    def __init__(
        self,
        source: str,
        fps: int | None = None,
        width: int | None = None,
        height: int | None = None,
        color_mode: str = "rgb",
    ) -> None:
        """`fps`: what is well above it is thinned; None: nothing is. `width` and `height` are checked, or learned where None."""
        self.fps, self.width, self.height = fps, width, height
        self.color_mode = color(color_mode)
        self._name = source
        self._state = threading.Lock()  # one at a time connects or leaves
        self._source: Source | None = None
        self._newest: Newest | None = None
        self._lost = ""  # what the source was last lost with

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._source is not None:
            self.disconnect()

    @property
    def is_connected(self) -> bool:
        """Whether pictures come or may come again: a source that is lost is tried until it is back."""
        newest = self._newest
        return newest is not None and not newest.is_over

    @staticmethod
    def find_cameras(root: Path = Path("/")) -> list[dict[str, Any]]:
        """The cameras of this machine, on Linux; none is opened. `id` is the name of the source."""
        found = []
        for folder in sorted((root / "sys" / "class" / "video4linux").glob("video*")):
            node, index = root / "dev" / folder.name, folder / "index"
            if node.exists() and (not index.exists() or index.read_text().strip() == "0"):  # others bring no pictures
                name = (folder / "name").read_text().strip() if (folder / "name").exists() else folder.name
                found.append({"name": name, "type": "favor_stream", "id": f"/dev/{folder.name}"})
        return found

    def connect(self, warmup: bool = True) -> None:
        """Opens the source; `warmup`: and waits for its first picture."""
        with self._state:
            if self._source is not None:
                raise DeviceAlreadyConnectedError(f"{self._source.name}: is connected already; disconnect it first")
            newest, self._lost = Newest(), ""
            try:
                source = open_source(self._name, newest, self._note, self.fps * UNEVEN if self.fps else ALL_FPS)
                source.__enter__()
            except DeviceError as error:
                raise DeviceNotConnectedError(str(error)) from error
            self._source, self._newest = source, newest
        if warmup:
            self._warm_up(newest)

    def disconnect(self) -> None:
        """Leaves the source; who waits for a picture is told."""
        with self._state:
            source, self._source, self._newest = self._source, None, None
        if source is None:
            raise DeviceNotConnectedError("the camera is not connected; nothing to disconnect")
        source.__exit__(None, None, None)

    def read(self, color_mode: object = None) -> Picture:
        """The next picture that comes; TimeoutError after READ_S."""
        return self._seen(self._waited(READ_S, after_now=True), color_mode)

    def async_read(self, timeout_ms: float = 200) -> Picture:
        """The newest picture that nobody read yet, waited for where there is none; TimeoutError after `timeout_ms`."""
        return self._seen(self._waited(timeout_ms / 1000, after_now=False))

    def read_latest(self, max_age_ms: int = 500) -> Picture:
        """The newest picture at once, read or not; TimeoutError when it is older than `max_age_ms`."""
        newest = self._connected()
        latest = newest.peek()
        if latest is None:
            raise RuntimeError(f"{self._shown}: no picture has come yet{self._why(newest)}; connect with warmup, or read first")
        picture, age_s = latest
        if age_s * 1000 > max_age_ms:
            raise TimeoutError(f"{self._shown}: the newest picture is {age_s * 1000:.0f} ms old, {max_age_ms} ms were allowed")
        return self._seen(picture)

    def _warm_up(self, newest: Newest) -> None:
        try:
            picture = newest.wait(READ_S, after_now=False)
            if picture is None:
                raise DeviceNotConnectedError(f"{self._shown}: no picture came{self._why(newest)}; check the source")
            self._seen(picture)
        except (DeviceNotConnectedError, RuntimeError):
            if self._newest is newest:
                self.disconnect()
            raise

    def _waited(self, timeout_s: float, after_now: bool) -> Picture:
        newest, begun_s = self._connected(), time.monotonic()
        picture = newest.wait(timeout_s, after_now)
        if picture is not None:
            return picture
        if self._newest is not newest:
            raise DeviceNotConnectedError("the camera was disconnected while a picture was waited for")
        if newest.is_over:
            raise RuntimeError(f"{self._shown}: no more pictures will come{self._why(newest)}; connect it again")
        waited_ms = (time.monotonic() - begun_s) * 1000
        raise TimeoutError(f"{self._shown}: no new picture within {waited_ms:.0f} ms{self._why(newest)}")

    def _connected(self) -> Newest:
        if (newest := self._newest) is None:
            raise DeviceNotConnectedError("the camera is not connected; call connect() first")
        return newest

    def _seen(self, picture: Picture, color_mode: object = None) -> Picture:
        """The reader's own copy, in its order of colours."""
        height, width = picture.shape[:2]
        if (self.width or width, self.height or height) != (width, height):
            raise RuntimeError(
                f"{self._shown}: pictures are {width}x{height}, expected {self.width or width}x{self.height or height};"
                " ask for the size that comes, or for none"
            )
        self.width, self.height = width, height
        wanted = self.color_mode if color_mode is None else color(color_mode)
        return np.array(picture if wanted == "rgb" else picture[..., ::-1], order="C")

    def _note(self, event: Event) -> None:
        self._lost = event.text.removesuffix(AGAIN) if event.kind == "lost" else ""

    @property
    def _shown(self) -> str:
        return self._source.name if self._source is not None else "camera"

    def _why(self, newest: Newest) -> str:
        reason = str(newest.error) if newest.error else self._lost
        return f" ({reason})" if reason else ""


def color(mode: object) -> str:
    """The order of colours, from a word or from LeRobot's ColorMode, whose value is that word."""
    word = getattr(mode, "value", mode)
    if word not in COLORS:
        raise ValueError(f"color_mode is {word!r}; write one of {', '.join(COLORS)}")
    return str(word)
