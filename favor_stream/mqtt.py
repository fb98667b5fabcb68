"""The agent on an MQTT broker: events and answers, states for Home Assistant, and commands.

Events and answers wait on disk until the broker has acknowledged them, in order. States are told anew after each connection;
they are not queued, for only the newest counts. It knows the agent and its events, never what the agent is made of.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from favor_stream import homeassistant, payload
from favor_stream.agent import Agent
from favor_stream.asked import Asked, asked, words
from favor_stream.errors import ConfigError, DeviceError, FavorError
from favor_stream.health import Health
from favor_stream.outbox import Outbox
from favor_stream.outlets import Broker
from favor_stream.records import SLICE_S, Event, WatchEvent
from favor_stream.retrying import Patience, ended, until_sent, while_well
from favor_stream.switches import Switches
from favor_stream.version import __version__

PORTS = {"mqtt": 1883, "mqtts": 8883}
PROTOCOLS = {"3.1.1": aiomqtt.ProtocolVersion.V311, "5": aiomqtt.ProtocolVersion.V5}
BIRTH_WAIT_S = 5.0  # at most, before a Home Assistant that has just started is told again: others tell it too
EXPIRY_S = 3600  # after which a broker with MQTT 5 need not tell what happened any more
MOST_SNAPSHOT_BYTES = 1_900_000  # Mosquitto disconnects who sends 2 MB
MOST_QUESTIONS = 8  # that wait for an answer
ONLINE, OFFLINE = b"online", b"offline"
ON_OFF = {True: b"ON", False: b"OFF"}
COMMANDS = (
    *("ask", "cmd/pause", "cmd/privacy", "cmd/snapshot", "cmd/reset_memory", "trigger/+/fire"),
    *(f"trigger/+/{what}/set" for what in ("enabled", "cooldown", "threshold")),
)


def to_bytes(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False).encode()


class Mqtt:
    """One device on one broker, from `run` until the agent's events end.

    A broker that is away, or refuses, is told once in the agent's events as lost, and as found when it is back.
    """

    def __init__(self, agent: Agent, broker: Broker, folder: Path) -> None:
        """`folder` is for what survives a restart: the outbox, and how watches are set. Raises ConfigError, DeviceError."""
        self._agent, self._broker, self._topic = agent, broker, broker.topic
        self._events = agent.events()
        self._outbox = Outbox(folder / f"{broker.device}.sqlite", broker.most_waiting)
        tls(broker)  # refused now, if at all
        self._switches = Switches(agent, folder / f"{broker.device}.json")
        self._states: dict[str, bytes] = {}  # retained topics and what they hold
        self._untold: dict[str, bytes] = {}  # of them: what the broker does not have yet
        self._something = asyncio.Event()
        self._questions: asyncio.Queue[Asked] = asyncio.Queue(MOST_QUESTIONS)
        self._replies: deque[tuple[Asked, bytes]] = deque(maxlen=MOST_QUESTIONS)
        self._health = Health()
        self._is_lost = self._was_connected = False

    async def run(self) -> None:
        """Tell and listen until the agent's events end; then what waits is sent, for a while, and `offline` said."""
        if self._agent.is_held:
            text = f"privacy is on since an earlier run: no device is opened until {self._topic}/cmd/privacy is OFF"
            self._agent.publish(Event("held", self._agent.heard_until_s, text))
        await self._switches.restore()
        self._describe()
        beside = {
            asyncio.create_task(work, name="mqtt") for work in (self._stay_connected(), self._answer(), self._tell_figures())
        }
        try:
            await while_well(self._collect(), beside)
            await until_sent(lambda: len(self._outbox) or self._untold)
        finally:
            await ended(beside)
            self._outbox.close()

    # What is told.

    async def _collect(self) -> None:
        async for event in self._events:
            self._health.note(event)
            self._tell_status()
            if isinstance(event, WatchEvent):
                await self._collect_watch(event)
            elif event.source:
                self._tell(f"source/{slug(event.source)}/status", ONLINE if event.kind == "found" else OFFLINE)
            elif event.kind == "perceived":
                self._tell("scene", payload.shortened(event.text).encode())
                self._tell("scene/attributes", to_bytes(payload.news(event)))
            elif event.kind == "answer":
                self._tell("answer/last", payload.shortened(event.text).encode())
                self._tell("answer/last/attributes", to_bytes(payload.news(event)))
                await self._queue("answer/spoken", payload.news(event))
            elif event.kind in ("held", "resumed"):
                self._tell("privacy/state", ON_OFF[event.kind == "held"])
                self._tell_sources()
            elif event.kind == "error":
                await self._queue("error", {"code": "agent", **payload.news(event)})

    async def _collect_watch(self, event: WatchEvent) -> None:
        """The snapshot first: who is told looks at it at once."""
        told, name = payload.event(event, datetime.now(UTC)), event.watch.name
        if event.phase == "new":
            self._health.note_latency(told["latency_ms"])
            self._show_snapshot()
            await self._queue("event", told)
        self._tell(f"trigger/{name}/state", ON_OFF[event.phase != "end"])
        self._tell(f"trigger/{name}/attributes", to_bytes(told))
        await self._queue(f"event/{name}", told)

    def _show_snapshot(self) -> None:
        pictures = self._agent.clip(2 * SLICE_S).pictures
        if pictures and len(pictures[-1][1]) <= MOST_SNAPSHOT_BYTES:
            self._tell("snapshot", pictures[-1][1])

    async def _tell_figures(self) -> None:
        while True:
            counts = self._agent.counts
            figures = {
                "lag_s": round(self._agent.lag_s, 2),
                "pictures_in": counts.pictures_in,
                "pictures_dropped": counts.pictures_dropped,
                "tokens": self._agent.tokens,
                "events_waiting": len(self._outbox),
                "events_dropped": self._outbox.dropped + self._events.dropped,
                "latency_ms": self._health.latency_ms,
            }
            self._tell("stats", to_bytes(figures))
            self._tell_status()
            await asyncio.sleep(homeassistant.STATS_EVERY_S)

    def _describe(self) -> None:
        """Every state as it is now; with discovery, what there is."""
        watches = self._agent.watches
        for watch in watches:
            self._tell(f"trigger/{watch.name}/enabled/state", ON_OFF[watch.is_on])
            self._tell(f"trigger/{watch.name}/cooldown/state", b"%g" % watch.cooldown_s)
            self._tell(f"trigger/{watch.name}/threshold/state", b"%g" % watch.on)
            self._states.setdefault(f"{self._topic}/trigger/{watch.name}/state", ON_OFF[False])
        self._tell("privacy/state", ON_OFF[self._agent.is_held])
        self._tell("paused/state", ON_OFF[self._agent.is_paused])
        self._tell_status()
        self._tell_sources()
        if self._broker.discovery:
            sources = {slug(name): name for name in self._agent.sources}
            found = homeassistant.discovery(self._broker.device, self._broker.name, self._topic, watches, sources, __version__)
            self._states[discovery_topic(self._broker)] = to_bytes(found)

    def _tell_sources(self) -> None:
        for name in self._agent.sources:
            self._tell(f"source/{slug(name)}/status", OFFLINE if self._agent.is_held else ONLINE)

    def _tell_status(self) -> None:
        status = to_bytes(self._health.status(self._agent))
        if self._states.get(f"{self._topic}/status") != status:
            self._tell("status", status)

    def _tell(self, topic: str, state: bytes) -> None:
        self._states[f"{self._topic}/{topic}"] = self._untold[f"{self._topic}/{topic}"] = state
        self._something.set()

    def _tell_all(self) -> None:
        self._untold |= self._states
        self._something.set()

    async def _queue(self, topic: str, told: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(self._outbox.put, f"{self._topic}/{topic}", to_bytes(told))
        except FavorError as error:
            self._agent.publish(Event("lost", self._agent.heard_until_s, str(error)))
        self._something.set()

    # The connection.

    async def _stay_connected(self) -> None:
        patience = Patience()
        while True:
            try:
                will = aiomqtt.Will(f"{self._topic}/availability", OFFLINE, qos=1, retain=True)
                async with connected(self._broker, will) as client:
                    await self._greet(client)
                    patience.reset()
                    try:
                        await self._talk(client)
                    finally:  # a clean stop sends no will
                        with suppress(aiomqtt.MqttError, TimeoutError):
                            await client.publish(f"{self._topic}/availability", OFFLINE, qos=1, retain=True, timeout=1)
            except* (aiomqtt.MqttError, OSError, DeviceError) as errors:
                self._lose(errors.exceptions[0])
            await patience.wait()

    async def _greet(self, client: aiomqtt.Client) -> None:
        """Everything that a broker may have forgotten, or that has changed while it was away."""
        for topic in COMMANDS:
            await client.subscribe(f"{self._topic}/{topic}", qos=1)
        if self._broker.discovery:
            await client.subscribe(f"{self._broker.discovery}/status")
        self._was_connected = True
        self._untold[f"{self._topic}/availability"] = ONLINE
        self._tell_all()
        if self._is_lost:
            self._is_lost = False
            self._agent.publish(Event("found", self._agent.heard_until_s, f"{self._broker.url} is back{self._outbox.losses}"))

    def _lose(self, error: BaseException) -> None:
        if not self._is_lost:
            self._is_lost = True
            old = ', or set protocol = "3.1.1" for an old one' if self._broker.protocol == "5" and not self._was_connected else ""
            text = f"{self._broker.url} cannot be reached ({error}); events are kept until it is back{old}"
            self._agent.publish(Event("lost", self._agent.heard_until_s, text))

    async def _talk(self, client: aiomqtt.Client) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send(client))
            group.create_task(self._listen(client))

    async def _send(self, client: aiomqtt.Client) -> None:
        """One after the other, each until it is acknowledged: states first, for an event's snapshot is one."""
        while True:
            self._something.clear()
            while self._untold:
                topic, state = next(iter(self._untold.items()))
                await publish(client, topic, state, retain=not topic.endswith("/stats"))
                if self._untold.get(topic) is state:
                    del self._untold[topic]
            while self._replies:
                asked, answer = self._replies.popleft()
                await publish(client, asked.reply_to, answer, properties=properties(CorrelationData=asked.correlation))
            if message := await asyncio.to_thread(self._outbox.first):
                expiry = properties(MessageExpiryInterval=EXPIRY_S) if self._broker.protocol == "5" else None
                await publish(client, message.topic, message.payload, properties=expiry)
                await asyncio.to_thread(self._outbox.done, message)
            elif not self._untold:
                await self._something.wait()

    # Commands.

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            topic = message.topic.value
            if topic == f"{self._broker.discovery}/status":
                if message.payload == ONLINE:
                    asyncio.get_running_loop().call_later(random.uniform(0, BIRTH_WAIT_S), self._tell_all)
            elif not message.retain:  # a command that was left lying about is nobody's wish now
                await self._obey(topic.removeprefix(f"{self._topic}/"), message)

    async def _obey(self, topic: str, message: aiomqtt.Message) -> None:
        """A mistake in a command is told on `error`; nothing that a command holds ends the agent."""
        try:
            text = words(message.payload)
            if topic == "ask":
                self._ask(asked(text, message.properties, (f"{self._topic}/", f"{self._broker.discovery}/")))
            elif topic == "cmd/snapshot":
                self._show_snapshot()
            else:
                await self._switches.turn(topic, text)
        except FavorError as error:
            await self._queue("error", {"code": "command", "topic": topic, "message": str(error)})
        if topic not in ("ask", "cmd/snapshot"):
            self._describe()

    def _ask(self, asked: Asked) -> None:
        if self._questions.full():
            raise ConfigError(f"{MOST_QUESTIONS} questions are waiting; ask again when they are answered")
        self._questions.put_nowait(asked)

    async def _answer(self) -> None:
        while True:
            asked = await self._questions.get()
            try:
                answer = await self._agent.answer(asked.question, schema=asked.schema)
            except FavorError as error:
                refusal = {"code": "ask", "id": asked.id, "message": str(error)}
                self._reply(asked, refusal)
                await self._queue("error", refusal)
                continue
            given = payload.answer(answer, asked.id)
            self._reply(asked, given)
            self._tell("answer/last", payload.shortened(given["text"]).encode())
            self._tell("answer/last/attributes", to_bytes(given))
            await self._queue(f"answer/{asked.id}", given)

    def _reply(self, asked: Asked, given: payload.Json) -> None:
        """Who is away by now has no use for it: it waits in memory alone."""
        if asked.reply_to:
            self._replies.append((asked, to_bytes(given)))
            self._something.set()


