"""What every stage of training shares: the model that learns, and a loop with an optimiser, a schedule, progress and figures.

One soup from scratch stays at chance; taught in stages, each part learns from a teacher that knows the answer.
"""

from __future__ import annotations

import io
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from favor_stream.model.favor import Favor
from favor_stream.training.muon import Muon
from favor_stream.training.oracle import Oracle

Step = Callable[[int], tuple[Tensor, dict[str, float]]]  # number of the step -> loss and figures to report
KEEP_EVERY = 200  # steps, after which a run that is killed goes on from there


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage is called, in files and figures, how long it is and how large its steps are."""

    name: str
    steps: int
    rate: float = 1.0  # against the usual rate of learning


@dataclass(frozen=True, slots=True)
class Run:
    """What all stages of one training run share."""

    model: Favor
    oracle: Oracle
    tokenizer: Tokenizer
    folder: Path  # for finished stages and curves
    rng: np.random.Generator
    batch: int = 1  # times as many in each batch: a GPU takes no longer for them

    def of(self, stage: str) -> Run:
        """The same for a stage, with an order of its own: it is the same whether stages before it were learned now or loaded."""
        return replace(self, rng=self._drawing(*stage.encode()))

    def rng_of(self, step: int) -> np.random.Generator:
        """For what is drawn ahead of a step; `rng` is for what is drawn in it."""
        return self._drawing(step)

    def _drawing(self, *key: int) -> np.random.Generator:
        source = self.rng.bit_generator.seed_seq
        assert isinstance(source, np.random.SeedSequence)
        return np.random.default_rng(np.random.SeedSequence(source.entropy, spawn_key=(*source.spawn_key, *key)))

    def train(self, stage: Stage, module: nn.Module, step: Step, rate: float, matrix_rate: float = 0.0) -> None:
        """AdamW with warm-up and cosine decay; the module is kept in `folder` when done, and a finished stage is only loaded.

        With a `matrix_rate` the matrices inside of layers are left to Muon, which learns to look things up in half the steps.
        Prints progress with the time left and appends one line of figures every 20 steps to `curves.jsonl`.
        """
        path, steps = self.folder / f"{stage.name}.pt", stage.steps
        if not steps:
            return
        if path.exists():
            module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            return
        used = optimisers(module, stage.rate * rate, stage.rate * matrix_rate)
        parts: list[Any] = [module, *used, *(LambdaLR(optimiser, partial(pace, steps=steps)) for optimiser in used)]
        done, spent_s = restore(path.with_suffix(".part"), parts, self.rng)
        started, seen = time.monotonic() - spent_s, []
        for at in range(done, steps):
            loss, figures = step(at)
            module.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            for optimiser_or_schedule in parts[1:]:
                optimiser_or_schedule.step()
            seen.append({"loss": loss.item(), **figures})
            if (at + 1) % 20 == 0 or at + 1 == steps:
                report(stage, self.folder, at + 1, time.monotonic() - started, seen)
                seen.clear()
            if (at + 1) % KEEP_EVERY == 0:
                state = [part.state_dict() for part in parts]
                keep(path.with_suffix(".part"), [at + 1, time.monotonic() - started, self.rng.bit_generator.state, *state])
        keep(path, module.state_dict())
        path.with_suffix(".part").unlink(missing_ok=True)


def keep(path: Path, state: Any) -> None:
    """Write it whole or not at all."""
    serialised = io.BytesIO()
    torch.save(state, serialised)
    path.with_suffix(".new").write_bytes(serialised.getbuffer())  # written here, a full disk is an OSError
    path.with_suffix(".new").rename(path)


def restore(path: Path, parts: list[Any], rng: np.random.Generator) -> tuple[int, float]:
    """Fill `parts` and `rng` from what was kept last; returns how many steps that were, and the seconds they took."""
    if not path.exists():
        return 0, 0.0
    step, spent_s, rng.bit_generator.state, *states = torch.load(path, map_location="cpu", weights_only=True)
    for part, state in zip(parts, states, strict=True):
        part.load_state_dict(state)
    return step, spent_s


def optimisers(module: nn.Module, rate: float, matrix_rate: float) -> list[Optimizer]:
    learned = {name: p for name, p in module.named_parameters() if p.requires_grad}
    matrices = {name: p for name, p in learned.items() if matrix_rate and ".layers." in name and p.ndim == 2}
    others = [p for name, p in learned.items() if name not in matrices]
    adam = AdamW(others, rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    return [adam, Muon(matrices.values(), matrix_rate, 0.01, precision())] if matrices else [adam]


def pace(at: int, steps: int) -> float:
    """Share of the rate at a step: 50 steps up, then half a cosine down to a hundredth."""
    return min(1.0, (at + 1) / 50) * (0.505 + 0.495 * math.cos(math.pi * at / steps))


def report(stage: Stage, folder: Path, step: int, spent_s: float, seen: list[dict[str, float]]) -> None:
    figures = {key: round(float(np.mean([s[key] for s in seen if key in s])), 4) for key in seen[-1]}
    left_s = spent_s / step * (stage.steps - step)
    bar = f"{'#' * (20 * step // stage.steps):-<20}"
    print(f"{stage.name} {step}/{stage.steps} {bar} {spent_s:.0f} s, {left_s:.0f} s left  {figures}", flush=True)
    with (folder / "curves.jsonl").open("a") as file:
        file.write(json.dumps({"stage": stage.name, "step": step, "seconds": round(spent_s, 1), **figures}) + "\n")


def processor() -> torch.device:
    """Where a run computes, and makes its tensors if it is entered as a context: on the GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def faster() -> torch.autocast:
    """`precision` where the matrices are large."""
    return torch.autocast(processor().type, torch.bfloat16, enabled=precision() == torch.bfloat16)


def precision() -> torch.dtype:
    """bfloat16; on processors without AVX-512, for which that is a hundred times slower, float32."""
    is_fast = processor().type == "cuda" or "AVX512" in torch.backends.cpu.get_cpu_capability()
    return torch.bfloat16 if is_fast else torch.float32
