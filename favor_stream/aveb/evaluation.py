"""Asks the model about held-out clips through the session that the live agent uses, and prints a table.

Voices, backgrounds and fonts of these clips never occur in training, nor about half of their colour-shape pairs; the colours and
shapes that are asked for are of such pairs alone. Beside each score stand chance (the commonest answer, always given) and the
recent window: the same model with only the last 2 s in memory.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from favor_stream.aveb import questions, world
from favor_stream.aveb.kinds import NO_QUESTION, QUESTION_END
from favor_stream.aveb.lexicon import HELD_OUT_PAIRS
from favor_stream.aveb.picture import picture
from favor_stream.aveb.questions import Question
from favor_stream.aveb.script import Script
from favor_stream.aveb.soundtrack import soundtrack
from favor_stream.aveb.truth import picture_s
from favor_stream.config import ENGINES, Config
from favor_stream.errors import ConfigError, EngineError
from favor_stream.records import SLICE_S, SLICE_SAMPLES, Slice
from favor_stream.session import Session, load_session

FIRST_SEED = 1 << 40  # of the clips: far from training's, with whose seeds their sensor and room would hiss alike
CLIP_S = 16.0
DENSITY = 1.5
RECENT_S = 2.0  # of the recent-window baseline
RESAMPLES = 1000  # of the bootstrap
Parts = NDArray[np.float64]  # [questions, 2]; a score is the ratio of the two sums


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    kinds: tuple[str, ...]
    metric: str  # "accuracy", "F1" or "WER"
    goal: float


TASKS = (
    Task("speech", ("said", "said_last"), "WER", 0.05),
    Task("sound events", ("sounds",), "F1", 0.90),
    Task("story", ("story",), "F1", 0.90),
    Task("colour and shape", ("colour", "shape"), "accuracy", 0.95),
    Task("order", ("first", "last", "after", "before", "sound_order", "cross_order"), "accuracy", 0.90),
    Task("co-occurrence", ("seen_during", "heard_during"), "accuracy", 0.90),
    Task("spoken questions", ("spoken",), "accuracy", 0.80),
    Task("motion", ("motion",), "accuracy", 0.90),
    Task("printed words", ("word",), "accuracy", 0.95),
    Task("counting", ("count_things", "count_sound"), "accuracy", 0.90),
    Task("yes or no", ("saw", "heard"), "accuracy", 0.90),
    Task("yes or no now", ("sees", "hears"), "accuracy", 0.95),
    Task("now", ("now_see", "now_hear"), "accuracy", 0.90),
)


@dataclass(frozen=True, slots=True)
class Reply:
    question: Question
    full: str  # with the whole memory
    recent: str  # with the last 2 s only
    beside: tuple[str, ...] = ()  # by the models that are compared with it


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; scores in 0..1 (WER may be more)."""

    task: str
    metric: str
    questions: int
    score: float
    low: float  # 95 % bootstrap interval over questions
    high: float
    chance: float
    recent: float
    beside: tuple[float, ...]  # of the models that are compared with it
    goal: float
    reached: bool


def film(script: Script) -> Iterator[Slice]:
    """A script as the slices that a camera and a microphone would have given."""
    sound = soundtrack(script)
    for k in range(int(script.duration_s / SLICE_S)):
        image = picture(script, picture_s(k))
        yield Slice(k, image, sound[k * SLICE_SAMPLES : (k + 1) * SLICE_SAMPLES])


def answer(session: Session, slices: list[Slice], asked: list[Question]) -> list[str]:
    """What the session says to each question after seeing `slices`, each on a branch of one memory."""
    session.reset()
    for index, item in enumerate(slices):
        session.see(Slice(index, item.picture, item.sound))
    return ["".join(session.ask(question.text)).strip() for question in asked]


def clips(count: int, seed: int, kinds: set[str]) -> Iterator[tuple[Script, list[Question]]]:
    """`count` held-out clips, each with one question of each kind that applies.

    A spoken question is rare: more clips that hold one are drawn, to be asked nothing else, until there are `count` of those too.
    """
    spoken = 0 if "spoken" in kinds else count
    for number in itertools.count():
        if number >= count and spoken >= count:
            return
        script = world.draw(FIRST_SEED + seed * 1_000_003 + number, CLIP_S, "held_out", DENSITY)
        rng = np.random.default_rng((seed, number))
        drawn = questions.every(script, CLIP_S, rng, "held_out")
        wanted = kinds if number < count else {"spoken"}
        # Most clips hold no spoken question, and saying so each time would look like an ability.
        asked = [q for q in drawn if q.kind in wanted and q.answer != NO_QUESTION and not is_familiar(q)]
        spoken += any(q.kind == "spoken" for q in asked)
        if asked:
            yield script, asked


def is_familiar(question: Question) -> bool:
    """Whether it asks for the colour or the shape of a pair that training shows."""
    words = {*re.findall(r"\w+", question.text), question.answer}
    return question.kind in ("colour", "shape") and not any(words >= set(pair) for pair in HELD_OUT_PAIRS)


