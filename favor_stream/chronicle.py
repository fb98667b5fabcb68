"""All of an agent's stream, as it goes, into a recording or a viewer: what was captured, perceived, told and answered.

It knows the agent, and of who keeps it only how things are handed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from favor_stream.agent import Agent
from favor_stream.errors import DeviceError, FavorError
from favor_stream.records import Answer, Event
from favor_stream.ring import Clip

EVERY_S, BACK_S = 1.0, 10.0  # of the stream: how often its last seconds are handed over, and how many


class Keeper(Protocol):
    """Takes what is new of each; what it was given before, it passes over. From any thread, one at a time."""

    def add_clip(self, clip: Clip) -> None: ...
    def add_levels(self, levels: Mapping[str, Sequence[tuple[float, float]]]) -> None: ...
    def add_event(self, event: Event) -> None: ...
    def add_answer(self, answer: Answer) -> None: ...
    def close(self) -> None: ...


Keep = Callable[[int], Keeper]  # makes one, given the wall-clock time of the stream's 0.0 in nanoseconds


class Chronicle:
    """Hands over from `run` until the agent's events end. A keeper that fails is told of once, as an event, and let go."""

    def __init__(self, agent: Agent, keep: Keep) -> None:
        """Before the agent is entered."""
        self._agent, self._keep, self._events = agent, keep, agent.events()
        self._answers: asyncio.Queue[Answer] = asyncio.Queue()

    async def run(self) -> None:
        self._agent.when_answered(self._answers.put_nowait)
        began_ns = round(self._agent.utc(0.0).timestamp() * 1e9)
        try:
            keeper = await asyncio.to_thread(self._keep, began_ns)
            try:
                await self._hand_over(keeper)
            finally:
                await asyncio.to_thread(keeper.close)
        except DeviceError as error:
            self._agent.publish(Event("error", self._agent.heard_until_s, f"{error}; nothing more is kept"))

    async def _hand_over(self, keeper: Keeper) -> None:
        clips = asyncio.create_task(self._hand_over_clips(keeper), name="clips")
        try:
            async for event in self._events:
                await asyncio.to_thread(keeper.add_event, event)
                while not self._answers.empty():
                    await asyncio.to_thread(keeper.add_answer, self._answers.get_nowait())
            await clips
        finally:
            clips.cancel()
            await asyncio.wait({clips})

    async def _hand_over_clips(self, keeper: Keeper) -> None:
        is_over = False
        while not is_over:
            handed_s = self._agent.heard_until_s
            try:
                await self._agent.until(handed_s + EVERY_S)
            except FavorError:
                is_over = True  # told by who asks the agent
            is_over = is_over or self._agent.heard_until_s < handed_s + EVERY_S
            await asyncio.to_thread(keeper.add_clip, self._agent.clip(BACK_S))
            await asyncio.to_thread(keeper.add_levels, self._agent.levels)
