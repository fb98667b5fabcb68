"""Whether the past is remembered as well as the present: the same questions about each film of an endless stream, asked at its
end and again when all is over, by another session that has only what was written down.

A third column is the film seen by itself, as `eval` asks: in a stream each film begins in the sound and light of the one before.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from favor_stream.aveb import evaluation
from favor_stream.aveb.evaluation import METRICS, TASKS, Task
from favor_stream.aveb.questions import Question
from favor_stream.config import Config
from favor_stream.journal import Journal, Window
from favor_stream.passes import alone
from favor_stream.records import SLICE_S, SLICE_SAMPLES, Slice
from favor_stream.session import Session, Stretch, load_sessions

TASK = "rewind"
LASTS_S = 20.0  # each film with the quiet behind it: whole windows
NOW = ("now", "yes or no now")  # tasks that ask about the moment, of which the past has none
UNBOUNDED = int(1e12)


@dataclass(frozen=True, slots=True)
class Asked:
    question: Question
    by_itself: str  # of the film by itself
    live: str  # at the film's end, of a memory that has just that film
    rewound: str  # from the journal, when all was over


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    task: str
    metric: str
    questions: int
    by_itself: float
    live: float
    rewound: float
    alike: float  # share of the last two's answers that are the same, letter for letter


def run(config: Config, limit: int, seed: int, json_out: bool) -> int:
    """Plays `limit` held-out films as one stream, and prints how both ways of asking do."""
    new_session = load_sessions(config)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite", "these", UNBOUNDED, UNBOUNDED)
        asked = list(pairs(new_session, journal, limit, seed))
        journal.close()
    rows = [row for task in TASKS if (row := compared(task, asked))]
    if json_out:
        print(json.dumps({"seed": seed, "films": limit, "rows": [asdict(row) for row in rows]}))
    else:
        print(table(rows, limit))
    return 0


def pairs(new_session: Callable[[], Session], journal: Journal, limit: int, seed: int) -> Iterator[Asked]:
    """Every question with both its answers."""
    stream, viewer, kinds = new_session(), new_session(), {kind for task in TASKS if task.name not in NOW for kind in task.kinds}
    answered = list[tuple[list[Question], list[str], list[str]]]()
    for number, (script, questions) in enumerate(evaluation.clips(limit, seed, kinds - {"spoken"})):
        film = padded(list(evaluation.film(script)))
        viewer.reset()
        viewer.restore(list(remembered(stream, journal, film, number)))
        live = ["".join(viewer.ask(each.text)).strip() for each in questions]
        answered.append((questions, evaluation.answer(new_session(), film, questions), live))
        print(f"\rfilm {number + 1}", end="", file=sys.stderr, flush=True)
    later = new_session()
    for number, (questions, by_itself, live) in enumerate(answered):
        windows = [stretch(window) for window in journal.between(number * LASTS_S, (number + 1) * LASTS_S)]
        rewound = ["".join(alone(later.passes, later.recalling(windows, each.text))).strip() for each in questions]
        yield from map(Asked, questions, by_itself, live, rewound)
    print(file=sys.stderr)


def padded(film: list[Slice]) -> list[Slice]:
    """With quiet and darkness behind it."""
    quiet = np.zeros(SLICE_SAMPLES, np.float32)
    return film + [Slice(index, None, quiet) for index in range(len(film), int(LASTS_S / SLICE_S))]


def remembered(stream: Session, journal: Journal, film: Sequence[Slice], number: int) -> Iterator[Stretch]:
    """The windows of the next film of a stream that goes on; they are written down too."""
    first = number * int(LASTS_S / SLICE_S)
    for piece in film:
        if window := stream.see(Slice(first + piece.index, piece.picture, piece.sound)):
            journal.put(Window(window.tokens.float().numpy(), window.start_s, window.end_s))
            yield window


def stretch(window: Window) -> Stretch:
    return Stretch(torch.from_numpy(window.tokens.copy()), window.begun_at, window.ended_at)


def compared(task: Task, asked: Sequence[Asked]) -> Row | None:
    mine = [each for each in asked if each.question.kind in task.kinds]
    if not mine:
        return None
    measure = METRICS[task.metric]
    by_itself, live, rewound = (
        evaluation.ratio(np.array([measure(each.question.answer, said) for each, said in zip(mine, answers, strict=True)]))
        for answers in ([each.by_itself for each in mine], [each.live for each in mine], [each.rewound for each in mine])
    )
    alike = sum(each.live == each.rewound for each in mine) / len(mine)
    return Row(task.name, task.metric, len(mine), by_itself, live, rewound, alike)


def table(rows: Sequence[Row], films: int) -> str:
    told = f"{films} films in {films * LASTS_S / 60:.0f} minutes"
    lines = [f"| {told} | metric | questions | by itself | at its end | rewound | alike |", "|---|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        figures = f"{row.by_itself:.1%} | {row.live:.1%} | {row.rewound:.1%} | {row.alike:.1%}"
        lines.append(f"| {row.task} | {row.metric} | {row.questions} | {figures} |")
    return "\n".join(lines)
