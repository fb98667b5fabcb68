"""Time as a simulator or a bag that is played tells it, on /clock. It knows no topic: it is given each message."""

from __future__ import annotations

from collections.abc import Callable

from favor_stream.ros.messages import decode, stamp_ns

KIND = "rosgraph_msgs/msg/Clock"
BACK_S = 1.0  # by which it goes back only when a simulation begins anew


class SimTime:
    """The time told last, in seconds; 0.0 before there is any. It stands still between two ticks, and while it is paused."""

    def __init__(self, on_back: Callable[[], None] = lambda: None) -> None:
        """`on_back` is called on the topic's thread when time has begun anew."""
        self._now_s, self._on_back = 0.0, on_back

    def __call__(self) -> float:
        return self._now_s

    def take(self, cdr: bytes) -> None:
        told_s = (stamp_ns(decode(cdr, KIND).clock) or 0) / 1e9
        went_back = told_s < self._now_s - BACK_S
        self._now_s = told_s
        if went_back:
            self._on_back()
