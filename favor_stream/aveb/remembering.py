"""How well the past is remembered: a stream of held-out films, asked about each as it ends, and again, by the time of day, when
all is over. The second time it is another session that answers, from nothing but what was written down, as a live agent does.

«What came first between 12:03:20 and 12:03:40?» names its time exactly, so an answer can be right. What was before the stream
began nobody can know: that has to be said.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from favor_stream import when
from favor_stream.aveb import evaluation
from favor_stream.aveb.answering import RECENT_S, answer
from favor_stream.aveb.metrics import exact, interval, ratio, reply_alone
from favor_stream.aveb.questions import Question
from favor_stream.aveb.tasks import HAPPENED, TOGETHER, Task
from favor_stream.config import Config
from favor_stream.journal import Journal
from favor_stream.passes import alone
from favor_stream.recall import Recall
from favor_stream.records import SLICE_S, SLICE_SAMPLES, Slice
from favor_stream.session import Session, Stretch, load_sessions
from favor_stream.watches import Now

TASK = "memory"  # as `eval --tasks` calls it
FILMS = Task(TASK, (("film", HAPPENED + TOGETHER),), "accuracy", 0.95)
LASTS_S = 20.0  # each film with the quiet behind it: whole windows
AGES_S = (0.0, 60.0, 300.0, 600.0)  # from which on there is a line of its own
BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)  # the stream, by a clock that nobody needs to be right
BEFORE = 20  # times that it is asked about what was before
UNBOUNDED = int(1e12)


@dataclass(frozen=True, slots=True)
class Asked:
    question: Question
    age_s: float  # of the end of its film, when all was over
    live: str  # at the film's end, of a memory that has just that film
    rewound: str  # when all was over
    recent: str  # and by who has only the last 2 s


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what ended so long ago."""

    since_s: float
    questions: int
    live: float
    rewound: float
    low: float  # 95 % bootstrap interval of `rewound`
    high: float
    recent: float
    chance: float
    alike: float  # share of both answers that are the same, letter for letter


def run(config: Config, limit: int, seed: int, json_out: bool) -> None:
    """Plays `limit` held-out films as one stream, and prints how both ways of asking do."""
    new_session = load_sessions(config)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite", "these", UNBOUNDED, UNBOUNDED)
        recall = Recall(journal, lambda _: None)
        asked = list(answered(new_session, recall, limit, seed))
        told = asyncio.run(told_that_it_is_gone(recall, at(limit)))
        journal.close()
    rows = list(aged(asked))
    if json_out:
        print(json.dumps({"seed": seed, "films": limit, "rows": [asdict(row) for row in rows], "before_told": told}))
    else:
        print(table(rows, limit, told))


def at(films: float) -> Now:
    """When so many films were over."""
    return Now(films * LASTS_S, BEGAN + timedelta(seconds=films * LASTS_S))


def answered(new_session: Callable[[], Session], recall: Recall, limit: int, seed: int) -> Iterator[Asked]:
    """Every question with its answers."""
    stream, viewer, shown = new_session(), new_session(), list[tuple[list[Question], list[str]]]()
    films = list(evaluation.clips(FILMS, limit, seed))
    for number, (scene, questions) in enumerate(films):
        viewer.reset()
        viewer.restore(list(remembered(stream, recall, padded(list(scene.played())), number)))
        shown.append((questions, ["".join(viewer.ask(each.text)).strip() for each in questions]))
        print(f"\rfilm {number + 1}", end="", file=sys.stderr, flush=True)
    later = new_session()
    last = list(films[-1][0].played())[-int(RECENT_S / SLICE_S) :]
    for number, (questions, live) in enumerate(shown):
        rewound = [recalled(later, recall, each, number, len(films)) for each in questions]
        recent = answer(new_session(), last, questions)
        age_s = (len(films) - 1 - number) * LASTS_S
        yield from (Asked(q, age_s, *said) for q, *said in zip(questions, live, rewound, recent, strict=True))
    print(file=sys.stderr)


def padded(film: list[Slice]) -> list[Slice]:
    """With quiet and darkness behind it."""
    quiet = np.zeros(SLICE_SAMPLES, np.float32)
    return film + [Slice(index, None, quiet) for index in range(len(film), int(LASTS_S / SLICE_S))]


def remembered(stream: Session, recall: Recall, film: Sequence[Slice], number: int) -> Iterator[Stretch]:
    """The windows of the next film of a stream that goes on; they are written down too."""
    first = number * int(LASTS_S / SLICE_S)
    for piece in film:
        if window := stream.see(replace(piece, index=first + piece.index)):
            asyncio.run(recall.note(window, Now(window.end_s, BEGAN + timedelta(seconds=window.end_s))))
            yield window


def recalled(session: Session, recall: Recall, question: Question, number: int, films: int) -> str:
    """The answer to the question about a film, by the time of day, when all films are over."""
    begun, ended = (f"{at(n).at:%H:%M:%S}" for n in (number, number + 1))
    now = at(films)
    mark = "?" * question.text.endswith("?")
    text, span = when.split(f"{question.text.rstrip('?')} between {begun} and {ended}{mark}", now.at)
    assert span is not None
    found = asyncio.run(recall.find(span, session.most_windows, now))
    return found.gone or "".join(alone(session.passes, session.recalling(found.windows, text))).strip()


async def told_that_it_is_gone(recall: Recall, now: Now) -> float:
    """The share of questions about what was before the stream that are answered by saying so."""
    spans = (when.Span(BEGAN - timedelta(minutes=n + 1), BEGAN - timedelta(minutes=n, seconds=1)) for n in range(BEFORE))
    said = [(await recall.find(span, 1, now)).gone for span in spans]
    return sum(text.startswith("I no longer remember") for text in said) / BEFORE


def aged(asked: Sequence[Asked]) -> Iterator[Row]:
    """A line for each age of which something was asked."""
    common = Counter(reply_alone(each.question.answer) for each in asked).most_common(1)[0][0]
    for since_s, until_s in zip(AGES_S, (*AGES_S[1:], float("inf")), strict=True):
        mine = [each for each in asked if since_s <= each.age_s < until_s]
        if not mine:
            continue
        wanted = [each.question.answer for each in mine]
        live, rewound, recent, chance = (
            np.array([exact(one, other) for one, other in zip(wanted, said, strict=True)])
            for said in ([e.live for e in mine], [e.rewound for e in mine], [e.recent for e in mine], [common] * len(mine))
        )
        alike = sum(each.live == each.rewound for each in mine) / len(mine)
        yield Row(since_s, len(mine), ratio(live), ratio(rewound), *interval(rewound), ratio(recent), ratio(chance), alike)


def table(rows: Sequence[Row], films: int, told: float) -> str:
    whole = f"{films} films in {films * LASTS_S / 60:.0f} minutes"
    lines = [f"| {whole} | questions | as it ends | when all is over | 95 % | last 2 s | chance | alike | goal | |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|")
    for row in rows:
        reached = "reached" if row.rewound >= (FILMS.goal or 0) else "missed"
        figures = f"{row.live:.1%} | {row.rewound:.1%} | {row.low:.1%} .. {row.high:.1%} | {row.recent:.1%} | {row.chance:.1%}"
        what = f"{row.since_s / 60:g} minutes ago or more"
        lines.append(f"| {what} | {row.questions} | {figures} | {row.alike:.1%} | >= {FILMS.goal:.0%} | {reached} |")
    lines.append(f"| before it began: that it is told so | {BEFORE} | | {told:.0%} | | | | | | |")
    return "\n".join(lines)
