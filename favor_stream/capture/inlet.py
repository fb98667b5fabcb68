"""Pictures and sound that somebody brings: a browser, a program over a connection. It knows no connection.

What is brought waits here for a thread that decodes it: pictures in a few places, the oldest giving way, sound in many more, for
a picture may be missed and a word may not.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition
from typing import Self

import av

from favor_stream.capture import LiveSource, OnEvent
from favor_stream.capture.clock import JUMP_S, Drift, SoundLine
from favor_stream.capture.container import PictureTrack
from favor_stream.clip import frame_of
from favor_stream.errors import DeviceError
from favor_stream.records import RATE, Sound
from favor_stream.ring import Ring

MOST_PICTURES, MOST_SOUNDS = 4, 512  # that wait; of sound whose pieces last 32 ms, 16 s
WAKE_S = 0.2  # how long it takes at most to see that the source is left
BACK_S, SURE = 2.0, 5  # so many in a row that are older by this much: the bringer's clock was set back, and none of them is late


@dataclass(frozen=True, slots=True)
class Brought:
    """A picture or some sound."""

    captured_s: float  # it, or the last of the sound, on the clock that live sources are timed by
    jpeg: bytes = b""
    frame: av.VideoFrame | None = None  # a picture that is decoded already
    sound: Sound | None = None  # [samples] at RATE


@dataclass(frozen=True, eq=False, slots=True)
class Bringer:
    """Who brings it over one connection. `visit`: a number of the bringer's own, the same after its connection was lost."""

    visit: str = ""


class Inlet:
    """Where it is brought to, from one thread, at any time: what comes while no source is open is dropped."""

    def __init__(self, name: str, sound: bool = True, pictures: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: what live sources of its agent are timed by."""
        self.name, self.sound, self.pictures, self._clock = name, sound, pictures, clock
        self.drift, self._latest_s, self._older = Drift(), -math.inf, 0  # of the bringer's clock
        self.dropped = 0  # pictures that gave way to newer ones before anybody looked at them
        self.left_s: float | None = time.monotonic()  # since when nobody brings anything; None: somebody does
        self._bringer: Bringer | None = None
        self._source: BroughtIn | None = None

    def open(self, ring: Ring, on_event: OnEvent, pictures_per_s: float) -> BroughtIn:
        """The source that a stream enters; after it was left, another one may be opened."""
        self._source = BroughtIn(self, ring, on_event, pictures_per_s)
        return self._source

    def is_free_for(self, visit: str) -> bool:
        """Nobody brings anything; or it is the same visit that does, whose connection was lost before that was noticed here."""
        return self._bringer is None or (visit != "" and visit == self._bringer.visit)

    def begin(self, bringer: Bringer) -> None:
        """From now on it is this one who brings, and no longer who did before."""
        self._bringer, self.left_s = bringer, None

    def is_brought_by(self, bringer: Bringer) -> bool:
        return self._bringer is bringer

    def end(self, bringer: Bringer) -> None:
        """That one has left; another who has come meanwhile stays."""
        if self._bringer is bringer:
            self._bringer, self.left_s = None, time.monotonic()

    def put_picture(self, picture: bytes | av.VideoFrame, captured_s: float) -> float:
        """A picture, as JPEG or decoded, and when it was captured, by the bringer's clock; returns when that was by ours."""
        mapped_s = self._mapped_s(captured_s)
        self.put(Brought(mapped_s, jpeg=picture) if isinstance(picture, bytes) else Brought(mapped_s, frame=picture))
        return mapped_s

    def put_sound(self, sound: Sound, ended_s: float) -> float:
        """The next samples at RATE, without gaps, and when the last of them was captured, in the same way."""
        mapped_s = self._mapped_s(ended_s)
        self.put(Brought(mapped_s, sound=sound))
        return mapped_s

    def put(self, brought: Brought) -> None:
        """The same, of one who knows its place on the monotonic clock."""
        if self._source is not None:
            self._source.put(brought)

    @property
    def thinned(self) -> int:
        """Pictures that were more than are asked for, since the source was opened last."""
        return self._source.pictures_thinned if self._source else 0

    @property
    def offset_s(self) -> float:
        """The monotonic clock's time minus the bringer's: what the quickest delivery of the last minute took is taken as none."""
        return self.drift.least_delay_s

    def _mapped_s(self, captured_s: float) -> float:
        self._older = self._older + 1 if captured_s < self._latest_s - BACK_S else 0
        if self._older == SURE:
            self.drift, self._latest_s, self._older = Drift(), captured_s, 0
        self._latest_s = max(self._latest_s, captured_s)
        self.drift.add(captured_s, self._clock())
        return captured_s + self.offset_s


class BroughtIn(LiveSource):
    """Lost when nothing is brought for a while, found when something is."""

    def __init__(self, inlet: Inlet, ring: Ring, on_event: OnEvent, pictures_per_s: float) -> None:
        super().__init__(inlet.name, ring, on_event)
        self.unreadable = 0  # pictures that were none
        self._inlet, self._samples, self._heard_until_s = inlet, 0, math.inf
        self._line, self._track = SoundLine(ring), PictureTrack(pictures_per_s, usual_fps=pictures_per_s)
        self._changed = Condition()
        self._pictures_waiting: deque[Brought] = deque(maxlen=MOST_PICTURES)
        self._sound_waiting: deque[Brought] = deque(maxlen=MOST_SOUNDS)

    def __enter__(self) -> Self:
        self._expect(self._inlet.sound, self._inlet.pictures)
        return super().__enter__()

    def put(self, brought: Brought) -> None:
        """From any thread; never waits."""
        with self._changed:
            waiting = self._pictures_waiting if brought.sound is None else self._sound_waiting
            self._inlet.dropped += brought.sound is None and len(waiting) == MOST_PICTURES
            waiting.append(brought)
            self._changed.notify()

    def _fill(self) -> None:
        while not self._leaving.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._pictures_waiting or self._sound_waiting, WAKE_S)
                brought = [*self._sound_waiting, *self._pictures_waiting]
                self._sound_waiting.clear()
                self._pictures_waiting.clear()
            for each in brought:
                self._alive()
                if each.sound is None:
                    self._show(each)
                else:
                    self._hear(each.sound, each.captured_s)

    def _hear(self, sound: Sound, ended_s: float) -> None:
        """Its place is counted; where the count and the bringer's clock part, the clock is right, after a gap at once."""
        if abs(ended_s - len(sound) / RATE - self._heard_until_s) > JUMP_S:
            self._line = SoundLine(self._ring)
        self._put_sound(self._line, sound, self._samples / RATE, ended_s)
        self._samples, self._heard_until_s = self._samples + len(sound), ended_s

    def _show(self, brought: Brought) -> None:
        try:
            frame = brought.frame or frame_of(brought.jpeg)
        except DeviceError:
            self.unreadable += 1
            return
        self._track.expected_s = brought.captured_s  # the clock is right: where it goes back there is no cut, as in a film
        picture, time_s = self._track.see(frame, None, brought.captured_s)
        self.pictures_thinned = self._track.thinned
        if picture is not None:
            self._put_picture(picture, time_s)
