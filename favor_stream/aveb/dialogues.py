"""Dialogues about one film: questions that can only be understood from those before them («and which way did it move?»)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from favor_stream.aveb.facts import Rng, name
from favor_stream.aveb.script import Thing
from favor_stream.aveb.view import View

MOST_TURNS = 5
Turns = list[tuple[str, str]]  # questions and their answers
Found = tuple[str, Thing | None]  # an answer, and the thing that is spoken of from then on


@dataclass(frozen=True, slots=True)
class Followed:
    """A question about «it»: the thing that was spoken of last."""

    answer: Callable[[View, Thing], Found | None]
    wordings: tuple[str, ...]
    tested: tuple[str, ...]


def opened(v: View, thing: Thing) -> list[tuple[str, str]]:
    """How a dialogue may come to speak of a thing."""
    asked = [("what came first?", name(thing))] if thing is v.things[0] else []
    asked += [("what came last?", name(thing))] if thing is v.things[-1] else []
    asked += [(f"what colour was the {thing.shape}?", thing.colour)] if v.only(shape=thing.shape) else []
    asked += [(f"what shape was the {thing.colour} thing?", thing.shape)] if v.only(colour=thing.colour) else []
    return asked


def moved(v: View, thing: Thing) -> Found | None:
    return (thing.motion, thing) if thing.end_s - thing.start_s > 1.4 and thing not in v.things[-2:] else None


def next_thing(v: View, thing: Thing) -> Found:
    at = v.things.index(thing)
    return (name(v.things[at + 1]), v.things[at + 1]) if at + 1 < len(v.things) else ("nothing", None)


def thing_before(v: View, thing: Thing) -> Found:
    at = v.things.index(thing)
    return (name(v.things[at - 1]), v.things[at - 1]) if at else ("nothing", None)


def coloured(_: View, thing: Thing) -> Found:
    return thing.colour, thing


def shaped(_: View, thing: Thing) -> Found:
    return thing.shape, thing


FOLLOWED = (
    Followed(moved, ("which way did it move?", "and how did it move?"), ("and which way did it move?",)),
    Followed(next_thing, ("what came right after it?", "and what followed it?"), ("and what came after it?",)),
    Followed(thing_before, ("what came right before it?", "and what preceded it?"), ("and what came before it?",)),
    Followed(coloured, ("what colour was it?", "and which colour was it?"), ("and what colour was it?",)),
    Followed(shaped, ("what shape was it?", "and which shape was it?"), ("and what shape was it?",)),
)


def dialogue(v: View, rng: Rng, is_test: bool) -> Turns:
    """Two to MOST_TURNS turns, or none where nothing can be spoken of; it ends where «it» would be nothing."""
    if not v.things:
        return []
    first = v.things[int(rng.integers(len(v.things)))]
    openings = opened(v, first)
    if not openings:
        return []
    turns, thing = [openings[int(rng.integers(len(openings)))]], cast("Thing | None", first)
    for at in rng.permutation(len(FOLLOWED)):
        followed = FOLLOWED[int(at)]
        found = None if thing is None else followed.answer(v, thing)
        if found is None or len(turns) == MOST_TURNS or found[0] in turns[-1][1].split():
            continue  # nobody asks for what was just said
        wordings = followed.tested if is_test else followed.wordings
        turns.append((wordings[int(rng.integers(len(wordings)))], found[0]))
        thing = found[1]
    return turns if len(turns) > 1 else []