def replies(session: Session, beside: list[Session], asked_of: Iterator[tuple[Script, list[Question]]]) -> list[Reply]:
    """Every question about each clip, answered with the whole memory, with the last 2 s and by others."""
    out = []
    for number, (script, asked) in enumerate(asked_of, 1):
        slices = list(film(script))
        full, recent = (answer(session, part, asked) for part in (slices, slices[-int(RECENT_S / SLICE_S) :]))
        others = list(zip(*(answer(other, slices, asked) for other in beside), strict=True)) or [()] * len(asked)
        out += [Reply(*each) for each in zip(asked, full, recent, others, strict=True)]
        print(f"\rclip {number}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return out


def commonest(kinds: set[str], count: int = 400) -> dict[str, str]:
    """For each kind the answer that is right most often in the training split: what a deaf and blind agent would say."""
    answers: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    rng = np.random.default_rng(0)
    for seed in range(count):
        script = world.draw(seed, CLIP_S, "training", DENSITY, timed=world.guessed)
        for question in questions.every(script, CLIP_S, rng, "training"):
            if question.kind in kinds and question.answer != NO_QUESTION:
                answers[question.kind][reply_alone(question.answer)] += 1
    return {kind: counter.most_common(1)[0][0] for kind, counter in answers.items() if counter}


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
    """Without the question that was heard, which an answer to a spoken one repeats."""
    return answer.rpartition(QUESTION_END)[2].strip()


METRICS: dict[str, Callable[[str, str], tuple[float, float]]] = {"WER": word_errors, "F1": event_matches, "accuracy": exact}


def row(task: Task, given: list[Reply], common: dict[str, str]) -> Row | None:
    """One line of the table; None when no question of the task was asked."""
    mine = [r for r in given if r.question.kind in task.kinds]
    if not mine:
        return None
    measure = METRICS[task.metric]

    def parts(said: Iterable[str]) -> Parts:
        return np.array([measure(r.question.answer, text) for r, text in zip(mine, said, strict=True)])

    full = parts(r.full for r in mine)
    score = ratio(full)
    low, high = interval(full)
    reached = score <= task.goal if task.metric == "WER" else score >= task.goal
    chance, recent = ratio(parts(common.get(r.question.kind, "nothing") for r in mine)), ratio(parts(r.recent for r in mine))
    beside = tuple(ratio(parts(said)) for said in zip(*(r.beside for r in mine), strict=True))
    return Row(task.name, task.metric, len(mine), score, low, high, chance, recent, beside, task.goal, reached)


def compared(config: Config, beside: Path) -> Config:
    """The same with another engine, or with other weights."""
    return replace(config, engine=str(beside)) if str(beside) in ENGINES else replace(config, weights=beside)


def ratio(parts: Parts) -> float:
    return float(parts[:, 0].sum() / max(1.0, parts[:, 1].sum()))


def interval(parts: Parts) -> tuple[float, float]:
    """The middle 95 % of the ratio over bootstrap resamples of the questions."""
    rng = np.random.default_rng(0)
    resampled = [ratio(parts[rng.integers(len(parts), size=len(parts))]) for _ in range(RESAMPLES)]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(low), float(high)


def table(rows: list[Row], beside: list[str]) -> str:
    """Markdown; `beside` are the names of the compared models."""
    names = "".join(f" {name} |" for name in beside)
    lines = [f"| task | metric | questions | score | 95 % | chance | last 2 s |{names} goal | |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|" + "--:|" * len(beside) + "--:|---|")
    for r in rows:
        sign = "<=" if r.metric == "WER" else ">="
        span = f"{r.low:.1%} .. {r.high:.1%}"
        others = "".join(f" | {score:.1%}" for score in r.beside)
        figures = f"{r.score:.1%} | {span} | {r.chance:.1%} | {r.recent:.1%}{others} | {sign} {r.goal:.0%}"
        lines.append(f"| {r.task} | {r.metric} | {r.questions} | {figures} | {'reached' if r.reached else 'missed'} |")
    return "\n".join(lines)


def run(config: Config, tasks: list[str] | None, limit: int, seed: int, json_out: bool, beside: list[Path]) -> int:
    """Evaluate on `limit` held-out clips and print the table, or with `json_out` one JSON object with every reply.

    `beside` are weights folders, ablations for instance, or engines, that answer the same questions in columns of their own.
    """
    known = {task.name: task for task in TASKS}
    if unknown := set(tasks or ()) - known.keys():
        raise ConfigError(f"unknown tasks {sorted(unknown)}; write some of: {', '.join(known)}")
    chosen = [known[name] for name in tasks] if tasks else list(TASKS)
    try:
        import jiwer  # noqa: F401
    except ImportError as error:
        raise EngineError("eval measures speech with jiwer, which is not installed; pip install --editable '.[train]'") from error
    kinds = {kind for task in chosen for kind in task.kinds}
    session, *others = (load_session(each) for each in [config, *(compared(config, each) for each in beside)])
    given = replies(session, others, clips(limit, seed, kinds))
    common = commonest(kinds)
    rows = [r for task in chosen if (r := row(task, given, common)) is not None]
    if json_out:
        told = {"rows": [asdict(row) for row in rows], "replies": [asdict(reply) for reply in given]}
        print(json.dumps({"seed": seed, "clips": limit, **told}))
    else:
        print(table(rows, [folder.name for folder in beside]))
    return 0
