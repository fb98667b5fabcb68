"""Teaches the vision encoder colours, shapes, places and printed words on single pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favor_stream.model.favor import Favor
from favor_stream.model.vision import VisionEncoder
from favor_stream.training import bank, labels
from favor_stream.training.loop import faster, train


class Sight(nn.Module):
    """The vision encoder with heads that name the left thing, the right thing and the card, and what covers each cell of
    the grid; the heads are thrown away.
    """

    def __init__(self, model: Favor) -> None:
        super().__init__()
        width = model.config.vision.width
        assert isinstance(model.vision, VisionEncoder)
        self.vision = model.vision
        self.queries = nn.Parameter(torch.randn(3, width) * 0.5)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.readers = nn.ModuleList(nn.Linear(width, labels.SIZES[field]) for field in SIGHT_FIELDS)
        self.places = nn.Linear(width, 2)
        # What is where: teaches the trunk before the queries know where to look.
        self.cells = nn.Linear(model.config.vision.stages[-1], sum(labels.CELL_SIZES))

    def forward(self, pictures: Tensor) -> tuple[list[Tensor], Tensor, tuple[Tensor, ...]]:
        """Classes of SIGHT_FIELDS, where the two things are [B, 2, 2], and classes of each cell's colour, shape and word."""
        grid = self.vision.grid(pictures)
        tokens = self.vision.read(grid)
        read, _ = self.attention(self.queries.expand(len(tokens), -1, -1), tokens, tokens, need_weights=False)
        guesses = [reader(read[:, slot]).float() for reader, slot in zip(self.readers, (0, 0, 1, 1, 2), strict=True)]
        return guesses, self.places(read[:, :2]).float(), self.cells(grid).float().split(labels.CELL_SIZES, -1)


SIGHT_FIELDS = [0, 1, 3, 4, 6]  # of labels: colour and shape of two things, the card


def see(model: Favor, clips: list[bank.Clips], folder: Path, steps: int, rng: np.random.Generator) -> None:
    """Teach the vision encoder colours, shapes and printed words on single pictures."""
    sight = Sight(model)
    sight.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    side = int(model.config.vision.image // 16)
    pictures = np.concatenate([np.arange(c.rows.shape[0] * c.rows.shape[1]) + i * 10_000_000 for i, c in enumerate(clips)])
    # Empty pictures are many and soon learned; printed words are few and slow to learn.
    weight = np.concatenate(
        [(0.1 + (c.rows[..., 0] > 0) + (c.rows[..., 3] > 0) + 3 * (c.rows[..., 6] > 0)).ravel() for c in clips]
    )
    weight /= weight.sum()

    def step() -> tuple[Tensor, dict[str, float]]:
        chosen = rng.choice(pictures, 64, p=weight)
        where = [(clips[i // 10_000_000], *divmod(int(i % 10_000_000), clips[0].rows.shape[1])) for i in chosen]
        images = torch.from_numpy(np.stack([c.pictures[n, k] for c, n, k in where]))
        rows = torch.from_numpy(np.stack([c.rows[n, k] for c, n, k in where])).long()[:, SIGHT_FIELDS]
        where_things = torch.from_numpy(np.stack([labels.places(c.scripts[n], k) for c, n, k in where]))
        covered = torch.from_numpy(np.stack([labels.cells(c.scripts[n], k, side) for c, n, k in where])).long()
        with faster():
            guesses, places, cells = sight(images)
        loss = torch.stack([F.cross_entropy(g, rows[:, i]) for i, g in enumerate(guesses)]).sum()
        away = torch.where(where_things.isnan(), 0, places - where_things.nan_to_num()).abs()
        loss = loss + 10 * away.mean()
        # Most cells are empty: weigh them down, or "nothing" is learned first and for long.
        for i, logits in enumerate(cells):
            balance = torch.ones(logits.shape[-1])
            balance[0] = 0.05
            loss = loss + 2 * F.cross_entropy(logits.flatten(0, 1), covered[:, i].flatten(), balance)
        named = [(g.argmax(-1) == rows[:, i])[rows[:, i] > 0].float().mean().nan_to_num(1.0) for i, g in enumerate(guesses)]
        there = [(g.argmax(-1) == covered[:, i])[covered[:, i] > 0].float().mean().nan_to_num(1.0) for i, g in enumerate(cells)]
        names = ("colour", "shape", "right_colour", "right_shape", "card", "cell_colour", "cell_shape", "cell_card")
        figures = {name: value.item() for name, value in zip(names, named + there, strict=True)}
        return loss, {**figures, "away": (away.sum() / where_things.isfinite().sum().clamp(min=1)).item()}

    train("sight", folder, sight, step, steps, 1e-3)
