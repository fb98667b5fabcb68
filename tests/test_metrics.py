"""The page of figures: what it says, and to whom."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest
from happenings import happening
from mosquitto import free_port

from favor_stream.agent import Agent
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.outlets import Page

pytest.importorskip("prometheus_client")

from favor_stream.metrics import Metrics


def read(port: int) -> dict[str, float]:
    """Each figure of the page by its name with labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        lines = [line for line in page.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_page_tells_what_was_perceived_and_what_happened(config: Config) -> None:
    async def run() -> dict[str, float]:
        page = Page(port=free_port())
        agent = Agent("lavfi:testsrc=size=64x48:rate=4", config=config, perceive_every=0)
        async with asyncio.timeout(30), agent:
            serving = asyncio.create_task(Metrics(agent, page).run())
            await agent.until(2.0)
            agent.publish(happening(1))
            await asyncio.sleep(0.1)
            figures = await asyncio.to_thread(read, page.port)
            serving.cancel()
            await asyncio.wait({serving})
            with pytest.raises(OSError, match="refused"):
                await asyncio.to_thread(read, page.port)
            return figures

    figures = asyncio.run(run())
    assert figures['favor_happenings_total{watch="door"}'] == 1
    assert figures["favor_stream_seconds_total"] >= 2.0
    assert figures["favor_pictures_in_total"] > 0
    assert 0 < figures["favor_real_time_factor"] < 1
    assert figures["favor_feed_dropped_total"] == 0


def test_port_that_is_taken_is_one_clear_error(config: Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        page = Page(port=server.getsockname()[1])
        metrics = Metrics(Agent("film.mp4", config=config), page)
        with pytest.raises(DeviceError, match="choose another port"):
            asyncio.run(metrics.run())


def test_port_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="from 1 to 65535"):
        Page(port=70_000)


def test_outlet_that_fails_ends_an_endless_stream_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        watching = [sys.executable, "-m", "favor_stream", "live", "lavfi:testsrc=size=64x48:rate=4", "--json"]
        command = [*watching, "--metrics", str(taken.getsockname()[1])]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert "cannot be listened to" in ended.stderr.splitlines()[-1]
