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
            alike: dict[torch.Size, list[Tensor]] = {}  # what has one shape is made orthogonal together: a GPU waits for calls
            for matrix in (each for each in group["params"] if each.grad is not None):
                alike.setdefault(matrix.shape, []).append(matrix)
            for matrices in alike.values():
                self._step(matrices, group["lr"], group["weight_decay"], group["momentum"])

    def _step(self, matrices: list[Tensor], rate: float, decay: float, momentum: float) -> None:
        ahead = torch.stack([self._ahead(matrix, momentum) for matrix in matrices])
        size = -rate * math.sqrt(max(1.0, ahead.shape[1] / ahead.shape[2]))
        for matrix, way in zip(matrices, orthogonal(ahead.to(self._precision)), strict=True):
            matrix.mul_(1 - rate * decay)
            matrix.add_(way.to(matrix.dtype), alpha=size)

    def _ahead(self, matrix: Tensor, momentum: float) -> Tensor:
        """The gradient with Nesterov's momentum."""
        state, grad = self.state[matrix], matrix.grad
        assert grad is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        return grad.lerp(state["momentum_buffer"].lerp_(grad, 1 - momentum), momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearly U V^T of each matrix's U S V^T [..., n, m], by Newton and Schulz's iteration: its singular values come near 1."""
    a, b, c = QUINTIC
    is_wide = matrices.shape[-2] <= matrices.shape[-1]
    wide = matrices if is_wide else matrices.mT
    wide = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = wide @ wide.mT
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide if is_wide else wide.mT
