"""Tells systemd, or whoever speaks its protocol, that the program is ready, is well, or stops (man 3 sd_notify).

It knows no agent: it is told what well means, and pings only while that is so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping

from favor_stream.errors import ConfigError

LOOK_S = 0.2  # how often it looks whether the program is well for the first time
log = logging.getLogger(__name__)


class Watchdog:
    """From an environment's NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; where nobody supervises, it does nothing.

    `is_well` is asked on the event loop and must not take long. Raises ConfigError for variables that nobody could follow.
    """

    def __init__(self, environment: Mapping[str, str], is_well: Callable[[], bool]) -> None:
        self._is_well = is_well
        self._address = address(environment.get("NOTIFY_SOCKET", ""))
        self._ping_s = ping_s(environment)

    async def run(self) -> None:
        """READY=1 once the program is well, then pings at half of the time that is allowed; STOPPING=1 when it is cancelled."""
        if not self._address:
            return
        try:
            await self._say_ready()
            while True:
                await asyncio.sleep(self._ping_s or 3600.0)
                if self._ping_s and self._is_well():
                    self._send("WATCHDOG=1")
        finally:
            self._send("STOPPING=1")

    def status(self, words: str) -> None:
        """One line for who asks `systemctl status`."""
        self._send(f"STATUS={' '.join(words.split())}")

    async def _say_ready(self) -> None:
        """As often as it takes: who is not heard to be ready is killed."""
        while not (self._is_well() and self._send("READY=1")):
            await asyncio.sleep(LOOK_S)

    def _send(self, line: str) -> bool:
        """Whether it was taken; it never waits, and a supervisor that is away is no reason to stop."""
        if not self._address:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            try:
                sender.sendto(line.encode(), self._address)
            except OSError as error:
                log.info("%s: %s was not taken (%s)", self._address, line, error)
                return False
        return True


def address(given: str) -> str:
    """A path, or a name of Linux's abstract sockets, which is written with @ and begins with a zero."""
    if given and given[0] not in "/@":
        raise ConfigError(f"NOTIFY_SOCKET is {given!r}; expected a path or @NAME; unset it to run without a supervisor")
    return f"\0{given[1:]}" if given.startswith("@") else given


def ping_s(environment: Mapping[str, str]) -> float | None:
    """Half of the time after which silence is taken for death; None where nobody minds this process's silence."""
    allowed_us, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not allowed_us or (pid and pid != str(os.getpid())):
        return None
    if not allowed_us.isdigit() or int(allowed_us) == 0:
        raise ConfigError(f"WATCHDOG_USEC is {allowed_us!r}; expected microseconds; unset it to run without a watchdog")
    return int(allowed_us) / 2e6
