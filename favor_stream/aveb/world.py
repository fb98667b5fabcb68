"""Draws scripts of the generated world from a seed.

The split `held_out` draws voices, fonts, backgrounds and colour-shape pairs that `training` never does.
`symbolic` scripts are never pictured or played: they are of any pair, as a language model has read of every pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from favor_stream.aveb import soundtrack
from favor_stream.aveb.lexicon import (
    CARD_WORDS,
    COLOURS,
    DIGITS,
    HELD_OUT_PAIRS,
    MOTIONS,
    NAMES,
    OBJECTS,
    SAYINGS,
    SHAPES,
    SOUNDS,
    SPOKEN_FORMS,
)
from favor_stream.aveb.picture import BACKGROUNDS, FONTS, HELD_OUT_BACKGROUNDS, HELD_OUT_FONTS
from favor_stream.aveb.script import Camera, Card, Noise, Post, Room, Script, Split, Thing, Utterance, Word
from favor_stream.aveb.speech import HELD_OUT_VOICES, TRAINING_VOICES

Timed = Callable[[str, float, str, int, int, float, float], Utterance]
STREAMS = {"training": 8, "held_out": 9, "symbolic": 10}  # of random numbers: equal seeds have nothing in common across splits
POSTS = 4  # of random numbers, apart from those of everything else
OCCLUDED, POST_WIDTHS = 0.3, (0.03, 0.06)  # of the scripts; from, to: narrower than half of the smallest thing
RADII = (0.11, 0.14, 0.17, 0.21)  # small things from, to; large things from, to; 0..1 of the picture's height
PAIRS = [(c, s) for c in COLOURS for s in SHAPES]
DIGITAL, MORE = tuple(text for text in SAYINGS if text.count("{d}") > 1), 4  # times more of them, for training
# As arrays: what is drawn from a long list is made one each time, which takes longer than the drawing.
SAID_IN_TRAINING, TRAINED_VOICES = np.array(SAYINGS + DIGITAL * MORE), np.array(TRAINING_VOICES)
TRAINING_PAIRS = [p for p in PAIRS if p not in HELD_OUT_PAIRS]


def draw(
    seed: int, duration_s: float, split: Split, density: float = 1.0, timed: Timed = soundtrack.timed, odd: float = 0.0
) -> Script:
    """A script of `duration_s` seconds; the same arguments give the same script.

    `density` scales how much happens; `timed` makes an utterance (`guessed` invents word times without synthesis); `odd` is the
    share of things whose colour or shape has no name: they teach that any shape may have any colour.
    """
    rng = np.random.default_rng((seed, STREAMS[split]))
    nothing = rng.random(3) < 0.05  # no things, no noises, no speech
    return Script(
        seed=seed,
        duration_s=duration_s,
        background=int(rng.integers(1 << 30)),
        background_kind=str(rng.choice(BACKGROUNDS if split == "training" else HELD_OUT_BACKGROUNDS)),
        camera=Camera(rng.uniform(0.75, 1.25), rng.uniform(0, 9), rng.uniform(0, 0.8), int(rng.choice([0, 0, 50, 70, 85]))),
        room=Room(rng.uniform(-65, -38), rng.uniform(0, 1), float(rng.choice([0, 0.15, 0.3])) * rng.uniform(0.5, 1)),
        things=() if nothing[0] else things(rng, duration_s, split, density, odd),
        cards=cards(rng, duration_s, split, density),
        noises=() if nothing[1] else noises(rng, duration_s, density),
        utterances=() if nothing[2] else utterances(rng, duration_s, split, density, timed),
        posts=posts(np.random.default_rng((seed, STREAMS[split], POSTS))),
    )


def posts(rng: np.random.Generator) -> tuple[Post, ...]:
    """In some scripts one, somewhere in the middle band."""
    if rng.random() >= OCCLUDED:
        return ()
    x, width, tilt = rng.uniform(0.2, 0.8), rng.uniform(*POST_WIDTHS), rng.uniform(-0.15, 0.15)
    return (Post(float(x), float(width), float(tilt), int(rng.integers(50, 200))),)


def things(rng: np.random.Generator, duration_s: float, split: Split, density: float, odd: float) -> tuple[Thing, ...]:
    """Mostly one in view at a time; two at once keep to their halves of the picture."""
    pairs = shuffled(rng, split, odd)
    out: list[Thing] = []
    at_s = rng.exponential(1.0 / density)
    while at_s < duration_s - 0.75 and pairs:
        stay_s = float(rng.uniform(1.5, 4.0))
        if rng.random() < 0.25 and len(pairs) > 1:
            out.append(thing(rng, pairs.pop(), at_s, at_s + stay_s + 1, half=0))
            later_s = float(rng.uniform(0.6, max(0.7, stay_s - 0.5)))
            out.append(thing(rng, pairs.pop(), at_s + later_s, at_s + later_s + stay_s, half=1))
            stay_s += later_s
        else:
            out.append(thing(rng, pairs.pop(), at_s, at_s + stay_s, half=None))
        at_s += stay_s + 0.5 + rng.exponential(1.6 / density)
    return tuple(t for t in out if t.start_s < duration_s - 0.5)


def shuffled(rng: np.random.Generator, split: Split, odd: float = 0.0) -> list[tuple[str, str]]:
    """Pairs of colour and shape, to be taken from the end; in held-out clips unseen ones come first about half of the time."""
    allowed = TRAINING_PAIRS if split == "training" else PAIRS
    pairs = [allowed[i] for i in rng.permutation(len(allowed))]
    if split == "held_out":
        pairs.sort(key=lambda p: rng.random() + 0.45 * (p in HELD_OUT_PAIRS))
    return [oddly(rng, pair) if rng.random() < odd else pair for pair in pairs] if odd else pairs


def oddly(rng: np.random.Generator, pair: tuple[str, str]) -> tuple[str, str]:
    """The pair with another colour or another shape, one that has no name; no colour near a held-out pair's."""
    if rng.random() < 0.5:
        return pair[0], str(rng.integers(1 << 30))
    while True:
        colour = bytes(rng.integers(0, 256, 3, np.uint8).tolist())
        nearest = min(COLOURS, key=lambda name: math.dist(COLOURS[name], colour))
        if (nearest, pair[1]) not in HELD_OUT_PAIRS:
            return f"#{colour.hex()}", pair[1]


