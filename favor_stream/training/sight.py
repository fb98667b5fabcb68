"""Teaches the vision encoder colours, shapes, sizes, places and printed words on single pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from favor_stream.model.favor import Favor
from favor_stream.model.vision import VisionEncoder
from favor_stream.training import bank, labels
from favor_stream.training.ahead import Ahead, placed
from favor_stream.training.loop import Run, Stage, faster

BATCH = 64
# Of labels: colour, shape and size of two things, and the card.
FIELDS = [at + field for at in (0, labels.THING_FIELDS) for field in (0, 1, labels.SIZE)] + [labels.CARD]
SLOTS = (0, 0, 0, 1, 1, 1, 2)  # which of the three queries reads each
FIGURES = (
    "colour",
    "shape",
    "size",
    "right_colour",
    "right_shape",
    "right_size",
    "card",
    "cell_colour",
    "cell_shape",
    "cell_card",
)
EMPTY = 0.05  # weight of a cell with nothing in it: most are, and "nothing" would be learned first and for long


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
        self.readers = nn.ModuleList(nn.Linear(width, labels.CLASSES[field]) for field in FIELDS)
        self.places = nn.Linear(width, 2)
        # What is where: teaches the grids before the queries know where to look.
        colours, *forms = labels.CELL_SIZES
        self.colours = nn.Linear(model.config.vision.colours, colours)
        self.forms = nn.Linear(model.config.vision.stages[-1], sum(forms))

    def forward(self, pictures: Tensor) -> tuple[list[Tensor], Tensor, tuple[Tensor, ...]]:
        """Classes of FIELDS, where the two things are [B, 2, 2], and classes of each cell's colour, shape and word."""
        form, colour = self.vision.grids(pictures)
        tokens = self.vision.read(form, colour)
        read, _ = self.attention(self.queries.expand(len(tokens), -1, -1), tokens, tokens, need_weights=False)
        guesses = [reader(read[:, slot]).float() for reader, slot in zip(self.readers, SLOTS, strict=True)]
        cells = self.colours(colour).float(), *self.forms(form).float().split(labels.CELL_SIZES[1:], -1)
        return guesses, self.places(read[:, :2]).float(), cells


def see(run: Run, stage: Stage, clips: list[bank.Clips], heads_alone: int = 0) -> None:
    """Teach `run.model.vision` on pictures of `clips`; for `heads_alone` steps only what is thrown away afterwards learns."""
    sight = Sight(run.model)
    sight.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    single = [(shard, n) for shard in clips for n in range(len(shard.rows))]
    rows = np.concatenate([shard.rows for shard in clips])
    # Empty pictures are many and soon learned; printed words are few and slow to learn.
    weight = 0.1 + (rows[..., 0] != 0) + (rows[..., labels.THING_FIELDS] != 0) + 3 * (rows[..., labels.CARD] > 0)
    chances = (weight / weight.sum()).ravel()

    def draw(at: int) -> tuple[NDArray[Any], ...]:
        spots = run.rng_of(at).choice(weight.size, BATCH * run.batch, p=chances)
        chosen = [(*single[n], int(k)) for n, k in zip(*np.unravel_index(spots, weight.shape), strict=True)]
        return look_up(chosen, run.model.config.vision.image // 16)

    batches = Ahead(draw)

    def step(at: int) -> tuple[Tensor, dict[str, float]]:
        sight.vision.requires_grad_(at >= heads_alone)
        pictures, fields, where, covers = placed(batches[at])
        with faster():
            guesses, places, cells = sight(pictures)
        there = ~where.isnan()
        away = (places - where.nan_to_num()).abs() * there
        loss = 10 * away.mean()
        named = list(zip(guesses, fields.unbind(1), strict=True))
        covered = [(logits.transpose(1, 2), covers[:, i]) for i, logits in enumerate(cells)]
        loss = loss + sum(F.cross_entropy(logits, truth) for logits, truth in named)
        loss = loss + 2 * sum(F.cross_entropy(logits, truth, lighter(logits)) for logits, truth in covered)
        right = (share_right(logits, truth) for logits, truth in named + covered)
        figures = torch.stack([*right, away.sum() / there.sum().clamp(min=1)]).tolist()
        return loss, dict(zip((*FIGURES, "away"), figures, strict=True))

    run.train(stage, sight, step, 1e-3)


def look_up(where: list[tuple[bank.Clips, int, int]], side: int) -> tuple[NDArray[Any], ...]:
    """The pictures uint8 [B, height, width, 3] of clips at a slice, and what is true of them:

    classes of FIELDS [B, 7], where the two things are [B, 2, 2] (NaN where there is none), and classes of each cell's colour,
    shape and word [B, 3, side x side].
    """
    return (
        np.stack([c.pictures[n, k, -1] for c, n, k in where]),
        np.stack([c.rows[n, k] for c, n, k in where])[:, FIELDS].astype(np.int64),
        np.stack([labels.places(c.scripts[n], k) for c, n, k in where]),
        np.stack([labels.cells(c.scripts[n], k, side) for c, n, k in where]).astype(np.int64),
    )


def lighter(logits: Tensor) -> Tensor:
    """Weights of the classes [B, classes, ...] of a cell."""
    weights = torch.ones(logits.shape[1])
    weights[0] = EMPTY
    return weights


def share_right(logits: Tensor, truth: Tensor) -> Tensor:
    """Of what is there and has a name: the share that is named rightly; 1 where nothing has."""
    return (((logits.argmax(1) == truth) & (truth > 0)).sum() / (truth > 0).sum()).nan_to_num(1.0)
