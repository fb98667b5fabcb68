"""Happenings as a watch would tell them, for tests of those who pass them on."""

from __future__ import annotations

from datetime import UTC, datetime

from favor_stream.records import Watch, WatchEvent
from favor_stream.watches import ulid

DOOR = Watch("door", "the door opens", on=0.99, off=0.98)  # of which the tiny model is never so sure


def happening(number: int) -> WatchEvent:
    at = datetime.now(UTC)
    return WatchEvent(
        kind="watch",
        time_s=number,
        text="the door opens",
        id=ulid(at, "ring"),
        watch=DOOR,
        phase="new",
        confidence=0.995,
        started_s=max(0.0, number - 1),
        captured_at=at,
    )
