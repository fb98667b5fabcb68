"""The room: a bell in a corner, a voice, and a sign that is held up; and what the robot's camera and two microphones get of them.

Pictures and sounds are those of the generated world, which the shipped model knows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from favor_stream.aveb.noises import noise
from favor_stream.aveb.picture import background, draw_thing, photograph
from favor_stream.aveb.script import Camera, Room, Script, Thing
from favor_stream.aveb.speech import HELD_OUT_VOICES, say
from favor_stream.records import RATE, Picture, Sound
from favor_stream.robot.example.two_wheeler import TwoWheeler

SOUND_M_S = 343.0
EARS_M = 0.2  # between the microphones
VIEW = math.radians(60.0)  # that the camera sees, from left to right
RING_S, EVERY_S = 2.0, 3.0  # how long the bell rings, and how often
SIZE = 160, 120
SCRIPT = Script(5, 0.0, 11, "bricks", Camera(1.0, 3.0, 0.3, 0), Room(-55.0, 0.5, 0.0), (), (), (), ())
Stereo = NDArray[np.float32]  # [samples, 2], left and right


@dataclass(slots=True)
class Arena:
    """Everything that is there, and when. Times are seconds from the beginning."""

    robot: TwoWheeler = field(default_factory=TwoWheeler)
    bell_m: tuple[float, float] = (-0.5, 3.0)
    stop_s: float = math.inf  # when somebody says "stop now"
    sign_s: float = math.inf  # when a red square is held up before the bell, for as long as it takes
    _bell: Sound = field(init=False)
    _voice: Sound = field(init=False)
    _random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._bell = noise("bell", RING_S, seed=3) * np.float32(0.5)
        self._voice = say("stop now", HELD_OUT_VOICES[0], 150, 50).sound * np.float32(0.6)
        self._random = np.random.default_rng(0)

    @property
    def bearing(self) -> float:
        """Of the bell, from where the robot looks, in radians to the left."""
        return self.robot.bearing(*self.bell_m)

    def picture(self, time_s: float) -> Picture:
        """What the camera sees: [height, width, 3]."""
        image = background(SCRIPT.background_kind, SCRIPT.background, *SIZE).copy()
        if time_s >= self.sign_s and abs(self.bearing) < VIEW / 2:
            across = 0.5 - self.bearing / VIEW
            draw_thing(image, Thing("red", "square", 0.0, math.inf, across, 0.5, 0.2, "still", 0.0, 0, 0.0), across, 0.5)
        return photograph(image, SCRIPT, time_s)

    def sound(self, time_s: float, samples: int) -> Stereo:
        """What the two microphones get from a moment on: the bell from its side, the voice from ahead."""
        at_s = time_s + np.arange(samples) / RATE
        late_s = EARS_M / SOUND_M_S * math.sin(self.bearing) / 2  # what comes from the left is early at the left
        rings = [played(self._bell, np.mod(at_s + side * late_s, EVERY_S)) for side in (1, -1)]
        quiet = at_s > min(self.stop_s, self.sign_s)  # the bell is still then, so that it is not what stops the robot
        voice = played(self._voice, at_s - self.stop_s)
        hiss = self._random.normal(0.0, 10 ** (SCRIPT.room.noise_db / 20), (samples, 2))
        return (np.stack([np.where(quiet, 0.0, ring) + voice for ring in rings], 1) + hiss).astype(np.float32)


def played(sound: Sound, at_s: NDArray[Any]) -> NDArray[np.float64]:
    """A sound's samples at these times from its start, and silence before and after it."""
    samples: NDArray[np.float64] = np.interp(at_s * RATE, np.arange(len(sound)), sound, left=0.0, right=0.0)
    return samples


def heard_from(stereo: Stereo) -> float | None:
    """The bearing of what is heard, in radians to the left, by how much earlier one microphone has it; None where it is quiet."""
    if float(np.sqrt(np.mean(stereo**2))) < 0.01:
        return None
    left, right = (np.fft.rfft(channel, 2 * len(stereo)) for channel in stereo.T)
    likeness = np.fft.irfft(
        left * right.conj() / np.maximum(np.abs(left * right), 1e-9), 16 * 2 * len(stereo)
    )  # finer than samples
    most = math.ceil(16 * EARS_M / SOUND_M_S * RATE)
    lag = int(np.argmax(np.r_[likeness[-most:], likeness[: most + 1]])) - most
    return -math.asin(max(-1.0, min(1.0, lag / 16 / RATE * SOUND_M_S / EARS_M)))