def thing(rng: np.random.Generator, pair: tuple[str, str], start_s: float, end_s: float, half: int | None) -> Thing:
    """Somewhere in the middle band; `half` 0 or 1 keeps it left or right, and then it does not move sideways."""
    size = float(np.interp(rng.random(), (0.0, 0.5, 0.5, 1.0), RADII))
    motion = str(rng.choice(MOTIONS if half is None else ("still", "up", "down")))
    reach = {"left": (0.5, 0.85), "right": (0.15, 0.5)}.get(motion, (0.2, 0.8))
    x = float(rng.uniform(*reach)) if half is None else float(rng.uniform(0.18, 0.32) + 0.5 * half)
    y = float(rng.uniform(*{"up": (0.6, 0.75), "down": (0.25, 0.4)}.get(motion, (0.3, 0.7))))
    way = {"left": x - 0.1, "right": 0.9 - x, "up": y - 0.15, "down": 0.85 - y}.get(motion, 0.0)
    speed = 0.0 if motion == "still" else min(float(rng.uniform(0.10, 0.25)), way / (end_s - start_s))
    if motion != "still" and speed < 0.08:
        end_s, speed = start_s + way / 0.1, 0.1  # a motion too slow to see: leave sooner, faster
    return Thing(*pair, start_s, end_s, x, y, size, motion, speed, int(rng.integers(3)), float(rng.uniform(-0.25, 0.25)))


def cards(rng: np.random.Generator, duration_s: float, split: Split, density: float) -> tuple[Card, ...]:
    """Printed words at the top or bottom, one at a time."""
    words = [CARD_WORDS[i] for i in rng.permutation(len(CARD_WORDS))]
    out = []
    at_s = rng.exponential(9.0 / density)
    while at_s < duration_s - 1.0 and words:
        end_s = at_s + float(rng.uniform(1.5, 4.0))
        out.append(card(rng, words.pop(), at_s, end_s, split))
        at_s = end_s + 0.5 + rng.exponential(7.0 / density)
    return tuple(out)


