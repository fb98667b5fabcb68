"""A browser's camera and microphone over a real WebSocket: what it brings is perceived; what it sends harms nobody else."""

from __future__ import annotations

import asyncio
import json
import math
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from media import number_of, numbered, tone

from favor_stream.clip import picture_of, snapshot_jpeg
from favor_stream.config import Config
from favor_stream.records import SLICE_SAMPLES

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

from serving import TOKEN, served
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from favor_stream.web import media
from favor_stream.web import streams as streams_module
from favor_stream.web.streams import MOST_STREAMS, Streams

JPEGS = [snapshot_jpeg(numbered(number)) for number in range(20)]
PIECE_S = 0.1
SOUND = (tone(PIECE_S) * 32_767).astype("<i2").tobytes()
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Server:
    streams: Streams
    client: Any  # over HTTP

    @asynccontextmanager
    async def connected(self, token: str = TOKEN, **settings: Any) -> AsyncIterator[ClientConnection]:
        address = str(self.client.base_url).replace("http", "ws", 1).rstrip("/") + "/v1/media"
        headers = {"authorization": f"Bearer {token}"}
        async with connect(address, additional_headers=headers, compression=None, max_size=None, **settings) as socket:
            yield socket

    @asynccontextmanager
    async def bringing(self, **start: Any) -> AsyncIterator[tuple[ClientConnection, str]]:
        """A connection that has started, and the name of its stream."""
        async with self.connected() as socket:
            yield socket, (await started(socket, **start))["stream"]

    async def names(self) -> list[str]:
        return [each["name"] for each in (await self.client.get("/v1/sources")).json()["sources"]]

    async def heard_until_s(self, stream: str) -> float:
        return float((await self.client.get("/v1/status", params={"stream": stream})).json()["heard_until_s"])


def run(config: Config, folder: Path, use: Callable[[Server], Awaitable[Result]]) -> Result:
    async def whole() -> Result:
        async with served(replace(config, state=folder)) as (streams, client):
            return await use(Server(streams, client))

    return asyncio.run(whole())


async def told(socket: ClientConnection) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 20))
    return answer


async def started(socket: ClientConnection, **start: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"type": "start", **start}))
    answer = await told(socket)
    assert answer["type"] == "started"
    return answer


def frame(kind: int, body: bytes, captured_ms: float | None = None) -> bytes:
    return struct.pack("<Bd", kind, time.time() * 1000 if captured_ms is None else captured_ms) + body


async def bring(socket: ClientConnection, seconds: float, number: int = 5) -> None:
    """Sound and pictures, as they come from a camera that shows a number."""
    for k in range(round(seconds / PIECE_S)):
        await asyncio.sleep(PIECE_S)
        await socket.send(frame(media.SOUND, SOUND))
        if k % 2 == 0:
            await socket.send(frame(media.PICTURE, JPEGS[number]))


async def perceived(server: Server, socket: ClientConnection, name: str, until_s: float, number: int = 5) -> None:
    """Brings until so much of the stream was perceived."""
    async with asyncio.timeout(30):
        while await server.heard_until_s(name) < until_s:
            await bring(socket, 2 * PIECE_S, number)


async def refused(socket: ClientConnection) -> tuple[str, int]:
    """What is told at last, and the code that the connection is closed with."""
    message = ""
    while True:
        try:
            message = (await told(socket))["error"]["message"]
        except ConnectionClosed as closed:
            return message, code_of(closed)


def code_of(closed: ConnectionClosed) -> int:
    return closed.rcvd.code if closed.rcvd else 0


