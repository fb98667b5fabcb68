"""What a watch would have told about some seconds that are still kept: they are perceived once more, in a memory of their own.

The same path as live, from the slice on; the live memory is not touched, and other streams have their turns between two slices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import numpy as np

from favor_stream.clip import picture_of
from favor_stream.errors import ConfigError
from favor_stream.mind import Mind
from favor_stream.records import RATE, SLICE_S, SLICE_SAMPLES, Slice, Watch, WatchEvent
from favor_stream.ring import Clip
from favor_stream.session import Session
from favor_stream.signals import Signals
from favor_stream.watches import BACK_S, Now, Watching

NEEDS_NO_MODEL = ("motion", "scene", "loudness")


@dataclass(frozen=True, slots=True)
class Rehearsal:
    levels: list[tuple[float, float]]  # the end of each slice, on the session's clock, and how likely it was
    events: list[WatchEvent]  # what would have been told


async def rehearse(mind: Mind, watch: Watch, clip: Clip, ended_at: datetime) -> Rehearsal:
    """`ended_at`: UTC of the clip's end. ConfigError for a watch that looks at the clock, at a hand or for speech."""
    if watch.by not in ("model", *NEEDS_NO_MODEL):
        raise ConfigError(f"a watch by {watch.by} cannot be tried; try one by {', '.join(('model', *NEEDS_NO_MODEL))}")
    session = await mind.compute(partial(mind.session, BACK_S)) if watch.by == "model" else None
    chances, watching = _chances(session, watch, clip), Watching(watch)
    levels, events = list[tuple[float, float]](), list[WatchEvent]()
    while (chance := await mind.compute(partial(next, chances, None))) is not None:
        end_s = first_s(clip) + (len(levels) + 1) * SLICE_S
        levels.append((end_s, chance))
        events += watching.step(chance, Now(end_s, ended_at + timedelta(seconds=end_s - clip.end_s)))
    return Rehearsal(levels, events)


def first_s(clip: Clip) -> float:
    """Where the first slice of which the whole is in it begins."""
    return math.ceil(clip.start_s / SLICE_S) * SLICE_S


def slices(clip: Clip) -> Iterator[Slice]:
    """The slices of which the whole is in a clip, as they were when it was live; the first is number 0."""
    start_s = first_s(clip)
    sound = clip.sound[round((start_s - clip.start_s) * RATE) :]
    for index in range(int((clip.end_s - start_s) / SLICE_S)):
        end_s = start_s + (index + 1) * SLICE_S
        seen = [jpeg for time_s, jpeg in clip.pictures if time_s < end_s]
        heard = sound[index * SLICE_SAMPLES : (index + 1) * SLICE_SAMPLES]
        yield Slice(index, picture_of(seen[-1]) if seen else None, np.pad(heard, (0, SLICE_SAMPLES - len(heard))))


def _chances(session: Session | None, watch: Watch, clip: Clip) -> Iterator[float]:
    """After each slice; on the model's thread, a slice at a time."""
    signals = Signals()
    for piece in slices(clip):
        if session:
            session.see(piece)
            yield session.check([watch.asked], BACK_S)[0]
        else:
            signals.see(piece)
            yield getattr(signals, watch.by)
