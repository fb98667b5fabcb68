"""Answers about a film so far, one small function for each kind of question: from what had happened to the words that are asked
with and the answer. A function gives None where its question does not apply.
"""

from __future__ import annotations

import numpy as np

from favor_stream.aveb.lexicon import COLOURS, HELD_OUT_PAIRS, SHAPES, SOUNDS
from favor_stream.aveb.script import Noise, Thing
from favor_stream.aveb.view import View, first_picture, first_sound

NO_QUESTION = "no question"  # the answer, where nobody has asked one
QUESTION_END = "?"  # ends what an answer repeats or counts before it says what was asked
COUNTS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
EMPTY = 0.7  # of the times that there is nothing now, nobody asks whether this or that is there: it never is
TOGETHER_S = 0.4  # that a thing and a noise share, to have been together
CAUSE_S, UNSURE_S = 1.0, 0.15  # before a thing comes, in which a noise that ends is its cause; and what is too close to tell
Rng = np.random.Generator
Asked = tuple[dict[str, str], str]


def name(thing: Thing) -> str:
    return f"{thing.colour} {thing.shape}"


def called(thing: Thing, v: View, rng: Rng) -> str:
    """What a person would call it: by its name, or by its shape or colour alone where one thing only has it."""
    names = [name(thing)] * 2
    names += [thing.shape] if v.only(shape=thing.shape) else []
    names += [f"{thing.colour} thing"] if v.only(colour=thing.colour) else []
    return str(rng.choice(names))


def pick(rng: Rng, items: list[Thing] | list[Noise] | list[str] | tuple[str, ...]) -> int:
    return int(rng.integers(len(items)))


def now_see(v: View, rng: Rng) -> Asked | None:
    parts = []
    for thing in v.now.things:
        motion = {None: "", "still": " still"}.get(thing.motion, f" moving {thing.motion}")
        parts.append(f"{thing.colour} {thing.shape}{motion}")
    text = " and ".join(parts) or ("" if v.now.word else "nothing")
    return {}, ", ".join([text] * bool(text) + ([f"word {v.now.word}"] if v.now.word else []))


def now_hear(v: View, rng: Rng) -> Asked | None:
    return {}, " and ".join(dict.fromkeys(v.now.sounds)) or "nothing"


def said(v: View, rng: Rng) -> Asked | None:
    text = " . ".join(v.utterances)
    return ({}, text or "nothing") if len(text.split()) <= 20 else None


def said_last(v: View, rng: Rng) -> Asked | None:
    return {}, v.utterances[-1] if v.utterances else "nothing"


def sounds(v: View, rng: Rng) -> Asked | None:
    return ({}, ", ".join(v.heard_kinds) or "nothing") if len(v.noises) <= 6 else None


def story(v: View, rng: Rng) -> Asked | None:
    """Everything but speech, in the order of slices; within a slice things, words, sounds."""
    events = [(first_picture(t), 0, name(t)) for t in v.things] + [(first_picture(c), 1, f"word {c.word}") for c in v.cards]
    events += [(first_sound(n), 2, n.kind) for n in v.noises]
    told = [text for _, _, text in sorted(events, key=lambda event: event[:2])]
    return ({}, ", ".join(told) or "nothing") if len(told) <= 10 else None


def colour(v: View, rng: Rng) -> Asked | None:
    if not v.things:
        return None
    shape = v.things[pick(rng, list(v.things))].shape
    thing = v.only(shape=shape)
    return ({"shape": shape}, thing.colour) if thing else None


def shape(v: View, rng: Rng) -> Asked | None:
    if not v.things:
        return None
    wanted = v.things[pick(rng, list(v.things))].colour
    thing = v.only(colour=wanted)
    return ({"colour": wanted}, thing.shape) if thing else None


def motion(v: View, rng: Rng) -> Asked | None:
    seen = [t for t in v.things if t.end_s - t.start_s > 1.4 and t not in v.things[-2:]]
    if not seen:
        return None
    thing = seen[pick(rng, seen)]
    return {"thing": called(thing, v, rng)}, thing.motion


def word(v: View, rng: Rng) -> Asked | None:
    return {}, v.cards[-1].word if v.cards else "nothing"


def first(v: View, rng: Rng) -> Asked | None:
    return {}, name(v.things[0]) if v.things else "nothing"


