"""What each of FAVOR's ideas is worth: variants taught alike from one state, asked the same questions, in one table.

A seed stands for a new Q-Former, the order of what is learned and the symbolic lessons; films and encoders are the same for all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from favor_stream.aveb import evaluation
from favor_stream.aveb.answering import here
from favor_stream.aveb.tasks import TASKS, Task
from favor_stream.errors import ConfigError
from favor_stream.model import weights
from favor_stream.model.config import ModelConfig
from favor_stream.model.favor import Fusion
from favor_stream.records import SLICE_S
from favor_stream.session import Session
from favor_stream.training import fusion, language, train
from favor_stream.training.budget import Budget, budgeted
from favor_stream.training.curriculum import CURRICULA, GENTLY, Curriculum
from favor_stream.training.loop import Run, Stage, processor
from favor_stream.training.variants import VARIANTS, ShownOracle

ASKED = {"nano": 100, "smoke": 1}  # clips of each setting
QUESTIONS_SEED = 1
SPLIT = "films"  # the task that is told by kinds of question too: what happened when is what ideas of time are worth
OUTCOME = "outcome.json"  # in the folder of a variant's weights


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one variant did with one seed."""

    variant: str
    seed: int
    tokens_per_s: float  # that the stream adds to the LLM's memory
    parameters: int  # of the fusion
    scores: dict[str, float]  # by line of the table; 0..1, WER may be more


@dataclass(frozen=True, slots=True)
class Course:
    """What all variants are taught with."""

    start: Path  # weights whose encoders stay as they are, and whose language model all begin with
    work: Path
    curriculum: Curriculum
    sorts: train.Sorts


def run(
    out: Path,
    start: Path,
    variants: Sequence[str],
    seeds: Sequence[int],
    preset: str,
    other: Mapping[str, int] | None = None,
    clips: int | None = None,
) -> int:
    """Teach and ask every variant with every seed, each into a folder of `out`, and print the table.

    What is finished is not done again. `other` numbers of clips or steps take the place of the budget's own, by its names;
    questions are asked about `clips` of each setting. Raises ConfigError for an unknown variant or name and for a folder that was
    begun otherwise, WeightsError where `start` has no oracle.
    """
    import jiwer  # noqa: F401  # speech is measured with it: better missed now than after hours

    if unknown := set(variants) - VARIANTS.keys():
        raise ConfigError(f"unknown variants {sorted(unknown)}: expected some of {', '.join(VARIANTS)}")
    train.prepare()
    budget, begun_with = budgeted(budget_of(preset), other or {}), weights.read_manifest(start)["sha256"]
    clips = clips or ASKED[preset]
    train.begin(out / "work", {"ablations": preset, "start": begun_with, "budget": repr(budget), "asked": clips})
    every = [(variant, seed) for seed in dict.fromkeys(seeds) for variant in dict.fromkeys(variants)]
    if missing := [(variant, seed) for variant, seed in every if not folder(out, variant, seed).joinpath(OUTCOME).exists()]:
        counts = sorted({VARIANTS[variant].pictures for variant, _ in missing})
        with processor():
            courses = {count: prepared(start, out / "work", replace(CURRICULA[preset], budget=budget), count) for count in counts}
        for variant, seed in missing:
            course = courses[VARIANTS[variant].pictures]
            with processor():
                teach(course, variant, seed, folder(out, variant, seed))
            ask(folder(out, variant, seed), variant, seed, clips)
            for stage in course.work.glob(f"*-{variant}-{seed}.pt"):  # large, and of no use any more
                stage.unlink()
    print(table([read(folder(out, variant, seed)) for variant, seed in every]))
    return 0


def budget_of(preset: str) -> Budget:
    """For one variant: encoders stay as they are, and a Q-Former is taught for a third and an eighth of what is usual."""
    further = CURRICULA[preset].budget.further()
    return replace(further, sight=0, hearing=0, distil=math.ceil(further.distil / 3), join=math.ceil(further.join / 8))


def folder(out: Path, variant: str, seed: int) -> Path:
    return out / f"{variant}-{seed}"


def prepared(start: Path, work: Path, curriculum: Curriculum, pictures: int) -> Course:
    """The films that `start` was taught with last, with so many pictures in a slice, as its encoders give them.

    The encoders learn nothing here.
    """
    seed = weights.read_manifest(start).get("seed", 0)
    learning = begun(start, work if pictures == 1 else work / f"{pictures}-pictures", "full", 0)
    config = learning.model.config
    learning.model.config = replace(config, fusion=replace(config.fusion, pictures=pictures))
    sorts = train.teach_senses(learning, curriculum, seed, is_new=False)
    return Course(start, work, curriculum, sorts)


