"""The whole recipe in one command: data, the stages, a weights folder with its manifest and learning curves.

A run that was killed goes on after its last finished stage; data that is there already is not made again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from favor_stream.aveb.questions import corpus
from favor_stream.model import weights
from favor_stream.model.config import PRESETS
from favor_stream.model.favor import Favor
from favor_stream.training import bank, stages
from favor_stream.training.oracle import Oracle
from favor_stream.training.tokens import train_tokenizer


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of everything; steps are optimiser steps."""

    clips: int  # of 16 s, with pictures and sound
    samples: int  # symbolic, of 8 to 40 s
    sight: int
    hearing: int
    language: int
    distil: int
    join: int


BUDGETS = {
    "nano": Budget(clips=2000, samples=12_000, sight=1050, hearing=340, language=330, distil=200, join=120),
    "smoke": Budget(clips=50, samples=400, sight=10, hearing=4, language=20, distil=10, join=6),
}
SLICES = 32  # of a training clip
DENSITY = 2.0  # how much happens in a training clip, against the world's own pace


def run(preset: str, out: Path, seed: int = 0) -> int:
    """Train `preset` into the weights folder `out`; work in progress is kept in `out`/work."""
    budget, work = BUDGETS[preset], out / "work"
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    config = PRESETS["favor-nano"]
    tokenizer = train_tokenizer(corpus(20_000, seed), config.llm.vocabulary)
    model, oracle = Favor(config), Oracle(config)
    workers = torch.get_num_threads()
    bank.make_clips(
        work / "clips", tokenizer, budget.clips, SLICES, seed=1_000_000 * (seed + 1), density=DENSITY, workers=workers
    )
    clips = list(bank.shards(work / "clips"))
    stages.see(model, clips, work, budget.sight, rng)
    stages.hear(model, clips, work, budget.hearing, rng)
    if not (work / "language.pt").exists():
        samples = bank.make_samples(tokenizer, budget.samples, asked=10, seed=seed + 1, workers=workers)
        stages.speak(model, oracle, tokenizer, samples, work, budget.language, rng)
    else:
        stages.speak(model, oracle, tokenizer, [], work, budget.language, rng)
    model.eval()
    encoded = stages.features(model, clips)
    stages.distil("distil", model.fusion, oracle, clips, encoded, work, budget.distil, rng)
    stages.join("join", model.fusion, model, tokenizer, clips, encoded, work, budget.join, rng)
    facts = {"preset": preset, "seed": seed, "stage_seconds": stage_seconds(work / "curves.jsonl"), "cores": workers}
    weights.save(out, model.eval(), tokenizer, {**facts, "torch": torch.__version__, "budget": repr(budget)})
    plot(work / "curves.jsonl", out / "curves.png")
    print(f"wrote {out}")
    return 0


def stage_seconds(curves: Path) -> dict[str, float]:
    """What each stage took, whichever run it was finished in."""
    lines = [json.loads(line) for line in curves.read_text(encoding="utf-8").splitlines()]
    return {line["stage"]: line["seconds"] for line in lines}


def plot(curves: Path, picture: Path) -> None:
    """Learning curves of every stage as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = [json.loads(line) for line in curves.read_text().splitlines()]
    names = list(dict.fromkeys(line["stage"] for line in lines))
    figure, axes = pyplot.subplots(1, len(names), figsize=(4 * len(names), 3.2))
    for axis, name in zip(np.atleast_1d(axes), names, strict=True):
        rows = [line for line in lines if line["stage"] == name]
        for key in rows[0].keys() - {"stage", "step", "seconds"}:
            axis.plot([r["step"] for r in rows if key in r], [r[key] for r in rows if key in r], label=key)
        axis.set(title=name, xlabel="step", yscale="log" if max(r["loss"] for r in rows) > 2 else "linear")
        axis.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(picture, dpi=90)
    pyplot.close(figure)
