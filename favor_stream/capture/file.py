"""A film or recording from disk, or an FFmpeg test graph (`lavfi:`), at its own speed or as fast as the reader takes it."""

from __future__ import annotations

import math
import re
from typing import Literal, Self

from av.container import InputContainer

from favor_stream.capture import OnEvent, log_event
from favor_stream.capture.container import Footage, in_order, opened, reason
from favor_stream.capture.played import Played
from favor_stream.errors import DeviceError
from favor_stream.ring import Ring

LAVFI = "lavfi:"
BOUNDED = re.compile(r"\b(d|duration|a?trim|a?movie)\b")  # what gives a test graph an end


class File(Played):
    """Decodes what is there: damage is counted, and the event at the end tells of it.

    Entering opens the file and raises DeviceError when there is no film or recording in it. `pace`: "realtime", or "fast" for
    a lossless ring.
    """

    def __init__(
        self,
        path: str,
        ring: Ring,
        pace: Literal["realtime", "fast"] = "realtime",
        on_event: OnEvent = log_event,
        pictures_per_s: float = 4.0,
    ) -> None:
        super().__init__(path, ring, pace, on_event, pictures_per_s)
        self.is_endless = path.startswith(LAVFI) and not BOUNDED.search(path)

    def __enter__(self) -> Self:
        self._container = self._open()
        self._footage = Footage(self._container, self._pictures_per_s)
        try:
            self._expect(self._footage.has_sound, self._footage.has_pictures, hold_s=math.inf)
        except DeviceError:
            self._container.close()
            raise
        return super().__enter__()

    def _open(self) -> InputContainer:
        if self.name.startswith(LAVFI):
            return opened(self.name.removeprefix(LAVFI), self.name, "give a graph such as lavfi:testsrc", "lavfi")
        return opened(f"file:{self.name}", self.name, "give the path of a film or a recording")

    def _run(self) -> None:
        with self._container:
            if not self._play(in_order(self._footage), lambda: self._footage.thinned):
                return
        self._tell("ended", f"{self.name}: ended{self._damage()}")

    def _damage(self) -> str:
        """What was wrong with the file, to be read after "ended"."""
        found = (
            (self._footage.damaged, f"{self._footage.damaged} damaged parts passed over"),
            (self._footage.cuts, f"{self._footage.cuts} jumps in its time stamps mended"),
            (self._footage.error, f"reading stopped early ({self._footage.error and reason(self._footage.error)})"),
        )
        return "".join(f", {text}" for is_there, text in found if is_there)
