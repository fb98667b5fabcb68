"""The agent on a real broker: nothing is lost, states are told anew, commands are obeyed or refused in one line."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from happenings import DOOR, happening
from mosquitto import PASSWORD, USER, Mosquitto

from favor_stream import mqtt, retrying
from favor_stream.agent import Agent
from favor_stream.asked import asked
from favor_stream.config import Config, load
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.mqtt import Mqtt
from favor_stream.outbox import Message as Stored
from favor_stream.outbox import Outbox
from favor_stream.outlets import Broker, Hook
from favor_stream.records import Event, Watch

pytestmark = [pytest.mark.device, pytest.mark.alone]
AWAY = 620  # events, of which 600 come while the broker is away
PICTURES = "lavfi:testsrc=size=64x48:rate=4"


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, watches=(DOOR,))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mosquitto]:
    monkeypatch.setenv("FAVOR_MQTT_PASSWORD", PASSWORD)
    monkeypatch.setattr(retrying, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(retrying, "LONGEST_WAIT_S", 0.3)
    started = Mosquitto(tmp_path)
    yield started
    started.kill()


@asynccontextmanager
async def connected(config: Config, broker: Broker, folder: Path, limit_s: float = 40.0) -> AsyncIterator[tuple[Agent, Mqtt]]:
    agent = Agent(PICTURES, config=config, perceive_every=0)
    async with asyncio.timeout(limit_s), agent:
        face = Mqtt(agent, broker, folder)
        running = asyncio.create_task(face.run())
        try:
            yield agent, face
        finally:
            running.cancel()
            await asyncio.wait({running})


@asynccontextmanager
async def listener(server: Mosquitto, topic: str = "#") -> AsyncIterator[aiomqtt.Client]:
    async with asyncio.timeout(40), aiomqtt.Client("127.0.0.1", server.port, username=USER, password=PASSWORD) as client:
        await client.subscribe(topic, qos=1)
        yield client


@asynccontextmanager
async def asker(server: Mosquitto) -> AsyncIterator[aiomqtt.Client]:
    """One that speaks MQTT 5 and waits for its answers."""
    protocol = aiomqtt.ProtocolVersion.V5
    account = {"username": USER, "password": PASSWORD}
    async with asyncio.timeout(40), aiomqtt.Client("127.0.0.1", server.port, protocol=protocol, **account) as client:  # type: ignore[arg-type]
        await client.subscribe("mine/answers", qos=1)
        yield client


async def message(client: aiomqtt.Client, topic: str) -> aiomqtt.Message:
    """The next of a topic."""
    return await anext(message async for message in client.messages if message.topic.value == topic)


def told(message: aiomqtt.Message) -> dict[str, Any]:
    assert isinstance(message.payload, bytes)
    out: dict[str, Any] = json.loads(message.payload)
    return out


def on(server: Mosquitto, **settings: Any) -> Broker:
    return Broker(**{"url": server.url, "user": USER, "device": "porch", "name": "Porch", **settings})


def test_first_of_a_happening_is_told_after_its_snapshot_and_all_phases_beside(
    server: Mosquitto, config: Config, tmp_path: Path
) -> None:
    async def run() -> list[tuple[str, object]]:
        async with listener(server, "favor/porch/#") as client, connected(config, on(server), tmp_path) as (agent, _):
            await message(client, "favor/porch/availability")
            new = happening(3)
            for phase in ("new", "update", "end"):
                agent.publish(replace(new, phase=phase))
            heard: list[tuple[str, object]] = []
            async for each in client.messages:
                heard.append((each.topic.value, each.payload))
                if each.topic.value == "favor/porch/event/door" and told(each)["phase"] == "end":
                    return heard
            return heard

    heard = asyncio.run(run())
    topics = [topic for topic, _ in heard]
    assert topics.index("favor/porch/snapshot") < topics.index("favor/porch/event")
    assert topics.count("favor/porch/event") == 1
    assert topics.count("favor/porch/event/door") == 3
    assert dict(heard)["favor/porch/trigger/door/state"] == b"OFF"
    shown = dict(heard)["favor/porch/snapshot"]
    assert isinstance(shown, bytes)
    assert shown.startswith(b"\xff\xd8")


def test_nothing_is_lost_or_reordered_when_the_broker_is_killed_and_away_for_long(
    server: Mosquitto, config: Config, tmp_path: Path
) -> None:
    """Who listens has a session that the broker stores: what it gets in the end is all that was told.

    As many events as ten minutes bring at one a second; as many minutes, and as slowly, with FAVOR_AWAY_S=600.
    """
    away_s = float(os.environ.get("FAVOR_AWAY_S", "12"))

    def archive() -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1", server.port, username=USER, password=PASSWORD, identifier="archive", clean_session=False
        )

    async def run() -> tuple[list[str], list[str]]:
        async with archive() as client:
            await client.subscribe("favor/porch/event", qos=1)
        async with connected(config, on(server), tmp_path, away_s + 60) as (agent, _):
            sent, heard = [happening(number) for number in range(AWAY)], []
            for number, event in enumerate(sent):
                agent.publish(event)
                await asyncio.sleep(away_s / AWAY)
                if number == 20:
                    await asyncio.sleep(1.5)  # the broker stores what it has once a second
                    await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            async with archive() as client:
                async for each in client.messages:
                    heard.append(told(each)["id"])
                    if heard[-1] == sent[-1].id:
                        break
            return [event.id for event in sent], heard

    sent, heard = asyncio.run(run())
    assert list(dict.fromkeys(heard)) == sent  # a message that comes twice has the same id


def test_loss_and_return_of_the_broker_are_told_once_each(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    async def run() -> list[str]:
        async with connected(config, on(server), tmp_path) as (agent, _):
            news = agent.events()
            async with listener(server, "favor/porch/availability") as client:
                await message(client, "favor/porch/availability")
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(1.5)  # several vain tries
            await asyncio.to_thread(server.start)
            kinds = []
            async for event in news:
                kinds += [event.kind] if event.kind in ("lost", "found") else []
                if "found" in kinds:
                    break
            return kinds

    assert asyncio.run(run()) == ["lost", "found"]


def test_disk_that_cannot_be_read_for_a_while_is_told_and_loses_nothing(
    server: Mosquitto, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, read = happening(1), Outbox.first
    failing = [DeviceError("outbox.sqlite: the outbox cannot be used (disk I/O error)")]

    def first(outbox: Outbox) -> Stored | None:
        if failing and len(outbox):
            raise failing.pop()
        return read(outbox)

    async def run() -> tuple[str, list[str]]:
        monkeypatch.setattr(Outbox, "first", first)
        async with connected(config, on(server), tmp_path) as (agent, _), listener(server, "favor/porch/event") as client:
            news = agent.events()
            agent.publish(sent)
            heard = told(await message(client, "favor/porch/event"))["id"]
            texts = []
            async for event in news:
                texts += [event.text] if event.kind in ("lost", "found") else []
                if event.kind == "found":
                    break
            return heard, texts

    heard, (lost, _) = asyncio.run(run())
    assert heard == sent.id
    assert "disk I/O error" in lost


def test_device_is_described_in_retained_messages_and_says_goodbye(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    async def run() -> tuple[dict[str, Any], list[object]]:
        async with listener(server, "favor/porch/availability") as client:
            async with connected(config, on(server), tmp_path):
                online = (await message(client, "favor/porch/availability")).payload
                async with listener(server) as late:
                    described = told(await message(late, "homeassistant/device/favor_porch/config"))
            offline = (await message(client, "favor/porch/availability")).payload
            return described, [online, offline]

    described, availability = asyncio.run(run())
    assert availability == [b"online", b"offline"]
    assert described["device"]["identifiers"] == ["favor_porch"]
    assert described["components"]["events"]["event_types"] == ["door", "answer", "error"]


def test_home_assistant_that_has_just_started_is_told_again(
    server: Mosquitto, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "BIRTH_WAIT_S", 0.1)

    async def run() -> bool:
        async with listener(server) as client, connected(config, on(server), tmp_path):
            await message(client, "favor/porch/availability")
            await client.publish("homeassistant/status", "online")
            return bool(await message(client, "homeassistant/device/favor_porch/config"))

    assert asyncio.run(run())


def test_source_that_is_lost_is_offline_until_it_is_found(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    async def run() -> list[object]:
        async with connected(config, on(server), tmp_path) as (agent, _):
            (name,) = agent.sources
            topic = f"favor/porch/source/{mqtt.slug(name)}/status"
            async with listener(server, topic) as client:
                seen: list[object] = [(await message(client, topic)).payload]
                for kind in ("lost", "found"):
                    agent.publish(Event(kind, 1.0, f"{name}: {kind}", name))
                    seen.append((await message(client, topic)).payload)
                return seen

    assert asyncio.run(run()) == [b"online", b"offline", b"online"]


def test_question_is_answered_and_the_last_answer_is_kept(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    async def run() -> tuple[dict[str, Any], dict[str, Any]]:
        async with listener(server, "favor/porch/#") as client, connected(config, on(server), tmp_path):
            await message(client, "favor/porch/availability")
            await client.publish("favor/porch/ask", json.dumps({"id": "7", "text": "what do you see now?"}), qos=1)
            return told(await message(client, "favor/porch/answer/last/attributes")), told(
                await message(client, "favor/porch/answer/7")
            )

    last, answer = asyncio.run(run())
    assert last == answer
    assert answer["question"] == "what do you see now?"


def test_who_asks_by_mqtt_5_is_answered_at_a_topic_of_his_own(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    async def run() -> list[tuple[bytes, dict[str, Any]]]:
        async with asker(server) as client, connected(config, on(server), tmp_path):
            await asyncio.sleep(0.5)
            heard = []
            for number, text in enumerate((b"what do you see now?", b" ")):
                wanted = mqtt.properties(ResponseTopic="mine/answers", CorrelationData=b"%d" % number)
                await client.publish("favor/porch/ask", text, qos=1, properties=wanted)
                reply = await message(client, "mine/answers")
                assert reply.properties is not None
                heard.append((reply.properties.CorrelationData, told(reply)))  # type: ignore[attr-defined]
            return heard

    (first, answer), (second, refusal) = asyncio.run(run())
    assert (first, answer["question"]) == (b"0", "what do you see now?")
    assert (second, refusal["code"]) == (b"1", "ask")


def test_answer_may_fill_a_schema(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    there = {"properties": {"there": {"type": "boolean"}}, "required": ["there"]}
    schema = {"type": "object", "additionalProperties": False, **there}

    shipped = replace(config, weights=None, max_answer_tokens=64)  # whose words can spell JSON

    async def run() -> str:
        async with listener(server, "favor/porch/#") as client, connected(shipped, on(server), tmp_path):
            await message(client, "favor/porch/availability")
            await client.publish("favor/porch/ask", json.dumps({"id": "7", "text": "is it there?", "schema": schema}), qos=1)
            text: str = told(await message(client, "favor/porch/answer/7"))["text"]
            return text

    assert isinstance(json.loads(asyncio.run(run()))["there"], bool)


def test_pause_is_told_in_the_status_and_survives_a_restart(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    async def run() -> list[object]:
        seen: list[object] = []
        async with listener(server, "favor/porch/status") as client:
            async with connected(config, on(server), tmp_path) as (agent, _):
                seen.append(told(await message(client, "favor/porch/status"))["state"])
                await client.publish("favor/porch/cmd/pause", "ON", qos=1)
                seen.append(told(await message(client, "favor/porch/status")))
                seen.append(agent.is_paused)
                await asyncio.sleep(0.2)
            async with connected(config, on(server), tmp_path) as (agent, _):
                while not agent.is_paused:
                    await asyncio.sleep(0.02)
                await client.publish("favor/porch/cmd/pause", "OFF", qos=1)
                while agent.is_paused:
                    await asyncio.sleep(0.02)
        return seen

    assert asyncio.run(run()) == ["running", {"state": "paused", "reason": "pause"}, True]


def test_watch_by_hand_is_fired_by_a_command(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    async def run() -> dict[str, Any]:
        by_hand = replace(config, watches=(Watch("look", "look here", by="manual"),))
        async with listener(server, "favor/porch/#") as client, connected(by_hand, on(server), tmp_path):
            await message(client, "favor/porch/availability")
            await client.publish("favor/porch/trigger/look/fire", "", qos=1)
            return told(await message(client, "favor/porch/event"))

    event = asyncio.run(run())
    assert event["trigger"] == {"id": "look", "kind": "manual", "question": "look here"}


def test_old_broker_is_spoken_to_in_its_own_way(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    async def run() -> str:
        old = on(server, protocol="3.1.1")
        async with listener(server, "favor/porch/event") as client, connected(config, old, tmp_path) as (agent, _):
            agent.publish(happening(1))
            return str(told(await message(client, "favor/porch/event"))["phase"])

    assert asyncio.run(run()) == "new"


def test_watch_stays_as_it_was_set_over_a_restart(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    async def run() -> list[object]:
        seen: list[object] = []
        async with listener(server, "favor/porch/trigger/door/#") as client:
            async with connected(config, on(server), tmp_path) as (agent, _):
                await message(client, "favor/porch/trigger/door/enabled/state")
                await client.publish("favor/porch/trigger/door/enabled/set", "OFF", qos=1)
                await client.publish("favor/porch/trigger/door/threshold/set", "0.3", qos=1)
                await client.publish("favor/porch/trigger/door/cooldown/set", "77", qos=1)
                while agent.watches[0].cooldown_s != 77 or agent.watches[0].is_on:
                    await asyncio.sleep(0.02)
                await asyncio.sleep(0.2)
            async with connected(config, on(server), tmp_path) as (agent, _):
                while agent.watches[0].is_on:
                    await asyncio.sleep(0.02)
                seen += [agent.watches[0].cooldown_s, agent.watches[0].on, agent.watches[0].off]
        async with listener(server, "favor/porch/trigger/door/enabled/state") as client:
            seen.append((await message(client, "favor/porch/trigger/door/enabled/state")).payload)
        return seen

    assert asyncio.run(run()) == [77.0, 0.3, 0.3, b"OFF"]


def test_privacy_stops_the_capture_and_survives_a_restart(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    async def run() -> list[bool]:
        async with listener(server, "favor/porch/privacy/state") as client:
            async with connected(config, on(server), tmp_path) as (agent, _):
                assert (await message(client, "favor/porch/privacy/state")).payload == b"OFF"
                await client.publish("favor/porch/cmd/privacy", "ON", qos=1)
                while (await message(client, "favor/porch/privacy/state")).payload != b"ON":
                    pass
                held = [agent.is_held]
                await asyncio.sleep(0.3)
            agent = Agent(PICTURES, config=config, perceive_every=0)
            face = Mqtt(agent, on(server), tmp_path)
            async with agent:
                running = asyncio.create_task(face.run())
                await asyncio.sleep(1.0)
                held.append(agent.is_held and agent.counts.pictures_in == 0)
                await client.publish("favor/porch/cmd/privacy", "OFF", qos=1)
                await agent.until(0.5)
                held.append(agent.is_held)
                running.cancel()
                await asyncio.wait({running})
            return held

    assert asyncio.run(run()) == [True, True, False]


@pytest.mark.parametrize(
    ("topic", "payload", "complaint"),
    [
        ("ask", b"x" * 1_000_000, "1000000 bytes"),
        ("ask", b"\xff\xfe", "no UTF-8"),
        ("ask", b'{"text": 3}', "no text"),
        ("ask", b"{}", "write {"),
        ("ask", b" ", "blank"),
        ("trigger/door/enabled/set", b"maybe", "write ON or OFF"),
        ("trigger/door/cooldown/set", b"-1", "seconds"),
        ("trigger/door/threshold/set", b"high", "write a number"),
        ("trigger/door/threshold/set", b"1.5", "on < 1"),
        ("trigger/door/fire", b"", "no watch by hand"),
        ("cmd/pause", b"a while", "write ON or OFF"),
        ("ask", b'{"text": "what?", "schema": 3}', "no JSON object"),
        ("ask", b'{"text": ' * 1500 + b"1" + b"}" * 1500, "no JSON"),
        ("ask", b'{"text": "what?", "schema": ' + b'{"items": ' * 200 + b"{}" + b"}" * 201, "write a flatter one"),
        ("cmd/privacy", b"perhaps", "write ON or OFF"),
        ("trigger/window/enabled/set", b"ON", "no watch is called 'window'"),
    ],
)
def test_command_that_cannot_be_obeyed_is_one_error_and_the_agent_goes_on(
    server: Mosquitto, config: Config, tmp_path: Path, topic: str, payload: bytes, complaint: str
) -> None:
    async def run() -> tuple[str, object]:
        async with listener(server, "favor/porch/#") as client, connected(config, on(server), tmp_path) as (agent, _):
            await message(client, "favor/porch/availability")
            await client.publish(f"favor/porch/{topic}", payload, qos=1)
            error = told(await message(client, "favor/porch/error"))["message"]
            await client.publish("favor/porch/ask", "what do you see now?", qos=1)
            return error, (await message(client, "favor/porch/answer/last")).payload

    error, answer = asyncio.run(run())
    assert complaint in error
    assert answer is not None


@pytest.mark.parametrize("turns", range(3))
def test_stop_that_comes_as_the_broker_acknowledges_is_no_wait(
    server: Mosquitto, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """`turns`: of the loop, between the acknowledgement and the stop. Python 3.11 loses a cancellation at one of them."""
    acknowledge = aiomqtt.Client._on_publish
    stops: list[Callable[[], object]] = []

    def and_stop(client: aiomqtt.Client, *args: Any) -> None:
        acknowledge(client, *args)
        if stops and client.identifier.startswith("favor_porch"):
            after(turns, stops.pop())

    def after(turns: int, stop: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(after, turns - 1, stop) if turns else stop()

    async def run() -> None:
        async with asyncio.timeout(40), Agent(PICTURES, config=config, perceive_every=0) as agent:
            running = asyncio.create_task(Mqtt(agent, on(server), tmp_path).run())
            stops.append(running.cancel)
            _, unended = await asyncio.wait({running}, timeout=20)
            assert not unended

    monkeypatch.setattr(aiomqtt.Client, "_on_publish", and_stop)
    asyncio.run(run())


def test_command_that_was_left_lying_about_is_ignored(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    async def run() -> bool:
        async with listener(server, "favor/porch/#") as client:
            await client.publish("favor/porch/trigger/door/enabled/set", "OFF", qos=1, retain=True)
            async with connected(config, on(server), tmp_path) as (agent, _):
                await message(client, "favor/porch/availability")
                await client.publish("favor/porch/ask", "what do you see now?", qos=1)
                await message(client, "favor/porch/answer/last")
                return agent.watches[0].is_on

    assert asyncio.run(run())


def test_readme_s_settings_show_the_device_in_home_assistant(server: Mosquitto, config: Config, tmp_path: Path) -> None:
    """As they stand there, but for the test's own port and password."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    settings = tmp_path / "agent.toml"
    settings.write_text(readme.partition("agent.toml <<'END'\n")[2].partition("END\n")[0])
    as_told = load(settings)
    assert as_told.mqtt is not None
    broker = replace(as_told.mqtt, url=server.url, user=USER)

    async def run() -> dict[str, Any]:
        watching = replace(config, watches=as_told.watches)
        async with listener(server, "homeassistant/#") as client, connected(watching, broker, tmp_path):
            return told(await message(client, "homeassistant/device/favor_porch/config"))

    found = asyncio.run(run())
    assert found["device"]["name"] == "Porch"
    assert {"events", "holds_ring", "watch_ring", "threshold_ring", "ask"} <= found["components"].keys()


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("problem", ["password", "plain to TLS"])
def test_broker_that_refuses_is_told_in_one_line_and_the_agent_goes_on(
    server: Mosquitto, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    monkeypatch.setenv("FAVOR_MQTT_PASSWORD", "wrong")
    broker = on(server, url=server.url.replace("mqtt:", "mqtts:") if problem == "plain to TLS" else server.url)

    async def run() -> tuple[Event, str]:
        async with connected(config, broker, tmp_path) as (agent, _):
            lost = await anext(event async for event in agent.events() if event.kind == "lost")
            return lost, (await agent.answer("what do you see now?")).text

    lost, answer = asyncio.run(run())
    assert "cannot be reached" in lost.text
    assert "\n" not in lost.text
    assert "wrong" not in lost.text
    assert answer


def test_tls_with_an_authority_of_ones_own(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAVOR_MQTT_PASSWORD", PASSWORD)
    (tmp_path / "broker").mkdir()
    server = Mosquitto(tmp_path / "broker", tls=True)
    ca = tmp_path / "broker" / "ca.crt"

    async def run() -> object:
        context = ssl.create_default_context(cafile=str(ca))
        client = aiomqtt.Client("localhost", server.port, username=USER, password=PASSWORD, tls_context=context)
        async with asyncio.timeout(20), client, connected(config, on(server, ca=ca), tmp_path):
            await client.subscribe("favor/porch/availability")
            return (await message(client, "favor/porch/availability")).payload

    try:
        assert asyncio.run(run()) == b"online"
    finally:
        server.kill()


@pytest.mark.parametrize("most", [-1, 0, 10**9])
def test_number_of_messages_that_may_not_wait_is_refused(most: int) -> None:
    for outlet in (Broker, lambda most_waiting: Hook("https://host", most_waiting=most_waiting)):
        with pytest.raises(ConfigError, match="most_waiting is"):
            outlet(most_waiting=most)


def test_files_that_are_no_certificates_are_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="give PEM files"):
        mqtt.tls(Broker("mqtts://localhost", ca=tmp_path / "ca.pem"))


@pytest.mark.parametrize(
    "url", ["localhost", "http://localhost", "mqtt://", "mqtt://me:secret@localhost", "mqtt://[::1", "mqtt://host:one"]
)
def test_address_that_is_none_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="expected mqtt://HOST") as caught:
        Broker(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("topic", ["favor/porch/ask", "favor/porch/cmd/privacy", "homeassistant/status", "$SYS/x", "a/#"])
def test_answer_is_never_sent_where_it_would_be_a_command(topic: str) -> None:
    with pytest.raises(ConfigError, match="name one of your own"):
        asked("what?", mqtt.properties(ResponseTopic=topic), ("favor/porch/", "homeassistant/"))


def test_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def run() -> bool:
        task = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await retrying.ended({task})
        return task.cancelled()

    assert asyncio.run(run())
