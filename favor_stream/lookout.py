"""What watches see is told with its evidence: a snapshot goes with the first word of it, a clip with the second.

It knows the feed and the folder of evidence; it knows no model and no device.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from favor_stream.errors import ConfigError, DeviceError, FavorError
from favor_stream.evidence import Archive
from favor_stream.feed import Feed
from favor_stream.records import SLICE_S, Event, Evidence, Sense, Watch, WatchEvent
from favor_stream.ring import Clip
from favor_stream.signals import Signals
from favor_stream.watches import Now, Watches, Watching, is_within

BEFORE_S = 3.0  # of what came before, on a clip
MOST_CLIPS = 8  # that wait to be written; what happens meanwhile is told without one
UNMODELLED: tuple[Sense, ...] = ("motion", "scene", "loudness", "speech", "schedule", "manual")
Write = Callable[[Archive, str, Clip], Evidence | None]
Look = Callable[[Watch], Awaitable[str | None]]


class Lookout:
    """Turns how likely each watched thing is, slice after slice, into events of the feed. One event loop only.

    Clips are written by a task of its own, `run`, so that they hold up neither perceiving nor the first word of what is next.
    """

    def __init__(
        self, watches: Sequence[Watch], archive: Archive | None, clip: Callable[[float], Clip], look: Look, feed: Feed
    ) -> None:
        """`clip` gives the last seconds of what was captured; `look` answers a watch's second look, None where it cannot now."""
        self._watches, self._archive, self._clip, self._look, self._feed = Watches(watches), archive, clip, look, feed
        self._fired: set[str] = set()  # watches that somebody has fired since the last slice
        self.is_paused = False
        self._unproven: asyncio.Queue[tuple[WatchEvent, Clip | None] | None] = asyncio.Queue()  # None: there are no more
        self._last: dict[str, WatchEvent] = {}  # as they were told, of happenings that have not ended

    @property
    def watches(self) -> list[Watch]:
        return [watching.watch for watching in self._watches.all]

    @property
    def levels(self) -> dict[str, list[tuple[float, float]]]:
        """Of each watch, by its name, how likely it was in the last minute: the end of each slice, and its value."""
        return {watching.watch.name: list(watching.levels) for watching in self._watches.all}

    @property
    def chances(self) -> tuple[dict[str, float], frozenset[str]]:
        """How likely each watch was last, by its name, and which of them hold."""
        chances = {each.watch.name: each.levels[-1][1] for each in self._watches.all if each.levels}
        return chances, frozenset(each.watch.name for each in self._watches.all if each.holds)

    def asked(self, now: Now) -> list[Watching]:
        """Those that the model is to be asked about."""
        return [] if self.is_paused else self._watches.of("model", now=now)

    async def notice(self, signals: Signals, now: Now, perceived: str) -> None:
        """Tell what needs no model, which may open a gate for what does; what is behind a gate that has closed, ends."""
        if self.is_paused:
            return
        noticing = self._watches.of(*UNMODELLED, now=now)
        await self.judge(noticing, [self._value(watching.watch, signals, now) for watching in noticing], now, perceived)
        self._fired.clear()
        for watching in self._watches.shut(now):
            await self._tell(watching.stop(now), perceived)

    def _value(self, watch: Watch, signals: Signals, now: Now) -> float:
        if watch.by == "schedule":
            return float(is_within(watch.hours, now))
        if watch.by == "manual":
            return float(watch.name in self._fired)
        value: float = getattr(signals, watch.by)
        return value

    async def judge(self, asked: Sequence[Watching], chances: Sequence[float], now: Now, perceived: str) -> None:
        """Tell what follows from these chances; `perceived` puts in words what there is to perceive."""
        for watching, chance in zip(asked, chances, strict=True):
            if self.is_paused or not watching.watch.is_on:  # since they were asked
                continue
            events = watching.step(chance, now)
            if watching.watch.look and any(event.phase == "new" for event in events):
                events = await self._looked(watching, events)
            await self._tell(events, perceived)

    async def _looked(self, watching: Watching, events: list[WatchEvent]) -> list[WatchEvent]:
        """What is left of them after a second look; all, where there could be none."""
        try:
            text = await self._look(watching.watch)
        except FavorError as error:
            self._feed.publish(Event("error", events[0].time_s, f"watch {watching.watch.name!r}: no second look: {error}"))
            return events
        if text is None:
            return events
        return watching.look(text, json.loads(text) if watching.watch.schema else None)

    def fire(self, name: str) -> None:
        """Somebody wants it told. Raises ConfigError where no watch of that name is fired by hand."""
        manual = [watch.name for watch in self.watches if watch.by == "manual"]
        if name not in manual:
            raise ConfigError(f"no watch by hand is called {name!r}; expected one of: {', '.join(manual) or 'none is set'}")
        self._fired.add(name)

    async def pause(self, now: Now) -> None:
        """Watch nothing until `is_paused` is False again; what goes on, ends."""
        self.is_paused = True
        await self._tell(self._watches.stop(now))

    async def change(self, watch: Watch, now: Now) -> None:
        """Watch so from now on. Raises ConfigError where none of its name is watched."""
        await self._tell(self._watches.change(watch, now))

    def add(self, watch: Watch) -> None:
        """Watch this too. Raises ConfigError for a name that is taken, or a gate that is not there."""
        self._watches.add(watch)

    async def remove(self, name: str, now: Now) -> None:
        """Watch it no longer. Raises ConfigError where none of that name is watched, or it is another's gate."""
        await self._tell(self._watches.remove(name, now))

    async def stop(self, now: Now) -> None:
        """The stream has ended: what goes on, ends, and the last evidence is told by `run`, which then ends too."""
        await self._tell(self._watches.stop(now))
        self._unproven.put_nowait(None)

    async def run(self) -> None:
        """Write clips, and tell what they show in the order of its happening."""
        while (unproven := await self._unproven.get()) is not None:
            event, clip = unproven
            self._publish(replace(event, clip=await self._written(event, Archive.film, clip)))

    async def _tell(self, events: Iterable[WatchEvent], perceived: str = "") -> None:
        for event in events:
            if event.phase == "new":
                snapshot = await self._written(event, Archive.snapshot, self._clip(2 * SLICE_S))
                self._publish(replace(event, snapshot=snapshot))
                continue
            clip = None
            if event.phase == "update" and self._archive and self._unproven.qsize() < MOST_CLIPS:
                clip = self._clip(event.time_s - event.started_s + BEFORE_S)
            text = event.text if event.watch.look else perceived or event.text
            self._unproven.put_nowait((replace(event, text=text), clip))

    async def _written(self, event: WatchEvent, write: Write, clip: Clip | None) -> Evidence | None:
        if self._archive is None or clip is None:
            return None
        try:
            return await asyncio.to_thread(write, self._archive, event.id, clip)
        except DeviceError as error:  # what happened is told nevertheless
            self._feed.publish(Event("error", event.time_s, str(error)))
            return None

    def _publish(self, event: WatchEvent) -> None:
        """A later phase carries the evidence of those before it."""
        before = self._last.pop(event.id, event)
        event = replace(event, snapshot=event.snapshot or before.snapshot, clip=event.clip or before.clip)
        if event.phase != "end":
            self._last[event.id] = event
        self._feed.publish(event)
