"""What happens in a recording, told as fast as the model goes: the same events each time, to the byte.

Times are the recording's own; nothing is told of when it was replayed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from favor_stream import payload
from favor_stream.agent import Agent
from favor_stream.chronicle import Chronicle, Keep
from favor_stream.config import Config
from favor_stream.records import Event, WatchEvent


def run(sources: Sequence[str], config: Config, keeps: Sequence[Keep] = ()) -> int:
    """Prints each event as JSON, a line each. Raises DeviceError where there is nothing to play."""
    asyncio.run(_replay(sources, config, keeps))
    return 0


async def _replay(sources: Sequence[str], config: Config, keeps: Sequence[Keep]) -> None:
    agent = Agent(*sources, config=config, pace="fast")
    events, chronicles = agent.events(), [Chronicle(agent, keep) for keep in keeps]
    async with agent:
        keeping = [asyncio.create_task(chronicle.run(), name="chronicle") for chronicle in chronicles]
        ends = list[Event]()  # which sources tell ahead of what is perceived, by as much as the machine happens to be slow
        async for event in events:
            if event.source:
                ends.append(event)
            else:
                tell(event)
        for event in ends:
            tell(event)
        await asyncio.gather(*keeping)
        await agent.ended()


def tell(event: Event) -> None:
    told = payload.event(event, event.captured_at) if isinstance(event, WatchEvent) else payload.news(event)
    print(json.dumps(told), flush=True)
