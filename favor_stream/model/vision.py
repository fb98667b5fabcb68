"""A picture to 32 tokens. Each picture stands alone: what changes between pictures is the causal Q-Former's business."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favor_stream.model.attention import Attention
from favor_stream.model.config import VisionConfig

NOISE = 0.02  # slope that is a sensor's grain rather than an edge


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


class Edges(nn.Module):
    """How strongly the picture changes, and which way, whatever its colours are: the colour gradient tensor (Di Zenzo, 1986).

    RGB in -1..1 [B, 3, H, W] -> along x, along y and across [B, 3, H, W], in units of a gradient.
    """

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        along_x = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8  # Sobel
        kernels = torch.stack([along_x, along_x.T]).repeat(3, 1, 1)[:, None]
        self.register_buffer("kernels", kernels, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        slopes = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.kernels.to(x.dtype), groups=3).unflatten(1, (3, 2))
        dx, dy = slopes.unbind(2)
        tensor = torch.stack([dx * dx, dy * dy, dx * dy], 1).sum(2)
        strength = (tensor[:, :1] + tensor[:, 1:2] + NOISE**2).sqrt()
        return 4 * tensor / strength


def form(stages: tuple[int, ...]) -> nn.Sequential:
    """A residual network over edges; its strides are 4, 8, 16 and so on."""
    first, *rest = stages
    layers: list[nn.Module] = [Edges(), nn.Conv2d(3, first, 4, stride=4), Block(first)]
    for before, after in zip(stages, rest, strict=False):
        layers += [nn.Conv2d(before, after, 2, stride=2), Block(after)]
    return nn.Sequential(*layers, Block(stages[-1]))


def colour(channels: int, stride: int) -> nn.Sequential:
    """What colours a cell of `stride` x `stride` pixels has, wherever in it they are."""
    looking = [nn.Conv2d(3, channels, 1), nn.GELU(), nn.Conv2d(channels, channels, 1), nn.GELU()]
    return nn.Sequential(nn.AvgPool2d(4), *looking, nn.AvgPool2d(stride // 4))


class VisionEncoder(nn.Module):
    """A picture's edges and its colours on two separate ways to one grid, which learned queries read.

    Form is blind to colour, and colour, pixel by pixel, to form: so what was never seen together is seen nevertheless.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        stride, channels = 2 ** (len(config.stages) + 1), config.stages[-1] + config.colours
        self.form, self.colour = form(config.stages), colour(config.colours, stride)
        side = config.image // stride
        self.norms = nn.ModuleList([nn.LayerNorm(config.stages[-1]), nn.LayerNorm(config.colours)])
        # A visible scale next to layer-normed features: 0.02 was too small to learn places from.
        self.place = nn.Parameter(torch.randn(side * side, channels) * 0.5)
        self.queries = nn.Parameter(torch.randn(config.tokens, config.width) * 0.5)
        self.readers = nn.ModuleList(Resampler(config.width, config.heads, channels) for _ in range(config.layers))
        self.final = nn.LayerNorm(config.width)

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 RGB [B, height, width, 3] of any size -> [B, 32, D]"""
        return self.read(*self.grids(pictures))

    def grids(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Which forms and which colours are where: two of [B, (image / 16) squared, channels]"""
        side = self.config.image
        x = pictures.permute(0, 3, 1, 2).float()
        if x.shape[-2:] != (side, side):
            x = F.interpolate(x, (side, side), mode="bilinear", antialias=True)
        x = (x / 127.5 - 1).to(self.place.dtype)
        form, colour = (way(x).flatten(2).transpose(1, 2) for way in (self.form, self.colour))
        return self.norms[0](form), self.norms[1](colour)

    def read(self, form: Tensor, colour: Tensor) -> Tensor:
        """Both grids through learned queries: [B, 32, D]"""
        grid = torch.cat([form, colour], -1) + self.place
        tokens = self.queries.expand(grid.shape[0], -1, -1)
        for reader in self.readers:
            tokens = reader(tokens, grid)
        out: Tensor = self.final(tokens)
        return out
