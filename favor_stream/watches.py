"""From how likely something is in each slice to what is told of it: when it begins, again with evidence, and when it ends.

Pure: probabilities and times go in, events come out. It knows no model, no clock and no broker.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from favor_stream.errors import ConfigError
from favor_stream.records import SLICE_S, Phase, Sense, Watch, WatchEvent

BACK_S = 5.0  # of the memory that watches see: an earlier time that the thing was there would mislead
EVIDENCE_AFTER_S = 3.0  # of a happening that its evidence shows, at most
MOST_WATCHES = 256  # of a stream: each costs some of every half second
LEVELS = 120  # slices, a minute, of which is kept how likely it was
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # base 32 without letters that are misread


@dataclass(frozen=True, slots=True)
class Now:
    """The end of a slice, on the session's clock and on the world's."""

    end_s: float
    at: datetime  # UTC


class Watching:
    """One watch over time.

    It holds when enough of its last slices agree that it does, and until they agree that it does not; between the two
    thresholds nothing changes. What begins while it is cooling down is counted and never told, however long it lasts.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch, self.holds, self.suppressed = watch, False, 0
        self.levels: deque[tuple[float, float]] = deque(maxlen=LEVELS)  # of the last slices: their end, and what `step` was given
        self._seen: deque[float] = deque(maxlen=slices(watch.hold_s))
        self._told: WatchEvent | None = None  # of the happening that has not ended
        self._quiet_until_s = -math.inf

    def step(self, chance: float, now: Now) -> list[WatchEvent]:
        """What is to be told after a slice in which it was so likely."""
        self._seen.append(chance)
        self.levels.append((now.end_s, chance))
        if self._told:
            self._told = replace(self._told, confidence=max(self._told.confidence, chance))
        if not self.holds and self._agree([each >= self.watch.on for each in self._seen]):
            return self._begin(now)
        if self.holds and self._agree([each < self.watch.off for each in self._seen]):
            return self.stop(now)
        is_time = self._told and now.end_s >= self._told.started_s + EVIDENCE_AFTER_S
        return self._prove(now) if is_time else []

    def look(self, text: str, data: Any = None) -> list[WatchEvent]:
        """What is left to tell of a happening that has just begun, after a second look at it that found this."""
        if self._told is None or self.watch.expects not in text:
            self._told, self.suppressed = None, self.suppressed + 1
            return []
        self._told = replace(self._told, text=text, data=data)
        return [self._told]

    def stop(self, now: Now) -> list[WatchEvent]:
        """It holds no longer, is switched off, or the stream has ended."""
        self._seen.clear()
        self.holds, events = False, self._prove(now) + self._go_on("end", now)
        if events:
            self._told, self._quiet_until_s = None, now.end_s + self.watch.cooldown_s
        return events

    def change(self, watch: Watch, now: Now) -> list[WatchEvent]:
        """Go on with other settings; what is switched off, ends."""
        self.watch, self._seen = watch, deque(self._seen, slices(watch.hold_s))
        return [] if watch.is_on else self.stop(now)

    def _agree(self, votes: list[bool]) -> bool:
        whole = slices(self.watch.hold_s)
        return len(votes) == whole and sum(votes) >= math.ceil(self.watch.agree * whole)

    def _begin(self, now: Now) -> list[WatchEvent]:
        self.holds = True
        if now.end_s < self._quiet_until_s:
            self.suppressed += 1
            return []
        self._told = WatchEvent(
            kind="watch",
            time_s=now.end_s,
            text=self.watch.question,
            id=ulid(now.at, self.watch.name),
            watch=self.watch,
            phase="new",
            confidence=max(self._seen),
            started_s=now.end_s - len(self._seen) * SLICE_S,
            captured_at=now.at,
            suppressed=self.suppressed,
        )
        self.suppressed = 0
        return [self._told]

    def _prove(self, now: Now) -> list[WatchEvent]:
        """The update that carries the evidence, once."""
        return self._go_on("update", now) if self._told and self._told.phase == "new" else []

    def _go_on(self, phase: Phase, now: Now) -> list[WatchEvent]:
        if self._told is None:
            return []
        self._told = replace(self._told, phase=phase, time_s=now.end_s, captured_at=now.at)
        return [self._told]


