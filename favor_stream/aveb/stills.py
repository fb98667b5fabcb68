"""Answers about what is in view at this moment, as a picture shows it: how large, where, beside what, how many."""

from __future__ import annotations

from favor_stream.aveb.facts import COUNTS, Asked, Rng
from favor_stream.aveb.truth import SeenThing
from favor_stream.aveb.view import View


def caption(v: View, rng: Rng) -> Asked | None:
    """Everything that a picture shows, from left to right."""
    told = [f"{thing.size} {thing.colour} {thing.shape} {thing.side}" for thing in v.now.things]
    told += [f"word {v.now.word}"] if v.now.word else []
    return {}, ", ".join(told) or "nothing"


def size(v: View, rng: Rng) -> Asked | None:
    thing = one_of(v, rng)
    return ({"thing": called(thing, v, rng)}, thing.size) if thing else None


def side(v: View, rng: Rng) -> Asked | None:
    thing = one_of(v, rng)
    return ({"thing": called(thing, v, rng)}, thing.side) if thing else None


def beside(v: View, rng: Rng) -> Asked | None:
    """What is left or right of a thing, or that nothing is."""
    if not v.now.things:
        return None
    at, is_left = int(rng.integers(len(v.now.things))), bool(rng.random() < 0.5)
    other = v.now.things[at - 1 : at] if is_left else v.now.things[at + 1 :]
    answer = f"{other[0].colour} {other[0].shape}" if other else "nothing"
    return {"side": "left" if is_left else "right", "thing": called(v.now.things[at], v, rng)}, answer


def how_many(v: View, rng: Rng) -> Asked | None:
    return {}, COUNTS[len(v.now.things)]


def one_of(v: View, rng: Rng) -> SeenThing | None:
    return v.now.things[int(rng.integers(len(v.now.things)))] if v.now.things else None


def called(thing: SeenThing, v: View, rng: Rng) -> str:
    """By its name, or by its shape alone where one thing in view has it."""
    is_only = sum(each.shape == thing.shape for each in v.now.things) == 1
    return thing.shape if is_only and rng.random() < 0.3 else f"{thing.colour} {thing.shape}"
