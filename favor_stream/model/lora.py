"""Low-rank adaptation of a frozen LLM's q, k, v and o projections (LoRA, arXiv 2106.09685; FAVOR: rank 32, alpha 32)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")


class LoraLinear(nn.Module):
    """y = W x + (alpha / rank) B A x, with W frozen and B starting at zero."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x) + self.up(self.down(x)) * self.scale
        return y

    def merged(self) -> nn.Linear:
        """One plain linear layer with the same output."""
        with torch.no_grad():
            self.base.weight += self.scale * (self.up.weight @ self.down.weight)
        return self.base


def add_lora(model: nn.Module, rank: int, alpha: float | None = None) -> nn.Module:
    """Freeze `model` and wrap its attention projections in place."""
    model.requires_grad_(False)
    for parent in list(model.modules()):
        for name in TARGETS:
            layer = getattr(parent, name, None)
            if isinstance(layer, nn.Linear):
                setattr(parent, name, LoraLinear(layer, rank, alpha or rank))
    return model


def merge_lora(model: nn.Module) -> nn.Module:
    """Replace every adapted projection by its merged one, in place."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, LoraLinear):
                setattr(parent, name, layer.merged())
    return model
