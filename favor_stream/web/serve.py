"""The page and the interface, served until Ctrl-C or a signal to end; the sources may end before."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from favor_stream.config import Config, state_folder
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.web.access import Access, token_in
from favor_stream.web.app import app
from favor_stream.web.media import MOST_FRAME_BYTES
from favor_stream.web.streams import Streams

LAST_PORT = 65_535
LEAVING_S = 1  # that connections are given to end
log = logging.getLogger("uvicorn.error")
ENDING = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate with its chain, and its key, as PEM files. ConfigError for one that is not there."""

    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        for path in (self.certificate, self.key):
            if not path.is_file():
                raise ConfigError(f"{path}: no such file; expected a PEM file, as certbot or openssl write it")


def run(sources: Sequence[str], config: Config, host: str, port: int, tls: Tls | None = None) -> int:
    """Prints the page's address, with the token in it, once it can be opened. DeviceError for a port that is taken.

    Without sources it waits for browsers that bring their own.
    """
    if config.mqtt or config.webhook:
        print("favor-stream: serve tells no broker and no webhook; favor-stream live does", file=sys.stderr)
    token = token_in(config.state or state_folder())
    with listening(host, port) as door:
        asyncio.run(serve(sources, config, token, door, tls))
    return 0


def listening(host: str, port: int) -> socket.socket:
    """Port 0: any that is free."""
    if port > LAST_PORT:
        raise DeviceError(f"there is no port {port}; choose another with --port, up to {LAST_PORT}")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise DeviceError(f"{host}:{port} cannot be listened to ({error}); choose another with --port") from error


class Server(uvicorn.Server):
    """Ends when it is told to and lets who started it clean up: uvicorn's own would raise the signal once more.

    Who follows events is cut off then, which is no error.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.setLevel(logging.CRITICAL)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in ENDING:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in ENDING:
                loop.remove_signal_handler(number)


async def serve(sources: Sequence[str], config: Config, token: str, door: socket.socket, tls: Tls | None = None) -> None:
    async with Streams(config) as streams:
        if sources:
            await streams.add(sources)
        print(f"open {address(door, tls)}/?token={token}", file=sys.stderr, flush=True)
        await host(streams, token, door, tls)


async def host(streams: Streams, token: str, door: socket.socket, tls: Tls | None = None) -> None:
    """Serves streams that somebody else has entered, until it is told to end."""
    settings = uvicorn.Config(
        Access(app(streams), token),
        lifespan="off",
        log_level="warning",
        access_log=False,  # a token may be in an address
        server_header=False,
        timeout_graceful_shutdown=LEAVING_S,
        limit_concurrency=256,
        ws_max_size=MOST_FRAME_BYTES,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    await Server(settings).serve([door])


def address(door: socket.socket, tls: Tls | None = None) -> str:
    host, port = door.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