def teach(course: Course, variant: str, seed: int, out: Path) -> None:
    """A new Q-Former, on the language model of the start once that has learned how this variant's memory is laid out."""
    curriculum, budget = course.curriculum, course.curriculum.budget
    learning = replace(begun(course.start, course.work, variant, seed), batch=budget.batch)
    window, diversity = learning.model.config.fusion.slices_per_window, VARIANTS[variant].diversity
    speaking = Stage(f"language-{window}-{seed}", budget.language, GENTLY)  # the same for all with such windows
    distilling, joining = Stage(f"distil-{variant}-{seed}", budget.distil), Stage(f"join-{variant}-{seed}", budget.join)
    language.speak(learning, speaking, train.lessons(learning, speaking, curriculum.rehearsal))
    torch.manual_seed(seed)
    learning.model.fusion = Fusion(learning.model.config)
    fusion.distil(learning.of("distil"), distilling, course.sorts, diversity)
    joint = learning.of("join")
    rehearsal = train.lessons(joint, joining, curriculum.rehearsal)
    fusion.join(joint, joining, course.sorts[0], course.sorts[1:], rehearsal, diversity)
    weights.save(out, learning.model, learning.tokenizer, {"variant": variant, "seed": seed, "budget": repr(budget)})


def begun(start: Path, work: Path, variant: str, seed: int) -> Run:
    """The start as this variant, before it has learned anything. Its tokenizer is the same for all seeds, as the films are."""
    model, tokenizer = train.further_model(start, seed=0)
    model.config = VARIANTS[variant].of(model.config)
    oracle = ShownOracle(model.config, tokenizer)
    weights.read(oracle, start / train.ORACLE)
    return Run(model, oracle, tokenizer, work, np.random.default_rng(seed))


def ask(out: Path, variant: str, seed: int, clips: int) -> None:
    """Ask the weights in `out` what every variant is asked, and keep the outcome beside them."""
    model, tokenizer = weights.load(out)
    session, scores = Session(model, tokenizer), dict[str, float]()
    for task, given in evaluation.measured(here([session], with_recent=False), TASKS, clips, QUESTIONS_SEED):
        for name, kinds in lines_of(task).items():
            if row := evaluation.row(task, [reply for reply in given if reply.question.kind in kinds], {}):
                scores[name] = row.score
    parameters = sum(p.numel() for p in model.fusion.parameters())
    outcome = Outcome(variant, seed, tokens_per_s(model.config), parameters, scores)
    new = out / f"{OUTCOME}.new"
    new.write_text(json.dumps(asdict(outcome), indent=1) + "\n", encoding="utf-8")
    new.rename(out / OUTCOME)


def lines_of(task: Task) -> dict[str, tuple[str, ...]]:
    """A task's lines in the table with the kinds of question that each counts; films have one for each kind too."""
    kinds = {f"{task.name}: {kind}": (kind,) for kind in task.kinds} if task.name == SPLIT else {}
    return {task.name: task.kinds, **kinds}


def tokens_per_s(config: ModelConfig) -> float:
    return config.fusion.tokens_per_window / config.fusion.slices_per_window / SLICE_S


def read(out: Path) -> Outcome:
    return Outcome(**json.loads((out / OUTCOME).read_text(encoding="utf-8")))


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: the mean over seeds and, where there are several, the lowest and the highest."""
    columns = {variant: [o for o in outcomes if o.variant == variant] for variant in dict.fromkeys(o.variant for o in outcomes)}
    heads = [f"{variant}, {len(those)} seed{'s' * (len(those) > 1)}" for variant, those in columns.items()]
    lines = [line("task", "metric", *heads), "|---|---|" + "--:|" * len(columns)]
    lines.append(line("tokens per second", "", *(f"{those[0].tokens_per_s:.4g}" for those in columns.values())))
    lines.append(line("parameters of the fusion", "", *(f"{those[0].parameters / 1e6:.2f} M" for those in columns.values())))
    for name, metric in ((name, task.metric) for task in TASKS for name in lines_of(task)):
        cells = [cell([o.scores[name] for o in those if name in o.scores]) for those in columns.values()]
        lines += [line(name, metric, *cells)] if any(cells) else []
    return "\n".join(lines)


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def cell(scores: list[float]) -> str:
    if not scores:
        return ""
    spread = f" ({min(scores):.1%} .. {max(scores):.1%})" if len(scores) > 1 else ""
    return f"{np.mean(scores):.1%}{spread}"
