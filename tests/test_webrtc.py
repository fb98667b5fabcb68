"""WebRTC: what a browser brings is seen and heard, on one clock; who falls silent is let go; mistakes are one clear line."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media import NUMBERS, number_of, numbered, pitch_hz, tone
from real import require

from favor_stream.capture.container import PictureTrack
from favor_stream.capture.inlet import MOST_PICTURES, Brought, Inlet
from favor_stream.clip import picture_of
from favor_stream.config import Config
from favor_stream.records import RATE, Picture
from favor_stream.ring import Clip, Counts, Ring

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")
pytest.importorskip("aiortc", reason="needs aiortc: pip install --editable '.[webrtc]'")

import aioice.ice
import httpx2
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)

from favor_stream.web import serve, webrtc
from favor_stream.web.streams import BROUGHT, Streams

TOKEN = "a-token-of-the-test"
HERTZ, OPUS_RATE, OPUS_SAMPLES = 440.0, 48_000, 960
RED = (200, 30, 30)
BLUE = (30, 30, 200)


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends are here."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


class Pictures(VideoStreamTrack):
    """Thirty pictures a second, each as `draw` has it when it is due."""

    def __init__(self, draw: Callable[[], Picture]) -> None:
        super().__init__()
        self._draw = draw

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame.from_ndarray(self._draw(), format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(MediaStreamTrack):
    """A tone from a moment on, silence before it; it starts where no other track of a browser does."""

    kind = "audio"

    def __init__(self, is_on: Callable[[], bool]) -> None:
        super().__init__()
        self._is_on, self._count, self._start_s = is_on, 0, 0.0
        self._wave = tone(1.0, HERTZ, OPUS_RATE)

    async def recv(self) -> av.AudioFrame:
        """When the last of it is due, as a microphone does."""
        self._start_s = self._start_s or time.monotonic()
        self._count += OPUS_SAMPLES
        await asyncio.sleep(self._start_s + self._count / OPUS_RATE - time.monotonic())
        first = (self._count - OPUS_SAMPLES) % OPUS_RATE
        wave = self._wave[first : first + OPUS_SAMPLES] * self._is_on()
        both = np.repeat((wave * 32_767).astype(np.int16), 2)[None]
        frame = av.AudioFrame.from_ndarray(both, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = OPUS_RATE, 7_000_000 + self._count, Fraction(1, OPUS_RATE)
        return frame


@dataclass
class Browser:
    """A peer, the stream that it brings, and its heartbeat."""

    peer: RTCPeerConnection
    channel: RTCDataChannel
    name: str = ""
    beating: asyncio.Task[None] | None = None
    heard: list[Any] = field(default_factory=list)

    async def beat(self) -> None:
        while True:
            if self.channel.readyState == "open":
                self.channel.send("ping")
            await asyncio.sleep(0.2)


@asynccontextmanager
async def served(config: Config, state: Path) -> AsyncIterator[tuple[Streams, Any]]:
    """A server without a stream of its own, and a client that has the token."""
    async with asyncio.timeout(60), Streams(replace(config, state=state, journal=False), 0) as streams:
        with serve.listening("127.0.0.1", 0) as door:
            hosting = asyncio.create_task(serve.host(streams, TOKEN, door))
            headers = {"authorization": f"Bearer {TOKEN}"}
            try:
                async with httpx2.AsyncClient(base_url=serve.address(door), timeout=60, headers=headers) as client:
                    yield streams, client
            finally:
                hosting.cancel()
                await asyncio.wait({hosting})


@asynccontextmanager
async def browser(client: Any, *tracks: MediaStreamTrack, stream: str = "", visit: str = "") -> AsyncIterator[Browser]:
    """What webrtc.js does, without a browser."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    made = Browser(peer, peer.createDataChannel("alive"))
    made.channel.on("message", made.heard.append)
    for track in tracks:
        peer.addTrack(track)
    try:
        await peer.setLocalDescription(await peer.createOffer())
        body = {"sdp": peer.localDescription.sdp, "type": "offer", "stream": stream, "visit": visit}
        answer = (await client.post("/v1/webrtc", json=body)).json()
        assert "error" not in answer, answer
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        made.name, made.beating = answer["stream"], asyncio.create_task(made.beat())
        yield made
    finally:
        if made.beating is not None:
            made.beating.cancel()
        await peer.close()


