"""The whole recipe in one command: data, the stages, a weights folder with its manifest and learning curves.

A run that was killed goes on where it was; data that is there already is not made again.
"""

from __future__ import annotations

import ctypes
import json
import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from favor_stream.aveb.questions import corpus
from favor_stream.errors import ConfigError
from favor_stream.model import weights
from favor_stream.model.config import PRESETS, ModelConfig
from favor_stream.model.favor import Favor
from favor_stream.training import bank, fusion, hearing, language, sight
from favor_stream.training.loop import Run, Stage
from favor_stream.training.oracle import Oracle
from favor_stream.training.tokens import train_tokenizer


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of everything; steps are optimiser steps."""

    clips: int  # of 16 s, with pictures and sound
    odd: int  # the same, with things that have no name
    speech: int  # of 8 s, sound alone, dense with speech
    samples: int  # symbolic, of each lesson
    sight: int
    hearing: int
    language: int
    distil: int
    join: int


BUDGETS = {
    "nano": Budget(
        2000, odd=2000, speech=14_000, samples=20_000, sight=1500, hearing=5200, language=8000, distil=1300, join=1500
    ),
    "smoke": Budget(50, odd=50, speech=50, samples=400, sight=10, hearing=4, language=20, distil=10, join=6),
}
SLICES, SPEECH_SLICES = 32, 16  # of a training clip
# Looking things up begins in short memories; by a shape it is learned only where nearly every word is a look-up. What was found
# in short memories is not yet found in those four times as long.
SYLLABUS = (
    bank.Lesson(400, (8,)),
    bank.Lesson(1400, (16,), exercises=1.0),
    bank.Lesson(2600, (16, 24, 32, 40)),
    bank.Lesson(200, (16, 24, 32, 48, 80, 160)),
    bank.Lesson(3400, (32, 40)),
)
REHEARSAL = (bank.Lesson(1, (16, 32)),)
LOSSES, MOST_CURVES = {"loss", "ctc", "copy", "reading", "away"}, 12  # where there are more, only their mean has a name
ODD = 0.7  # of the things in odd clips
DENSITY, SPEECH_DENSITY = 2.0, 6.0  # how much happens in a training clip, against the world's own pace


def run(preset: str, out: Path, seed: int = 0, without: str | None = None) -> int:
    """Train `preset` into the weights folder `out`; work in progress is kept in `out`/work.

    `without` one of FAVOR's ideas ("causal", "synchronised") makes an ablation, into `out`/without-...: the Q-Former is made and
    trained anew, alike, on the same encoders and language model.
    """
    keep_memory()
    budget, work = BUDGETS[preset], out / "work"
    begin(work, {"preset": preset, "seed": seed})
    torch.manual_seed(seed)
    config = without_idea(PRESETS["favor-nano"], without)
    tokenizer = train_tokenizer(corpus(20_000, seed), config.llm.vocabulary)
    model = Favor(config)
    learning = Run(model, Oracle(config, tokenizer), tokenizer, work, np.random.default_rng(seed))
    named, odd, speech = encoders(learning, budget, seed)
    speaking = Stage("language", budget.language)
    language.speak(learning, speaking, lessons(learning, speaking, SYLLABUS, budget.samples, seed))
    model.eval()
    clips, odd_clips, heard = (fusion.encode(model, sort) for sort in (named, odd, speech))
    ending, folder = (f"-without-{without}", out / f"without-{without}") if without else ("", out)
    fusion.distil(learning, Stage(f"distil{ending}", budget.distil), [clips, odd_clips, heard])
    joining = Stage(f"join{ending}", budget.join)
    rehearsal = lessons(learning, joining, REHEARSAL, budget.samples // 2, seed + 1)
    fusion.join(learning, joining, clips, [odd_clips, heard], rehearsal)
    facts = {"preset": preset, "seed": seed, "stage_seconds": stage_seconds(work / "curves.jsonl"), "cores": workers()}
    weights.save(folder, model.eval(), tokenizer, {**facts, "torch": torch.__version__, "budget": repr(budget)})
    plot(work / "curves.jsonl", folder / "curves.png")
    print(f"wrote {folder}")
    return 0


def begin(work: Path, recipe: dict[str, Any]) -> None:
    """Make the folder of work in progress, which belongs to one recipe. Raises ConfigError where it was begun with another."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / "recipe.json"
    begun = json.loads(path.read_text()) if path.exists() else recipe
    if begun != recipe:
        raise ConfigError(f"{work} was begun with {begun}: expected {recipe}; choose another folder")
    path.write_text(json.dumps(recipe))


