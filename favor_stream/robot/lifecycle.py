"""The life of a managed node (design.ros2.org/articles/node_lifecycle.html): which states there are, and which way leads where.

It knows no node: what is to be done on the way is given to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum

from favor_stream.errors import FavorError


class State(IntEnum):
    """Numbered as lifecycle_msgs/msg/State is."""

    UNCONFIGURED = 1
    INACTIVE = 2
    ACTIVE = 3
    FINALIZED = 4


class Transition(IntEnum):
    """Numbered as lifecycle_msgs/msg/Transition is."""

    CONFIGURE = 1
    CLEANUP = 2
    ACTIVATE = 3
    DEACTIVATE = 4
    UNCONFIGURED_SHUTDOWN = 5
    INACTIVE_SHUTDOWN = 6
    ACTIVE_SHUTDOWN = 7


WAYS = {
    Transition.CONFIGURE: (State.UNCONFIGURED, State.INACTIVE),
    Transition.CLEANUP: (State.INACTIVE, State.UNCONFIGURED),
    Transition.ACTIVATE: (State.INACTIVE, State.ACTIVE),
    Transition.DEACTIVATE: (State.ACTIVE, State.INACTIVE),
    Transition.UNCONFIGURED_SHUTDOWN: (State.UNCONFIGURED, State.FINALIZED),
    Transition.INACTIVE_SHUTDOWN: (State.INACTIVE, State.FINALIZED),
    Transition.ACTIVE_SHUTDOWN: (State.ACTIVE, State.FINALIZED),
}
Work = Callable[[], Awaitable[None]]


class LifeCycle:
    """One node's. What goes wrong on the way leaves it in the state that it was in."""

    def __init__(self, work: Mapping[Transition, Work]) -> None:
        """`work` is what a transition does."""
        self.state = State.UNCONFIGURED
        self.finalized = asyncio.Event()
        self._work, self._changing = work, asyncio.Lock()

    async def change(self, number: int) -> str:
        """Take this way; "" once it is done, or why it is not."""
        async with self._changing:
            begin, end = WAYS.get(number, (None, State.FINALIZED))  # type: ignore[call-overload]
            if begin is not self.state:
                ways = ", ".join(f"{way.value} {way.name.lower()}" for way, (start, _) in WAYS.items() if start is self.state)
                return f"no transition {number} leads on from {self.state.name.lower()}; expected one of: {ways or 'none'}"
            try:
                await self._work[Transition(number)]()
            except FavorError as error:
                return str(error)
            self.state = end
        if end is State.FINALIZED:
            self.finalized.set()
        return ""

    async def shut_down(self) -> None:
        """From whatever state."""
        ways = {begin: way for way, (begin, end) in WAYS.items() if end is State.FINALIZED}
        if self.state in ways:
            await self.change(ways[self.state])