def last(v: View, rng: Rng) -> Asked | None:
    return {}, name(v.things[-1]) if v.things else "nothing"


def after(v: View, rng: Rng) -> Asked | None:
    if not v.things:
        return None
    at = pick(rng, list(v.things))
    return {"thing": called(v.things[at], v, rng)}, name(v.things[at + 1]) if at + 1 < len(v.things) else "nothing"


def before(v: View, rng: Rng) -> Asked | None:
    if not v.things:
        return None
    at = pick(rng, list(v.things))
    return {"thing": called(v.things[at], v, rng)}, name(v.things[at - 1]) if at else "nothing"


def overlap_s(thing: Thing, noise: Noise) -> float:
    """Seconds for which a thing was in view while a noise sounded."""
    return min(thing.end_s, noise.end_s) - max(thing.start_s, noise.start_s)


def together(overlaps_s: list[float]) -> list[int] | None:
    """Which of them are long enough to count; None where one is too close to call."""
    if any(abs(overlap) < TOGETHER_S for overlap in overlaps_s):
        return None
    return [at for at, overlap in enumerate(overlaps_s) if overlap >= TOGETHER_S]


def seen_during(v: View, rng: Rng) -> Asked | None:
    unique = v.unique_noises
    if not unique:
        return None
    noise = unique[pick(rng, unique)]
    at = together([overlap_s(thing, noise) for thing in v.things])
    return None if at is None else ({"sound": noise.kind}, " and ".join(name(v.things[i]) for i in at) or "nothing")


def heard_during(v: View, rng: Rng) -> Asked | None:
    if not v.things:
        return None
    thing = v.things[pick(rng, list(v.things))]
    at = together([overlap_s(thing, noise) for noise in v.noises])
    return None if at is None else ({"thing": called(thing, v, rng)}, ", ".join(v.noises[i].kind for i in at) or "nothing")


def count_things(v: View, rng: Rng) -> Asked | None:
    """They are counted aloud: who asked can check it, and the last number is the answer."""
    if len(v.things) >= len(COUNTS):
        return None
    counted = ", ".join(f"{number} {name(thing)}" for number, thing in zip(COUNTS[1:], v.things, strict=False))
    return {}, f"{counted}{QUESTION_END} " * bool(counted) + COUNTS[len(v.things)]


def count_sound(v: View, rng: Rng) -> Asked | None:
    kind = v.heard_kinds[pick(rng, v.heard_kinds)] if v.noises and rng.random() < 0.75 else str(rng.choice(SOUNDS))
    return ({"sound": kind}, COUNTS[v.heard_kinds.count(kind)]) if v.heard_kinds.count(kind) < len(COUNTS) else None


def saw(v: View, rng: Rng) -> Asked | None:
    seen = [(t.colour, t.shape) for t in v.things]
    if seen and rng.random() < 0.5:
        return {"thing": " ".join(seen[int(rng.integers(len(seen)))])}, "yes"
    return unseen(seen, v, rng)


def unseen(seen: list[tuple[str, str]], v: View, rng: Rng) -> Asked | None:
    """About something that is not among these."""
    pair = (str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES)))
    if seen and rng.random() < 0.6:  # hard: the colour or the shape was there
        colour, shape = seen[int(rng.integers(len(seen)))]
        pair = (colour, pair[1]) if rng.random() < 0.5 else (pair[0], shape)
    if pair in seen or (v.split == "training" and pair in HELD_OUT_PAIRS):
        return None
    return {"thing": " ".join(pair)}, "no"


def sees(v: View, rng: Rng) -> Asked | None:
    now = [(t.colour, t.shape) for t in v.now.things]
    gone = [pair for t in v.things if (pair := (t.colour, t.shape)) not in now]
    if not now and rng.random() < EMPTY:
        return None
    if now and rng.random() < 0.5:
        return {"thing": " ".join(now[int(rng.integers(len(now)))])}, "yes"
    if gone and rng.random() < 0.6:  # hard: it was there before
        return {"thing": " ".join(gone[int(rng.integers(len(gone)))])}, "no"
    return unseen(now, v, rng)


