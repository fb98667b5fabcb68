"""A broker of one's own on the loopback, for a first try: no password, nobody else's device can reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from amqtt.broker import Broker
from amqtt.errors import BrokerError

from favor_stream.errors import DeviceError

HOST, PORT = "127.0.0.1", 1883


@asynccontextmanager
async def embedded_broker(port: int = PORT) -> AsyncIterator[str]:
    """Its address, while it runs in this event loop. Raises DeviceError where the port is taken."""
    listener = {"type": "tcp", "bind": f"{HOST}:{port}", "max_connections": 64}
    plugins: dict[str, object] = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": {"default": listener}, "plugins": plugins})
    try:
        await broker.start()
    except (BrokerError, OSError) as error:
        raise DeviceError(
            f"port {port} cannot be listened to ({error}); is a broker running? then use mqtt://localhost"
        ) from error
    try:
        yield f"mqtt://{HOST}:{port}"
    finally:
        await broker.shutdown()
