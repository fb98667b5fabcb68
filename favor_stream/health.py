"""How an agent is, in a word and a few figures, from what it tells of itself."""

from __future__ import annotations

from collections import deque

from favor_stream.agent import Agent
from favor_stream.payload import Json
from favor_stream.records import Event

DEGRADED_S = 60.0  # after an overload
REMEMBERED = 100  # happenings


class Health:
    """Listens to an agent's events."""

    def __init__(self) -> None:
        self._latencies_ms: deque[int] = deque(maxlen=REMEMBERED)
        self.lost: set[str] = set()  # sources that bring nothing
        self._overloaded_s = -DEGRADED_S

    def note(self, event: Event) -> None:
        if event.kind == "lost" and event.source:
            self.lost.add(event.source)
        elif event.kind == "found":
            self.lost.discard(event.source)
        elif event.kind == "overload":
            self._overloaded_s = event.time_s

    def note_latency(self, milliseconds: int) -> None:
        """From what was captured to its publishing, of one happening."""
        self._latencies_ms.append(milliseconds)

    def status(self, agent: Agent) -> Json:
        """running, degraded, paused or error, and why."""
        if agent.failure:
            return {"state": "error", "reason": agent.failure}
        if agent.is_held or agent.is_paused:
            return {"state": "paused", "reason": "privacy" if agent.is_held else "pause"}
        if self.lost:
            return {"state": "degraded", "reason": f"lost {', '.join(sorted(self.lost))}"}
        if agent.heard_until_s < self._overloaded_s + DEGRADED_S:
            return {"state": "degraded", "reason": "overload"}
        return {"state": "running", "reason": ""}

    @property
    def latency_ms(self) -> Json:
        """Percentiles of the last happenings."""
        ranked = sorted(self._latencies_ms)
        return {f"p{share}": ranked[len(ranked) * share // 100] if ranked else None for share in (50, 95)}
