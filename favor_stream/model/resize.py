"""Pictures made smaller with every pixel counted, as matrix products: every engine has those; few can antialias."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BAND = 16  # rows of the smaller picture that are made in one product


@dataclass(frozen=True, slots=True)
class Kernel:
    """How much a pixel counts at a distance, in pixels of the smaller picture."""

    weight: Callable[[Tensor], Tensor]
    reach: float


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys, 1981, with a = -0.5, as image libraries have it when they make smaller."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


BILINEAR, BICUBIC = Kernel(_triangle, 1.0), Kernel(_cubic, 2.0)


def resize(pictures: Tensor, side: int, kernel: Kernel = BILINEAR) -> Tensor:
    """Pictures uint8 [B, height, width, 3] of any size -> float32 [B, side, side, 3]; the aspect ratio is not kept."""
    height, width = pictures.shape[1:3]
    lower = shrunk(pictures.float().flatten(2), height, side, kernel).unflatten(2, (width, 3))  # [B, side, width, 3]
    narrower = shrunk(lower.transpose(1, 2).flatten(2), width, side, kernel)  # [B, side, side x 3], columns first
    return narrower.unflatten(2, (side, 3)).transpose(1, 2)


def shrunk(rows: Tensor, length: int, side: int, kernel: Kernel) -> Tensor:
    """Rows [B, length, R] -> [B, side, R]. Where the length is known, each band reads only the rows that reach it."""
    weights = sampling(length, side, kernel)
    if not isinstance(length, int):  # a free axis of a graph
        return weights @ rows
    step = length / side
    reach = max(step, 1.0) * kernel.reach
    made = []
    for at in range(0, side, BAND):
        first = max(0, math.floor((at + 0.5) * step - reach))
        last = min(length, math.ceil((min(at + BAND, side) - 0.5) * step + reach))
        made.append(weights[at : at + BAND, first:last] @ rows[:, first:last])
    return torch.cat(made, 1)


def sampling(length: int, side: int, kernel: Kernel) -> Tensor:
    """How much each of `length` pixels counts for each of `side`: [side, length], rows of sum 1."""
    step = length / side
    reach = torch.sym_max(step, 1.0)  # `max` would decide for a free axis, once for all its lengths
    centre = (torch.arange(side) + 0.5) * step
    weights = kernel.weight(((torch.arange(length) + 0.5) - centre[:, None]).abs() / reach)
    return weights / weights.sum(1, keepdim=True)
