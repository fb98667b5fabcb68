"""The streams of one server: each an agent with a memory of its own, all on one model. They come and go while it runs.

It knows agents and the folder where what must last is kept; it knows no connection.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from favor_stream.agent import Agent
from favor_stream.capture.inlet import Inlet
from favor_stream.config import Config, state_folder
from favor_stream.errors import ConfigError, FavorError
from favor_stream.metrics import Figures
from favor_stream.mind import Mind
from favor_stream.recall import journal_file
from favor_stream.records import NAME, name_of
from favor_stream.reply import Reply
from favor_stream.retrying import ended
from favor_stream.switches import Switches
from favor_stream.web.history import History

log = logging.getLogger(__name__)
MOST_STREAMS = 8
GRACE_S, HELD_S = 60.0, 3600.0  # for which a stream waits for its browser to come back; and where privacy is on
TIDY_S = 2.0  # how often that is looked at
BROUGHT = re.compile(r"browser_[0-9a-f]{8}")  # names of streams that browsers bring
MOST_ASKING = 16  # whose answers are written or waited for


class NotThereError(ConfigError):
    """Somebody asks for what is not there, or not any more."""


class BusyError(FavorError):
    """More is asked for at once than can wait."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One agent, what it told lately, and how it is set."""

    name: str
    agent: Agent
    history: History
    figures: Figures
    switches: Switches
    inlet: Inlet | None  # of one that a browser brings
    left: AsyncExitStack  # to be closed when it goes


class Streams:
    """Entered and left as a whole. One event loop only."""

    def __init__(self, config: Config, perceive_every: int = 2) -> None:
        """`perceive_every` slices each stream tells what it perceives, 0: never."""
        self._perceive_every = perceive_every
        self._config, self._mind = config, Mind(config)
        self._folder = config.state or state_folder()
        self._brought = self._folder / "brought"  # a folder for each stream that a browser brings
        self._all: dict[str, Stream] = {}
        self._coming: set[str] = set()  # names of those that are being entered
        self._asking = 0

    async def __aenter__(self) -> Self:
        await self._mind.__aenter__()
        await asyncio.to_thread(drop_old, self._brought, self._config.journal_hours * 3600)
        self._tidying = asyncio.create_task(self._tidy(), name="tidy")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await ended({self._tidying})
        while self._all:  # others may be removing some meanwhile
            await self._leave(self.find())
        await self._mind.close()

    @property
    def all(self) -> list[Stream]:
        return list(self._all.values())

    def placed(self, reply: Reply) -> Reply:
        """Gives an answer a place among those that are written or waited for, until it is. BusyError where none is left."""
        if self._asking >= MOST_ASKING:
            raise BusyError(f"{MOST_ASKING} questions are being answered, which is as many as can wait; ask again in a second")
        self._asking += 1
        reply.when_written(self._give_back)
        return reply

    def _give_back(self) -> None:
        self._asking -= 1

    @property
    def mind(self) -> Mind:
        return self._mind

    def find(self, name: str = "") -> Stream:
        """The stream of that name; "" is the first. NotThereError where there is none."""
        if not name and self._all:
            return next(iter(self._all.values()))
        if name not in self._all:
            known = ", ".join(self._all) or "none is open; add one, or open the page and let it use your camera"
            raise NotThereError(f"no stream is called {name!r}; expected one of: {known}")
        return self._all[name]

    async def add(self, sources: Sequence[str], name: str = "") -> Stream:
        """Opens devices or films as one stream. ConfigError for a name that is taken or cannot be, DeviceError for a source."""
        return await self._enter(name or name_of(sources[0].rpartition("/")[2])[:32], sources, self._config, None)

    async def bring(self, inlet: Inlet) -> Stream:
        """Opens a stream of what somebody brings. Who brings sound may ask aloud, where there is somebody to hear it."""
        config = replace(self._config, voice=inlet.sound and find_spec("silero_vad") is not None)
        return await self._enter(inlet.name, [inlet], config, inlet)

    async def remove(self, name: str) -> None:
        """Closes its devices and forgets its memory. NotThereError where there is none.

        What is kept of it on disk stays, unless a browser brought it: nobody else would ever ask for that.
        """
        stream = self.find(name)
        await self._leave(stream)
        if stream.inlet:
            await asyncio.to_thread(shutil.rmtree, self._brought / stream.name, ignore_errors=True)

    async def _leave(self, stream: Stream) -> None:
        """One that has failed meanwhile holds up none of the others."""
        del self._all[stream.name]
        try:
            await stream.left.aclose()
        except Exception as error:
            log.warning("%s had failed: %s", stream.name, error)

    async def _tidy(self) -> None:
        """Removes what a browser brought that has not come back."""
        while True:
            await asyncio.sleep(TIDY_S)
            for stream in self.all:
                patience_s = HELD_S if stream.agent.is_held else GRACE_S
                if stream.inlet and stream.inlet.left_s is not None and stream.inlet.left_s < time.monotonic() - patience_s:
                    with suppress(NotThereError):  # somebody removed it while another one was left
                        await self.remove(stream.name)

    async def _enter(self, name: str, sources: Sequence[str | Inlet], config: Config, inlet: Inlet | None) -> Stream:
        if not NAME.fullmatch(name):
            raise ConfigError(f"a stream cannot be called {name!r}; expected small letters, digits and _")
        if name in self._all or name in self._coming:
            raise ConfigError(f"a stream is called {name!r} already; give another name, or remove that one first")
        if len(self._all) + len(self._coming) >= MOST_STREAMS:
            raise ConfigError(f"{MOST_STREAMS} streams are open, which is as many as there can be; remove one first")
        self._coming.add(name)
        try:
            async with AsyncExitStack() as stack:
                stream = await self._entered(stack, name, sources, config, inlet)
                self._all[name] = replace(stream, left=stack.pop_all())
        finally:
            self._coming.discard(name)
        return self._all[name]

    async def _entered(
        self, stack: AsyncExitStack, name: str, sources: Sequence[str | Inlet], config: Config, inlet: Inlet | None
    ) -> Stream:
        folder = self._brought / name if inlet else self._folder
        names = [source if isinstance(source, str) else source.name for source in sources]
        journal = journal_file(folder, names) if config.journal else None
        making = partial(Agent, perceive_every=self._perceive_every, mind=self._mind, journal=journal)
        agent = await asyncio.to_thread(making, *sources, config=config)  # who hears speech is loaded with it
        history, figures = History(agent), Figures(agent)  # before entering, so that nothing is missed
        switches = Switches(agent, folder / f"stream-{name}.json")
        await stack.enter_async_context(agent)
        await switches.restore()
        for work in (history.run(), figures.count()):
            task = asyncio.create_task(work, name="keep")
            stack.push_async_callback(ended, {task})
        return Stream(name, agent, history, figures, switches, inlet, stack)


def drop_old(folder: Path, most_s: float) -> None:
    """What browsers brought that have not come back in so long; they were cut off by a server that ended."""
    for path in folder.glob("*"):
        if path.stat().st_mtime < time.time() - most_s:
            shutil.rmtree(path, ignore_errors=True)


def new_name() -> str:
    """Of a stream that a browser brings, as BROUGHT has it."""
    return f"browser_{secrets.token_hex(4)}"
