"""What an outlet does about somebody who is away: wait longer each time, and not for ever when the stream has ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
AGAIN_S = 5.0  # after which a task that goes on is cancelled again; leaving in good order takes less
LEAVING_S = 5.0  # for what still waits when the stream has ended


class Patience:
    """How long to wait before trying again: doubled each time, and drawn from half of it up, so that many do not come at once."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """It has worked."""
        self._wait_s = FIRST_WAIT_S

    async def wait(self) -> None:
        await asyncio.sleep(random.uniform(self._wait_s / 2, self._wait_s))
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)


async def until_sent(has_waiting: Callable[[], object]) -> None:
    """Give what still waits a last moment."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LEAVING_S):
            while has_waiting():
                await asyncio.sleep(0.02)


async def while_well(work: Coroutine[None, None, None], beside: set[asyncio.Task[None]]) -> None:
    """Do this. Raises what one of those `beside` it, which go on for ever, fails with meanwhile: nobody else would notice."""
    working = asyncio.create_task(work, name="while well")
    try:
        done, _ = await asyncio.wait({working, *beside}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await ended({working})


async def ended(tasks: set[asyncio.Task[None]]) -> None:
    """Cancels them until they have ended: before Python 3.12 `wait_for` loses a cancellation that comes as its own wait ends."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=AGAIN_S)
