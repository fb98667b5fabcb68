"""What had happened in a script when a question is asked of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from favor_stream.aveb.script import Card, Noise, Script, Split, Thing
from favor_stream.aveb.truth import LEAST_SOUND_S, PICTURE_AT_S, SliceTruth, picture_s, slices
from favor_stream.records import SLICE_S


@dataclass(frozen=True, slots=True)
class View:
    """What had happened in a script when a question was asked."""

    things: tuple[Thing, ...]  # in order of appearance
    noises: tuple[Noise, ...]
    cards: tuple[Card, ...]
    utterances: tuple[str, ...]  # the last one perhaps cut short
    now: SliceTruth
    split: Split
    until_s: float

    @property
    def heard_kinds(self) -> list[str]:
        return [n.kind for n in self.noises]

    @property
    def unique_noises(self) -> list[Noise]:
        """Those of whose kind there was no other."""
        return [n for n in self.noises if self.heard_kinds.count(n.kind) == 1]

    def only(self, colour: str | None = None, shape: str | None = None) -> Thing | None:
        """The thing of that colour or shape, where one alone has it."""
        found = [t for t in self.things if t.colour == colour or t.shape == shape]
        return found[0] if len(found) == 1 else None


def view(script: Script, until_s: float, split: Split, since_s: float = 0.0) -> View:
    """The script as it stands after the slices up to `until_s`, to one who has forgotten those before `since_s`."""
    count, forgotten = int(until_s / SLICE_S), int(since_s / SLICE_S)
    truths = slices(script)
    lost, said = (sum(len(t.spoken) for t in truths[:end]) for end in (forgotten, count))
    utterances, at = [], 0
    for utterance in script.utterances:
        if part := utterance.words[max(0, lost - at) : max(0, said - at)]:
            utterances.append(" ".join(word.text for word in part))
        at += len(utterance.words)
    return View(
        tuple(t for t in script.things if pictured(t, count, forgotten)),
        tuple(n for n in script.noises if n.start_s + LEAST_SOUND_S <= until_s - 0.05 and n.end_s - LEAST_SOUND_S >= since_s),
        tuple(c for c in script.cards if pictured(c, count, forgotten)),
        tuple(utterances),
        truths[count - 1],
        split,
        count * SLICE_S,
    )


def pictured(item: Thing | Card, count: int, since: int = 0) -> bool:
    """Whether one of the first `count` pictures shows it, of those from number `since` on."""
    first = max(since, first_picture(item))
    return first < count and picture_s(first) < item.end_s


def first_picture(item: Thing | Card) -> int:
    """The first slice whose picture may show it."""
    return max(0, int(np.ceil((item.start_s - PICTURE_AT_S) / SLICE_S)))


def first_sound(noise: Noise) -> int:
    """The first slice that it fills enough of to be heard."""
    k = int(noise.start_s / SLICE_S)
    return k if (k + 1) * SLICE_S - noise.start_s >= LEAST_SOUND_S else k + 1
