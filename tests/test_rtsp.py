"""A real RTSP server, really killed, frozen and started again."""

from __future__ import annotations

import asyncio
import functools
import itertools
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from media import likeness, number_of, numbered, pitch_hz, sweep
from real import require
from tiny import talkative_model

from favor_stream.agent import Agent
from favor_stream.capture import open_source
from favor_stream.capture.rtsp import public_address
from favor_stream.clip import write_film
from favor_stream.config import Config
from favor_stream.model import weights
from favor_stream.records import RATE, SLICE_SAMPLES, Event, Slice
from favor_stream.ring import Ring

PYTHON = Path("/usr/bin/python3")  # the one that has GStreamer's bindings
SERVER = Path(__file__).with_name("rtsp_server.py")
BINDINGS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


@functools.cache
def gstreamer_is_there() -> bool:
    return PYTHON.exists() and subprocess.run([PYTHON, "-c", BINDINGS], capture_output=True, check=False).returncode == 0


class Server:
    """An RTSP camera that can be killed, frozen and started again on the same port."""

    def __init__(self, login: str = "") -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._login = [login] if login else []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [str(PYTHON), str(SERVER), str(self.port), *self._login]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "READY\n"

    def kill(self) -> None:
        if self._process is not None:
            with self._process as process:
                process.kill()
        self._process = None

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def address(self, path: str, login: str = "") -> str:
        return f"rtsp://{login}{'@' if login else ''}127.0.0.1:{self.port}{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    require(gstreamer_is_there(), f"there is no gst-rtsp-server for {PYTHON} (packages python3-gi, gir1.2-gst-rtsp-server-1.0)")
    server = Server()
    server.start()
    yield server
    server.kill()


def taken_until(ring: Ring, events: list[Event], kind: str, timeout_s: float = 25.0) -> list[Slice]:
    """The slices up to and after an event."""
    slices, give_up_s = list[Slice](), time.monotonic() + timeout_s
    while not any(event.kind == kind for event in events):
        assert time.monotonic() < give_up_s, f"no event {kind!r} came, only {events}"
        if (piece := ring.take(timeout_s=0.1)) is not None:
            slices.append(piece)
    return slices


def conserved(ring: Ring) -> bool:
    counts = ring.counts
    pictures = counts.pictures_used + counts.pictures_dropped + counts.pictures_waiting
    return (
        counts.pictures_in == pictures
        and counts.samples_in == counts.samples_used + counts.samples_dropped + counts.samples_waiting
    )


@pytest.mark.device
@pytest.mark.alone
def test_a_stream_gives_pictures_and_sound_on_one_clock(server: Server) -> None:
    ring, started_s = Ring(), time.monotonic()
    with open_source(server.address("/av"), ring) as source:
        slices = list(itertools.islice(ring, 6))
        took_s = time.monotonic() - started_s
    assert [piece.index for piece in slices] == list(range(6))
    assert all(piece.picture is not None and piece.picture.shape == (240, 320, 3) for piece in slices[1:])
    assert pitch_hz(np.concatenate([piece.sound for piece in slices])) == pytest.approx(440.0, abs=1.0)
    assert ring.counts.samples_missing == 0
    assert 2.5 < took_s < 8.0
    assert source.pictures_thinned > 40
    assert conserved(ring)


@pytest.mark.device
@pytest.mark.alone
def test_an_agent_tells_that_its_stream_is_lost_and_found_and_remembers_on(server: Server, tmp_path: Path) -> None:
    weights.save(tmp_path, *talkative_model(), {})

    async def run() -> list[str]:
        kinds = []
        async with Agent(server.address("/av"), config=Config(weights=tmp_path)) as agent:
            events = agent.events()
            await agent.until(1.0)
            server.kill()
            async for event in events:
                kinds.append(event.kind)
                if event.kind == "lost":
                    server.start()
                if event.kind == "found":
                    break
            await agent.until(agent.heard_until_s + 1.0)
            assert agent.remembered_s == (0.0, agent.heard_until_s)
        return kinds

    told = asyncio.run(asyncio.wait_for(run(), timeout=60.0))
    assert [kind for kind in told if kind in ("lost", "found")] == ["lost", "found"]


@pytest.mark.device
@pytest.mark.alone
def test_pictures_without_sound_keep_time_by_the_clock(server: Server) -> None:
    ring = Ring()
    with open_source(server.address("/mjpeg"), ring):
        slices = list(itertools.islice(ring, 4))
        assert 0.0 <= ring.elapsed_s - slices[-1].end_s < 0.4
    assert all(piece.picture is not None for piece in slices)
    assert not any(piece.sound.any() for piece in slices)


