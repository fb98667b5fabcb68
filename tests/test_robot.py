"""favor-stream robot as a process of its own: what shares nothing with it but the wire publishes, asks and is told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zenoh

from favor_stream.__main__ import main
from favor_stream.bench.robot import IMAGE, STRING, TOPIC, message, rooms, routed
from favor_stream.robot.rmw_zenoh import Attachment, topic_key
from favor_stream.robot.wire import Quality, Trouble, dds_name, open_wire
from favor_stream.ros.messages import Message, decode, encode, make, type_hash

pytestmark = pytest.mark.alone

WAIT_S, FPS = 90.0, 10.0


def waited(is_so: Callable[[], object]) -> None:
    give_up_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < give_up_s, "it did not come to it"
        time.sleep(0.01)


class Peer:
    """Another node: it publishes pictures, hears what is told, and asks."""

    def __init__(self, router: str) -> None:
        self.events, self.diagnostics, self.troubles = list[dict[str, Any]](), list[Message](), list[Trouble]()
        self._wire = open_wire("zenoh", "peer", "/", type_hash, self.troubles.append, router=router)
        self._wire.subscribe("/favor/events", STRING, self._hear, Quality.RELIABLE)
        kind = "diagnostic_msgs/msg/DiagnosticArray"
        self._wire.subscribe("/diagnostics", kind, lambda cdr: self.diagnostics.append(decode(cdr, kind)), Quality.RELIABLE)
        self._show, self._rooms = self._wire.publisher(TOPIC, IMAGE, Quality.SENSOR), rooms()
        self.shows_circle, self._leaving = False, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._leaving.set()
        self._thread.join()
        self._wire.close()

    def _hear(self, cdr: bytes) -> None:
        self.events.append(json.loads(decode(cdr, STRING).data))

    def _run(self) -> None:
        while not self._leaving.wait(1 / FPS):
            self._show(message(self._rooms[self.shows_circle]))


def called(router: str, service: str, kind: str, **wanted: object) -> Message:
    """What a service of another process answers, asked as rmw_zenoh asks."""
    settings = zenoh.Config()
    for key, value in (("mode", "peer"), ("connect/endpoints", [router]), ("scouting/multicast/enabled", False)):
        settings.insert_json5(key, json.dumps(value))
    with zenoh.open(settings) as session:
        asked = Attachment(1, time.time_ns(), bytes(16)).encoded()
        key = topic_key(0, service, dds_name(kind), type_hash(kind))
        request = encode(make(f"{kind}_Request", **wanted))
        give_up_s = time.monotonic() + WAIT_S
        while time.monotonic() < give_up_s:  # a session that was just opened knows nobody yet
            for reply in session.get(key, payload=request, attachment=asked, timeout=WAIT_S):
                assert reply.ok is not None
                return decode(reply.ok.payload.to_bytes(), f"{kind}_Response")
            time.sleep(0.1)
    raise AssertionError("nobody answered")


@pytest.fixture
def router() -> Iterator[str]:
    with routed() as address:
        yield address


@pytest.fixture
def robot(router: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = ["robot", "--pictures", TOPIC, "--wire", "zenoh", "--router", router, "--watch", "a red circle appears"]
    process = subprocess.Popen(
        [sys.executable, "-m", "favor_stream", *command, "--record", str(tmp_path / "kept.mcap")],
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()  # does nothing where it has ended
    if process.stderr and not process.stderr.closed:
        process.communicate()


def test_two_processes_share_nothing_but_the_wire(robot: subprocess.Popen[str], router: str, tmp_path: Path) -> None:
    with Peer(router) as peer:
        waited(lambda: any(event["kind"] == "perceived" for event in peer.events if "kind" in event))
        peer.shows_circle = True
        waited(lambda: any(event.get("phase") == "new" for event in peer.events))
        event = next(event for event in peer.events if event.get("phase") == "new")
        assert event["event_type"] == "a_red_circle_appears"
        assert event["frame_id"] == "camera"
        stamped_s = event["stamp"]["sec"] + event["stamp"]["nanosec"] / 1e9
        assert 0 < time.time() - stamped_s < WAIT_S
        answer = called(router, "/favor/ask", "favor_msgs/srv/Ask", question="what do you see now?")
        assert "red circle" in answer.text
        assert called(router, "/favor/anything_new", "std_srvs/srv/Trigger").message == "a red circle appears"
        waited(lambda: peer.diagnostics)
        figures = {each.key: each.value for each in peer.diagnostics[-1].status[0].values}
        assert figures["life"] == "active"
        assert int(figures["pictures_received"]) > 0
        robot.send_signal(signal.SIGTERM)
        _, said = robot.communicate(timeout=WAIT_S)
        assert robot.returncode == 0
        assert "/favor is active: /camera/image_raw -> /favor/events" in said
    assert not [trouble for trouble in peer.troubles if trouble.code != "no_router"]
    assert (tmp_path / "kept.mcap").stat().st_size > 10_000


def test_wire_that_is_none_and_a_robot_that_perceives_nothing_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robot"]) == 2
    assert "nothing to perceive" in capsys.readouterr().err
    assert main(["robot", "camera", "--wire", "string"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
