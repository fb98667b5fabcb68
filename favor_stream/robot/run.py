"""One node from the command line, until its sources end, somebody shuts it down, or a signal ends it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from functools import partial

from favor_stream.agent import Agent
from favor_stream.chronicle import Chronicle, Keep
from favor_stream.config import Config, environment
from favor_stream.outlets import Robot
from favor_stream.robot.node import Companion, Node
from favor_stream.robot.rmw_zenoh import NO_HASH
from favor_stream.robot.wire import TypeHash, open_wire
from favor_stream.ros import messages
from favor_stream.watchdog import Watchdog


def run(sources: Sequence[str], robot: Robot, config: Config, keeps: Sequence[Keep] = ()) -> int:
    """`keeps`: who is handed the whole stream. A supervisor that speaks systemd's protocol is told that all is well."""
    asyncio.run(_run(sources, robot, config, keeps))
    return 0


def type_hash(robot: Robot) -> TypeHash:
    return messages.type_hash if robot.distro != "humble" else lambda kind: NO_HASH


async def _run(sources: Sequence[str], robot: Robot, config: Config, keeps: Sequence[Keep]) -> None:
    wire = partial(
        open_wire,
        robot.wire,
        robot.node,
        robot.namespace,
        type_hash(robot),
        domain=robot.ros_domain(),
        router=robot.router,
        fields=messages.fields(),
    )
    async with Node(robot, sources, config, wire, partial(companions, config, keeps)) as node:
        print(f"favor-stream: {node.words}", file=sys.stderr, flush=True)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, node.life.finalized.set)
        watching = asyncio.create_task(Watchdog(environment(), lambda: node.is_well).run(), name="watchdog")
        try:
            await node.ended()
        finally:
            watching.cancel()
            await asyncio.wait({watching})


def companions(config: Config, keeps: Sequence[Keep], agent: Agent) -> list[Companion]:
    """What goes on beside an agent, from before it is entered until its events end."""
    running: list[Companion] = [Chronicle(agent, keep).run for keep in keeps]
    if config.metrics:
        from favor_stream.metrics import Metrics  # of an extra

        running.append(Metrics(agent, config.metrics).run)
    return running