def without_idea(config: ModelConfig, idea: str | None) -> ModelConfig:
    fusion = {
        None: config.fusion,
        "causal": replace(config.fusion, causal=False),
        "synchronised": replace(config.fusion, synchronised=False),
    }
    return replace(config, fusion=fusion[idea])


def encoders(learning: Run, budget: Budget, seed: int) -> tuple[list[bank.Clips], ...]:
    """Make the data and teach both encoders; returns the clips of things with a name, of some without, and of speech alone."""
    work, seed = learning.folder, 10_000_000 * seed
    make = partial(bank.make_clips, tokenizer=learning.tokenizer, workers=workers())
    make(work / "clips", bank.Plan(budget.clips, SLICES, seed + 1_000_000, DENSITY))
    make(work / "odd", bank.Plan(budget.odd, SLICES, seed + 3_000_000, DENSITY, odd=ODD))
    make(work / "speech", bank.Plan(budget.speech, SPEECH_SLICES, seed + 5_000_000, SPEECH_DENSITY, pictures=False))
    clips, odd, speech = (list(bank.shards(work / name)) for name in ("clips", "odd", "speech"))
    sight.see(learning, Stage("sight", budget.sight), clips + odd)
    hearing.hear(learning, Stage("hearing", budget.hearing), speech)
    return clips, odd, speech


def lessons(learning: Run, stage: Stage, syllabus: tuple[bank.Lesson, ...], count: int, seed: int) -> language.Lessons:
    """Lessons of `count` symbolic samples each; none for a stage that is finished."""
    if (learning.folder / f"{stage.name}.pt").exists():
        return language.Lessons(learning, [])
    make = partial(bank.make_samples, learning.tokenizer, count, asked=7, workers=workers())
    samples = [make(lesson, seed=10 * seed + number) for number, lesson in enumerate(syllabus, 1)]
    whole = sum(lesson.share for lesson in syllabus)
    shares = (math.ceil(stage.steps * lesson.share / whole) for lesson in syllabus)
    return language.Lessons(learning, list(zip(shares, samples, strict=True)))


def keep_memory() -> None:
    """Let freed memory stay with the process (glibc): a training step frees and takes hundreds of megabytes."""
    trim_threshold, top_pad, most_mapped = -1, -2, -4  # of mallopt(3)
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 400_000_000)
        mallopt(most_mapped, 0)


def workers() -> int:
    return torch.get_num_threads()


def stage_seconds(curves: Path) -> dict[str, float]:
    """What each stage took, whichever run it was finished in."""
    lines = [json.loads(line) for line in curves.read_text(encoding="utf-8").splitlines()]
    return {line["stage"]: line["seconds"] for line in lines}


def plot(curves: Path, picture: Path) -> None:
    """Learning curves of every stage as a PNG: losses above, shares of what is right below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = [json.loads(line) for line in curves.read_text().splitlines()]
    names = list(dict.fromkeys(line["stage"] for line in lines))
    figure, axes = pyplot.subplots(2, len(names), figsize=(3.2 * len(names), 5), squeeze=False)
    for (above, below), name in zip(axes.T, names, strict=True):
        rows = [line for line in lines if line["stage"] == name]
        keys = sorted({key for row in rows for key in row} - {"stage", "step", "seconds"})
        for key in keys:
            many = len(keys) > MOST_CURVES and key not in LOSSES and key != "all"
            axis, style = above if key in LOSSES else below, {"color": "0.8"} if many else {"label": key, "zorder": 3}
            axis.plot([r["step"] for r in rows if key in r], [r[key] for r in rows if key in r], linewidth=1, **style)
        above.set(title=name, yscale="log")
        below.set(xlabel="step", ylim=(0, 1.02))
        above.legend(fontsize=6)
        below.legend(fontsize=6, loc="lower right")
    figure.tight_layout()
    figure.savefig(picture, dpi=90)
    pyplot.close(figure)