async def until(is_so: Callable[[], object], patience_s: float = 15.0) -> None:
    async with asyncio.timeout(patience_s):
        while not is_so():
            await asyncio.sleep(0.02)


def ran(config: Config, state: Path, calls: Callable[[Streams, Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with served(config, state) as (streams, client):
            return await calls(streams, client)

    return asyncio.run(run())


def filled(colour: tuple[int, int, int]) -> Picture:
    return np.full((96, 128, 3), colour, np.uint8)


def shown(clip: Clip) -> list[tuple[float, Picture]]:
    return [(time_s, picture_of(jpeg)) for time_s, jpeg in clip.pictures]


def test_what_a_browser_brings_is_seen_and_heard(config: Config, tmp_path: Path) -> None:
    async def calls(streams: Streams, client: Any) -> tuple[Any, ...]:
        async with browser(client, Pictures(lambda: filled(RED)), Tone(lambda: True)) as made:
            stream = streams.find(made.name)
            await until(lambda: stream.agent.heard_until_s >= 3.0)
            picture = await client.get("/v1/picture.jpg", params={"stream": made.name})
            clip, counts = stream.agent.clip(2.0), stream.agent.counts
            removed = await client.delete(f"/v1/sources/{made.name}")
            await until(lambda: made.peer.connectionState == "closed")
            return made, picture, clip, counts, removed

    made, picture, clip, counts, removed = ran(config, tmp_path, calls)
    assert BROUGHT.fullmatch(made.name)
    assert picture_of(picture.content).mean(axis=(0, 1)) == pytest.approx(RED, abs=12)
    assert pitch_hz(clip.sound[-RATE:]) == pytest.approx(HERTZ, abs=2)  # bent by 0.3 % where it comes late
    assert np.abs(clip.sound[-RATE:]).max() == pytest.approx(0.5, abs=0.1)
    assert counts.samples_dropped + counts.samples_missing < 0.1 * RATE
    assert counts.pictures_in < 5 * 4 + 2  # of thirty a second
    assert made.heard
    assert removed.status_code == 204


def test_what_was_seen_and_heard_at_once_lies_at_one_time(config: Config, tmp_path: Path) -> None:
    lit = asyncio.Event()

    async def calls(streams: Streams, client: Any) -> Clip:
        async with browser(client, Pictures(lambda: filled(RED if lit.is_set() else (0, 0, 0))), Tone(lit.is_set)) as made:
            agent = streams.find(made.name).agent
            await until(lambda: agent.heard_until_s >= 3.0)
            lit.set()
            await asyncio.sleep(1.0)
            return agent.clip(2.0)

    clip = ran(replace(config, pictures_per_s=8.0), tmp_path, calls)
    heard_s = clip.start_s + int(np.argmax(np.abs(clip.sound) > 0.1)) / RATE
    seen = {picture.max() > 100: time_s for time_s, picture in reversed(shown(clip))}
    dark_s = max(time_s for time_s, picture in shown(clip) if picture.max() < 100)
    print(f"heard at {heard_s:.3f} s, dark until {dark_s:.3f} s, lit from {seen[True]:.3f} s")
    assert dark_s - 0.06 < heard_s < seen[True] + 0.06


@pytest.mark.alone
def test_pictures_stay_new_where_they_come_faster_than_they_can_be_looked_at(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = PictureTrack._small

    def slowly(self: PictureTrack, frame: av.VideoFrame) -> Picture:
        time.sleep(0.4)
        return small(self, frame)

    monkeypatch.setattr(PictureTrack, "_small", slowly)
    drawn_s: dict[int, float] = {}
    count = iter(range(10_000))

    def draw() -> Picture:
        number = next(count) // 8 % NUMBERS  # comes again after five seconds
        drawn_s[number] = time.monotonic()
        return numbered(number, 96, 128)

    async def calls(streams: Streams, client: Any) -> tuple[list[float], int, Counts]:
        ages_s = []
        async with browser(client, Pictures(draw), Tone(lambda: True)) as made:
            stream = streams.find(made.name)
            await until(lambda: stream.agent.heard_until_s >= 1.0)
            for _ in range(30):
                await asyncio.sleep(0.2)
                _, picture = shown(stream.agent.clip(3.0))[-1]
                number = number_of(picture)
                assert number is not None
                ages_s.append(time.monotonic() - drawn_s[number])
            assert stream.inlet is not None
            return ages_s, stream.inlet.dropped, stream.agent.counts

    ages_s, dropped, counts = ran(config, tmp_path, calls)
    print(f"age {np.median(ages_s):.2f} s, at most {max(ages_s):.2f} s; {dropped} dropped")
    assert max(ages_s) < 2.0
    assert np.median(ages_s[15:]) < np.median(ages_s[:15]) + 0.3
    assert dropped > 60
    assert counts.samples_dropped + counts.samples_missing < 0.1 * RATE


def test_newest_pictures_wait_and_no_sound_is_lost() -> None:
    inlet = Inlet("brought")
    source = inlet.open(Ring(), lambda _: None, 4.0)
    for number in range(10):
        inlet.put(Brought(float(number), frame=av.VideoFrame(16, 16, "yuv420p")))
        inlet.put(Brought(float(number), sound=np.zeros(320, np.float32)))
    assert inlet.dropped == 10 - MOST_PICTURES
    assert [each.captured_s for each in source._pictures_waiting] == [6.0, 7.0, 8.0, 9.0]
    assert len(source._sound_waiting) == 10


def test_who_falls_silent_is_let_go_and_may_come_back(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "QUIET_S", 1.0)

    async def calls(streams: Streams, client: Any) -> tuple[Any, ...]:
        async with browser(client, Pictures(lambda: filled(RED))) as first:
            stream = streams.find(first.name)
            assert stream.inlet is not None
            await until(lambda: first.heard and stream.agent.heard_until_s > 0.5)
            with pytest.raises(AssertionError, match="brought by somebody else"):
                async with browser(client, Pictures(lambda: filled(RED)), stream=first.name):
                    pass
            assert first.beating is not None
            first.beating.cancel()
            silent_s = time.monotonic()
            await until(lambda: stream.inlet and stream.inlet.left_s)
            took_s = time.monotonic() - silent_s
            await until(lambda: first.peer.connectionState == "closed")
        async with browser(client, Pictures(lambda: filled(BLUE)), stream=first.name) as second:
            await until(lambda: shown(stream.agent.clip(0.5)) and shown(stream.agent.clip(0.5))[-1][1].mean(axis=(0, 1))[2] > 150)
            return first.name, second.name, took_s, len(streams.all)

    first, second, took_s, count = ran(config, tmp_path, calls)
    assert (second, count) == (first, 1)
    assert 0.5 < took_s < 3.0


def test_who_comes_back_before_that_was_noticed_takes_over(config: Config, tmp_path: Path) -> None:
    async def calls(streams: Streams, client: Any) -> tuple[Any, ...]:
        async with browser(client, Pictures(lambda: filled(RED)), visit="of one page") as first:
            agent = streams.find(first.name).agent
            await until(lambda: first.heard and agent.heard_until_s > 0.5)
            async with browser(client, Pictures(lambda: filled(BLUE)), stream=first.name, visit="of one page") as second:
                await until(lambda: first.peer.connectionState == "closed")
                await until(lambda: shown(agent.clip(0.5)) and shown(agent.clip(0.5))[-1][1].mean(axis=(0, 1))[2] > 150)
                return first.name, second.name

    first, second = ran(config, tmp_path, calls)
    assert second == first


def test_who_closes_is_gone_at_once(config: Config, tmp_path: Path) -> None:
    async def calls(streams: Streams, client: Any) -> float:
        async with browser(client, Tone(lambda: True)) as made:
            stream = streams.find(made.name)
            await until(lambda: made.heard)
        closed_s = time.monotonic()
        await until(lambda: stream.inlet and stream.inlet.left_s)
        return time.monotonic() - closed_s

    assert ran(config, tmp_path, calls) < 2.0


def test_end_of_the_server_is_the_end_of_every_connection(config: Config, tmp_path: Path) -> None:
    async def run() -> tuple[str, set[str]]:
        async with asyncio.timeout(60):
            async with served(config, tmp_path) as (streams, client):
                outer = browser(client, Pictures(lambda: filled(RED)), Tone(lambda: True))
                made = await outer.__aenter__()
                await until(lambda: made.heard)
            await until(lambda: made.peer.connectionState == "closed")
            with suppress(Exception):
                await outer.__aexit__(None, None, None)
            return made.peer.connectionState, {task.get_name() for task in asyncio.all_tasks()}

    state, tasks = asyncio.run(run())
    assert state == "closed"
    assert not [name for name in tasks if name.startswith("webrtc")]


MEDIA = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\na=sendonly\r\na=mid:0\r\n"
KEYS = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 00:11\r\na=setup:actpass\r\na=rtcp-mux\r\n"
HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"sdp": "", "type": "offer"}, "0 cameras and 0 microphones"),
        ({"sdp": "v=0\r\nnonsense", "type": "offer"}, "0 cameras and 0 microphones"),
        ({"sdp": "m=audio x y z\r\n" * 100, "type": "offer"}, "cannot be accepted"),
        ({"sdp": HEAD + MEDIA, "type": "offer"}, "cannot be accepted"),
        ({"sdp": HEAD + (MEDIA + KEYS).replace("opus", "what"), "type": "offer"}, "cannot be accepted"),
        ({"sdp": HEAD + (MEDIA + KEYS).replace("sendonly", "recvonly"), "type": "offer"}, "0 cameras and 0 microphones"),
        ({"sdp": HEAD + MEDIA + KEYS + (MEDIA + KEYS).replace("mid:0", "mid:1"), "type": "offer"}, "2 microphones"),
        ({"sdp": HEAD, "type": "answer"}, "type"),
        ({"type": "offer"}, "sdp"),
    ],
)
def test_offer_that_is_none_is_refused_in_one_line(config: Config, tmp_path: Path, body: dict[str, str], complaint: str) -> None:
    async def calls(streams: Streams, client: Any) -> tuple[Any, int]:
        return await client.post("/v1/webrtc", json=body), len(streams.all)

    answer, count = ran(config, tmp_path, calls)
    told = answer.json()["error"]
    assert (answer.status_code, told["type"], count) == (400, "invalid_request", 0)
    assert complaint in told["message"]
    assert "\n" not in told["message"]


