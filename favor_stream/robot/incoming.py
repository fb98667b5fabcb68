"""Pictures and sound that other nodes publish, on their way into the agent. It knows messages, and no transport and no agent.

Everything here runs on the threads of topics, never waits, and loses nothing uncounted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from favor_stream.capture.inlet import Inlet
from favor_stream.errors import DeviceError
from favor_stream.outlets import Robot
from favor_stream.payload import Json
from favor_stream.robot.stamps import Stamp, Stamps
from favor_stream.robot.wire import OnTrouble, Trouble
from favor_stream.ros import picture
from favor_stream.ros.messages import Message, decode, stamp_ns
from favor_stream.ros.sound import INFO_KIND, Ears

Clock = Callable[[], float]
AHEAD_S = 0.1  # a stamp may be ahead of the clock by this much: clocks are never quite alike
BACK_S = 1.0  # and behind the one before it by this much
SOUND_KINDS = tuple(f"audio_common_msgs/msg/{name}" for name in ("AudioStamped", "AudioDataStamped", "AudioData"))


@dataclass(slots=True)
class Traffic:
    """Of one topic, so far."""

    messages: int = 0
    unusable: int = 0  # of them
    came_s: float | None = None  # the last one, on the agent's clock
    stamped_s: float = 0.0  # its sender's time of it


class Incoming:
    """What an agent takes in by topics: `inlets` are its sources, and `stamps` tell when what they brought was captured."""

    def __init__(self, robot: Robot, on_trouble: OnTrouble, clock: Clock = time.monotonic, wall: Clock = time.time) -> None:
        """`clock` is the agent's; `wall` the one that stamps are compared with, in seconds since 1970: a simulator's for both."""
        self._clock, self._wall, self._on_trouble = clock, wall, on_trouble
        self.stamps, self._ears = Stamps(), Ears()
        self.pictures, self.sound = Traffic(), Traffic()
        self._into_pictures = Inlet(robot.pictures, sound=False, clock=clock)
        self._into_sound = Inlet(robot.sound, pictures=False, clock=clock)
        self.inlets = [inlet for inlet in (self._into_pictures, self._into_sound) if inlet.name]
        self._troubled: set[tuple[str, str]] = set()

    def figures(self) -> Json:
        """What came, how old the last of it is, and what could not be used."""
        figures: Json = {"pictures_not_decoded": self._into_pictures.dropped, "pictures_thinned": self._into_pictures.thinned}
        for name, traffic in (("pictures", self.pictures), ("sound", self.sound)):
            figures[f"{name}_received"], figures[f"{name}_unusable"] = traffic.messages, traffic.unusable
            figures[f"{name}_age_s"] = None if traffic.came_s is None else self._clock() - traffic.came_s
        return figures

    def see(self, cdr: bytes, kind: str) -> None:
        """A sensor_msgs Image or CompressedImage."""
        name, traffic = self._into_pictures.name, self.pictures
        traffic.messages += 1
        try:
            message = decode(cdr, kind)
            stamp = self._stamped(message, name, traffic)
            captured_s = self._into_pictures.put_picture(picture.frame(message), stamp.ns / 1e9)
        except DeviceError as error:
            return self._refuse(name, traffic, "bad_picture", error)
        self.stamps.note(captured_s, stamp)
        self._mend("bad_picture", name)

    def hear(self, cdr: bytes, kind: str) -> None:
        """A message of either package that is called audio_common_msgs, or of the AudioInfo beside it."""
        name, traffic = self._into_sound.name, self.sound
        traffic.messages += kind != INFO_KIND
        try:
            message = decode(cdr, kind)
            heard = self._ears.hear(message)
        except DeviceError as error:
            return self._refuse(name, traffic, "bad_sound", error)
        if kind == INFO_KIND:
            return
        stamp = self._stamped(message, name, traffic)
        captured_s = self._into_sound.put_sound(heard, stamp.ns / 1e9 + float(self._ears.length_s))
        if not self._into_pictures.name:  # else a picture's stamp tells what an event rests on
            self.stamps.note(captured_s, stamp)
        self._mend("bad_sound", name)

    def _stamped(self, message: Message, name: str, traffic: Traffic) -> Stamp:
        """The header's stamp, or now where there is none; what is wrong with it is told, and it is taken all the same."""
        wall_s, told_ns = self._wall(), stamp_ns(message)
        stamped_s = wall_s if told_ns is None else told_ns / 1e9
        ahead_s, back_s = stamped_s - wall_s, traffic.stamped_s - stamped_s
        ahead = f"a stamp is {ahead_s:.1f} s ahead of this machine's clock; set both clocks by NTP, or use_sim_time"
        self._check("stamp_in_future", name, ahead_s > AHEAD_S, ahead)
        back = f"stamps went back by {back_s:.1f} s; expected a clock that goes on; it is followed"
        self._check("clock_jumped", name, back_s > BACK_S, back)
        traffic.came_s, traffic.stamped_s = self._clock(), stamped_s
        frame_id = getattr(getattr(message, "header", None), "frame_id", "")
        return Stamp(round(stamped_s * 1e9) if told_ns is None else told_ns, frame_id)

    def _refuse(self, name: str, traffic: Traffic, code: str, error: DeviceError) -> None:
        traffic.unusable += 1
        self._check(code, name, True, str(error))

    def _mend(self, code: str, name: str) -> None:
        self._troubled.discard((code, name))

    def _check(self, code: str, name: str, is_wrong: bool, text: str) -> None:
        """Tell it once, until it is right again."""
        if is_wrong and (code, name) not in self._troubled:
            self._on_trouble(Trouble(code, f"{name}: {text}"))
        (self._troubled.add if is_wrong else self._troubled.discard)((code, name))


def picture_kind(topic: str) -> str:
    return f"sensor_msgs/msg/{'CompressedImage' if topic.endswith('compressed') else 'Image'}"
