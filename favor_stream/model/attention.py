"""Multi-head attention with separate key and value inputs, whose keys and values can be kept between steps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attend_at_any_length() -> None:
    """Let a GPU attend with kernels that take any length and learn what they should.

    Those of cuDNN, which torch prefers on some GPUs, are planned anew for each length, for a tenth of a second and more; here
    nearly every length is new. And their gradients under a mask were wrong on an H200 (torch 2.11): of every second matrix by
    more than a third. Others tell the like: github.com/modelscope/FunASR/issues/3704, github.com/pytorch/pytorch/issues/196678.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention over [B, heads, T, d]; `mask` is True where a query may look.

    Where a processor learns in bfloat16, as plain products: the gradients of torch's own kernel take it twice as long.
    """
    if not (query.requires_grad and query.device.type == "cpu" and value.dtype == torch.bfloat16):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        scores = (query * query.shape[-1] ** -0.5).bfloat16() @ key.bfloat16().mT
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return scores.softmax(-1) @ value


class Attention(nn.Module):
    """Projects, attends, projects back. The caller keeps keys and values, so that a past step is never computed again."""

    def __init__(self, width: int, heads: int, memory_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(memory_width or width, width)
        self.value = nn.Linear(memory_width or width, width)
        self.output = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, heads, T, D / heads]"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def remember(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, heads, T, D / heads] of a memory [B, T, memory width]."""
        return self.split(self.key(memory)), self.split(self.value(memory))

    def forward(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, T, D] attends to kept keys and values; `mask` is True where a query may look."""
        y = attend(self.split(self.query(x)), key, value, mask)
        return self.output(y.transpose(1, 2).flatten(2))
