"""What a program appends in bursts, brought to a stream as a microphone and a camera would: steadily, with silence in between.

It knows the inlet of that stream; it knows no connection.
"""

from __future__ import annotations

import asyncio
import time

import av
import numpy as np

from favor_stream.capture.container import SoundTrack
from favor_stream.capture.inlet import Brought, Inlet
from favor_stream.errors import ConfigError
from favor_stream.records import RATE, SLICE_S, Picture, Sound

PCM_RATE = 24_000  # hertz, of what is appended: 16-bit samples, little endian, mono
BEAT_S = 0.1
BEAT_SAMPLES = int(RATE * BEAT_S)
SHOWN_EVERY = 5  # beats
CUSHION_S = 0.2  # that sound waits before it begins, so that pieces which come unevenly leave no holes
MOST_AHEAD_S = 30.0  # of sound that waits
MOST_BEHIND_S = 1.0  # after a longer pause of this machine nothing is made up for
NO_SOUND = np.zeros(0, np.float32)


class Pacer:
    """Brings a beat of sound after the other, and the newest picture again and again, while it runs. One event loop only."""

    def __init__(self, inlet: Inlet) -> None:
        self._inlet, self._track = inlet, SoundTrack()
        self._sound, self._begun_s, self._is_flowing = NO_SOUND, 0.0, False
        self._picture: av.VideoFrame | None = None
        self._is_new = False  # the picture, not shown yet
        self.due_s = 0.0  # on the monotonic clock: when all that came so far lies in slices that are complete, or nearly

    async def run(self) -> None:
        end_s = time.monotonic()
        beat = 0
        while True:
            beat += 1
            end_s = max(end_s + BEAT_S, time.monotonic() - MOST_BEHIND_S)
            await asyncio.sleep(end_s - time.monotonic())
            self._inlet.put(Brought(end_s, sound=self._next()))
            if self._picture is not None and (self._is_new or beat % SHOWN_EVERY == 0):
                self._is_new = False
                self._inlet.put(Brought(end_s, frame=self._picture))

    def hear(self, pcm: bytes) -> None:
        """The next samples. ConfigError, and none of them is taken, where they are no samples or too many wait."""
        if len(pcm) % 2:
            raise ConfigError(f"{len(pcm)} bytes of sound; expected 16-bit samples, two bytes each")
        ahead_s = len(self._sound) / RATE + len(pcm) / 2 / PCM_RATE
        if ahead_s > MOST_AHEAD_S:
            raise ConfigError(f"{ahead_s:.1f} s of sound would wait, and {MOST_AHEAD_S:g} may; send it as it is spoken")
        if pcm:
            frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2")[None], format="s16", layout="mono")
            frame.sample_rate = PCM_RATE
            self._add([sound for sound, _ in self._track.hear(frame, None, 0.0)])

    def finish(self) -> None:
        """What was said has ended: the last of it waits for no more."""
        self._add([sound for sound, _ in self._track.rest()])

    def show(self, picture: Picture) -> None:
        """The picture that is seen from now on."""
        self._picture, self._is_new = av.VideoFrame.from_ndarray(picture, format="rgb24"), True
        self.due_s = max(self.due_s, time.monotonic() + BEAT_S + SLICE_S)

    def clear(self) -> None:
        """Forgets the sound that waits."""
        self._sound, self._track, self.due_s = NO_SOUND, SoundTrack(), time.monotonic()

    def _add(self, pieces: list[Sound]) -> None:
        now_s = time.monotonic()
        if not len(self._sound):
            self._begun_s = now_s
        self._sound = np.concatenate([self._sound, *pieces])
        begins_s = now_s if self._is_flowing else self._begun_s + CUSHION_S
        self.due_s = max(self.due_s, begins_s + len(self._sound) / RATE + BEAT_S)

    def _next(self) -> Sound:
        """The sound of a beat."""
        waits = not self._is_flowing and time.monotonic() - self._begun_s < CUSHION_S
        taken = NO_SOUND if waits else self._sound[:BEAT_SAMPLES]
        self._sound = self._sound[len(taken) :]
        self._is_flowing = len(taken) > 0 and len(self._sound) > 0
        return np.pad(taken, (0, BEAT_SAMPLES - len(taken)))
