"""The supervisor is a real datagram socket that the test reads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from favor_stream.errors import ConfigError
from favor_stream.watchdog import Watchdog

WAIT_S = 20.0
PING_US = 200_000


class Supervisor:
    """Hears what is sent to an address, as systemd does."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(path)

    async def next(self) -> str:
        async with asyncio.timeout(WAIT_S):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()

    def heard(self) -> list[str]:
        """All that has come and was not read."""
        lines = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines.append(self._socket.recv(4096).decode())
        return lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def supervisor(path: str) -> Iterator[Supervisor]:
    made = Supervisor(path)
    yield made
    made.close()


def stopped(task: asyncio.Task[None]) -> asyncio.Task[None]:
    task.cancel()
    return task


def test_well_program_is_ready_pings_and_says_that_it_stops(path: str, supervisor: Supervisor) -> None:
    async def run() -> None:
        watchdog = Watchdog({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": str(PING_US)}, lambda: True)
        task = asyncio.create_task(watchdog.run())
        assert [await supervisor.next() for _ in range(3)] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
        with contextlib.suppress(asyncio.CancelledError):
            await stopped(task)
        assert supervisor.heard()[-1] == "STOPPING=1"

    asyncio.run(run())


def test_pings_come_twice_in_the_time_that_is_allowed(path: str, supervisor: Supervisor) -> None:
    async def run() -> None:
        watchdog = Watchdog({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"}, lambda: True)
        task = asyncio.create_task(watchdog.run())
        await supervisor.next()
        begun_s = asyncio.get_running_loop().time()
        assert await supervisor.next() == "WATCHDOG=1"
        assert asyncio.get_running_loop().time() - begun_s > 0.4
        with contextlib.suppress(asyncio.CancelledError):
            await stopped(task)

    asyncio.run(run())


def test_program_that_is_not_well_is_silent_until_it_is(path: str, supervisor: Supervisor) -> None:
    is_well = False

    async def run() -> None:
        nonlocal is_well
        watchdog = Watchdog({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": str(PING_US)}, lambda: is_well)
        task = asyncio.create_task(watchdog.run())
        await asyncio.sleep(0.5)
        assert supervisor.heard() == []
        is_well = True
        assert [await supervisor.next() for _ in range(2)] == ["READY=1", "WATCHDOG=1"]
        is_well = False
        supervisor.heard()
        await asyncio.sleep(0.5)
        assert supervisor.heard() == []
        with contextlib.suppress(asyncio.CancelledError):
            await stopped(task)

    asyncio.run(run())


def test_without_a_watchdog_it_is_ready_and_pings_nobody(path: str, supervisor: Supervisor) -> None:
    async def run() -> None:
        watchdog = Watchdog({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": str(PING_US), "WATCHDOG_PID": "1"}, lambda: True)
        task = asyncio.create_task(watchdog.run())
        assert await supervisor.next() == "READY=1"
        await asyncio.sleep(0.4)
        assert supervisor.heard() == []
        with contextlib.suppress(asyncio.CancelledError):
            await stopped(task)

    asyncio.run(run())


def test_pid_of_this_process_is_meant_by_the_watchdog(path: str, supervisor: Supervisor) -> None:
    async def run() -> None:
        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": str(PING_US), "WATCHDOG_PID": str(os.getpid())}
        task = asyncio.create_task(Watchdog(environment, lambda: True).run())
        assert [await supervisor.next() for _ in range(2)] == ["READY=1", "WATCHDOG=1"]
        with contextlib.suppress(asyncio.CancelledError):
            await stopped(task)

    asyncio.run(run())


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's alone")
def test_abstract_socket_is_spoken_to() -> None:
    name = f"favor-{secrets.token_hex(8)}"
    supervisor = Supervisor(f"\0{name}")
    try:
        Watchdog({"NOTIFY_SOCKET": f"@{name}"}, lambda: True).status("sees the yard")
        assert supervisor.heard() == ["STATUS=sees the yard"]
    finally:
        supervisor.close()


def test_status_is_one_line_whatever_its_words_are(path: str, supervisor: Supervisor) -> None:
    Watchdog({"NOTIFY_SOCKET": path}, lambda: True).status("camera lost\nWATCHDOG=trigger")
    assert supervisor.heard() == ["STATUS=camera lost WATCHDOG=trigger"]


def test_ready_is_said_again_until_somebody_takes_it(path: str) -> None:
    async def run() -> None:
        task = asyncio.create_task(Watchdog({"NOTIFY_SOCKET": path}, lambda: True).run())
        await asyncio.sleep(0.1)
        supervisor = Supervisor(path)  # comes late
        assert await supervisor.next() == "READY=1"
        with contextlib.suppress(asyncio.CancelledError):
            await stopped(task)
        supervisor.close()

    asyncio.run(run())


def test_where_nobody_supervises_nothing_happens() -> None:
    watchdog = Watchdog({}, lambda: True)
    watchdog.status("alone")
    asyncio.run(asyncio.wait_for(watchdog.run(), WAIT_S))


@pytest.mark.parametrize("allowed_us", ["soon", "-1", "0"])
def test_time_that_nobody_could_keep_is_refused(allowed_us: str) -> None:
    with pytest.raises(ConfigError, match="WATCHDOG_USEC"):
        Watchdog({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": allowed_us}, lambda: True)


def test_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="NOTIFY_SOCKET"):
        Watchdog({"NOTIFY_SOCKET": "vsock:2:1234"}, lambda: True)
