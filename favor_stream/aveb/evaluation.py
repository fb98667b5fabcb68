"""Asks the model about held-out scenes and prints a table.

Voices, backgrounds, fonts and wordings never occur in training, nor about half of the pairs of colour and shape; the colours and
shapes that are asked for are of such pairs alone. Beside each score stand chance (the commonest answer, always given) and the
recent window: the same model with only the last 2 s in memory.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from favor_stream.aveb import questions, scenes, soundtrack, world
from favor_stream.aveb.answering import Answerer, Reply, answering
from favor_stream.aveb.facts import NO_QUESTION
from favor_stream.aveb.lexicon import HELD_OUT_PAIRS
from favor_stream.aveb.metrics import METRICS, Parts, interval, ratio, reply_alone
from favor_stream.aveb.questions import FOLLOW_UP, Question
from favor_stream.aveb.scenes import Wish
from favor_stream.aveb.script import Split
from favor_stream.aveb.staged import Scene
from favor_stream.aveb.tasks import DENSITY, TASKS, Task
from favor_stream.aveb.view import view
from favor_stream.config import ENGINES, Config
from favor_stream.errors import ConfigError, EngineError
from favor_stream.records import SLICE_S
from favor_stream.sheet import VERDICTS

FIRST_SEED = 1 << 40  # of the clips: far from training's, with whose seeds their sensor and room would hiss alike
LEAST_S = 4.0  # of a clip that is asked about before its end
GUESSED = 200  # clips from which chance is known


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
    goal: float | None
    reached: bool | None
    aveb: str = ""


def clips(task: Task, count: int, seed: int, split: Split = "held_out") -> Iterator[tuple[Scene, list[Question]]]:
    """`count` scenes of each of the task's settings, with the task's questions that apply."""
    for setting, kinds in task.asked:
        for number in range(count):
            rng = np.random.default_rng((seed, number))
            scene = drawn(task, setting, FIRST_SEED * (split == "held_out") + seed * 1_000_003 + number, split, rng)
            if asked := questions_to(scene, kinds, split, rng):
                yield scene, asked


def drawn(task: Task, setting: str, seed: int, split: Split, rng: np.random.Generator) -> Scene:
    timed = world.guessed if split == "training" else soundtrack.timed  # of training's only the answers are wanted
    scene = scenes.draw(setting, Wish(seed, task.duration_s, split, timed, DENSITY, snr_db=task.snr_db))
    if task.is_cut:
        until_s = SLICE_S * int(rng.integers(int(LEAST_S / SLICE_S), int(task.duration_s / SLICE_S) + 1))
        scene = replace(scene, script=replace(scene.script, duration_s=until_s))
    return replace(scene, is_seen=scene.is_seen and task.is_seen)


def questions_to(scene: Scene, kinds: Sequence[str], split: Split, rng: np.random.Generator) -> list[Question]:
    if FOLLOW_UP in kinds:
        return questions.follow_ups(view(scene.script, scene.script.duration_s, split), rng)
    asked = questions.every(scene.script, scene.script.duration_s, rng, split, kinds)
    return [each for each in asked if each.answer != NO_QUESTION and not (split == "held_out" and is_familiar(each))]


def is_familiar(question: Question) -> bool:
    """Whether it asks for the colour or the shape of a pair that training shows."""
    words = {*re.findall(r"\w+", question.text), question.answer}
    return question.kind in ("colour", "shape") and not any(words >= set(pair) for pair in HELD_OUT_PAIRS)


def commonest(task: Task, count: int = GUESSED) -> dict[str, str]:
    """For each kind the answer that is right most often in the training split: what a deaf and blind agent would say."""
    answers: dict[str, Counter[str]] = {kind: Counter() for kind in task.kinds}
    for _, asked in clips(task, count, 0, "training"):
        for question in asked:
            answers[question.kind][reply_alone(question.answer)] += 1
    return {kind: counter.most_common(1)[0][0] for kind, counter in answers.items() if counter}


def row(task: Task, given: list[Reply], common: dict[str, str]) -> Row | None:
    """One line of the table; None when no question of the task was asked."""
    if not given:
        return None
    measure = METRICS[task.metric]

    def parts(said: Iterable[str]) -> Parts:
        return np.array([measure(r.question.answer, text) for r, text in zip(given, said, strict=True)])

    full = parts(r.full for r in given)
    score = ratio(full)
    low, high = interval(full)
    chance = ratio(parts(common.get(r.question.kind, "nothing") for r in given))
    recent = ratio(parts(r.recent for r in given))
    beside = tuple(ratio(parts(said)) for said in zip(*(r.beside for r in given), strict=True))
    made = Row(task.name, task.metric, len(given), score, low, high, chance, recent, beside, None, None, task.aveb)
    return made if task.goal is None else with_goal(made, task.goal)


def with_goal(made: Row, goal: float) -> Row:
    return replace(made, goal=goal, reached=made.score <= goal if made.metric == "WER" else made.score >= goal)


def compared(config: Config, beside: Path) -> Config:
    """The same with another engine, or with other weights."""
    return replace(config, engine=str(beside)) if str(beside) in ENGINES else replace(config, weights=beside)


def table(rows: Sequence[Row], beside: list[str]) -> str:
    """Markdown; `beside` are the names of the compared models."""
    names = "".join(f" {name} |" for name in beside)
    lines = [f"| task | AVEB | metric | questions | score | 95 % | chance | last 2 s |{names} goal | |"]
    lines.append("|---|---|---|--:|--:|--:|--:|--:|" + "--:|" * len(beside) + "--:|---|")
    for r in rows:
        others = "".join(f" | {score:.1%}" for score in r.beside)
        figures = f"{r.score:.1%} | {r.low:.1%} .. {r.high:.1%} | {r.chance:.1%} | {r.recent:.1%}{others}"
        goal = "" if r.goal is None else f"{'<=' if r.metric == 'WER' else '>='} {r.goal:.1%}"
        lines.append(f"| {r.task} | {r.aveb} | {r.metric} | {r.questions} | {figures} | {goal} | {VERDICTS[r.reached]} |")
    return "\n".join(lines)


def chosen(names: list[str] | None) -> list[Task]:
    """The tasks of these names, with those whose scores their goals refer to. ConfigError for a name that is none."""
    known = {task.name: task for task in TASKS}
    if unknown := set(names or ()) - known.keys():
        raise ConfigError(f"unknown tasks {sorted(unknown)}; write some of: {', '.join(known)}")
    wanted = {*(names or known), *(known[name].half_of for name in names or ())}
    return [task for task in TASKS if task.name in wanted]


def measured(answered: Answerer, tasks: Sequence[Task], limit: int, seed: int) -> list[tuple[Task, list[Reply]]]:
    """Every task's questions with what was said to them. A scene that several tasks ask about is played once."""
    asked = [(task, scene, each) for task in tasks for scene, every in clips(task, limit, seed) for each in every]
    asked_of: dict[Scene, dict[Question, None]] = {}
    for _, scene, question in asked:
        asked_of.setdefault(scene, {})[question] = None
    given = dict[tuple[Scene, Question], Reply]()
    for number, told in enumerate(answered([(scene, list(each)) for scene, each in asked_of.items()]), 1):
        given |= {(reply.scene, reply.question): reply for reply in told}
        print(f"\rclip {number} of {len(asked_of)}", end="\033[K", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [(task, [given[scene, question] for other, scene, question in asked if other is task]) for task in tasks]


def rows_of(given: Sequence[tuple[Task, list[Reply]]]) -> list[Row]:
    """A line for each task that was asked something; goals that refer to another task's score are filled in."""
    rows = {task.name: made for task, said in given if (made := row(task, said, commonest(task)))}
    for task, _ in given:
        if task.half_of in rows and task.name in rows:
            rows[task.name] = with_goal(rows[task.name], rows[task.half_of].score / 2)
    return list(rows.values())


def run(
    config: Config,
    names: list[str] | None,
    limit: int,
    seed: int,
    json_out: bool,
    beside: list[Path],
    html: Path | None = None,
    workers: int = 1,
) -> int:
    """Evaluate on `limit` scenes of each setting and print the table, or with `json_out` one JSON object with every reply.

    `beside` are weights folders, ablations for instance, or engines, that answer the same questions in columns of their own;
    `html` is where a page with the worst cases is written. `workers` answer beside each other.
    """
    tasks = chosen(names)
    if html:
        from favor_stream.aveb import report

        report.check(html)
    try:
        import jiwer  # noqa: F401
    except ImportError as error:
        raise EngineError("eval measures speech with jiwer, which is not installed; pip install --editable '.[train]'") from error
    with answering([config, *(compared(config, each) for each in beside)], workers) as answered:
        given = measured(answered, tasks, limit, seed)
    rows = rows_of(given)
    if html:
        replied = {task.name: (task, said) for task, said in given}
        report.write(html, rows, replied, shlex.join(["favor-stream", *sys.argv[1:]]), seed, [each.name for each in beside])
    if json_out:
        told = {
            "rows": [asdict(each) for each in rows],
            "replies": [plain(task, reply) for task, said in given for reply in said],
        }
        print(json.dumps({"seed": seed, "clips": limit, **told}))
    else:
        print(table(rows, [folder.name for folder in beside]))
    return 0


def plain(task: Task, reply: Reply) -> dict[str, object]:
    told = {"question": asdict(reply.question), "full": reply.full, "recent": reply.recent, "beside": reply.beside}
    return {"task": task.name, "clip": reply.scene.script.seed, **told}
