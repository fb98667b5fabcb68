"""Answers about what belongs together: which thing makes a sound, whether sound and sight fit.

A thing makes a sound where it comes and goes with it, each time. Only things that come again are asked about so: of one time
nobody could tell.
"""

from __future__ import annotations

from favor_stream.aveb.facts import QUESTION_END, Asked, Rng, name
from favor_stream.aveb.lexicon import a
from favor_stream.aveb.view import View

ALIKE_S = 0.25  # by which a thing and its sound may begin and end apart


def comes_again(v: View) -> bool:
    names = [name(thing) for thing in v.things]
    return len(set(names)) < len(names)


def source_of(v: View, sound: str) -> str | None:
    """The thing that came and went with every one of these sounds; None where there is none, or more than one."""
    spans = [(n.start_s, n.end_s) for n in v.noises if n.kind == sound]
    shown: dict[str, list[tuple[float, float]]] = {}
    for thing in v.things:
        shown.setdefault(name(thing), []).append((thing.start_s, thing.end_s))
    found = [called for called, times in shown.items() if len(spans) > 1 and are_alike(times, spans)]
    return found[0] if len(found) == 1 else None


def are_alike(some: list[tuple[float, float]], others: list[tuple[float, float]]) -> bool:
    """Whether two lists of spans, each in order, tell the same times."""
    apart = (abs(a - b) for one, other in zip(some, others, strict=False) for a, b in zip(one, other, strict=True))
    return len(some) == len(others) and all(seconds <= ALIKE_S for seconds in apart)


def source(v: View, rng: Rng) -> Asked | None:
    kinds = sorted(set(v.heard_kinds))
    if not kinds or not comes_again(v):
        return None
    sound = kinds[int(rng.integers(len(kinds)))]
    found = source_of(v, sound)
    return ({"sound": sound}, found) if found else None


def fits_in_time(v: View, rng: Rng) -> Asked | None:
    """Whether some thing comes and goes with what is heard."""
    kinds = sorted(set(v.heard_kinds))
    if len(kinds) != 1 or len(v.noises) < 2 or not comes_again(v):
        return None
    return {}, "yes" if source_of(v, kinds[0]) else "no"


def fits_in_words(v: View, rng: Rng) -> Asked | None:
    """Whether what is in view is what somebody says who shows it; what was said comes first, as in `facts.spoken`."""
    said = v.utterances[-1] if v.utterances else ""
    _, _, called = said.partition(" ")
    if len(called.split()) != 2 or said != a(called) or not v.now.things:
        return None
    is_shown = called in [f"{thing.colour} {thing.shape}" for thing in v.now.things]
    return {}, f"{said}{QUESTION_END} {'yes' if is_shown else 'no'}"
