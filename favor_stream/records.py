"""What flows through the agent: small frozen records with their shapes and units. They know nothing of devices or models."""

from __future__ import annotations

from dataclasses import dataclass

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

    kind: str  # "perceived" | "lost" | "found" | "ended" | "overload"
    time_s: float  # the session's clock
    text: str
