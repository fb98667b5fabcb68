"""A whole course of training from one file: goes one after another, and means of what they made.

Each step makes weights in a folder of its own. What is finished is not done again; a go that was killed goes on where it was.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from favor_stream.config import WANTED, check_keys, read_toml
from favor_stream.errors import ConfigError
from favor_stream.model import weights
from favor_stream.training import average, train
from favor_stream.training.budget import budgeted
from favor_stream.training.curriculum import NANO

OF_GOES = {"seed": int, "budget": dict, "start": str}  # what a step may say, and as what
OF_MEANS = {"mean": list, "with_qformer": bool}
WRITTEN = WANTED | {dict: "a table such as { join = 300 }", list: 'a list such as ["first", "second"]'}


@dataclass(frozen=True, slots=True)
class Step:
    """A run of training, or the mean of what earlier steps made."""

    name: str
    seed: int = 0
    budget: dict[str, int] = field(default_factory=dict)  # as in `train.run`
    start: str | None = None  # the step whose weights are taught further; None: those of the step before
    mean: Sequence[str] = ()  # of these steps' weights; none: a run of training
    with_qformer: bool = False  # as in `average.run`


def run(recipe: Path, out: Path, preset: str = "nano", start: Path | None = None) -> int:
    """Make every step of `recipe` in `out`/steps; the last one's weights are those of the folder `out`.

    The first step begins with nothing, or with the weights `start`. Raises ConfigError for a recipe that cannot be followed and
    for a folder that was begun with another.
    """
    steps, made = read(recipe), out / "steps"
    begun_with = weights.read_manifest(start)["sha256"] if start else None
    train.begin(out / "work", {"preset": preset, "start": begun_with, "recipe": repr(steps)})
    latest = start
    for step in steps:
        if not (made / step.name).exists():
            make(step, out / "work" / step.name, made, preset, made / step.start if step.start else latest)
        latest = made / step.name
    assert latest is not None, "a recipe has a step"
    shutil.copytree(latest, out, ignore=shutil.ignore_patterns("work"), dirs_exist_ok=True)
    return 0


def make(step: Step, work: Path, made: Path, preset: str, start: Path | None) -> None:
    """One step; its folder comes into `made` when it is finished, without the films that it was taught with."""
    print(f"step {step.name}", flush=True)
    if step.mean:
        shutil.rmtree(work, ignore_errors=True)  # one that was killed is made anew, in no time
        average.run([made / name for name in step.mean], work, step.with_qformer)
    else:
        train.run(preset, work, step.seed, start, step.budget)
    made.mkdir(exist_ok=True)
    work.rename(made / step.name)
    shutil.rmtree(made / step.name / "work", ignore_errors=True)  # a mean has none


def read(path: Path) -> list[Step]:
    """The steps of a recipe, each a table of its TOML. Raises ConfigError where one could not be made."""
    steps: list[Step] = []
    for name, table in read_toml(path, "[first]").items():
        steps.append(read_step(name, table, [step.name for step in steps], f"{path}: [{name}]"))
    if not steps:
        raise ConfigError(f"{path}: no step found; expected tables such as: [first], with seed = 1")
    return steps


def read_step(name: str, table: object, before: Collection[str], origin: str) -> Step:
    if not isinstance(table, dict) or not re.fullmatch(r"[\w-]+", name):
        raise ConfigError(f"{origin}: expected a table, whose name is of letters and digits; write [first]")
    kinds = OF_MEANS if "mean" in table else OF_GOES
    check_keys(table, kinds, origin)
    for key, value in table.items():
        if type(value) is not kinds[key]:
            raise ConfigError(f"{origin}: {key} is {value!r}; expected {WRITTEN[kinds[key]]}")
    step = Step(name, **table)
    if "mean" in table and len(step.mean) < 2:
        raise ConfigError(f"{origin}: a mean of {len(step.mean)}; expected two steps or more")
    for other in (*step.mean, *([step.start] if step.start else ())):
        if other not in before:
            raise ConfigError(f"{origin}: no step {other!r} before it; expected some of: {', '.join(before)}")
    check_budget(step.budget, origin)
    return step


def check_budget(budget: Mapping[str, int], origin: str) -> None:
    """Raises ConfigError now for what would stop a step after hours."""
    try:
        budgeted(NANO.budget, budget)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
