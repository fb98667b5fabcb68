"""A bag of ROS 2 from disk, at its own speed or as fast as the reader takes it. It knows messages, and no ROS that runs.

Time is what the messages' headers say, in whole nanoseconds until a slice is made of it: two replays are the same.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qsl

from favor_stream.capture import OnEvent, log_event
from favor_stream.capture.container import DRIFT_S, FAILED, Heard, PictureTrack, Seen
from favor_stream.capture.played import Played
from favor_stream.capture.storage import Storage, Stored, opened
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.records import RATE, Sound
from favor_stream.ring import Ring
from favor_stream.ros import picture, sound
from favor_stream.ros.messages import NS_PER_S, Message, decode, stamp_ns
from favor_stream.ros.sound import Ears

EARLY_NS = NS_PER_S  # messages are put in the order of their stamps where they lie no further apart than this
BACK_NS = 3 * NS_PER_S  # stamps that go back further than this are a clock that was set
GAP_NS = 3600 * NS_PER_S  # and so are stamps that run ahead by more than this; what is less is a gap
UNSTAMPED_NS = NS_PER_S // 2  # the same as DRIFT_S where the recorder's own time is all there is
STAMPED_NS = round(DRIFT_S * NS_PER_S)
MOST_HELD = 64 << 20  # bytes of messages that wait to be sorted
QUERY = ("pictures", "sound", "speed")
MOST_SPEED = 100.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What an address asks for."""

    path: Path
    pictures: str | None = None  # a topic; None: the first that can be seen, "": no pictures
    sound: str | None = None
    speed: float = 1.0


def wished(address: str) -> Wish:
    """Reads PATH?pictures=/TOPIC&sound=/TOPIC&speed=NUMBER. Raises ConfigError for another question."""
    path, _, query = address.partition("?")
    asked = dict(parse_qsl(query, keep_blank_values=True))
    if strange := sorted(asked.keys() - set(QUERY)):
        raise ConfigError(f"{address}: {', '.join(strange)} is asked for; expected some of {', '.join(QUERY)}")
    try:
        speed = float(asked.get("speed", "1"))
    except ValueError:
        speed = math.nan
    if not 1 <= speed <= MOST_SPEED:
        raise ConfigError(f"{address}: speed is {asked['speed']!r}; write a number from 1 to {MOST_SPEED:g}")
    return Wish(Path(path), asked.get("pictures"), asked.get("sound"), speed)


class Bag(Played):
    """Plays one topic of pictures and one of sound; what is damaged is counted, and the event at the end tells of it.

    0.0 is the first sample of sound, or the first picture where there is no sound; pictures before it are passed over. Entering
    raises DeviceError where there is nothing to play. `pace` as of a File.
    """

    def __init__(
        self,
        address: str,
        ring: Ring,
        pace: Literal["realtime", "fast"] = "realtime",
        on_event: OnEvent = log_event,
        pictures_per_s: float = 4.0,
    ) -> None:
        super().__init__(address, ring, pace, on_event, pictures_per_s)
        self._wish = wished(address)
        self._played: Play | None = None

    def __enter__(self) -> Self:
        self._played = play = Play(Found(self.name, opened(self._wish.path)), self._wish, self._pictures_per_s)
        self._expect(play.has_sound, play.has_pictures)
        return super().__enter__()

    @property
    def began_ns(self) -> int | None:
        """The stamp at the stream's 0.0, once the bag is entered."""
        return None if self._played is None else self._played.began_ns - round(self._begins_s * NS_PER_S)

    def _run(self) -> None:
        played = self._played
        assert played
        if self._play(played, lambda: played.thinned, self._wish.speed):
            self._tell("ended", f"{self.name}: ended{played.damage()}")


