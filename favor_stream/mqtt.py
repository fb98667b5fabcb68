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
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt

from favor_stream import homeassistant, payload
from favor_stream.agent import Agent
from favor_stream.errors import ConfigError, DeviceError, FavorError
from favor_stream.outbox import Outbox
from favor_stream.outlets import Broker
from favor_stream.records import SLICE_S, Event, Watch, WatchEvent
from favor_stream.version import __version__

PORTS = {"mqtt": 1883, "mqtts": 8883}
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0  # before trying again, doubled each time, and drawn from half of it up
BIRTH_WAIT_S = 5.0  # at most, before a Home Assistant that has just started is told again: others tell it too
LEAVING_S = 5.0  # for what still waits when the stream has ended
MOST_COMMAND_BYTES = 16_384
MOST_SNAPSHOT_BYTES = 1_900_000  # Mosquitto disconnects who sends 2 MB
MOST_QUESTIONS = 8  # that wait for an answer
ONLINE, OFFLINE = b"online", b"offline"
ON_OFF = {True: b"ON", False: b"OFF"}


def to_bytes(told: dict[str, Any]) -> bytes:
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
        self._settings = folder / f"{broker.device}.json"
        tls(broker)  # refused now, if at all
        self._kept = kept(self._settings)
        if self._kept.get("privacy"):  # before a device is opened
            agent.begin_held()
        self._states: dict[str, bytes] = {}  # retained topics and what they hold
        self._untold: dict[str, bytes] = {}  # of them: what the broker does not have yet
        self._something = asyncio.Event()
        self._questions: asyncio.Queue[tuple[str, str]] = asyncio.Queue(MOST_QUESTIONS)
        self._is_lost = False

    async def run(self) -> None:
        """Tell and listen until the agent's events end; then what waits is sent, for a while, and `offline` said."""
        await self._restore()
        self._describe()
        connection = asyncio.create_task(self._stay_connected(), name="mqtt")
        others = [asyncio.create_task(work, name="mqtt") for work in (self._answer(), self._tell_figures())]
        try:
            await self._collect()
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVING_S):
                    while len(self._outbox) or self._untold:
                        await asyncio.sleep(0.02)
        finally:
            for task in (connection, *others):
                task.cancel()
            await asyncio.wait({connection, *others})
            self._outbox.close()

    # What is told.

    async def _collect(self) -> None:
        async for event in self._events:
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
                "events_dropped": self._outbox.dropped,
            }
            self._tell("stats", to_bytes(figures))
            await asyncio.sleep(homeassistant.STATS_EVERY_S)

    def _describe(self) -> None:
        """Every state as it is now; with discovery, what there is."""
        watches = self._agent.watches
        for watch in watches:
            self._tell(f"trigger/{watch.name}/enabled/state", ON_OFF[watch.is_on])
            self._tell(f"trigger/{watch.name}/cooldown/state", b"%g" % watch.cooldown_s)
            self._states.setdefault(f"{self._topic}/trigger/{watch.name}/state", ON_OFF[False])
        self._tell("privacy/state", ON_OFF[self._agent.is_held])
        self._tell_sources()
        if self._broker.discovery:
            sources = {slug(name): name for name in self._agent.sources}
            found = homeassistant.discovery(self._broker.device, self._broker.name, self._topic, watches, sources, __version__)
            self._states[discovery_topic(self._broker)] = to_bytes(found)

    def _tell_sources(self) -> None:
        for name in self._agent.sources:
            self._tell(f"source/{slug(name)}/status", OFFLINE if self._agent.is_held else ONLINE)

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
        wait_s = FIRST_WAIT_S
        while True:
            try:
                will = aiomqtt.Will(f"{self._topic}/availability", OFFLINE, qos=1, retain=True)
                async with connected(self._broker, will) as client:
                    await self._greet(client)
                    wait_s = FIRST_WAIT_S
                    try:
                        await self._talk(client)
                    finally:  # a clean stop sends no will
                        with suppress(aiomqtt.MqttError, TimeoutError):
                            await client.publish(f"{self._topic}/availability", OFFLINE, qos=1, retain=True, timeout=1)
            except* (aiomqtt.MqttError, OSError) as errors:
                self._lose(errors.exceptions[0])
            await asyncio.sleep(random.uniform(wait_s / 2, wait_s))
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _greet(self, client: aiomqtt.Client) -> None:
        """Everything that a broker may have forgotten, or that has changed while it was away."""
        for topic in (*COMMANDS, "trigger/+/enabled/set", "trigger/+/cooldown/set"):
            await client.subscribe(f"{self._topic}/{topic}", qos=1)
        if self._broker.discovery:
            await client.subscribe(f"{self._broker.discovery}/status")
        self._untold[f"{self._topic}/availability"] = ONLINE
        self._tell_all()
        if self._is_lost:
            self._is_lost = False
            self._agent.publish(Event("found", self._agent.heard_until_s, f"{self._broker.url} is back"))

    def _lose(self, error: BaseException) -> None:
        if not self._is_lost:
            self._is_lost = True
            text = f"{self._broker.url} cannot be reached ({error}); events are kept until it is back"
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
                await client.publish(topic, state, qos=1, retain=not topic.endswith("/stats"))
                if self._untold.get(topic) is state:
                    del self._untold[topic]
            if message := await asyncio.to_thread(self._outbox.first):
                await client.publish(message.topic, message.payload, qos=1)
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
            if command := COMMANDS.get(topic):
                await command(self, text)
            else:
                await self._set(topic, text)
        except FavorError as error:
            await self._queue("error", {"code": "command", "topic": topic, "message": str(error)})

    async def _ask(self, text: str) -> None:
        if self._questions.full():
            raise ConfigError(f"{MOST_QUESTIONS} questions are waiting; ask again when they are answered")
        self._questions.put_nowait(asked(text))

    async def _answer(self) -> None:
        while True:
            request, question = await self._questions.get()
            try:
                given = payload.answer(await self._agent.answer(question), request)
            except FavorError as error:
                await self._queue("error", {"code": "ask", "id": request, "message": str(error)})
                continue
            self._tell("answer/last", payload.shortened(given["text"]).encode())
            self._tell("answer/last/attributes", to_bytes(given))
            await self._queue(f"answer/{request}", given)

    async def _snapshot(self, _: str) -> None:
        self._show_snapshot()

    async def _forget(self, _: str) -> None:
        await self._agent.forget()

    async def _hold(self, text: str) -> None:
        if text not in ("ON", "OFF"):
            raise ConfigError(f"privacy is {text[:40]!r}; write ON or OFF")
        if text == "ON":
            await self._agent.hold()
        else:
            self._agent.resume()
        self._tell("privacy/state", text.encode())
        await asyncio.to_thread(self._keep, text == "ON")

    async def _set(self, topic: str, text: str) -> None:
        """trigger/NAME/enabled/set and trigger/NAME/cooldown/set"""
        _, name, what, _ = topic.split("/")
        watch = next((watch for watch in self._agent.watches if watch.name == name), None)
        if watch is None:
            raise ConfigError(f"no watch is called {name!r}; expected one that is configured")
        await self._agent.change(changed(watch, what, text))
        self._describe()
        await asyncio.to_thread(self._keep, self._agent.is_held)

    # What survives a restart.

    def _keep(self, privacy: bool) -> None:
        watches = {watch.name: {"is_on": watch.is_on, "cooldown_s": watch.cooldown_s} for watch in self._agent.watches}
        part = self._settings.with_suffix(".part")
        try:
            part.write_text(json.dumps({"privacy": privacy, "watches": watches}), encoding="utf-8")
            part.replace(self._settings)
        except OSError as error:
            raise DeviceError(
                f"{self._settings}: cannot be written ({error.strerror}); it is set until the next start"
            ) from error

    async def _restore(self) -> None:
        if self._agent.is_held:
            text = f"privacy is on since an earlier run: no device is opened until {self._topic}/cmd/privacy is OFF"
            self._agent.publish(Event("held", self._agent.heard_until_s, text))
        for watch in self._agent.watches:
            with suppress(KeyError, TypeError, ConfigError):  # a file of another version
                await self._agent.change(replace(watch, **self._kept["watches"][watch.name]))