class Watches:
    """All watches of a stream, by name. Raises ConfigError where two have one name, and for more than MOST_WATCHES."""

    def __init__(self, watches: Sequence[Watch] = ()) -> None:
        self._all: dict[str, Watching] = {}
        for watch in watches:
            self._add(watch)
        for watch in watches:  # now that all names are known
            self._check_gate(watch)

    def add(self, watch: Watch) -> None:
        """Watch this too. Raises ConfigError where one has its name, or its gate is not watched."""
        self._check_gate(watch)
        self._add(watch)

    def remove(self, name: str, now: Now) -> list[WatchEvent]:
        """Watch it no longer; what goes on, ends. Raises ConfigError where none has that name, or it is another's gate."""
        behind = [each.watch.name for each in self.all if each.watch.gate == name]
        if behind:
            raise ConfigError(f"watch {name!r} is the gate of {behind[0]!r}; remove that one first")
        watching = self._all.pop(self._known(name))
        return watching.change(replace(watching.watch, is_on=False), now)  # off too: the model may just be asked about it

    def _add(self, watch: Watch) -> None:
        if watch.name in self._all:
            raise ConfigError(f"two watches are called {watch.name!r}; give each a name of its own")
        if len(self._all) >= MOST_WATCHES:
            raise ConfigError(f"{MOST_WATCHES} watches are set, which is as many as there can be; remove one first")
        self._all[watch.name] = Watching(watch)

    def _check_gate(self, watch: Watch) -> None:
        if watch.gate and (watch.gate not in self._all or watch.gate == watch.name):
            raise ConfigError(f"watch {watch.name!r} has the gate {watch.gate!r}; name another watch")

    def _known(self, name: str) -> str:
        if name not in self._all:
            raise ConfigError(f"no watch is called {name!r}; expected one of: {', '.join(self._all) or 'none is set'}")
        return name

    @property
    def all(self) -> list[Watching]:
        return list(self._all.values())

    def of(self, *senses: Sense, now: Now) -> list[Watching]:
        """Those by these senses that are to be watched now."""
        return [each for each in self.all if each.watch.by in senses and self._is_due(each.watch, now)]

    def shut(self, now: Now) -> list[Watching]:
        """Those that hold though they are not to be watched any more."""
        return [each for each in self.all if each.holds and not self._is_due(each.watch, now)]

    def _is_due(self, watch: Watch, now: Now) -> bool:
        """Whether it is switched on, its hours have come (or make its value), and its gate, if it has one, is open."""
        is_time = not watch.hours or watch.by == "schedule" or is_within(watch.hours, now)
        return watch.is_on and is_time and (not watch.gate or self._all[watch.gate].holds)

    def change(self, watch: Watch, now: Now) -> list[WatchEvent]:
        """Watch so from the next slice on. Raises ConfigError where none of that name is watched."""
        return self._all[self._known(watch.name)].change(watch, now)

    def stop(self, now: Now) -> list[WatchEvent]:
        """The stream has ended."""
        return [event for watching in self.all for event in watching.stop(now)]


def slices(hold_s: float) -> int:
    return max(1, math.ceil(hold_s / SLICE_S))


def is_within(hours: str, now: Now) -> bool:
    """Whether it is between two times of day; the second may be tomorrow's."""
    begin, end = hours.split("-")
    clock = f"{now.at.astimezone():%H:%M}"
    return begin <= clock < end if begin <= end else clock >= begin or clock < end


def ulid(at: datetime, name: str) -> str:
    """An identifier that sorts by time (github.com/ulid/spec): 48 bits of milliseconds and 80 more, as 26 letters.

    The 80 are a digest of the moment, to the microsecond, and of the name: a recording, replayed, tells the same ones.
    """
    digest = hashlib.sha256(f"{at.isoformat()} {name}".encode()).digest()
    number = int(at.timestamp() * 1000) << 80 | int.from_bytes(digest[:10])
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -5, -5))