class Found:
    """The topics of a bag, and the first message of each."""

    def __init__(self, name: str, storage: Storage) -> None:
        self.storage = storage
        self._name = name
        self._kinds = storage.kinds()
        if not self._kinds:
            raise DeviceError(f"{name}: holds no messages{f' ({storage.error})' if storage.error else ''}; give another bag")
        wanted = picture.KINDS | sound.KINDS | {sound.INFO_KIND}
        self._firsts = _firsts(storage, {topic for topic, kind in self._kinds.items() if kind in wanted})
        self._refusals: list[str] = []  # topics that might have been played, and why not

    def topic(self, wish: str | None, track: str, kinds: Collection[str], play: Callable[[str, Message], object]) -> str | None:
        """The topic of a track: the one that is wished for, or the first whose first message can be played."""
        fitting = sorted(topic for topic, kind in self._kinds.items() if kind in kinds and topic in self._firsts)
        if wish and wish not in fitting:
            raise DeviceError(f"{self._name}: there is no topic {wish} of {track}; name one of those it holds: {self.listed}")
        for topic in [wish] if wish else fitting if wish is None else []:
            try:
                play(topic, _message(self._firsts[topic]))
            except DeviceError as error:
                self._refusals.append(f"{topic}: {error}")
            else:
                return topic
        if wish:
            raise DeviceError(f"{self._name}: {self._refusals[-1]}")
        return None

    def ears(self, topic: str) -> Ears:
        """Ears for a topic of sound, with what the first AudioInfo beside it says."""
        ears = Ears()
        if info := self.info_topic(topic):
            ears.hear(_message(self._firsts[info]))
        return ears

    def info_topic(self, topic: str) -> str | None:
        """The topic that describes a topic of sound: the one in the same namespace."""
        infos = sorted(each for each in self._firsts if self._kinds[each] == sound.INFO_KIND)
        return next((each for each in infos if posixpath.dirname(each) == posixpath.dirname(topic)), None)

    @property
    def listed(self) -> str:
        return ", ".join(f"{topic} ({kind})" for topic, kind in sorted(self._kinds.items())[:20])

    def nothing(self) -> DeviceError:
        why = f" ({self._refusals[0]})" if self._refusals else ""
        return DeviceError(f"{self._name}: no pictures and no sound that can be played{why}; it holds {self.listed}")


@dataclass(slots=True)
class Track:
    """A topic's own time, which goes on where its stamps jump."""

    newest_ns: int | None = None
    jumps: int = 0
    _shift_ns: int = 0
    _step_ns: int = 0  # between the last two

    def placed_ns(self, stamp_ns: int, furthest_ns: int) -> int:
        """The stamp, or, where the clock was set, the time that goes on; `furthest_ns` is how far the whole bag has come."""
        at_ns = stamp_ns + self._shift_ns
        earliest_ns = furthest_ns - GAP_NS if self.newest_ns is None else self.newest_ns - BACK_NS
        if not earliest_ns <= at_ns <= furthest_ns + GAP_NS:
            self.jumps += 1
            expected_ns = furthest_ns if self.newest_ns is None else self.newest_ns + self._step_ns
            self._shift_ns += expected_ns - at_ns
            at_ns = expected_ns
        if self.newest_ns is not None and at_ns > self.newest_ns:
            self._step_ns = min(at_ns - self.newest_ns, NS_PER_S)
        self.newest_ns = max(at_ns, at_ns if self.newest_ns is None else self.newest_ns)
        return at_ns