def card(rng: np.random.Generator, word: str, start_s: float, end_s: float, split: Split) -> Card:
    """At the top or at the bottom, in one of the split's fonts."""
    fonts = HELD_OUT_FONTS if split == "held_out" else [i for i in range(len(FONTS)) if i not in HELD_OUT_FONTS]
    y = float(rng.choice([0.12, 0.88]) + rng.uniform(-0.02, 0.02))
    look = (float(rng.uniform(0.1, 0.14)), int(rng.choice(fonts)), float(rng.uniform(-0.1, 0.1)), bool(rng.random() < 0.5))
    return Card(word, start_s, end_s, float(rng.uniform(0.35, 0.65)), y, *look)


def noises(rng: np.random.Generator, duration_s: float, density: float) -> tuple[Noise, ...]:
    """Sound events, one at a time."""
    out = []
    at_s = rng.exponential(2.5 / density)
    while at_s < duration_s - 0.6:
        end_s = min(duration_s, at_s + float(rng.uniform(0.5, 1.6)))
        out.append(Noise(str(rng.choice(SOUNDS)), at_s, end_s, float(rng.uniform(0.12, 0.6)), int(rng.integers(1 << 30))))
        at_s = end_s + 0.4 + rng.exponential(4.0 / density)
    return tuple(out)


def utterances(rng: np.random.Generator, duration_s: float, split: Split, density: float, timed: Timed) -> tuple[Utterance, ...]:
    """Sayings, one after the other, and now and then a spoken question that ends the clip's speech."""
    out: list[Utterance] = []
    at_s = 0.2 + rng.exponential(3.0 / density)
    asks = rng.random() < (0.7 if split == "symbolic" else 0.35)
    while at_s < duration_s - 1.5:
        last = asks and at_s > duration_s - 6
        text = spoken_question(rng) if last else saying(rng, split)
        spoken = timed(text, at_s, *voice(rng, split))
        if spoken.end_s > duration_s - 0.3:
            break
        out.append(spoken)
        if last:
            break
        at_s = spoken.end_s + 0.5 + rng.exponential(4.5 / density)
    return tuple(out)


def voice(rng: np.random.Generator, split: Split) -> tuple[str, int, int, float, float]:
    """Who speaks, how fast (words a minute), how high (0..99), how loud and with how long a vocal tract.

    Each training voice belongs to people of many sizes; held-out voices are left as they are.
    """
    voices = HELD_OUT_VOICES if split == "held_out" else TRAINED_VOICES
    who = str(rng.choice(voices))
    how = int(rng.integers(125, 171)), int(rng.integers(20, 81)), float(rng.uniform(0.25, 0.8))
    return who, *how, 1.0 if split == "held_out" else int(rng.integers(28, 37)) / 32


def saying(rng: np.random.Generator, split: Split) -> str:
    """Training draws those with several digits more often: digits that follow each other are the hardest words to keep apart."""
    text = str(rng.choice(SAYINGS if split == "held_out" else SAID_IN_TRAINING))
    for mark, words in (("{d}", DIGITS), ("{o}", OBJECTS), ("{n}", NAMES)):
        while mark in text:
            text = text.replace(mark, str(rng.choice(words)), 1)
    return text


def spoken_question(rng: np.random.Generator) -> str:
    form = str(rng.choice(SPOKEN_FORMS))
    return form.format(shape=rng.choice(SHAPES), colour=rng.choice(list(COLOURS)), sound=rng.choice(SOUNDS))


def guessed(text: str, start_s: float, voice: str, words_per_minute: int, pitch: int, loudness: float, tract: float) -> Utterance:
    """An utterance with invented word times, for symbolic scripts: about what the synthesiser takes."""
    words, at_s = [], start_s
    for word in text.split():
        end_s = at_s + (0.12 + 0.045 * len(word)) * 150 / words_per_minute * tract
        words.append(Word(word, at_s, end_s))
        at_s = end_s
    return Utterance(text, start_s, at_s, voice, words_per_minute, pitch, loudness, tuple(words), tract)
