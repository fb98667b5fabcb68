"""The loop that every stage of training shares: an optimiser, a schedule, progress, figures, and a result that is kept.

One soup from scratch stays at chance; taught in stages, each part learns from a teacher that knows the answer.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

Step = Callable[[], tuple[Tensor, dict[str, float]]]  # -> loss and figures to report


def train(name: str, folder: Path, module: nn.Module, step: Step, steps: int, rate: float) -> None:
    """AdamW with warm-up and cosine decay; the module is kept in `folder` when done, and a finished stage is only loaded.

    Prints progress with the time left and appends one line of figures every 20 steps to `curves.jsonl`.
    """
    path = folder / f"{name}.pt"
    if path.exists():
        module.load_state_dict(torch.load(path, weights_only=True))
        return
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, rate, weight_decay=0.01, betas=(0.9, 0.98))
    started, seen = time.monotonic(), []
    for at in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (at + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * at / steps)) + rate * 0.01
        loss, figures = step()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        seen.append({"loss": loss.item(), **figures})
        if (at + 1) % 20 == 0 or at + 1 == steps:
            report(name, folder, at + 1, steps, time.monotonic() - started, seen)
            seen.clear()
    torch.save(module.state_dict(), path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def report(name: str, folder: Path, step: int, steps: int, spent_s: float, seen: list[dict[str, float]]) -> None:
    figures = {key: round(float(np.mean([s[key] for s in seen if key in s])), 4) for key in seen[-1]}
    left_s = spent_s / step * (steps - step)
    print(f"{name} {step}/{steps}  {spent_s:.0f} s, {left_s:.0f} s left  {figures}", flush=True)
    with (folder / "curves.jsonl").open("a") as file:
        file.write(json.dumps({"stage": name, "step": step, "seconds": round(spent_s, 1), **figures}) + "\n")


def faster() -> torch.autocast:
    """bfloat16 where the matrices are large, on CPU and GPU."""
    return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16)
