"""Events to a web server, signed, in order, kept on disk until it has taken them.

Headers and signature follow Standard Webhooks (standardwebhooks.com): who receives them can use any library for it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from favor_stream import payload
from favor_stream.agent import Agent
from favor_stream.errors import DeviceError, FavorError
from favor_stream.outbox import Message, Outbox
from favor_stream.outlets import Hook
from favor_stream.records import Event, WatchEvent
from favor_stream.retrying import Patience, until_sent, while_well

ANSWER_S = 10.0  # that a server may take
TOO_MANY = 429  # requests: the one refusal that trying again may mend


class Webhook:
    """One server, from `run` until the agent's events end. A server that is away is told once as lost, and once as found."""

    def __init__(self, agent: Agent, hook: Hook, folder: Path) -> None:
        """`folder` keeps the outbox. Raises ConfigError without a secret, DeviceError for a folder that cannot be used."""
        self._agent, self._url, self._secret = agent, hook.url, hook.secret().encode()
        self._events = agent.events()
        self._outbox = Outbox(folder / "webhook.sqlite", hook.most_waiting)
        self._something = asyncio.Event()
        self._is_lost = False

    async def run(self) -> None:
        sending = asyncio.create_task(self._send(), name="webhook")
        try:
            await while_well(self._collect(), {sending})
            await until_sent(lambda: len(self._outbox))
        finally:
            sending.cancel()
            await asyncio.wait({sending})
            self._outbox.close()

    async def _collect(self) -> None:
        async for event in self._events:
            if isinstance(event, WatchEvent):
                await self._queue(event)

    async def _queue(self, event: WatchEvent) -> None:
        told = payload.event(event, datetime.now(UTC))
        try:
            await asyncio.to_thread(self._outbox.put, f"{event.id}.{event.phase}", json.dumps(told).encode())
        except FavorError as error:
            self._tell("lost", str(error))
        self._something.set()

    async def _send(self) -> None:
        patience = Patience()
        async with httpx2.AsyncClient(timeout=ANSWER_S) as client:
            while True:
                self._something.clear()
                try:
                    message = await asyncio.to_thread(self._outbox.first)
                except DeviceError as error:
                    self._lose(str(error))
                    await patience.wait()
                    continue
                if message is None:
                    await self._something.wait()
                elif await self._is_taken(client, message):
                    await asyncio.to_thread(self._outbox.done, message)
                    patience.reset()
                else:
                    await patience.wait()

    async def _is_taken(self, client: httpx2.AsyncClient, message: Message) -> bool:
        """Whether the server need not be told again: it has it, or does not want it."""
        try:
            answer = await client.post(
                self._url, content=message.payload, headers=signed(message, self._secret, int(time.time()))
            )
        except httpx2.HTTPError as error:
            return self._lose(str(error) or type(error).__name__)
        if answer.status_code >= 500 or answer.status_code == TOO_MANY:
            return self._lose(f"it answered {answer.status_code}")
        if self._is_lost:
            self._is_lost = False
            self._tell("found", f"{self._url} is back{self._outbox.losses}")
        if not answer.is_success:
            self._tell("error", f"{self._url} does not take event {message.topic} (it answered {answer.status_code})")
        return True

    def _lose(self, reason: str) -> bool:
        if not self._is_lost:
            self._tell("lost", f"{self._url} cannot be told ({reason}); events are kept until it can")
        self._is_lost = True
        return False

    def _tell(self, kind: str, text: str) -> None:
        self._agent.publish(Event(kind, self._agent.heard_until_s, text))


def signed(message: Message, secret: bytes, at_s: int) -> dict[str, str]:
    """Headers of one attempt; a message that comes twice has the same id."""
    signature = hmac.new(secret, f"{message.topic}.{at_s}.".encode() + message.payload, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": message.topic,
        "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }
