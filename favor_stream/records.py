"""What flows through the agent: small frozen records with their shapes and units. They know nothing of devices or models."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from favor_stream.errors import ConfigError

RATE = 16_000  # hertz, mono, everywhere below capture
SLICE_S = 0.5  # FAVOR's audio-visual frame (arXiv 2310.05863, section 3.1)
SLICE_SAMPLES = int(RATE * SLICE_S)

Picture = NDArray[np.uint8]  # [height, width, 3], RGB
Sound = NDArray[np.float32]  # [samples], mono at RATE, in -1..1


Turn = tuple[str, str]  # an earlier question and its answer


@dataclass(frozen=True, slots=True)
class Slice:
    """Half a second of the stream: slice k covers [0.5 k, 0.5 (k + 1)) seconds of the session's clock."""

    index: int  # k, counted from 0 without gaps
    picture: Picture | None  # the newest picture of this half second; None when there is none to show
    sound: Sound  # [SLICE_SAMPLES]; silence where sound was lost or has ended
    pictures_dropped: int = 0  # pictures lost since the slice before
    samples_missing: int = 0  # samples of `sound` that are filled-in silence
    earlier: tuple[Picture, ...] = ()  # those of this half second that came before `picture`, oldest first

    @property
    def start_s(self) -> float:
        return self.index * SLICE_S

    @property
    def end_s(self) -> float:
        return (self.index + 1) * SLICE_S

    def shown(self, count: int) -> NDArray[np.uint8] | None:
        """A copy of the picture, or for `count` above 1 of so many of its pictures [count, height, width, 3].

        From the first to the last, those between at even distances (as FAVOR samples a second's); where there are fewer some come
        more than once.
        """
        if self.picture is None:
            return None
        if count == 1:
            return self.picture.copy()
        alike = [each for each in (*self.earlier, self.picture) if each.shape == self.picture.shape]
        return np.stack([alike[round(at)] for at in np.linspace(0, len(alike) - 1, count)])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent said to one question."""

    question: str
    text: str
    heard_until_s: float  # the stream's time that the answer rests on
    first_token_s: float  # wall-clock seconds from the call to the first token
    total_s: float  # wall-clock seconds from the call to the last token


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling: a perception, a lost device, a device that came back."""

    kind: str  # "perceived" | "lost" | "found" | "held" | "resumed" | "ended" | "overload" | "answer" | "error" | "watch"
    time_s: float  # the session's clock
    text: str
    source: str = ""  # the device that it is about, as it may be shown

    @property
    def is_news(self) -> bool:
        """All but a whole file that came to its end."""
        return self.kind != "ended" or not self.text.endswith(": ended")


@dataclass(frozen=True, slots=True)
class Perceived(Event):
    """What there is to see and hear, in the model's words; `text` is one line of it."""

    sees: str = ""
    hears: str = ""
    said: str = ""  # what was said last


@dataclass(frozen=True, slots=True)
class Perception:
    """What is known of the newest half second, for who acts on it at once."""

    until_s: float  # the stream's time that it reaches to
    captured_s: float  # the same on this machine's monotonic clock
    captured_at: datetime  # the same, UTC
    chances: Mapping[str, float]  # of each watch, by its name: what `on` is compared with
    holding: frozenset[str]  # names of the watches that hold
    perceived: Perceived | None  # what was put in words last, which may be older: see its `time_s`


Sense = Literal["model", "motion", "scene", "loudness", "speech", "schedule", "manual"]
Severity = Literal["info", "detection", "alert"]
Phase = Literal["new", "update", "end"]
NAME = re.compile(r"[a-z0-9_]{1,64}")  # of a watch
HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")


