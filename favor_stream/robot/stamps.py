"""When evidence was captured, as its sender has it: what is told carries the stamp of the newest thing that it rests on.

It knows stamps and the agent's clock; it knows no messages.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Lock

MOST = 1024  # that are remembered: at 30 Hz half a minute


@dataclass(frozen=True, slots=True)
class Stamp:
    """Of a message's header."""

    ns: int  # since 1970, or since a simulation began, by its sender's clock
    frame_id: str = ""


class Stamps:
    """Noted on the threads of topics, looked up on the event loop."""

    def __init__(self) -> None:
        self._noted: deque[tuple[float, Stamp]] = deque(maxlen=MOST)  # by when they were captured, on the agent's clock
        self._lock = Lock()

    def note(self, captured_s: float, stamp: Stamp) -> None:
        with self._lock:
            while self._noted and self._noted[-1][0] >= captured_s:  # the sender's clock was set back
                self._noted.pop()
            self._noted.append((captured_s, stamp))

    def newest(self, until_s: float) -> Stamp | None:
        """The last one before a moment of the agent's clock; None: there is none so old."""
        with self._lock:
            return next((stamp for captured_s, stamp in reversed(self._noted) if captured_s < until_s), None)