def test_without_the_extra_it_is_said_what_is_lacking(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiortc", None)

    async def calls(streams: Streams, client: Any) -> Any:
        return await client.post("/v1/webrtc", json={"sdp": HEAD, "type": "offer"})

    answer = ran(config, tmp_path, calls)
    told = answer.json()["error"]
    assert (answer.status_code, told["type"]) == (503, "unavailable")
    assert told["message"] == "webrtc needs aiortc; pip install --editable '.[webrtc]'"


class Kept(Inlet):
    """An Inlet that shows what was put."""

    def __init__(self) -> None:
        super().__init__("kept")
        self.kept: deque[Brought] = deque()

    def put(self, brought: Brought) -> None:
        self.kept.append(brought)


def sounding(start_s: float, lasts_s: float = 0.02) -> av.AudioFrame:
    wave = (tone(lasts_s, HERTZ, OPUS_RATE) * 32_767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = OPUS_RATE, round(start_s * OPUS_RATE), Fraction(1, OPUS_RATE)
    return frame


def test_each_track_has_an_origin_of_its_own_and_both_are_put_on_one_clock() -> None:
    inlet = Kept()
    sight, hearing = webrtc.Sight(inlet), webrtc.Hearing(inlet)
    for number in range(10):  # captured at 100 s and on; a picture is given out with the next one, sound four frames later
        frame = av.VideoFrame(16, 16, "yuv420p")
        frame.pts, frame.time_base = 90_000 * 500 + number * 9_000, Fraction(1, 90_000)
        sight.see(frame, 100.1 + number * 0.1)
        hearing.hear(sounding(7.0 + number * 0.02), 100.0 + (number + 5) * 0.02)
    assert [each.captured_s for each in inlet.kept if each.frame] == pytest.approx([100.0 + n * 0.1 for n in range(1, 10)])
    heard = [each for each in inlet.kept if each.sound is not None]
    count = sum(len(each.sound) for each in heard if each.sound is not None)
    assert heard[-1].captured_s == pytest.approx(100.0 + count / RATE, abs=0.001)


def test_sound_that_was_lost_on_the_way_becomes_silence() -> None:
    inlet = Kept()
    hearing = webrtc.Hearing(inlet)
    for number in [*range(50), *range(55, 100)]:  # a tenth of a second is lacking
        hearing.hear(sounding(number * 0.02), 100.0 + number * 0.02)
    sound = np.concatenate([each.sound for each in inlet.kept if each.sound is not None])
    assert len(sound) / RATE == pytest.approx(2.0, abs=0.005)
    assert np.abs(sound[round(1.02 * RATE) : round(1.08 * RATE)]).max() == 0.0


def test_what_is_kept_back_longer_after_a_loss_is_heard_no_later() -> None:
    inlet = Kept()
    hearing = webrtc.Hearing(inlet)
    for number in range(1000):
        late_s = 0.2 if number > 100 else 0.0
        hearing.hear(sounding(number * 0.02), 100.0 + (number + 1 + webrtc.HELD_FRAMES) * 0.02 + late_s)
    count = sum(len(each.sound) for each in inlet.kept if each.sound is not None)
    assert inlet.kept[-1].captured_s == pytest.approx(100.0 + count / RATE, abs=0.005)


# A real browser.

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]
FLAGS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--allow-loopback-in-peer-connection"]
FLAGS += ["--disable-features=WebRtcHideLocalIpsWithMdns", "--autoplay-policy=no-user-gesture-required"]
BRING = """async () => {
    window.states = [];
    const { connectByWebRtc } = await import("/webrtc.js");
    const media = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 240 }, audio: true });
    window.brought = await connectByWebRtc(media, { stream: window.brought?.stream ?? "" }, (state) => window.states.push(state));
    return window.brought.stream;
}"""


@dataclass
class Opened:
    """A page in Chromium, and what it asked for and complained of."""

    page: Any
    asked_for: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@asynccontextmanager
async def opened(client: Any) -> AsyncIterator[Opened]:
    async_api = pytest.importorskip("playwright.async_api", reason="needs playwright: pip install playwright")
    require(CHROMIUM, "chromium is not installed (apt-get install chromium)")
    async with async_api.async_playwright() as browsers:
        running = await browsers.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        made = Opened(await running.new_page())
        made.page.on("request", lambda request: made.asked_for.append(request.url))
        made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
        await made.page.goto(f"{client.base_url}?token={TOKEN}")
        yield made
        with suppress(Exception):  # it may be dead
            await running.close()


@pytest.mark.device
@pytest.mark.alone
@pytest.mark.slow
def test_chromium_brings_its_camera_and_microphone_and_goes_on_after_a_close(config: Config, tmp_path: Path) -> None:
    async def calls(streams: Streams, client: Any) -> tuple[Any, ...]:
        async with opened(client) as made:
            name = await made.page.evaluate(BRING)
            agent, inlet = streams.find(name).agent, streams.find(name).inlet
            assert inlet is not None
            await until(lambda: agent.heard_until_s >= 5.0)
            clip, counts = agent.clip(4.0), agent.counts
            closed_s = time.monotonic()
            await made.page.evaluate("window.brought.close()")
            await until(lambda: inlet.left_s)
            took_s = time.monotonic() - closed_s
            states = await made.page.evaluate("window.states")
            again = await made.page.evaluate(BRING)
            await until(lambda: agent.clip(1.0).pictures and agent.clip(1.0).pictures[-1][0] > clip.end_s + took_s + 1.0)
            await client.delete(f"/v1/sources/{name}")
            async with asyncio.timeout(5):  # the page is told
                while "closed" not in await made.page.evaluate("window.states"):
                    await asyncio.sleep(0.1)
            return name, again, clip, counts, took_s, states, made, str(client.base_url)

    name, again, clip, counts, took_s, states, made, home = ran(config, tmp_path, calls)
    assert again == name
    assert states == ["connecting", "connected", "closed"]
    assert took_s < 2.0
    _, picture = shown(clip)[-1]
    red, green, blue = np.median(picture, axis=(0, 1))
    assert green > max(red, blue) + 50  # as the fake camera is
    assert np.abs(clip.sound).max() > 0.05  # and its microphone beeps
    assert counts.samples_missing + counts.samples_dropped < 0.2 * RATE
    assert [address for address in made.asked_for if not address.startswith((home, "data:", "blob:"))] == []
    assert made.complaints == []


@pytest.mark.device
@pytest.mark.alone
@pytest.mark.slow
def test_killed_browser_is_noticed_within_seconds(config: Config, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")

    async def calls(streams: Streams, client: Any) -> float:
        async with opened(client) as made:
            stream = streams.find(await made.page.evaluate(BRING))
            await until(lambda: stream.agent.heard_until_s >= 1.0)
            for process in psutil.Process().children(recursive=True):
                if process.name().startswith("chrom"):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            killed_s = time.monotonic()
            await until(lambda: stream.inlet and stream.inlet.left_s)
            return time.monotonic() - killed_s

    assert ran(config, tmp_path, calls) < webrtc.QUIET_S + 1.5
