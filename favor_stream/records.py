"""What flows through the agent: small frozen records with their shapes and units. They know nothing of devices or models."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # hertz, mono, everywhere below capture
SLICE_S = 0.5  # FAVOR's audio-visual frame (arXiv 2310.05863, section 3.1)
SLICE_SAMPLES = int(RATE * SLICE_S)

Picture = NDArray[np.uint8]  # [height, width, 3], RGB
Sound = NDArray[np.float32]  # [samples], mono at RATE, in -1..1


@dataclass(frozen=True, slots=True)
class Slice:
    """Half a second of the stream: slice k covers [0.5 k, 0.5 (k + 1)) seconds of the session's clock."""

    index: int  # k, counted from 0 without gaps
    picture: Picture | None  # the newest picture of this half second; None when there is none to show
    sound: Sound  # [SLICE_SAMPLES]; silence where sound was lost or has ended
    pictures_dropped: int = 0  # pictures lost since the slice before
    samples_missing: int = 0  # samples of `sound` that are filled-in silence

    @property
    def start_s(self) -> float:
        return self.index * SLICE_S

    @property
    def end_s(self) -> float:
        return (self.index + 1) * SLICE_S


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


Sense = Literal["model", "motion", "loudness"]
Severity = Literal["info", "detection", "alert"]
Phase = Literal["new", "update", "end"]


@dataclass(frozen=True, slots=True)
class Watch:
    """Something to be told of when it happens, in plain words.

    What `on` and `off` are compared with depends on `by`: the model's probability of yes, the share of the picture that moves,
    or the loudness of the sound (its effective value, 1 at most).
    """

    name: str  # its id in topics and files: lower case, digits and underscores
    question: str  # "do you see a red circle now?", or words that are true or not: "a red circle appears"
    on: float = 0.85  # from which it holds
    off: float = 0.4  # below which it holds no longer
    hold_s: float = 0.5  # for which it must hold before it is told, and be gone before that is told
    cooldown_s: float = 10.0  # after its end in which it is not told anew, only counted
    severity: Severity = "detection"
    is_on: bool = True  # False: it waits to be switched on
    by: Sense = "model"  # what it is watched by; "motion" and "loudness" cost next to nothing
    gate: str = ""  # name of another watch, and it is asked only while that one holds

    @property
    def asked(self) -> str:
        """The question as the model reads it."""
        return self.question if self.question.endswith("?") else f"{self.question.rstrip(' .!')}?"


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
    suppressed: int = 0  # happenings that the cooldown hid since the last one that was told
    snapshot: Evidence | None = None
    clip: Evidence | None = None
