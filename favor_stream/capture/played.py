"""What a film and a bag have in common: they begin when they are played, and go at their own speed or at the reader's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Literal

from favor_stream.capture import OnEvent, Source
from favor_stream.capture.container import Heard, Seen
from favor_stream.errors import ConfigError
from favor_stream.ring import Ring


class Played(Source):
    """`pace`: "realtime", or "fast" for a lossless ring. Raises ConfigError for a live one, which would lose most of it."""

    def __init__(
        self, name: str, ring: Ring, pace: Literal["realtime", "fast"], on_event: OnEvent, pictures_per_s: float
    ) -> None:
        super().__init__(name, ring, on_event)
        if pace == "fast" and ring.pace == "live":
            raise ConfigError(
                f"{name}: cannot be read fast into a live ring, which would lose most of it; make the ring lossless"
            )
        self._pace, self._pictures_per_s = pace, pictures_per_s
        self._begins_s = 0.0  # on the session's clock; later where it joins a running one

    def _play(self, pieces: Iterable[Heard | Seen], thinned: Callable[[], int], speed: float = 1.0) -> bool:
        """Puts piece after piece into the ring when its time has come; False where it was left before the end."""
        start_s = None
        for piece in pieces:
            self.pictures_thinned = thinned()
            if start_s is None:  # only now: reading ahead may have taken long
                start_s = time.monotonic()
                begins_s = self._ring.session_s(start_s, sound=True)  # whichever track comes first
                self._begins_s = begins_s or 0.0 if self._ring.pace == "live" else 0.0
            if self._pace == "realtime":
                self._leaving.wait(max(0.0, start_s + piece.end_s / speed - time.monotonic()))
            if self._leaving.is_set():
                return False
            self._put(piece)
        return True

    def _put(self, piece: Heard | Seen) -> None:
        if isinstance(piece, Heard):
            self._ring.put_sound(piece.sound, self._begins_s + piece.time_s)
        elif piece.picture is not None:
            self._ring.put_picture(piece.picture, self._begins_s + piece.time_s)
