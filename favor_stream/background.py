"""An agent beside a control loop: its event loop runs in a thread of its own, and what the control loop calls never waits.

with in_background(Agent("camera", "microphone")) as agent:
    while True:
        seen = agent.latest(max_age_s=1.0)  # Stale where there is none: stop
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from favor_stream.agent import Agent


@contextmanager
def in_background(agent: Agent) -> Iterator[Agent]:
    """Enters the agent and leaves it at the end, for `latest` and `ask_nowait`. Raises what entering and leaving it raise."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="agent", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(agent.__aenter__(), loop).result()
        try:
            yield agent
        finally:
            asyncio.run_coroutine_threadsafe(agent.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
