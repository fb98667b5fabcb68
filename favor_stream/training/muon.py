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
        ahead = torch.stack(self._ahead(matrices, momentum))
        size = -rate * math.sqrt(max(1.0, ahead.shape[1] / ahead.shape[2]))
        ways = orthogonal(ahead.to(self._precision)).to(ahead.dtype)
        torch._foreach_mul_(matrices, 1 - rate * decay)
        torch._foreach_add_(matrices, ways.unbind(), alpha=size)

    def _ahead(self, matrices: list[Tensor], momentum: float) -> tuple[Tensor, ...]:
        """The gradients with Nesterov's momentum."""
        grads = [grad for matrix in matrices if (grad := matrix.grad) is not None]
        kept = [self._kept(matrix) for matrix in matrices]
        torch._foreach_lerp_(kept, grads, 1 - momentum)
        return torch._foreach_lerp(grads, kept, momentum)

    def _kept(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        return state["momentum_buffer"]


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearly U V^T of each matrix's U S V^T [B, n, m], by Newton and Schulz's iteration: its singular values come near 1."""
    a, b, c = QUINTIC
    is_wide = matrices.shape[-2] <= matrices.shape[-1]
    wide = matrices if is_wide else matrices.mT
    wide = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = torch.bmm(wide, wide.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        wide = torch.baddbmm(wide, polynomial, wide, beta=a)
    return wide if is_wide else wide.mT
