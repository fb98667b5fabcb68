"""What an agent told lately, numbered, for those who come later or come again. It knows the agent's events and no connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from favor_stream import payload
from favor_stream.agent import Agent
from favor_stream.health import Health
from favor_stream.records import Event, Evidence, Perceived, WatchEvent

KEPT = 1000  # events
QUIET_S = 15.0  # after which somebody who follows is told that there is nothing new


@dataclass(frozen=True, slots=True)
class Entry:
    number: int  # counted from 1 without gaps
    event: Event
    told: payload.Json


class History:
    """Keeps the last events from its making to their end, and how the agent is. One event loop only.

    All who follow read from this one deque: who is slow misses what has left it, and holds up nobody.
    """

    def __init__(self, agent: Agent) -> None:
        self.health, self._agent, self._events = Health(), agent, agent.events()
        self._kept: deque[Entry] = deque(maxlen=KEPT)
        self._added = asyncio.Event()  # set, and replaced, after each event

    async def run(self) -> None:
        """Once the agent is entered."""
        number = 0
        async for event in self._events:
            self.health.note(event)
            number += 1
            told = {"number": number, "at": payload.utc(self._agent.utc(event.time_s)), **shown(event)}
            self._kept.append(Entry(number, event, told))
            added, self._added = self._added, asyncio.Event()
            added.set()

    def after(self, number: int) -> list[Entry]:
        """Those with higher numbers that are kept, oldest first."""
        return [entry for entry in self._kept if entry.number > number]

    async def follow(self, number: int) -> AsyncIterator[Entry | None]:
        """The same and those to come; None after a while in which there was none.

        It has no end, not even with the stream: a browser whose connection ends would come again every few seconds.
        """
        while True:
            added = self._added  # before looking: what comes while an entry is sent is not slept over
            for entry in self.after(number):
                yield entry
                number = entry.number
            try:
                async with asyncio.timeout(QUIET_S):
                    await added.wait()
            except TimeoutError:
                yield None

    def evidence(self, happening: str, kind: Literal["snapshot", "clip"]) -> Path | None:
        """The file that shows a happening."""
        for entry in reversed(self._kept):
            if isinstance(entry.event, WatchEvent) and entry.event.id == happening:
                found: Evidence | None = getattr(entry.event, kind)
                return Path(found.path) if found else None
        return None


def shown(event: Event) -> payload.Json:
    """As on a broker, but for where the evidence is, and what is perceived in its parts."""
    if isinstance(event, Perceived):
        return {**payload.news(event), "sees": event.sees, "hears": event.hears, "said": event.said}
    if not isinstance(event, WatchEvent):
        return payload.news(event)
    told = {"kind": event.kind, "time_s": event.time_s, "text": event.text, **payload.event(event, datetime.now(UTC))}
    for kind, suffix in (("snapshot", "jpg"), ("clip", "mp4")):
        if told[kind]:
            told[kind] |= {"url": f"/v1/events/{event.id}/{kind}.{suffix}"}
    return told
