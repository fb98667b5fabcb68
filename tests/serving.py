"""A server with a first stream and a client for it, for tests of what is asked over a connection."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from favor_stream.config import Config
from favor_stream.web import serve
from favor_stream.web.streams import Streams

TOKEN = "a-token-of-the-test"
PICTURES = "lavfi:testsrc=size=64x48:rate=4"


@asynccontextmanager
async def served(config: Config, perceive_every: int = 0) -> AsyncIterator[tuple[Streams, Any]]:
    """Streams, the first of a test picture, and a client that has the token."""
    async with Streams(config, perceive_every) as streams:
        await streams.add([PICTURES], "test")
        with serve.listening("127.0.0.1", 0) as door:
            hosting = asyncio.create_task(serve.host(streams, TOKEN, door))
            bearer = {"authorization": f"Bearer {TOKEN}"}
            async with (
                asyncio.timeout(60),
                httpx2.AsyncClient(base_url=serve.address(door), timeout=60, headers=bearer) as client,
            ):
                try:
                    while (await client.get("/readyz")).status_code != 200:
                        await asyncio.sleep(0.1)
                    yield streams, client
                finally:
                    hosting.cancel()
                    await asyncio.wait({hosting})


def ran(config: Config, calls: Any, **settings: Any) -> Any:
    """What `calls(agent, client)` returns; with the state of no other test."""

    async def run() -> Any:
        with tempfile.TemporaryDirectory() as state:
            async with served(replace(config, state=Path(state)), **settings) as (streams, client):
                return await calls(streams.find().agent, client)

    return asyncio.run(run())


def error(answer: Any) -> tuple[int, str, str]:
    told = answer.json()["error"]
    return answer.status_code, told["type"], told["message"]


async def streamed(answer: Any, count: int) -> list[dict[str, Any]]:
    """The first server-sent events of an answer."""
    found: list[dict[str, Any]] = []
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            found.append(json.loads(line.removeprefix("data: ")))
        if len(found) == count:
            break
    return found