@dataclass(frozen=True, slots=True)
class Watch:
    """Something to be told of when it happens, in plain words; checked when it is made, ConfigError for what cannot be watched.

    What `on` and `off` are compared with depends on `by`: "model" the probability of yes; "motion" the share of the picture that
    moves; "scene" how far its light and colours have shifted; "loudness" the sound's effective value; "speech" the share of
    the half second in which somebody speaks; "schedule" and "manual" 1 within `hours` and when it is fired. All are 0..1.
    """

    name: str  # its id in topics and files: lower case, digits and underscores
    question: str  # "do you see a red circle now?", or words that are true or not: "a red circle appears"
    on: float = 0.9  # from which it holds
    off: float = 0.4  # below which it holds no longer
    hold_s: float = 0.5  # for which it must hold before it is told, and be gone before that is told
    agree: float = 1.0  # share of these half seconds that must say so
    cooldown_s: float = 10.0  # after its end in which it is not told anew, only counted
    severity: Severity = "detection"
    is_on: bool = True  # False: it waits to be switched on
    by: Sense = "model"  # what it is watched by; all but "model" cost next to nothing
    gate: str = ""  # name of another watch, and it is asked only while that one holds
    hours: str = ""  # such as "22:00-06:30" by this machine's clock: it is watched only then
    look: str = ""  # a second look: a question that is answered before anything is told; its answer is the event's text
    expects: str = ""  # words that this answer must hold, or nothing is told
    schema: str = ""  # a JSON schema that this answer is to fill; it is the event's data then

    def __post_init__(self) -> None:
        if wrong := self._wrong_words() or self._wrong_numbers() or self._wrong_choice() or self._wrong_look():
            raise ConfigError(f"watch {self.name!r}: {wrong}")

    def _wrong_words(self) -> str:
        if not NAME.fullmatch(self.name):
            return "expected a name of small letters, digits and _; rename it"
        if not self.question.strip():
            return "there is no question; write what it is to see or hear"
        if not (HOURS.fullmatch(self.hours) if self.hours else self.by != "schedule"):
            return f"hours is {self.hours!r}; write them as 22:00-06:30"
        return ""

    def _wrong_numbers(self) -> str:
        if not 0 < self.off <= self.on < 1:
            return f"it goes on at {self.on:g} and off below {self.off:g}; write 0 < off <= on < 1"
        if not (0 <= self.hold_s <= 60 and 0 <= self.cooldown_s <= 86_400):
            return f"it holds {self.hold_s:g} s and cools down {self.cooldown_s:g} s; write up to 60 and up to 86400 seconds"
        return "" if 0.5 < self.agree <= 1 else f"agree is {self.agree:g}; write more than 0.5, and 1 at most"

    def _wrong_choice(self) -> str:
        for key, value, choices in (("by", self.by, get_args(Sense)), ("severity", self.severity, get_args(Severity))):
            if value not in choices:
                return f"{key} is {value!r}; write one of {', '.join(choices)}"
        return ""

    def _wrong_look(self) -> str:
        if (self.expects or self.schema) and not self.look.strip():
            return 'it expects an answer to no question; write look = "what do you see now?"'
        try:
            is_object = not self.schema or isinstance(json.loads(self.schema), dict)
        except (ValueError, RecursionError):
            is_object = False
        return "" if is_object else "its schema is no JSON object; write a JSON schema"

    @property
    def asked(self) -> str:
        """The question as the model reads it."""
        return self.question if self.question.endswith("?") else f"{self.question.rstrip(' .!')}?"


def name_of(question: str) -> str:
    """A watch's name that is made of its words."""
    return re.sub(r"[^a-z0-9]+", "_", question.lower()).strip("_")[:64] or "watch"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A file that shows what happened."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent(Event):
    """One watch began to hold, is known better, or has ended; all phases of one happening carry one id."""

    id: str  # ULID
    watch: Watch
    phase: Phase
    confidence: float  # highest so far of what is compared with `on`; raw, as the model gives it
    started_s: float  # when it began to hold, on the session's clock
    captured_at: datetime  # UTC of the stream's time `time_s`
    suppressed: int = 0  # happenings that the cooldown or a second look hid since the last one that was told
    data: Any = None  # the second look's answer from JSON, where it has a schema
    snapshot: Evidence | None = None
    clip: Evidence | None = None
