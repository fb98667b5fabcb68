"""A browser's camera and microphone over WebRTC, as a stream of its own, for networks that lose packets. Needs aiortc.

One call, an offer for an answer; nobody else is asked, so it works where the two reach each other by themselves over UDP. A
browser that was killed sends nothing that says so, and ICE waits half a minute: hence a heartbeat on a data channel.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Literal

import av
import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from favor_stream.capture.container import SoundTrack
from favor_stream.capture.inlet import Bringer, Brought, Inlet
from favor_stream.errors import ConfigError, FavorError
from favor_stream.records import RATE, Sound
from favor_stream.retrying import ended
from favor_stream.web.chosen import AllStreams
from favor_stream.web.media import Start, opened
from favor_stream.web.streams import Stream

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection

CONNECT_S, QUIET_S = 15.0, 5.0  # for which the first heartbeat is waited for, and any other
LOOK_S = 0.5
HELD_FRAMES = 4  # of sound, that aiortc's jitter buffer keeps back
DRIFT = 1e-4  # of two clocks: as much as poor ones have
MOST_MENDED_S = 0.5  # of sound that was lost on the way; more is a jump, which the stream's own clock sees
WANTED = "expected SDP that sends one camera, one microphone or both"
LACKING = "webrtc needs aiortc; pip install --editable '.[webrtc]'"
routes = APIRouter()


class Offer(BaseModel):
    """What the browser would send; `stream` and `visit`: to go on with the one that it was, as in `Start`."""

    model_config = ConfigDict(extra="forbid")
    sdp: str
    type: Literal["offer"]
    stream: str = ""
    visit: str = Field("", max_length=64)


@routes.post("/v1/webrtc")
async def connect(offer: Offer, streams: AllStreams) -> dict[str, str]:
    """The answer to an offer, with the name of the stream that the offered tracks become."""
    peer = await new_peer()
    try:
        tracks = await offered(peer, offer.sdp)
        sound, pictures = (kind in [track.kind for track in tracks] for kind in ("audio", "video"))
        start = Start(type="start", sound=sound, pictures=pictures, stream=offer.stream, visit=offer.visit)
        stream = await opened(streams, start)
    except BaseException:
        await closed(peer)
        raise
    connection = Connection(peer, tracks, stream, Bringer(offer.visit))
    task = asyncio.create_task(connection.run(), name="webrtc")
    stream.left.push_async_callback(ended, {task})  # of one that has ended by then nothing is left but its task
    return {"sdp": await connection.answer(), "type": "answer", "stream": stream.name}


async def new_peer() -> RTCPeerConnection:
    """One that asks no STUN server who it is. FavorError where aiortc is missing."""
    try:
        await asyncio.to_thread(import_module, "aiortc")  # which takes a while, the first time
        from aiortc import RTCConfiguration, RTCPeerConnection
    except ImportError as error:
        raise FavorError(LACKING) from error
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def offered(peer: RTCPeerConnection, sdp: str) -> list[MediaStreamTrack]:
    """The tracks of an offer, one of a kind at most. ConfigError for an offer that is none."""
    from aiortc import RTCSessionDescription

    tracks: list[MediaStreamTrack] = []
    peer.on("track", tracks.append)
    try:
        await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
    except Exception as error:  # whatever its parser stumbles over
        raise unacceptable(error) from error
    kinds = [track.kind for track in tracks]
    if not tracks or len(set(kinds)) < len(kinds):
        raise ConfigError(f"{kinds.count('video')} cameras and {kinds.count('audio')} microphones; {WANTED}")
    return tracks


def unacceptable(error: Exception) -> ConfigError:
    why = " ".join(str(error).split())[:200] or type(error).__name__
    return ConfigError(f"an offer that cannot be accepted ({why}); {WANTED}")


async def closed(peer: RTCPeerConnection) -> None:
    with suppress(AttributeError):  # aiortc's own, of an offer that lacked something
        await peer.close()


class Connection:
    """One browser that brings a stream. Its tracks are read as fast as they come: aiortc's own queues know no bound."""

    def __init__(self, peer: RTCPeerConnection, tracks: list[MediaStreamTrack], stream: Stream, bringer: Bringer) -> None:
        assert stream.inlet is not None, "a film brings itself"
        self._peer, self._tracks, self._inlet, self._bringer = peer, tracks, stream.inlet, bringer
        self._due_s = time.monotonic() + CONNECT_S  # when it counts as gone
        self._inlet.begin(bringer)
        peer.on("datachannel", self._listen)

    async def answer(self) -> str:
        """The SDP, with this machine's addresses in it; from now on the two try to reach each other."""
        try:
            await self._peer.setLocalDescription(await self._peer.createAnswer())
        except Exception as error:  # what the offer lacked in the end
            self._due_s = 0.0
            raise unacceptable(error) from error
        return self._peer.localDescription.sdp

    async def run(self) -> None:
        """Until the browser leaves, comes back over another connection, or is not heard of any more."""
        try:
            async with asyncio.TaskGroup() as group:
                reading = [group.create_task(self._read(track), name=f"webrtc {track.kind}") for track in self._tracks]
                while self._is_there():
                    await asyncio.sleep(LOOK_S)
                for task in reading:
                    task.cancel()
        finally:
            self._inlet.end(self._bringer)
            await closed(self._peer)

    def _is_there(self) -> bool:
        is_open = self._peer.connectionState not in ("failed", "closed")
        return is_open and time.monotonic() < self._due_s and self._inlet.is_brought_by(self._bringer)

    def _listen(self, channel: RTCDataChannel) -> None:
        def beat(_: object) -> None:
            self._due_s = time.monotonic() + QUIET_S
            if channel.readyState == "open" and not channel.bufferedAmount:
                channel.send("pong")

        channel.on("message", beat)

    async def _read(self, track: MediaStreamTrack) -> None:
        from aiortc import MediaStreamError

        take = Sight(self._inlet).see if track.kind == "video" else Hearing(self._inlet).hear
        try:
            while True:
                take(await track.recv(), time.monotonic())
        except MediaStreamError:  # its end
            return


