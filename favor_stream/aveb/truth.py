"""What is true in each half second of a script: what a perfect agent would have perceived."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from favor_stream.aveb.lexicon import SIDES, SIZES
from favor_stream.aveb.picture import place
from favor_stream.aveb.script import Noise, Script, Thing
from favor_stream.records import SLICE_S

PICTURE_AT_S = 0.25  # where in its slice a picture is taken
EMIT_DELAY_S = 0.08  # a word counts as heard this long after it ended
SPOKEN_WORDS = 2  # that one slice can hold; a third is heard with the next slice
LEAST_SOUND_S = 0.15  # of a slice that a noise must fill to belong to it
LARGE = 0.155  # radius from which a thing is large, 0..1 of the picture's height
WINDOW = 10  # slices; motion can only be seen by comparing pictures inside one window


@dataclass(frozen=True, slots=True)
class SeenThing:
    colour: str
    shape: str
    motion: str | None  # None while it cannot be known yet
    size: str = "large"
    side: str = "middle"


@dataclass(frozen=True, slots=True)
class SliceTruth:
    things: tuple[SeenThing, ...]  # left to right, at most two
    word: str | None  # on a card
    sounds: tuple[str, ...]
    began: tuple[str, ...]  # those of the sounds that this slice is the first to hold
    spoken: tuple[str, ...]  # words


def picture_s(k: int) -> float:
    """When the picture of slice `k` is taken."""
    return k * SLICE_S + PICTURE_AT_S


def pictures_s(k: int, count: int) -> list[float]:
    """When its pictures are taken where it has several: from its beginning to the one that truth is about."""
    return [float(at_s) for at_s in np.linspace(picture_s(k), k * SLICE_S, count)[::-1]]


def slices(script: Script) -> list[SliceTruth]:
    """One truth for each half second of the script."""
    count = int(script.duration_s / SLICE_S)
    waiting = [(word.text, word.end_s + EMIT_DELAY_S) for utterance in script.utterances for word in utterance.words]
    out = []
    for k in range(count):
        due = [text for text, at_s in waiting[:SPOKEN_WORDS] if at_s < (k + 1) * SLICE_S or k + 1 == count]
        waiting = waiting[len(due) :]
        out.append(truth(script, k, tuple(due)))
    return out


def in_view(script: Script, at_s: float) -> list[tuple[Thing, tuple[float, float]]]:
    """The things that a picture at `at_s` shows and where their centres are in it, left to right."""
    shown = [(t, place(t, at_s)) for t in script.things if t.start_s <= at_s < t.end_s]
    return sorted(shown, key=lambda item: item[1][0])


def truth(script: Script, k: int, spoken: tuple[str, ...]) -> SliceTruth:
    at_s = picture_s(k)
    seen = (seen_thing(t, x, k) for t, (x, _) in in_view(script, at_s)[:2])
    words = [c.word for c in script.cards if c.start_s <= at_s < c.end_s]
    heard = [n for n in script.noises if filled(n, k) >= LEAST_SOUND_S]
    began = tuple(n.kind for n in heard if filled(n, k - 1) < LEAST_SOUND_S)
    return SliceTruth(tuple(seen), words[0] if words else None, tuple(n.kind for n in heard), began, spoken)


def seen_thing(thing: Thing, x: float, k: int) -> SeenThing:
    """What the picture of slice `k` tells of a thing whose centre is at `x` in it."""
    is_known = k % WINDOW and thing.start_s <= picture_s(k) - SLICE_S
    return SeenThing(thing.colour, thing.shape, thing.motion if is_known else None, size(thing), side(x))


def size(thing: Thing) -> str:
    return SIZES[thing.size >= LARGE]


def side(x: float) -> str:
    """Which third of the picture; `x` in 0..1 of its width."""
    return SIDES[min(2, max(0, int(3 * x)))]


def filled(noise: Noise, k: int) -> float:
    """Seconds of slice `k` that a noise fills."""
    return min(noise.end_s, (k + 1) * SLICE_S) - max(noise.start_s, k * SLICE_S)