class Play:
    """What a bag shows and lets hear, in the order of its stamps; iterating ends where it ends or breaks."""

    def __init__(self, found: Found, wish: Wish, pictures_per_s: float) -> None:
        self._eye = found.topic(wish.pictures, "pictures", picture.KINDS, lambda _, message: picture.frame(message))
        self._ear = found.topic(wish.sound, "sound", sound.KINDS, lambda topic, message: found.ears(topic).hear(message))
        if not self._eye and not self._ear:
            raise found.nothing()
        self._storage = found.storage
        self._info = found.info_topic(self._ear) if self._ear else None
        self._ears = found.ears(self._ear) if self._ear else Ears()
        self._tracks = {topic: Track() for topic in (self._ear, self._eye) if topic}
        self._scaler = PictureTrack(pictures_per_s, usual_fps=pictures_per_s)
        self.began_ns = _began_ns(found.storage, self._ear or self._eye or "")
        self._early = 0  # pictures before the first sound
        self._refused = 0  # messages
        self._refusal = ""  # of the first of them
        self._sample = 0  # where the next sample from the ears lies, counted from began_ns
        self._expected_ns = Fraction(0)  # where the next sound should start
        self._is_anchored = False

    @property
    def has_sound(self) -> bool:
        return self._ear is not None

    @property
    def has_pictures(self) -> bool:
        return self._eye is not None

    @property
    def thinned(self) -> int:
        """Pictures passed over: more than were asked for, or from before the first sound."""
        return self._scaler.thinned + self._early

    def __iter__(self) -> Iterator[Heard | Seen]:
        for at_ns, topic, message, is_stamped in self._in_order():
            if topic == self._ear:
                yield from self._hear(at_ns, message, STAMPED_NS if is_stamped else UNSTAMPED_NS)
            else:
                yield from self._see(at_ns, message)
        yield from self._heard(self._ears.rest())

    def damage(self) -> str:
        """What was wrong with the bag, to be read after "ended"."""
        jumps = sum(track.jumps for track in self._tracks.values())
        damaged, first = self._refused + self._storage.damaged, self._refusal and f" (the first: {self._refusal})"
        shape = self._ears.shape
        found = (
            (damaged, f"{damaged} damaged parts passed over{first}"),
            (jumps, f"{jumps} jumps of its clock mended"),
            (self._ears.is_assumed, f"no AudioInfo came, so sound was taken for {shape.sample_format} at {shape.rate_hz} Hz"),
            (self._storage.error, f"reading stopped early ({self._storage.error})"),
        )
        return "".join(f", {text}" for is_there, text in found if is_there)

    def _in_order(self) -> Iterator[tuple[int, str, Message, bool]]:
        """Time, topic and message, and whether the time is the message's own; some are read ahead, to sort them."""
        waiting: list[tuple[int, int, str, Message, bool, int]] = []
        held, furthest_ns = 0, self.began_ns
        for number, (stored, message) in enumerate(self._messages()):
            own_ns, size = stamp_ns(message), len(stored.data)
            at_ns = self._tracks[stored.topic].placed_ns(own_ns or stored.received_ns, furthest_ns)
            furthest_ns, held = max(furthest_ns, at_ns), held + size
            heappush(waiting, (at_ns, number, stored.topic, message, own_ns is not None, size))
            while waiting and (waiting[0][0] < furthest_ns - EARLY_NS or held > MOST_HELD):
                at_ns, _, topic, message, is_stamped, size = heappop(waiting)
                held -= size
                yield at_ns, topic, message, is_stamped
        while waiting:
            at_ns, _, topic, message, is_stamped, _ = heappop(waiting)
            yield at_ns, topic, message, is_stamped

    def _messages(self) -> Iterator[tuple[Stored, Message]]:
        """What is to be played, decoded; an AudioInfo is heard at once."""
        for stored in self._storage.read({*self._tracks, *filter(None, [self._info])}):
            try:
                message = _message(stored)
                if stored.topic != self._info:
                    yield stored, message
                else:
                    self._ears.hear(message)
            except DeviceError as error:
                self._refuse(error)

    def _hear(self, at_ns: int, message: Message, rounding_ns: int) -> Iterator[Heard]:
        """Its place is counted; where the count and the stamp part, the stamp is right."""
        if not self._is_anchored or abs(at_ns - self._expected_ns) > rounding_ns:
            yield from self._heard(self._ears.rest())
            self._is_anchored, self._expected_ns = True, Fraction(at_ns)
            self._sample = ((at_ns - self.began_ns) * RATE + NS_PER_S // 2) // NS_PER_S
        try:
            samples = self._ears.hear(message)
        except DeviceError as error:
            self._refuse(error)
            return
        self._expected_ns += self._ears.length_s * NS_PER_S
        yield from self._heard(samples)

    def _heard(self, samples: Sound) -> Iterator[Heard]:
        if len(samples):
            yield Heard(samples, self._sample / RATE, 0.0)
            self._sample += len(samples)

    def _see(self, at_ns: int, message: Message) -> Iterator[Seen]:
        if at_ns < self.began_ns:
            self._early += 1
            return
        self._scaler.expected_s = (at_ns - self.began_ns) / NS_PER_S  # jumps are mended already, those of both tracks alike
        try:
            shown, time_s = self._scaler.see(picture.frame(message), None, self._scaler.expected_s)
        except (DeviceError, *FAILED) as error:
            self._refuse(error)
        else:
            yield Seen(shown, time_s, 0.0)

    def _refuse(self, error: Exception) -> None:
        self._refused, self._refusal = self._refused + 1, self._refusal or str(error)


def _message(stored: Stored) -> Message:
    return decode(stored.data, stored.kind)


def _firsts(storage: Storage, topics: Collection[str]) -> dict[str, Stored]:
    """The first message of each topic."""
    firsts: dict[str, Stored] = {}
    for stored in storage.read(topics) if topics else ():
        firsts.setdefault(stored.topic, stored)
        if len(firsts) == len(topics):
            break
    return firsts


def _began_ns(storage: Storage, topic: str) -> int:
    """The earliest stamp of a topic's first messages."""
    stamps: list[int] = []
    for stored in storage.read({topic}):
        with suppress(DeviceError):
            stamps.append(stamp_ns(_message(stored)) or stored.received_ns)
        if stamps and not 0 <= stamps[-1] - stamps[0] <= EARLY_NS:
            break
    near = [stamp for stamp in stamps if abs(stamp - stamps[0]) <= EARLY_NS]
    return min(near, default=0)