async def until(is_so: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not await is_so():
            await asyncio.sleep(0.05)


def test_what_a_browser_brings_is_perceived_listed_and_shown(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        async with server.bringing() as (socket, name):
            await perceived(server, socket, name, 1.5, number=9)
            assert await server.names() == ["test", name]
            picture = (await server.client.get("/v1/picture.jpg", params={"stream": name})).content
            assert number_of(picture_of(picture)) == 9
            kept = server.streams.find(name).agent.clip(1.0).sound
            assert np.abs(kept[-8000:]).max() == pytest.approx(0.5, abs=0.02)
            asked = await server.client.post("/v1/ask", params={"stream": name}, json={"question": "what do you see now?"})
            assert asked.json()["heard_until_s"] >= 1.0

    run(config, tmp_path, use)


@pytest.mark.parametrize("brought", [{"sound": False}, {"pictures": False}])
def test_sound_alone_and_pictures_alone_are_perceived_too(config: Config, tmp_path: Path, brought: dict[str, bool]) -> None:
    async def use(server: Server) -> None:
        async with server.bringing(**brought) as (socket, name):
            await perceived(server, socket, name, 1.0)

    run(config, tmp_path, use)


def test_ping_tells_what_is_known_of_the_clocks(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        async with server.bringing(sound=False) as (socket, _):
            await socket.send('{"type": "ping", "sent_ms": 12.5}')
            assert await told(socket) == {"type": "pong", "sent_ms": 12.5, "offset_s": None, "drift_ppm": None}
            await socket.send(frame(media.PICTURE, JPEGS[0], (time.monotonic() + 3600) * 1000))
            await socket.send('{"type": "ping", "sent_ms": 13}')
            assert (await told(socket))["offset_s"] == pytest.approx(-3600, abs=1.0)

    run(config, tmp_path, use)


def test_nobody_connects_without_the_token_or_from_another_page(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        for token, origin, status in (("wrong", None, 401), (TOKEN, "http://elsewhere.example", 403)):
            with pytest.raises(InvalidStatus) as caught:
                await server.connected(token, origin=origin).__aenter__()
            assert caught.value.response.status_code == status
            assert json.loads(caught.value.response.body or b"")["error"]["message"]
        assert await server.names() == ["test"]

    run(config, tmp_path, use)


NO_START: list[tuple[str | bytes | None, str]] = [
    ("rubbish", "cannot be read"),
    (b"\x01" + bytes(20), "cannot be read"),
    ('{"type": "ping", "sent_ms": 1}', "first frame must be"),
    ('{"type": "start", "sound": false, "pictures": false}', "neither sound nor pictures"),
    ('{"type": "start", "colour": 1}', "cannot be read"),
    ("[" * 100_000, "cannot be read"),
    (None, "no start within 0.3 s"),
]


def test_connection_that_does_not_start_is_told_why_and_closed(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "START_S", 0.3)

    async def use(server: Server) -> None:
        for first, complaint in NO_START:
            async with server.connected() as socket:
                if first is not None:
                    await socket.send(first)
                message, code = await refused(socket)
            assert complaint in message
            assert "\n" not in message
            assert code == media.POLICY
        assert await server.names() == ["test"]

    run(config, tmp_path, use)


def test_who_comes_back_goes_on_with_the_same_stream(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        page = {"sound": False, "visit": "of one page"}  # by which it is known, also before the server has seen it leave
        async with server.bringing(**page) as (socket, name):
            await perceived(server, socket, name, 1.0)
        agent, heard_until_s = server.streams.find(name).agent, await server.heard_until_s(name)
        async with server.bringing(**page, stream=name) as (socket, again):
            await perceived(server, socket, name, heard_until_s + 1.0)
            assert again == name
            assert server.streams.find(name).agent is agent
            assert agent.remembered_s[0] == 0.0

    run(config, tmp_path, use)


async def seen(server: Server, socket: ClientConnection, stream: str, number: int, since_ms: float) -> None:
    """Brings a picture again and again, by a clock that shows `since_ms` now, until it is the one that is shown."""
    begun_s = time.monotonic()

    async def is_shown() -> bool:
        await socket.send(frame(media.PICTURE, JPEGS[number], since_ms + 1000 * (time.monotonic() - begun_s)))
        shown = await server.client.get("/v1/picture.jpg", params={"stream": stream})
        return shown.status_code == 200 and number_of(picture_of(shown.content)) == number

    await until(is_shown)


def test_who_comes_back_with_another_clock_is_seen_at_once(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        stream = ""
        for number, since_ms in ((3, time.time() * 1000), (9, 0.0), (15, 1e12)):  # half a century ago, then not so long
            async with server.bringing(sound=False, stream=stream, visit="of one page") as (socket, stream):
                await seen(server, socket, stream, number, since_ms)

    run(config, tmp_path, use)


def test_page_whose_connection_was_lost_unnoticed_takes_over_from_it(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        async with server.bringing(sound=False, visit="of one page") as (lost, name):
            await perceived(server, lost, name, 0.5, number=3)
            async with server.bringing(sound=False, visit="of one page", stream=name) as (socket, again):
                assert again == name
                await seen(server, socket, name, 9, time.time() * 1000)
                await lost.send(frame(media.PICTURE, JPEGS[3]))  # on its way since before
                await lost.wait_closed()
                await perceived(server, socket, name, await server.heard_until_s(name) + 1.0, number=9)
                shown = await server.client.get("/v1/picture.jpg", params={"stream": name})
                assert number_of(picture_of(shown.content)) == 9
                inlet = server.streams.find(name).inlet
                assert inlet is not None
                assert inlet.left_s is None

    run(config, tmp_path, use)


def test_second_tab_for_the_same_stream_is_refused_and_the_first_goes_on(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        async with server.bringing(sound=False, visit="of one page") as (socket, name):
            async with server.connected() as other:
                await other.send(json.dumps({"type": "start", "stream": name, "visit": "of another"}))
                message, code = await refused(other)
            assert f"{name} is brought by" in message
            assert code == media.POLICY
            await perceived(server, socket, name, 1.0)

    run(config, tmp_path, use)


def test_stream_of_the_server_itself_is_brought_by_nobody(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        async with server.connected() as socket:
            await socket.send('{"type": "start", "stream": "test"}')
            assert "is brought by" in (await refused(socket))[0]

    run(config, tmp_path, use)


def test_abandoned_stream_is_removed_with_its_threads(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "GRACE_S", 0.4)
    monkeypatch.setattr(streams_module, "TIDY_S", 0.1)

    async def use(server: Server) -> None:
        before = capturing()
        async with server.bringing(sound=False) as (socket, name):
            await perceived(server, socket, name, 0.5)
            assert await server.names() == ["test", name]
            assert capturing() > before
        await until(lambda: is_alone(server))
        await until(lambda: is_gone(name))
        assert capturing() == before

    async def is_alone(server: Server) -> bool:
        return await server.names() == ["test"]

    async def is_gone(name: str) -> bool:
        """Its journal too: nobody else could ever ask for it."""
        return not list(tmp_path.glob(f"**/*{name}*"))

    run(config, tmp_path, use)


def capturing() -> int:
    """Threads that hold a device, or wait for what one brings."""
    kinds = ("capture", "watch", "reader")
    return sum(thread.name.startswith(kinds) for thread in threading.enumerate())


def test_so_many_streams_and_no_more(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        sockets = []
        for _ in range(MOST_STREAMS - 1):
            sockets.append(server.bringing(sound=False))
            await sockets[-1].__aenter__()
        async with server.connected() as socket:
            await socket.send('{"type": "start", "sound": false}')
            message, code = await refused(socket)
        assert f"{MOST_STREAMS} streams are open" in message
        assert code == media.POLICY
        assert len(set(await server.names())) == MOST_STREAMS
        for each in sockets:
            await each.__aexit__(None, None, None)

    run(config, tmp_path, use)


def test_frame_that_is_too_large_closes_that_connection_alone(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        async with server.bringing(sound=False) as (socket, name), server.bringing(sound=False) as (large, _):
            large_one = frame(media.PICTURE, JPEGS[0] + bytes(media.MOST_FRAME_BYTES))
            with pytest.raises(ConnectionClosed) as caught:
                await asyncio.gather(large.send(large_one), large.recv())
            assert code_of(caught.value) == 1009  # RFC 6455: too big
            await perceived(server, socket, name, 1.0)

    run(config, tmp_path, use)


def test_too_many_frames_at_once_are_dropped_and_told(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        async with server.bringing(sound=False) as (socket, _):
            for _ in range(2 * media.MOST_PER_S + media.MOST_WRONG + 200):
                await socket.send(frame(media.PICTURE, JPEGS[0]))
            message, code = await refused(socket)
        assert "frames a second; this one was dropped" in message
        assert code == media.POLICY

    run(config, tmp_path, use)


@asynccontextmanager
async def unread(server: Server, path: str) -> AsyncIterator[None]:
    """Somebody who asks for something over HTTP and never reads it."""
    host, port = server.client.base_url.host, server.client.base_url.port
    _, writer = await asyncio.open_connection(host, port, limit=1)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    try:
        yield
    finally:
        writer.transport.abort()


def test_who_never_reads_holds_nobody_up(config: Config, tmp_path: Path) -> None:
    async def use(server: Server) -> None:
        pictures, events = unread(server, "/v1/picture.mjpeg"), unread(server, "/v1/events/stream")
        async with pictures, events, server.bringing(sound=False) as (socket, name):
            socket.transport.pause_reading()
            for _ in range(300):
                await socket.send('{"type": "ping", "sent_ms": 1}')
            asked = await server.client.post("/v1/ask", json={"question": "what do you see now?"})
            assert asked.status_code == 200
            await perceived(server, socket, name, 1.0)
            socket.transport.resume_reading()

    run(config, tmp_path, use)


def rubbish(rng: np.random.Generator) -> str | bytes:
    """Something that no browser sends."""
    noise = rng.bytes(int(rng.integers(0, 3000)))
    times = (math.nan, math.inf, -math.inf, 1e300, -1e300, 9e15, 5e-324)
    kinds: list[Callable[[], str | bytes]] = [
        lambda: noise,
        lambda: noise.hex(),
        lambda: frame(int(rng.integers(0, 256)), noise)[: int(rng.integers(0, 12))],  # not even a header
        lambda: frame(media.SOUND, SOUND, float(rng.choice(times))),
        lambda: frame(media.PICTURE, JPEGS[0], float(rng.choice(times))),
        lambda: frame(int(rng.integers(3, 256)), noise),
        lambda: frame(media.SOUND, b""),
        lambda: frame(media.SOUND, SOUND[:-1]),
        lambda: frame(media.PICTURE, noise),
        lambda: "{" * int(rng.integers(1, 100_000)),
        lambda: '{"a":' * 50_000 + "1" + "}" * 50_000,
        lambda: "[" * 100_000,
        lambda: json.dumps({"type": "ping", "sent_ms": ["x", None, [], {}][int(rng.integers(4))]}),
        lambda: '{"type": "ping", "sent_ms": NaN}',
        lambda: '{"type": "ping", "sent_ms": 1' + "0" * 400 + "}",
        lambda: '{"type": "ping", "sent_ms": ' + "1" * 5000 + "}",
        lambda: '{"type": "start"}',
        lambda: '{"type": "stop"}',
        lambda: '{"type": ["start"]}',
        lambda: '{"type": "start", "stream": "\\ud800"}',
        lambda: json.dumps(float(rng.normal())),
        lambda: "",
        lambda: "null",
    ]
    return kinds[int(rng.integers(len(kinds)))]()


def odd(rng: np.random.Generator) -> str | bytes:
    """What may be sent, and is handled, though it is of little use."""
    jpeg = bytearray(JPEGS[int(rng.integers(20))])
    for _ in range(int(rng.integers(0, 20))):
        jpeg[int(rng.integers(3, len(jpeg)))] = int(rng.integers(256))
    kinds: list[Callable[[], str | bytes]] = [
        lambda: frame(media.PICTURE, bytes(jpeg)),
        lambda: frame(media.PICTURE, bytes(jpeg[: int(rng.integers(4, len(jpeg)))])),
        lambda: frame(media.PICTURE, JPEGS[0], float(rng.choice([0.0, -1.0, 1e12, 8.6e15, -8.6e15]))),
        lambda: frame(media.SOUND, SOUND, float(rng.choice([0.0, -1.0, 1e12, 8.6e15, -8.6e15]))),
        lambda: frame(media.SOUND, rng.bytes(2 * int(rng.integers(1, 5000)))),
        lambda: frame(media.SOUND, bytes(400_000)),
        lambda: '{"type": "ping", "sent_ms": -1e308}',
    ]
    return kinds[int(rng.integers(len(kinds)))]()


async def has_come(server: Server, stream: str, seconds: float) -> bool:
    return await server.heard_until_s(stream) >= seconds


def test_two_thousand_messages_of_rubbish_stop_neither_the_server_nor_another_browser(config: Config, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    async def attack(server: Server, stream: str) -> tuple[int, int, int, str]:
        """One connection until it is closed: what was sent, what was wrong with it, the code, and the stream."""
        sent = errors = 0
        async with server.bringing(stream=stream) as (socket, name):

            async def listen() -> int:
                nonlocal errors
                try:
                    while True:
                        errors += (await told(socket))["type"] == "error"
                except ConnectionClosed as closed:
                    return code_of(closed)

            listening = asyncio.create_task(listen())
            try:
                while sent < 2 * media.MOST_WRONG:
                    await socket.send(rubbish(rng) if rng.random() < 0.8 else odd(rng))
                    sent += 1
            except ConnectionClosed:
                pass
            code = await listening
            return sent, errors, code, name

    async def use(server: Server) -> None:
        async with server.bringing() as (socket, beside):
            bringing = asyncio.create_task(bring(socket, 60.0))
            total, stream = 0, ""
            while total < 2_000:
                sent, errors, code, stream = await attack(server, stream)
                assert errors == media.MOST_WRONG
                assert code == media.POLICY
                total += sent
            assert (await server.client.get("/healthz")).status_code == 200
            assert await server.names() == ["test", beside, stream]
            counts = server.streams.find(beside).agent.counts
            assert not bringing.done()
            assert counts.samples_in > 0.5 * counts.slices * SLICE_SAMPLES  # it was heard all the time
            more_s = await server.heard_until_s(beside) + 1.0
            await until(lambda: has_come(server, beside, more_s))
            bringing.cancel()
            await asyncio.wait({bringing})
        attacked = server.streams.find(stream).agent
        assert not attacked._perceiving.done()  # type: ignore[union-attr]
        async with server.bringing(stream=stream) as (socket, _):
            before = attacked.counts.pictures_in
            await perceived(server, socket, stream, attacked.heard_until_s + 1.0)
            assert attacked.counts.pictures_in > before

    run(config, tmp_path, use)
