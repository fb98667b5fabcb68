"""Questions about a script and their answers, at any moment of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from favor_stream.aveb import dialogues
from favor_stream.aveb.facts import COUNTS, NO_QUESTION, Rng
from favor_stream.aveb.kinds import KINDS
from favor_stream.aveb.lexicon import (
    CARD_WORDS,
    COLOURS,
    DIGITS,
    MOTIONS,
    NAMES,
    OBJECTS,
    SAYINGS,
    SHAPES,
    SIDES,
    SIZES,
    SOUNDS,
    SPOKEN_FORMS,
    a,
)
from favor_stream.aveb.script import Script, Split
from favor_stream.aveb.view import View, view
from favor_stream.records import Turn

EASY = 0.8  # of the times that nobody has asked anything aloud, training does not ask what the answer to it is
FOLLOW_UP = "follow_up"  # a question that refers to those before it
FOLLOW_UPS = 0.1  # of what training asks about films
HASTY, MISSING = 0.3, 0.25  # of training's questions, and of the words of those
TESTED = frozenset(wording for kind in KINDS.values() for wording in kind.tested)


@dataclass(frozen=True, slots=True)
class Question:
    kind: str
    text: str
    answer: str
    earlier: tuple[Turn, ...] = ()  # what was asked and answered before it, where it refers to that


def wording(kind: str, rng: Rng, split: Split, hasty: float = 0.0) -> str:
    """One of a kind's wordings, its places still open; a share of them as in `hastily`."""
    wordings = KINDS[kind].tested if split == "held_out" else KINDS[kind].wordings
    text = wordings[int(rng.integers(len(wordings)))]
    return hastily(kind, text, rng) if hasty and rng.random() < hasty else text


def hastily(kind: str, text: str, rng: Rng) -> str:
    """A wording as who is in a hurry types it, with words missing; its places stay, and so does what tells it from other kinds.

    Who learns whole wordings takes "tell me how it moved" for "tell me how large it is": each word has to count.
    """
    left = " ".join(word for word in text.split() if "{" in word or rng.random() >= MISSING)
    return left if left not in TESTED and is_clear(kind, left) else text


@cache
def is_clear(kind: str, left: str) -> bool:
    """Whether no other kind's wording holds these words: "what was said" no longer asks what was said last.

    No words at all are held by every wording, so they are not clear.
    """
    others = [wording for other, each in KINDS.items() if other != kind for wording in each.wordings]
    return not any(holds(wording, left) for wording in others)


def holds(whole: str, part: str) -> bool:
    """Whether a text has all the words of another, in their order."""
    words = iter(whole.split())
    return all(word in words for word in part.split())


def ask(kind: str, v: View, rng: Rng, hasty: float = 0.0) -> Question | None:
    """One question of a kind, or None where it does not apply."""
    asked = KINDS[kind].ask(v, rng)
    if asked is None:
        return None
    words, answer = asked
    text = wording(kind, rng, v.split, hasty)
    articles = {f"a_{key}": a(value) for key, value in words.items()}
    return Question(kind, text.format(**words, **articles), answer)


def exercise(kind: str, v: View, rng: Rng, most: int = 6) -> Question | None:
    """Many questions of a kind in one, each answered right after its own words; None for kinds that have none.

    One answer teaches one look-up, an exercise teaches six. Nobody is asked one but in training.
    """
    asked = [one for _ in range(most) if (one := KINDS[kind].ask(v, rng)) and one[0]]
    told = {" ".join(words.values()): answer for words, answer in asked}
    if not told:
        return None
    text = wording(kind, rng, v.split).format_map(defaultdict(lambda: "..."))
    return Question("exercise", text, " . ".join(f"{words} {answer}" for words, answer in told.items()))


def follow_ups(v: View, rng: Rng) -> list[Question]:
    """Every turn of a dialogue but its first, each with what was said before it; none where nothing can be spoken of."""
    turns = dialogues.dialogue(v, rng, v.split == "held_out")
    return [Question(FOLLOW_UP, *turn, earlier=tuple(turns[:at])) for at, turn in enumerate(turns) if at]


def draw(v: View, rng: Rng, exercises: float, kinds: tuple[str, ...] = tuple(KINDS)) -> Question:
    """One of these kinds, drawn by weight among those that apply; `exercises` is their share, where the kind has one."""
    weights = np.array([KINDS[kind].weight for kind in kinds])
    while True:
        if "first" in kinds and rng.random() < FOLLOW_UPS and (asked := follow_ups(v, rng)):
            return asked[int(rng.integers(len(asked)))]
        kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
        question = (exercise(kind, v, rng) if rng.random() < exercises else None) or ask(kind, v, rng, HASTY)
        if question is None or (question.answer == NO_QUESTION and rng.random() < EASY):
            continue
        return question


def every(script: Script, until_s: float, rng: Rng, split: Split, kinds: Iterable[str] = KINDS) -> list[Question]:
    """One question of each of these kinds that applies."""
    v = view(script, until_s, split)
    return [question for kind in kinds if (question := ask(kind, v, rng)) is not None]


def corpus(count: int, seed: int) -> list[str]:
    """Texts to learn a tokenizer from: all wordings and all the words of the world, as often as it takes."""
    rng = np.random.default_rng(seed)
    words = [*COLOURS, *SHAPES, *MOTIONS, *SIZES, *SIDES, *SOUNDS, *CARD_WORDS, *DIGITS, *OBJECTS, *NAMES, *COUNTS]
    words += ["nothing", "yes", "no", "question"]
    wordings = [w for kind in KINDS.values() for w in kind.wordings] + list(SPOKEN_FORMS) + list(SAYINGS)
    wordings += [w for followed in dialogues.FOLLOWED for w in followed.wordings]
    texts = [text.split("{")[0] + " " + " ".join(rng.choice(words, 4)) + " " + text.split("}")[-1] for text in wordings]
    return [texts[i % len(texts)] if i % 2 else " ".join(rng.choice(words, 5)) for i in range(count)] + wordings
