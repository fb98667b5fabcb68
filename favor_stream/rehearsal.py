"""What a watch would have told about some seconds that are still kept: they are perceived once more, in a memory of their own.

The same path as live, from the slice on; the live memory is not touched, and other streams have their turns between two slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import numpy as np

from favor_stream.clip import picture_of
from favor_stream.errors import ConfigError
from favor_stream.mind import Mind
from favor_stream.records import SLICE_S, SLICE_SAMPLES, Slice, Watch, WatchEvent
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
    session = await mind.compute(partial(mind.session, BACK_S))
    watching, signals, events = Watching(watch), Signals(), list[WatchEvent]()
    for piece in slices(clip):
        chance = await mind.compute(partial(_chance, session, signals, watch, piece))
        at = ended_at + timedelta(seconds=clip.start_s + piece.end_s - clip.end_s)
        events += watching.step(chance, Now(clip.start_s + piece.end_s, at))
    return Rehearsal(list(watching.levels), events)


def slices(clip: Clip) -> Iterator[Slice]:
    """Whole slices of a clip, as a camera and a microphone would have given them; the first is number 0."""
    shots = list(clip.pictures)
    for index in range(int((clip.end_s - clip.start_s) / SLICE_S)):
        end_s = clip.start_s + (index + 1) * SLICE_S
        seen = [jpeg for time_s, jpeg in shots if time_s < end_s]
        sound = clip.sound[index * SLICE_SAMPLES : (index + 1) * SLICE_SAMPLES]
        padded = np.pad(sound, (0, SLICE_SAMPLES - len(sound)))
        yield Slice(index, picture_of(seen[-1]) if seen else None, padded)


def _chance(session: Session, signals: Signals, watch: Watch, piece: Slice) -> float:
    session.see(piece)
    signals.see(piece)
    if watch.by == "model":
        return session.check([watch.asked], BACK_S)[0]
    value: float = getattr(signals, watch.by)
    return value
