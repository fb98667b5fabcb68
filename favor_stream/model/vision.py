"""A picture to 32 tokens. Each picture stands alone: what changes between pictures is the causal Q-Former's business."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favor_stream.model.attention import Attention
from favor_stream.model.config import VisionConfig


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Resampler(nn.Module):
    """One layer in which learned queries read the grid: cross-attention, self-attention, feed-forward (pre-norm)."""

    def __init__(self, width: int, heads: int, grid_width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.cross = Attention(width, heads, grid_width)
        self.self_attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, grid: Tensor) -> Tensor:
        x = x + self.cross(self.norms[0](x), *self.cross.remember(grid))
        normal = self.norms[1](x)
        x = x + self.self_attention(normal, *self.self_attention.remember(normal))
        return x + self.mlp(self.norms[2](x))


class VisionEncoder(nn.Module):
    """A small residual network over the picture, read by learned queries."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        first, *rest = config.stages
        layers: list[nn.Module] = [nn.Conv2d(3, first, 4, stride=4), Block(first)]
        for before, after in zip(config.stages, rest, strict=False):
            layers += [nn.Conv2d(before, after, 2, stride=2), Block(after)]
        layers += [Block(config.stages[-1])]
        self.trunk = nn.Sequential(*layers)
        channels, side = config.stages[-1], config.image // 4 // 2 ** len(rest)
        self.norm = nn.LayerNorm(channels)
        # A visible scale next to layer-normed features: 0.02 was too small to learn places from.
        self.place = nn.Parameter(torch.randn(side * side, channels) * 0.5)
        self.queries = nn.Parameter(torch.randn(config.tokens, config.width) * 0.5)
        self.readers = nn.ModuleList(Resampler(config.width, config.heads, channels) for _ in range(config.layers))
        self.final = nn.LayerNorm(config.width)

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 RGB [B, height, width, 3] of any size -> [B, 32, D]"""
        return self.read(self.grid(pictures))

    def grid(self, pictures: Tensor) -> Tensor:
        """What is where: [B, (image / 16) squared, channels]"""
        side = self.config.image
        x = pictures.permute(0, 3, 1, 2).to(self.place.dtype) / 127.5 - 1
        if x.shape[-2:] != (side, side):
            x = F.interpolate(x, (side, side), mode="bilinear", antialias=True)
        return self.norm(self.trunk(x).flatten(2).transpose(1, 2))

    def read(self, grid: Tensor) -> Tensor:
        """The grid through learned queries: [B, 32, D]"""
        grid = grid + self.place
        tokens = self.queries.expand(grid.shape[0], -1, -1)
        for reader in self.readers:
            tokens = reader(tokens, grid)
        out: Tensor = self.final(tokens)
        return out
