"""Muon (kellerjordan.github.io/posts/muon): the momentum of each matrix is made orthogonal before it becomes a step.

torch.optim.Muon is the same, in bfloat16 alone, for which some processors take a hundred times longer than for float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

QUINTIC = (3.4445, -4.7750, 2.0315)  # a steep start is worth more than an exact end
ROUNDS = 5


class Muon(Optimizer):
    """Of matrices only. `precision` is that of making them orthogonal."""

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float, precision: torch.dtype, momentum: float = 0.95
    ) -> None:
        self._precision = precision
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        assert closure is None, "gradients are computed before"
        for group in self.param_groups:
            for matrix in (each for each in group["params"] if each.grad is not None):
                self._step(matrix, matrix.grad, group["lr"], group["weight_decay"], group["momentum"])

    def _step(self, matrix: Tensor, grad: Tensor, rate: float, decay: float, momentum: float) -> None:
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        average = state["momentum_buffer"].lerp_(grad, 1 - momentum)
        way = orthogonal(grad.lerp(average, momentum).to(self._precision)).to(matrix.dtype)  # Nesterov's
        matrix.mul_(1 - rate * decay)
        matrix.add_(way, alpha=-rate * math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1])))


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly U V^T of the matrix's U S V^T, by Newton and Schulz's iteration: its singular values come near 1."""
    a, b, c = QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
