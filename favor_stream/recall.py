"""What one stream remembers beyond its memory: its windows are written down as they close, and found again by the time of day.

It knows the journal and the world's clock; it knows no session and no question.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from favor_stream.errors import DeviceError
from favor_stream.journal import Journal, Window
from favor_stream.records import Event, name_of
from favor_stream.session import Stretch
from favor_stream.watches import Now
from favor_stream.when import Span


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a time that was asked about. Times of the stretches are on the session's clock."""

    windows: list[Stretch]
    reaches_now: bool  # the open window belongs to it too
    gone: str = ""  # where nothing is left of it: what to say


class Recall:
    """Any trouble of the disk is told once, as an event, and nothing more is written down."""

    def __init__(self, journal: Journal, publish: Callable[[Event], None]) -> None:
        self._journal, self._publish, self._is_broken = journal, publish, False

    async def note(self, window: Stretch, now: Now) -> None:
        """A window has closed."""
        if self._is_broken:
            return
        begun_at, ended_at = (epoch(now, seconds) for seconds in (window.start_s, window.end_s))
        kept = Window(window.tokens.float().cpu().numpy(), begun_at, ended_at)
        try:
            await asyncio.to_thread(self._journal.put, kept)
        except DeviceError as error:
            self._is_broken = True
            self._publish(Event("error", now.end_s, f"{error}; nothing more is written down"))

    async def before(self, most: int, context_s: float, now: Now) -> list[Stretch]:
        """What would still be in memory had the stream gone on until now."""
        windows = await asyncio.to_thread(self._journal.last, most, now.at.timestamp() - context_s)
        return stretches(windows, now)

    async def find(self, span: Span, most: int, now: Now) -> Found:
        """The windows of a time, one more than `most` where they are too many; of one without a beginning the last `most`."""
        ended_at = span.end.timestamp()
        if span.begin is None:
            windows = await asyncio.to_thread(self._journal.last, most, 0.0, ended_at)
        else:
            windows = await asyncio.to_thread(self._journal.between, span.begin.timestamp(), ended_at, most + 1)
        reaches_now = ended_at >= now.at.timestamp() - 1
        return Found(stretches(windows, now), reaches_now, "" if windows or reaches_now else await self._gone(span))

    async def reach(self) -> tuple[datetime, datetime] | None:
        """From when to when anything is written down, UTC."""
        reach = await asyncio.to_thread(lambda: self._journal.reach)
        return reach and (datetime.fromtimestamp(reach[0], UTC), datetime.fromtimestamp(reach[1], UTC))

    async def clear(self) -> None:
        await asyncio.to_thread(self._journal.clear)

    async def close(self) -> None:
        await asyncio.to_thread(self._journal.close)

    async def _gone(self, span: Span) -> str:
        reach = await asyncio.to_thread(lambda: self._journal.reach)
        if reach is None:
            return "I no longer remember that: nothing of it was written down."
        first, last = (datetime.fromtimestamp(at, span.end.tzinfo) for at in reach)
        return f"I no longer remember that: what I remember is from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S}."


async def opened(opening: Callable[[], Journal]) -> Journal:
    """Opened on a thread. Where waiting for that is cancelled it is closed, not left to whoever comes next to the file."""
    coming = asyncio.get_running_loop().run_in_executor(None, opening)
    try:
        return await asyncio.shield(coming)
    except asyncio.CancelledError:
        await asyncio.wait({coming})
        if coming.exception() is None:
            coming.result().close()
        raise


def stretches(windows: Sequence[Window], now: Now) -> list[Stretch]:
    since_s = now.end_s - now.at.timestamp()
    return [Stretch(torch.from_numpy(each.tokens.copy()), each.begun_at + since_s, each.ended_at + since_s) for each in windows]


def epoch(now: Now, seconds: float) -> float:
    """A time of the session's clock as seconds since 1970."""
    return now.at.timestamp() + seconds - now.end_s


def journal_file(folder: Path, sources: Sequence[str]) -> Path:
    """Of a stream that is made of these sources."""
    digest = hashlib.sha256("\n".join(sources).encode()).hexdigest()
    return folder / "journal" / f"{name_of(sources[0].split('@')[-1])[:32]}-{digest[:8]}.sqlite"