COMMANDS: dict[str, Callable[[Mqtt, str], Awaitable[None]]] = {
    "ask": Mqtt._ask,
    "cmd/privacy": Mqtt._hold,
    "cmd/snapshot": Mqtt._snapshot,
    "cmd/reset_memory": Mqtt._forget,
}


def slug(name: str) -> str:
    """A source's name as a part of a topic."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:64] or "source"


def discovery_topic(broker: Broker) -> str:
    return f"{broker.discovery}/device/favor_{broker.device}/config"


def kept(settings: Path) -> dict[str, Any]:
    """What commands had set before a restart; a file that is missing or cannot be read is as if nothing had been."""
    try:
        found = json.loads(settings.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def connected(broker: Broker, will: aiomqtt.Will | None = None) -> aiomqtt.Client:
    """A client that connects when it is entered, under a name that nobody else has."""
    address = urlsplit(broker.url)
    return aiomqtt.Client(
        address.hostname or "",
        address.port or PORTS[address.scheme],
        username=broker.user or None,
        password=broker.password() if broker.user else None,
        identifier=f"favor_{broker.device}_{random.randrange(1 << 32):08x}",
        tls_context=tls(broker),
        will=will,
        timeout=10,
    )


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


def words(raw: object) -> str:
    """A command's payload as text. Raises ConfigError for one that is too large or no text."""
    if not isinstance(raw, bytes) or len(raw) > MOST_COMMAND_BYTES:
        size = f"{len(raw)} bytes" if isinstance(raw, bytes) else repr(raw)
        raise ConfigError(f"the command holds {size}; expected at most {MOST_COMMAND_BYTES} bytes of text")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError("the command is no UTF-8; expected text") from error


def asked(text: str) -> tuple[str, str]:
    """(request id, question) of plain text or of JSON {"id": ..., "text": ...}. Raises ConfigError for other JSON."""
    request = f"{random.randrange(1 << 64):016x}"
    if not text.lstrip().startswith("{"):
        return request, text
    try:
        told = json.loads(text)
        request, question = str(told.get("id", request)), told["text"]
    except (ValueError, KeyError, AttributeError) as error:
        raise ConfigError('the question is no JSON with a text; write {"id": "1", "text": "what do you see now?"}') from error
    if not isinstance(question, str) or not request.isalnum() or len(request) > 64:
        raise ConfigError("the question's text is no text, or its id not of 1 to 64 letters and digits; mend it")
    return request, question


def changed(watch: Watch, what: str, text: str) -> Watch:
    """The watch as a command sets it. Raises ConfigError for a value that it cannot have."""
    if what == "enabled":
        if text not in ("ON", "OFF"):
            raise ConfigError(f"enabled is {text[:40]!r}; write ON or OFF")
        return replace(watch, is_on=text == "ON")
    try:
        return replace(watch, cooldown_s=float(text))
    except ValueError as error:
        raise ConfigError(f"cooldown is {text[:40]!r}; write seconds") from error
