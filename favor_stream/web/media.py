"""A browser's camera and microphone over one WebSocket, as a stream of its own.

Text frames are JSON: `start` from the browser, answered by `started`; `ping` by `pong` with what is known of the two clocks; an
`error` says what was wrong. Binary frames are a byte for the kind (1 sound, 2 picture), eight for when its end was captured
(float64, little endian, milliseconds by the browser's clock), then the sound as 16-bit samples at 16 kHz in mono, or a JPEG.
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocketDisconnect

from favor_stream.capture.clock import Drift
from favor_stream.capture.inlet import Bringer, Inlet
from favor_stream.errors import ConfigError, FavorError
from favor_stream.records import Sound
from favor_stream.ring import PACKED_PER_S
from favor_stream.web.access import Bucket
from favor_stream.web.chosen import all_streams, wrong
from favor_stream.web.streams import BROUGHT, Stream, Streams, new_name

HEADER = struct.Struct("<Bd")
SOUND, PICTURE = 1, 2
JPEG = b"\xff\xd8\xff"
START_S = 10.0  # within which a connection must say what it brings
MOST_PER_S = 200  # frames
MOST_FRAME_BYTES = 4 * 1024 * 1024  # more than a picture of the largest camera takes
MOST_WRONG = 50  # after so many a connection is closed
MOST_MS = 8.64e15  # that a Date can hold (ECMA-262): beyond, float64 is too coarse for a time of day
POLICY = 1008  # RFC 6455, section 7.4
routes = APIRouter()


class Start(BaseModel):
    """What the browser brings; `stream`: the one that it was, to go on with it.

    `visit`, any text that nobody can guess, is the same each time that a page comes back: it takes over from a connection that
    was lost without the server having noticed, as it happens where a network is cut.
    """

    model_config = ConfigDict(extra="forbid")
    type: Literal["start"]
    sound: bool = True
    pictures: bool = True
    stream: str = ""
    visit: str = Field("", max_length=64)


class Ping(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["ping"]
    sent_ms: float = Field(allow_inf_nan=False)


TEXT: TypeAdapter[Start | Ping] = TypeAdapter(Annotated[Start | Ping, Field(discriminator="type")])


@routes.websocket("/v1/media")
async def bring(socket: WebSocket) -> None:
    await socket.accept()
    streams = all_streams(socket)
    try:
        async with asyncio.timeout(START_S):
            start = await started(socket)
        stream = await opened(streams, start)
    except (FavorError, TimeoutError) as error:
        await socket.send_json({"type": "error", **wrong("invalid_request", str(error) or f"no start within {START_S:g} s")})
        return await socket.close(POLICY)
    except WebSocketDisconnect:
        return
    await Connection(socket, stream, Bringer(start.visit)).run()


async def started(socket: WebSocket) -> Start:
    """What the first frame says. ConfigError where it says anything else."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    told = read(message.get("text") or "")
    if not isinstance(told, Start):
        raise ConfigError('the first frame must be {"type": "start"}; send it before anything else')
    if not (told.sound or told.pictures):
        raise ConfigError("neither sound nor pictures are brought; expected one of them at least")
    return told


async def opened(streams: Streams, start: Start) -> Stream:
    """A new stream, or the one that this browser had; after a restart that too, with what its journal remembers."""
    old = next((each for each in streams.all if each.name == start.stream), None)
    if old is None:
        name = start.stream if BROUGHT.fullmatch(start.stream) else new_name()
        return await streams.bring(Inlet(name, start.sound, start.pictures))
    if old.inlet is None or not old.inlet.is_free_for(start.visit):
        raise ConfigError(f"{old.name} is brought by somebody else; leave `stream` out for one of your own")
    return old


class Connection:
    """One browser that brings a stream."""

    def __init__(self, socket: WebSocket, stream: Stream, bringer: Bringer) -> None:
        assert stream.inlet is not None, "a film brings itself"
        self._socket, self._stream, self._inlet, self._bringer = socket, stream, stream.inlet, bringer
        self._bucket, self._wrong = Bucket(MOST_PER_S), 0

    async def run(self) -> None:
        """Until the browser leaves, comes back over another connection, or has sent too much that cannot be read."""
        self._inlet.begin(self._bringer)
        self._inlet.drift = Drift()  # whoever comes back may have another clock
        try:
            await self._socket.send_json({"type": "started", "stream": self._stream.name, "pictures_per_s": PACKED_PER_S})
            while self._wrong < MOST_WRONG:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect" or not self._inlet.is_brought_by(self._bringer):
                    return
                await self._take(message)
            await self._socket.close(POLICY)
        except (WebSocketDisconnect, RuntimeError):  # it has gone while it was told something
            return
        finally:
            self._inlet.end(self._bringer)

    async def _take(self, message: Any) -> None:
        try:
            if not self._bucket.takes():
                raise ConfigError(f"more than {MOST_PER_S} frames a second; this one was dropped")
            if (body := message.get("bytes")) is not None:
                return self._bring(body)
            told = read(message.get("text") or "")
            if isinstance(told, Start):
                raise ConfigError("a connection starts once; open another for another stream")
            await self._socket.send_json(self._pong(told))
        except ConfigError as error:
            self._wrong += 1
            await self._socket.send_json({"type": "error", **wrong("invalid_request", str(error))})

    def _bring(self, body: bytes) -> None:
        if len(body) <= HEADER.size:
            raise ConfigError(f"a frame of {len(body)} bytes; expected a header of {HEADER.size} and something behind it")
        kind, captured_ms = HEADER.unpack_from(body)
        brought = body[HEADER.size :]
        if not abs(captured_ms) <= MOST_MS:  # also true of nan
            raise ConfigError(f"captured at {captured_ms:g}; expected milliseconds, up to {MOST_MS:g}")
        if kind == PICTURE and brought.startswith(JPEG):
            self._inlet.put_picture(brought, captured_ms / 1000)
        elif kind == SOUND and len(brought) % 2 == 0:
            self._inlet.put_sound(samples(brought), captured_ms / 1000)
        else:
            raise ConfigError(f"a frame of kind {kind} that cannot be read; expected 1 with 16-bit samples or 2 with a JPEG")

    def _pong(self, ping: Ping) -> dict[str, Any]:
        drift = self._inlet.drift
        return {"type": "pong", "sent_ms": ping.sent_ms, "offset_s": finite(drift.least_delay_s), "drift_ppm": drift.ppm}


def read(text: str) -> Start | Ping:
    """ConfigError for a text frame that is none of ours."""
    try:
        return TEXT.validate_python(json.loads(text))
    except (ValidationError, ValueError, RecursionError) as error:
        raise ConfigError('a text frame that cannot be read; expected {"type": "start"} or {"type": "ping"}') from error


def samples(pcm: bytes) -> Sound:
    return (np.frombuffer(pcm, "<i2") / np.float32(32_768)).astype(np.float32)


def finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