def heard(v: View, rng: Rng) -> Asked | None:
    yes = bool(v.noises) and rng.random() < 0.5
    kinds = sorted(set(v.heard_kinds)) if yes else [s for s in SOUNDS if s not in v.heard_kinds]
    return ({"sound": kinds[pick(rng, kinds)]}, "yes" if yes else "no") if kinds else None


def hears(v: View, rng: Rng) -> Asked | None:
    gone = sorted(set(v.heard_kinds) - set(v.now.sounds))
    if not v.now.sounds and rng.random() < EMPTY:
        return None
    if v.now.sounds and rng.random() < 0.5:
        return {"sound": v.now.sounds[pick(rng, v.now.sounds)]}, "yes"
    others = gone if gone and rng.random() < 0.6 else [s for s in SOUNDS if s not in v.now.sounds]  # hard: it sounded before
    return {"sound": others[pick(rng, others)]}, "no"


def sound_order(v: View, rng: Rng) -> Asked | None:
    unique = v.unique_noises
    if len(unique) < 2:
        return None
    one, other = (unique[i] for i in rng.permutation(len(unique))[:2])
    return {"sound": one.kind, "other": other.kind}, "yes" if one.start_s < other.start_s else "no"


def cross_order(v: View, rng: Rng) -> Asked | None:
    unique = v.unique_noises
    if not unique or not v.things:
        return None
    noise, thing = unique[pick(rng, unique)], v.things[pick(rng, list(v.things))]
    if abs(noise.start_s - thing.start_s) < 0.75:
        return None
    return {"sound": noise.kind, "thing": called(thing, v, rng)}, "yes" if noise.start_s < thing.start_s else "no"


def cause(thing: Thing, v: View) -> Noise | None:
    """The noise that ended just before a thing came, as a bell does before a door opens."""
    return next((n for n in v.noises if -CAUSE_S <= n.end_s - thing.start_s <= 0), None)


def why(v: View, rng: Rng) -> Asked | None:
    if not v.things:
        return None
    thing = v.things[pick(rng, list(v.things))]
    if any(abs(n.end_s - thing.start_s - edge_s) < UNSURE_S for n in v.noises for edge_s in (-CAUSE_S, 0.0)):
        return None
    noise = cause(thing, v)
    return {"thing": called(thing, v, rng)}, f"the {noise.kind}" if noise else "nothing"


def seconds_ago(v: View, ended_s: float) -> str | None:
    """In whole seconds, as a word; None for what is there still or was too long ago to be told so."""
    seconds = round(v.until_s - ended_s)
    return COUNTS[seconds] if 1 <= seconds < len(COUNTS) else None


def seen_ago(v: View, rng: Rng) -> Asked | None:
    if not v.things:
        return None
    thing = v.things[pick(rng, list(v.things))]
    ago = seconds_ago(v, thing.end_s)
    return ({"thing": called(thing, v, rng)}, ago) if ago else None


def heard_ago(v: View, rng: Rng) -> Asked | None:
    last = {noise.kind: noise for noise in v.noises}
    if not last:
        return None
    noise = list(last.values())[int(rng.integers(len(last)))]
    ago = seconds_ago(v, noise.end_s)
    return ({"sound": noise.kind}, ago) if ago else None


def spoken(v: View, rng: Rng) -> Asked | None:
    """The question that was heard comes first: who asked can check it, and the answer is then looked up as of a written one."""
    asked = [u for u in v.utterances if u.split()[0] in ("what", "how", "did")]
    return {}, f"{asked[-1]}{QUESTION_END} {reply(v, asked[-1])}" if asked else NO_QUESTION


def reply(v: View, text: str) -> str:
    """The answer to one of SPOKEN_FORMS; of several things that fit, the newest counts."""
    words = text.split()
    if text.startswith("what colour is the"):
        return next((t.colour for t in reversed(v.things) if t.shape == words[-1]), "nothing")
    if text.startswith("what shape is the"):
        return next((t.shape for t in reversed(v.things) if t.colour in words), "nothing")
    if text == "what did you hear":
        return v.noises[-1].kind if v.noises else "nothing"
    if text == "what came first":
        return name(v.things[0]) if v.things else "nothing"
    if text.startswith("how many things"):
        return COUNTS[min(len(v.things), len(COUNTS) - 1)]
    if text == "what word is shown":
        return v.cards[-1].word if v.cards else "nothing"
    return "yes" if words[-1] in v.heard_kinds else "no"
