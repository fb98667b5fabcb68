"""/diagnostics: how the node is, for the tools that watch a robot (diagnostic_msgs/DiagnosticArray, REP 107).

It knows figures and troubles; it knows no transport.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from favor_stream.robot.wire import Trouble
from favor_stream.ros.messages import Message, header, make

KEEP_S = 30.0  # a trouble is shown for so long after it was told last


class Level(IntEnum):
    """Of diagnostic_msgs/msg/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


class Troubles:
    """What went wrong of late, by its code."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, str]] = {}

    def note(self, trouble: Trouble, now_s: float) -> None:
        self._told[trouble.code] = now_s, trouble.text

    def recent(self, now_s: float) -> dict[str, str]:
        self._told = {code: told for code, told in self._told.items() if now_s - told[0] < KEEP_S}
        return {code: text for code, (_, text) in self._told.items()}


def report(
    name: str, stamp_ns: int, level: Level, summary: str, figures: Mapping[str, object], troubles: Mapping[str, str]
) -> Message:
    """One status of the node as a whole, and one for each trouble."""
    worst = max(level, Level.WARN if troubles else Level.OK)
    whole = _status(f"{name}: agent", worst, summary, figures)
    single = [_status(f"{name}: {code}", Level.WARN, text, {"code": code}) for code, text in sorted(troubles.items())]
    return make("diagnostic_msgs/msg/DiagnosticArray", header=header(stamp_ns), status=[whole, *single])


def _status(name: str, level: Level, text: str, figures: Mapping[str, object]) -> Message:
    values = [make("diagnostic_msgs/msg/KeyValue", key=key, value=_words(value)) for key, value in figures.items()]
    kind = "diagnostic_msgs/msg/DiagnosticStatus"
    return make(kind, level=int(level), name=name, message=text, hardware_id="", values=values)


def _words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else str(value)
