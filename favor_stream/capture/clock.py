"""Where a device's sound lies on the session's clock: counted by samples, and bent a little when the device's clock drifts.

It knows nothing of devices; all times are given to it.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from favor_stream.records import RATE, Sound
from favor_stream.ring import Ring

WINDOW_S = 60  # the drift is told from this long a past
EVIDENCE_S = 10  # and not before
RETIME_S = 0.040  # sound and pictures further apart than this are seen to be apart
SETTLED_S = 0.002
JUMP_S = 0.5  # an error beyond this is lost sound, no drift
BEND = 320  # one sample in so many is added or taken out: 0.3 %, which nobody hears


class Drift:
    """A device's clock against the monotonic one. Things arrive late and never early: each second's least delay counts."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[float, float]] = deque(maxlen=WINDOW_S)  # device time and least delay of whole seconds
        self._least = (0.0, math.inf)  # the same, of the second that runs

    def add(self, device_s: float, arrived_s: float) -> None:
        """Something that the device's clock puts at `device_s` arrived at `arrived_s` on the monotonic clock."""
        if math.floor(device_s) != math.floor(self._least[0]) and self._least[1] < math.inf:
            self._seconds.append(self._least)
            self._least = (device_s, math.inf)
        if arrived_s - device_s < self._least[1]:
            self._least = (device_s, arrived_s - device_s)

    @property
    def delay_s(self) -> float | None:
        """Monotonic minus device time, of the last whole second."""
        return self._seconds[-1][1] if self._seconds else None

    @property
    def least_delay_s(self) -> float:
        """The same of the whole past that is kept, with the second that runs; infinite before anything has arrived."""
        return min(delay_s for _, delay_s in (*self._seconds, self._least))

    @property
    def ppm(self) -> float | None:
        """How much faster the device's clock runs, in parts per million; None before EVIDENCE_S."""
        if len(self._seconds) < EVIDENCE_S:
            return None
        device_s, delay_s = np.array(self._seconds).T
        return -1e6 * float(np.polyfit(device_s - device_s[0], delay_s, 1)[0])


class SoundLine:
    """Lays the blocks of one device end to end on a ring's clock and keeps them within RETIME_S of the monotonic clock."""

    def __init__(self, ring: Ring) -> None:
        self.drift = Drift()
        self._ring = ring
        self._anchor_s: float | None = None  # monotonic minus device time, as the sound is laid
        self._bending = False

    def place(self, sound: Sound, device_s: float, arrived_s: float) -> tuple[Sound, float]:
        """The sound as it is to be put and its start on the session's clock, for a block that starts at `device_s`."""
        end_s = device_s + len(sound) / RATE
        if self._anchor_s is None:
            self._anchor_s = arrived_s - end_s
        self.drift.add(end_s, arrived_s)
        error_s = 0.0 if self.drift.delay_s is None else self.drift.delay_s - self._anchor_s
        if abs(error_s) > JUMP_S:
            self._anchor_s += error_s
            self.drift = Drift()
        start_s = self._ring.session_s(device_s + self._anchor_s, sound=True)
        assert start_s is not None  # sound starts the clock
        self._bending = abs(error_s) > (SETTLED_S if self._bending else RETIME_S) and abs(error_s) <= JUMP_S
        if not self._bending:
            return sound, start_s
        more = math.copysign(max(1, len(sound) // BEND), error_s)
        self._anchor_s += more / RATE
        return _stretched(sound, len(sound) + int(more)), start_s


def _stretched(sound: Sound, count: int) -> Sound:
    """The same sound in `count` samples."""
    places = np.linspace(0, len(sound) - 1, count)
    return np.interp(places, np.arange(len(sound)), sound).astype(np.float32)
