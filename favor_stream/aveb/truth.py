"""What is true in each half second of a script: what a perfect agent would have perceived."""

from __future__ import annotations

from dataclasses import dataclass

from favor_stream.aveb.picture import place
from favor_stream.aveb.script import Script
from favor_stream.records import SLICE_S

PICTURE_AT_S = 0.25  # where in its slice a picture is taken
EMIT_DELAY_S = 0.08  # a word counts as heard this long after it ended
LEAST_SOUND_S = 0.15  # of a slice that a noise must fill to belong to it
WINDOW = 10  # slices; motion can only be seen by comparing pictures inside one window


@dataclass(frozen=True, slots=True)
class SeenThing:
    colour: str
    shape: str
    motion: str | None  # None while it cannot be known yet


@dataclass(frozen=True, slots=True)
class SliceTruth:
    things: tuple[SeenThing, ...]  # left to right, at most two
    word: str | None  # on a card
    sounds: tuple[str, ...]
    spoken: tuple[str, ...]  # words


def slices(script: Script) -> list[SliceTruth]:
    """One truth for each half second of the script."""
    count = int(script.duration_s / SLICE_S)
    spoken: list[list[str]] = [[] for _ in range(count)]
    for utterance in script.utterances:
        for word in utterance.words:
            spoken[min(count - 1, int((word.end_s + EMIT_DELAY_S) / SLICE_S))].append(word.text)
    return [truth(script, k, tuple(spoken[k])) for k in range(count)]


def truth(script: Script, k: int, spoken: tuple[str, ...]) -> SliceTruth:
    start_s, at_s = k * SLICE_S, k * SLICE_S + PICTURE_AT_S
    things = sorted((t for t in script.things if t.start_s <= at_s < t.end_s), key=lambda t: place(t, at_s)[0])
    seen = (SeenThing(t.colour, t.shape, t.motion if k % WINDOW and t.start_s <= at_s - SLICE_S else None) for t in things[:2])
    words = [c.word for c in script.cards if c.start_s <= at_s < c.end_s]
    heard = [n.kind for n in script.noises if min(n.end_s, start_s + SLICE_S) - max(n.start_s, start_s) >= LEAST_SOUND_S]
    return SliceTruth(tuple(seen), words[0] if words else None, tuple(heard), spoken)