# Stamps. The two tracks of a browser count from origins of their own, and which moments these were is told by nobody that aiortc
# listens to. So each track has a clock of its own here, both are put on the monotonic clock, and the Inlet's own mapping, which
# is for one clock, is passed by. What aiortc itself keeps back would be taken for the way: it is taken off before.


class Clock:
    """A track's clock against the monotonic one: the least delay is taken as none, and rises no faster than clocks drift.

    For after its first lost packet aiortc keeps back 0.2 s of sound more than before, for good; that is no slower clock.
    """

    def __init__(self) -> None:
        self._least_s, self._looked_s = math.inf, 0.0

    def offset_s(self, track_s: float, arrived_s: float) -> float:
        """Monotonic minus the track's time, once something of `track_s` has arrived."""
        risen_s = self._least_s + DRIFT * (arrived_s - self._looked_s)
        self._least_s, self._looked_s = min(risen_s, arrived_s - track_s), arrived_s
        return self._least_s


class Sight:
    """Pictures with their stamps; what is too many the Inlet passes over before it is made small."""

    def __init__(self, inlet: Inlet) -> None:
        self._inlet, self._clock = inlet, Clock()
        self._before_s: float | None = None

    def see(self, frame: object, now_s: float) -> None:
        """A picture is given out when the next one begins to arrive: so this one arrived when the one before was given out."""
        assert isinstance(frame, av.VideoFrame)
        assert frame.time is not None
        arrived_s, self._before_s = self._before_s, now_s
        if arrived_s is not None:  # of the very first it is not known
            offset_s = self._clock.offset_s(frame.time, arrived_s)
            self._inlet.put(Brought(frame.time + offset_s, frame=frame))


class Hearing:
    """Sound at RATE in mono with its stamps; what was lost on the way becomes silence, so that the count of samples is true."""

    def __init__(self, inlet: Inlet) -> None:
        self._inlet, self._clock, self._track = inlet, Clock(), SoundTrack()
        self._until_s: float | None = None  # on the track's clock

    def hear(self, frame: object, now_s: float) -> None:
        assert isinstance(frame, av.AudioFrame)
        assert frame.time is not None
        lasts_s = frame.samples / frame.sample_rate
        offset_s = self._clock.offset_s(frame.time + lasts_s, now_s - HELD_FRAMES * lasts_s)
        for sound, time_s in self._track.hear(frame, frame.time, math.inf):
            whole = self._mended(sound, time_s)
            self._until_s = time_s + len(sound) / RATE
            self._inlet.put(Brought(self._until_s + offset_s, sound=whole))

    def _mended(self, sound: Sound, time_s: float) -> Sound:
        lacking = 0 if self._until_s is None else round((time_s - self._until_s) * RATE)
        return np.pad(sound, (lacking, 0)) if 0 < lacking <= MOST_MENDED_S * RATE else sound
