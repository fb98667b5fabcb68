"""How good answers are: each metric gives two numbers of one answer, and a score is the ratio of their sums over all answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from favor_stream.aveb.facts import COUNTS, QUESTION_END

RESAMPLES = 1000  # of the bootstrap
ATTRIBUTES = 4  # words that tell a thing in a caption
Parts = NDArray[np.float64]  # [answers, 2]


def word_errors(wanted: str, said: str) -> tuple[float, float]:
    """(errors, words) of one transcript."""
    import jiwer

    reference, found = (" ".join(text.replace(".", " ").split()) for text in (wanted, said))
    if not reference:
        return float(len(found.split())), 0.0
    measured = jiwer.process_words(reference, found)
    return float(measured.substitutions + measured.deletions + measured.insertions), float(len(reference.split()))


def event_matches(wanted: str, said: str) -> tuple[float, float]:
    """(2 x hits, events wanted + events said): their ratio over all clips is F1."""
    one, other = (Counter(w for w in text.split(", ") if w) for text in (wanted, said))
    return 2.0 * sum((one & other).values()), float(sum(one.values()) + sum(other.values()))


def exact(wanted: str, said: str) -> tuple[float, float]:
    return float(reply_alone(wanted) == reply_alone(said)), 1.0


def reply_alone(answer: str) -> str:
    """Without what comes before it: the question that was heard, the things as they were counted."""
    return answer.rpartition(QUESTION_END)[2].strip()


def attribute_matches(wanted: str, said: str) -> tuple[float, float]:
    """F1 as of events, of everything that is told of each thing: its shape, and size, colour and side of that shape."""
    one, other = (Counter(each for item in text.split(", ") for each in attributes(item)) for text in (wanted, said))
    return 2.0 * sum((one & other).values()), float(sum(one.values()) + sum(other.values()))


def attributes(item: str) -> list[str]:
    """ "small red ring left" is four: a ring, that is small, red and left."""
    words = item.split()
    if len(words) != ATTRIBUTES:
        return [item] if item else []
    size, colour, shape, side = words
    return [shape, f"{shape} {size}", f"{shape} {colour}", f"{shape} {side}"]


def nearly(wanted: str, said: str) -> tuple[float, float]:
    """Whether a number of seconds, as a word, is off by one at most."""
    numbers = [COUNTS.index(text) for text in (wanted, said) if text in COUNTS]
    return float(len(numbers) == 2 and abs(numbers[0] - numbers[1]) <= 1), 1.0


METRICS: dict[str, Callable[[str, str], tuple[float, float]]] = {
    "WER": word_errors,
    "F1": event_matches,
    "attributes": attribute_matches,
    "accuracy": exact,
    "within 1 s": nearly,
}


def ratio(parts: Parts) -> float:
    return float(parts[:, 0].sum() / max(1.0, parts[:, 1].sum()))


def interval(parts: Parts) -> tuple[float, float]:
    """The middle 95 % of the ratio over bootstrap resamples of the questions."""
    rng = np.random.default_rng(0)
    resampled = [ratio(parts[rng.integers(len(parts), size=len(parts))]) for _ in range(RESAMPLES)]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(low), float(high)
