"""What was taken for what: counted over answers, words or events, and drawn as SVG that says the essential in words too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from itertools import zip_longest

from favor_stream.aveb.facts import COUNTS
from favor_stream.aveb.metrics import METRICS, attributes, reply_alone

Taken = tuple[str, str]  # (wanted, said); said is "" for what is missing, wanted is "" for what was invented
SILENCE, OTHER = "(no answer)", "(others)"
ANSWERS, BARS, TOLD = 11, 12, 3  # most answers of a square, bars, and confusions in a text
LETTERS = 18  # of a label in a picture; the alt text has no such limit
CELL, LABEL, HEAD = 44, 140, 104  # pixels of a square
BAR, BAR_WIDTH, PICTURE_WIDTH = 24, 90, 320


def answers(wanted: str, said: str) -> Iterator[Taken]:
    yield reply_alone(wanted), reply_alone(said) or SILENCE


def words(wanted: str, said: str) -> Iterator[Taken]:
    """By the alignment of fewest errors. Needs jiwer."""
    import jiwer

    reference, found = (text.replace(".", " ").split() for text in (wanted, said))
    if not reference:
        yield from (("", word) for word in found)
        return
    for chunk in jiwer.process_words(" ".join(reference), " ".join(found)).alignments[0]:
        here = reference[chunk.ref_start_idx : chunk.ref_end_idx], found[chunk.hyp_start_idx : chunk.hyp_end_idx]
        yield from zip_longest(*here, fillvalue="")


def events(wanted: str, said: str) -> Iterator[Taken]:
    return matched(*([event for event in text.split(", ") if event] for text in (wanted, said)))


def told(wanted: str, said: str) -> Iterator[Taken]:
    return matched(*([each for item in text.split(", ") for each in attributes(item)] for text in (wanted, said)))


def matched(wanted: Iterable[str], said: Iterable[str]) -> Iterator[Taken]:
    """Equal ones, then those that share a word, then the last of each; nobody knows what others were taken for."""
    one, other = Counter(wanted), Counter(said)
    yield from ((name, name) for name in (one & other).elements())
    missing, invented = list((one - other).elements()), list((other - one).elements())
    for name in tuple(missing):
        if like := next((each for each in invented if {*each.split()} & {*name.split()}), None):
            missing.remove(name)
            invented.remove(like)
            yield name, like
    if len(missing) == len(invented) == 1:
        yield missing[0], invented[0]
    else:
        yield from ((name, "") for name in missing)
        yield from (("", name) for name in invented)


PAIRS: dict[str, Callable[[str, str], Iterator[Taken]]] = {
    "accuracy": answers,
    "within 1 s": answers,
    "WER": words,
    "F1": events,
    "attributes": told,
}


def count(metric: str, texts: Iterable[Taken]) -> Counter[Taken]:
    """How often each was taken for each, what was right included, over all (wanted, said) of a task."""
    return Counter(taken for wanted, said in texts for taken in PAIRS[metric](wanted, said))


def draw(metric: str, taken: Counter[Taken]) -> str:
    """An SVG element: a square of the commonest answers, or bars of the commonest errors; empty where there is nothing."""
    wrong = errors(metric, taken)
    return bars(wrong) if PAIRS[metric] is not answers else square(taken, wrong) if taken else ""


def errors(metric: str, taken: Counter[Taken]) -> Counter[Taken]:
    """Those that are wrong: an answer by its metric, a word or an event that was taken for another."""
    is_answer = PAIRS[metric] is answers
    return Counter({pair: n for pair, n in taken.items() if pair[0] != pair[1] and not (is_answer and METRICS[metric](*pair)[0])})


def described(pair: Taken, between: str = "taken for") -> str:
    wanted, said = pair
    return f"{wanted} {between} {said}" if wanted and said else f"{wanted} missing" if wanted else f"{said} invented"


def commonest(wrong: Counter[Taken]) -> str:
    return "; ".join(f"{described(pair)}, {times} x" for pair, times in wrong.most_common(TOLD))


def square(taken: Counter[Taken], wrong: Counter[Taken]) -> str:
    """Wanted answers downwards, said ones across; each cell is as dark as its share of its line."""
    names = frequent(taken)
    cells, faults = folded(taken, names), folded(wrong, names)
    side = len(names) * CELL
    alt = f"Wanted against said: {taken.total() - wrong.total()} of {taken.total()} answers right"
    alt += f". Most often wrong: {commonest(wrong)}." if wrong else "."
    drawn = [text(LABEL - 8, HEAD - 8, "wanted \\ said", "end")]
    for at, name in enumerate(names):
        left, top = LABEL + at * CELL, HEAD + at * CELL
        drawn.append(text(LABEL - 8, top + 26, shortened(name), "end"))
        drawn.append(text(0, 0, shortened(name), "start", f"translate({left + 26} {HEAD - 8}) rotate(-45)"))
        drawn += line(top, [(cells[name, said], faults[name, said]) for said in names])
    if others := cells[OTHER, OTHER]:
        right = others - faults[OTHER, OTHER]
        drawn.append(text(LABEL, HEAD + side + 20, f"of the {others} others taken for others {right} are right", "start"))
    return svg(LABEL + side + HEAD, HEAD + side + 28, alt, drawn)


def line(top: float, cells: Sequence[tuple[int, int]]) -> Iterator[str]:
    """The cells of one wanted answer: how often, and how often of that it was wrong."""
    total = max(1, sum(times for times, _ in cells))
    for column, (times, faults) in enumerate(cells):
        left, kind = LABEL + column * CELL, "right" if not faults else "wrong" if faults == times else "even"
        yield rectangle(left, top, CELL, CELL, kind, times / total)
        if times:
            yield text(left + CELL / 2, top + 26, str(times), "middle")


def frequent(taken: Counter[Taken]) -> list[str]:
    """The commonest answers, numbers in their order, and OTHER where there are more."""
    often: Counter[str] = Counter()
    for (wanted, said), times in taken.items():
        often.update({wanted: times})
        often.update({said: times})
    names = [name for name, _ in often.most_common(ANSWERS)]
    names.sort(key=lambda name: COUNTS.index(name) if name in COUNTS else len(COUNTS))
    return names + [OTHER] * (len(often) > len(names))


def folded(taken: Counter[Taken], names: Sequence[str]) -> Counter[Taken]:
    """The same with OTHER in the place of every answer that is not among the names."""
    cells: Counter[Taken] = Counter()
    for (wanted, said), times in taken.items():
        cells[wanted if wanted in names else OTHER, said if said in names else OTHER] += times
    return cells


def bars(wrong: Counter[Taken]) -> str:
    shown = wrong.most_common(BARS)
    if not shown:
        return ""
    alt = f"{wrong.total()} errors. The commonest: {commonest(wrong)}."
    drawn = []
    for at, ((wanted, said), times) in enumerate(shown):
        top, width = at * BAR, BAR_WIDTH * times / shown[0][1]
        label = described((shortened(wanted, LETTERS - 4), shortened(said, LETTERS - 4)), "\N{RIGHTWARDS ARROW}")
        drawn += [text(0, top + 16, label, "start"), rectangle(200, top + 4, width, BAR - 8, "wrong", 1.0)]
        drawn.append(text(206 + width, top + 16, str(times), "start"))
    return svg(PICTURE_WIDTH, len(shown) * BAR, alt, drawn)


def shortened(name: str, most: int = LETTERS) -> str:
    return name if len(name) <= most else name[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def svg(width: float, height: float, alt: str, drawn: Iterable[str]) -> str:
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return f'<svg role="img" aria-label="{escape(alt)}" {size}>{"".join(drawn)}</svg>'


def text(x: float, y: float, label: str, anchor: str, transform: str = "") -> str:
    placed = f'x="{x:g}" y="{y:g}"' + (f' transform="{transform}"' if transform else "")
    return f'<text {placed} text-anchor="{anchor}">{escape(label)}</text>'


def rectangle(x: float, y: float, width: float, height: float, kind: str, weight: float) -> str:
    """`weight` is how dark it is, in 0..1; never so dark that what is written on it could not be read."""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill-opacity="{0.45 * weight:.3f}"/>'