def slug(name: str) -> str:
    """A source's name as a part of a topic."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:64] or "source"


def discovery_topic(broker: Broker) -> str:
    return f"{broker.discovery}/device/favor_{broker.device}/config"


def connected(broker: Broker, will: aiomqtt.Will | None = None) -> aiomqtt.Client:
    """A client that connects when it is entered, under a name that nobody else has."""
    address = urlsplit(broker.url)
    return aiomqtt.Client(
        address.hostname or "",
        address.port or PORTS[address.scheme],
        protocol=PROTOCOLS[broker.protocol],
        username=broker.user or None,
        password=broker.password() if broker.user else None,
        identifier=f"favor_{broker.device}_{random.randrange(1 << 32):08x}",
        tls_context=tls(broker),
        will=will,
        timeout=10,
    )


async def publish(client: aiomqtt.Client, topic: str, payload: bytes, **settings: Any) -> None:
    """Until the broker has acknowledged it. Raises MqttError."""
    await client.publish(topic, payload, qos=1, **settings)
    task = asyncio.current_task()
    if task and task.cancelling():  # before Python 3.12 its `wait_for` loses a cancellation that comes as it ends
        raise asyncio.CancelledError


def tls(broker: Broker) -> ssl.SSLContext | None:
    """What a mqtts address needs. Raises ConfigError for files that are no certificates."""
    if urlsplit(broker.url).scheme != "mqtts":
        return None
    try:
        context = ssl.create_default_context(cafile=broker.ca and str(broker.ca))
        if broker.certificate and broker.key:
            context.load_cert_chain(broker.certificate, broker.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"mqtt ca, certificate or key cannot be used ({error}); give PEM files") from error
    return context


def properties(**values: object) -> Properties:
    """Of a message that is published by MQTT 5."""
    out = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(out, name, value)
    return out
