"""The page and the interface of one agent, served until Ctrl-C; the sources may end before."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

import uvicorn

from favor_stream.agent import Agent
from favor_stream.config import Config, state_folder
from favor_stream.errors import DeviceError
from favor_stream.web.access import Access, token_in
from favor_stream.web.app import app
from favor_stream.web.history import History

LAST_PORT = 65_535
LEAVING_S = 1  # that connections are given to end


def run(sources: Sequence[str], config: Config, host: str, port: int) -> int:
    """Prints the page's address, with the token in it, once the agent is there. DeviceError for a port that is taken."""
    token = token_in(config.state or state_folder())
    with suppress(KeyboardInterrupt), listening(host, port) as door:
        asyncio.run(serve(Agent(*sources, config=config), token, door))
    return 0


def listening(host: str, port: int) -> socket.socket:
    """Port 0: any that is free."""
    if port > LAST_PORT:
        raise DeviceError(f"there is no port {port}; choose another with --port, up to {LAST_PORT}")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise DeviceError(f"{host}:{port} cannot be listened to ({error}); choose another with --port") from error


async def serve(agent: Agent, token: str, door: socket.socket) -> None:
    history = History(agent)  # before entering, so that nothing is missed
    settings = uvicorn.Config(
        Access(app(agent, history), token),
        lifespan="off",
        log_level="warning",
        access_log=False,  # a token may be in an address
        server_header=False,
        timeout_graceful_shutdown=LEAVING_S,
        limit_concurrency=256,
    )
    async with agent:
        keeping = asyncio.create_task(history.run(), name="history")
        print(f"open {address(door)}/?token={token}", file=sys.stderr, flush=True)
        try:
            await uvicorn.Server(settings).serve([door])
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})


def address(door: socket.socket) -> str:
    host, port = door.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
