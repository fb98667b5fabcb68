"""The command line's view of a broker, from a first try on the embedded one to taking a device off."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import aiomqtt
import pytest
from media import numbered_film
from mosquitto import free_port

from favor_stream import following
from favor_stream.agent import Agent
from favor_stream.config import Config
from favor_stream.embedded import embedded_broker
from favor_stream.errors import DeviceError
from favor_stream.mqtt import Mqtt
from favor_stream.outlets import Broker
from favor_stream.records import Watch

ALWAYS = Watch("always", "anything happens", on=1e-9, off=1e-10, hold_s=0.5)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    numbered_film(path, seconds=4.0)
    return str(path)


def test_first_try_shows_an_event_and_leaves_no_ghost(
    film: str, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> int:
        port = free_port()
        broker = Broker(f"mqtt://127.0.0.1:{port}", protocol="3.1.1", device="porch")
        looking = asyncio.create_task(following._follow(broker, json_out=False))  # before there is a broker
        await asyncio.sleep(0.5)
        async with asyncio.timeout(30), embedded_broker(port):
            await asyncio.sleep(1.5)
            agent = Agent(film, config=config, watches=[ALWAYS])
            face = Mqtt(agent, broker, tmp_path)
            async with agent:
                await face.run()
            await asyncio.sleep(0.3)
            looking.cancel()
            emptied = await following._remove(broker)
            assert await following._remove(broker) == 0
            return emptied

    assert asyncio.run(run()) > 5
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert told.err.count("waiting for a broker") == 1
    assert [line.split()[1:3] for line in lines] == [["porch", f"[{phase}]"] for phase in ("new", "update", "end")]


def test_message_of_somebody_else_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), embedded_broker(free_port()) as url, aiomqtt.Client("127.0.0.1", int(url[-5:])) as other:
            looking = asyncio.create_task(following._follow(Broker(url), json_out=True))
            await asyncio.sleep(0.5)
            told = {"t_captured": "now", "phase": "new", "summary": "", "description": ""}
            for payload in (b"no JSON", b"[]", b"{}", json.dumps(told).encode()):
                await other.publish("favor/porch/event/x", payload, qos=1)
            await asyncio.sleep(0.5)
            looking.cancel()

    asyncio.run(run())
    assert [json.loads(line)["t_captured"] for line in capsys.readouterr().out.splitlines()] == ["now"]


def test_taken_port_and_missing_broker_are_one_clear_error() -> None:
    port = free_port()
    with pytest.raises(DeviceError, match="start the broker"):
        following.remove(Broker(f"mqtt://127.0.0.1:{port}"))

    async def twice() -> None:
        async with embedded_broker(port), embedded_broker(port):
            pass

    with pytest.raises(DeviceError, match=f"port {port} cannot be listened to"):
        asyncio.run(twice())


def test_command_line_watches_and_tells(film: str, config: Config, tmp_path: Path) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(
        f"weights = {str(config.weights)!r}\nstate = 'state'\n[watches.always]\nquestion = 'anything happens'\n"
        "on = 1e-9\noff = 1e-10\n[mqtt]\nurl = 'mqtt://127.0.0.1:9'\n"
    )
    arguments = ["--config", str(settings), "live", film, "--evidence", str(tmp_path / "proof"), "--watch", "a bell"]
    command = [sys.executable, "-m", "favor_stream", *arguments]
    told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    assert "[new] anything happens" in told
    assert "[end] anything happens ended after" in told
    assert "mqtt://127.0.0.1:9 cannot be reached" in told
    assert {path.suffix for path in (tmp_path / "proof").iterdir()} == {".jpg", ".mp4"}
    assert (tmp_path / "state" / "favor.sqlite").exists()


def test_events_and_answers_can_be_read_by_a_script(film: str, config: Config, tmp_path: Path) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(
        f"weights = {str(config.weights)!r}\n[watches.always]\nquestion = 'anything happens'\non = 1e-9\noff = 1e-10\n"
    )
    command = [sys.executable, "-m", "favor_stream", "--config", str(settings), "live", film, "--json"]
    asked = subprocess.run(command, input="what do you see now?\n", capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in asked.stdout.splitlines()]
    assert [each["phase"] for each in told if "phase" in each] == ["new", "update", "end"]
    assert [each["question"] for each in told if "question" in each] == ["what do you see now?"]
    assert "perceived" in {each.get("kind") for each in told}