@pytest.mark.device
@pytest.mark.alone
def test_a_server_that_is_killed_is_lost_and_found_again_and_time_goes_on(server: Server) -> None:
    ring, events = Ring(), list[Event]()
    with open_source(server.address("/av"), ring, events.append):
        slices = list(itertools.islice(ring, 3))
        server.kill()
        slices += taken_until(ring, events, "lost", timeout_s=5.0)
        slices += list(itertools.islice(ring, 4))
        server.start()
        slices += taken_until(ring, events, "found", timeout_s=15.0)
        slices += list(itertools.islice(ring, 5))
        behind_s = ring.elapsed_s - slices[-1].end_s
    assert [event.kind for event in events] == ["lost", "found"]
    assert [piece.index for piece in slices] == list(range(len(slices)))
    assert 0.0 <= behind_s < 1.5
    silent = [piece for piece in slices if piece.samples_missing == SLICE_SAMPLES]
    assert len(silent) >= 3
    assert not any(piece.sound.any() for piece in silent)
    assert any(piece.picture is None for piece in silent)  # no picture is shown for ever
    assert slices[-1].samples_missing == 0
    assert slices[-1].picture is not None
    assert conserved(ring)


@pytest.mark.device
@pytest.mark.alone
def test_a_server_that_freezes_is_lost_although_it_says_nothing(server: Server) -> None:
    ring, events = Ring(), list[Event]()
    with open_source(server.address("/av"), ring, events.append):
        list(itertools.islice(ring, 2))
        server.send(signal.SIGSTOP)
        frozen_s = time.monotonic()
        taken_until(ring, events, "lost", timeout_s=10.0)
        assert time.monotonic() - frozen_s < 5.0
        server.send(signal.SIGCONT)
        taken_until(ring, events, "found", timeout_s=15.0)
    assert conserved(ring)


@pytest.mark.device
@pytest.mark.alone
def test_a_stream_that_ends_is_opened_again(server: Server) -> None:
    events = list[Event]()
    with open_source(server.address("/short"), Ring(), events.append):
        give_up_s = time.monotonic() + 20.0
        while len(events) < 3 and time.monotonic() < give_up_s:
            time.sleep(0.05)
    assert [event.kind for event in events[:3]] == ["lost", "found", "lost"]
    assert events[0].text == f"{server.address('/short')}: the stream ended; trying again until it is back"


@pytest.mark.device
@pytest.mark.alone
def test_sound_alone_is_no_sign_that_the_camera_still_sees(server: Server) -> None:
    ring, events = Ring(), list[Event]()
    with open_source(server.address("/voice"), ring, events.append):
        taken_until(ring, events, "lost", timeout_s=15.0)
    assert "no picture came for 3 s" in events[0].text


@pytest.mark.device
@pytest.mark.alone
def test_a_server_that_comes_up_later_is_found() -> None:
    require(gstreamer_is_there(), f"there is no gst-rtsp-server for {PYTHON}")
    server, ring, events = Server(), Ring(), list[Event]()
    try:
        with open_source(server.address("/mjpeg"), ring, events.append):
            taken_until(ring, events, "lost")
            server.start()
            taken_until(ring, events, "found")
            assert ring.take(timeout_s=5.0) is not None
    finally:
        server.kill()
    assert "Connection refused; check the address" in events[0].text


@pytest.mark.device
@pytest.mark.alone
def test_a_password_opens_the_stream_and_is_never_told() -> None:
    require(gstreamer_is_there(), f"there is no gst-rtsp-server for {PYTHON}")
    server, events = Server(login="me:secret"), list[Event]()
    server.start()
    try:
        with open_source(server.address("/mjpeg", login="me:secret"), ring := Ring(), events.append) as source:
            assert ring.take(timeout_s=10.0) is not None
        with open_source(server.address("/mjpeg", login="me:wrong"), ring := Ring(), events.append) as refused:
            taken_until(ring, events, "lost")
    finally:
        server.kill()
    assert source.name == refused.name == f"rtsp://127.0.0.1:{server.port}/mjpeg"
    assert "401 Unauthorized" in events[0].text
    assert not any(word in event.text for event in events for word in ("secret", "wrong", "me:"))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://camera.lan/live", "rtsp://camera.lan/live"),
        ("rtsp://me:p@ss@camera.lan:554/live?user=me&password=secret", "rtsp://camera.lan:554/live"),
        ("rtsp://[fe80::1]:554/a/b", "rtsp://[fe80::1]:554/a/b"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert public_address(address) == shown


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_film_over_http_runs_at_its_own_speed_and_starts_again(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", map(numbered, range(8)), fps=4.0, sound=sweep(2.0))
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    ring, events, started_s = Ring(), list[Event](), time.monotonic()
    try:
        with open_source(f"http://127.0.0.1:{server.server_port}/film.mp4", ring, events.append):
            slices = list(itertools.islice(ring, 4))
            took_s = time.monotonic() - started_s
            taken_until(ring, events, "found")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert took_s > 1.9
    assert [number_of(piece.picture) for piece in slices] == [1, 3, 5, 7]
    assert likeness(np.concatenate([piece.sound for piece in slices]), sweep(2.0)[: 2 * RATE]) > 0.99
