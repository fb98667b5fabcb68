"""The world's own truth written as LLM tokens. The language model learns from it before it can see, and the Q-Former learns to
write the same tokens; joint training then lets go of it. Nothing here is shipped.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favor_stream.aveb.lexicon import SOUNDS
from favor_stream.model.config import ModelConfig
from favor_stream.training import labels

QUERIES = 4  # a slice's tokens: left thing, right thing, card and sounds, speech


class Oracle(nn.Module):
    """Labels of slices -> the tokens that a perfect Q-Former would write, and heads that read labels back from tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.llm.width

        def table(size: int) -> nn.Embedding:
            embedding = nn.Embedding(size, width)
            nn.init.normal_(embedding.weight, std=0.3)
            return embedding

        self.fields = nn.ModuleList(table(size) for size in labels.SIZES)
        self.sounds = table(len(SOUNDS))
        self.spoken = nn.ModuleList(table(config.llm.vocabulary) for _ in range(labels.SPOKEN_WORDS))
        self.slots = nn.Parameter(torch.randn(2 * QUERIES, width) * 0.3)
        self.readers = nn.ModuleList(nn.Linear(width, size) for size in labels.SIZES)
        self.sound_reader = nn.Linear(width, len(SOUNDS))
        self.spoken_readers = nn.ModuleList(nn.Linear(width, config.llm.vocabulary) for _ in range(labels.SPOKEN_WORDS))

    def slices(self, rows: Tensor) -> Tensor:
        """[..., S, WIDTH] labels -> [..., S, 4, D]"""
        fields = [table(rows[..., at]) for at, table in enumerate(self.fields)]
        heard = rows[..., labels.SOUND : labels.SPOKEN].to(self.sounds.weight.dtype) @ self.sounds.weight
        said = sum(table(rows[..., labels.SPOKEN + at]) for at, table in enumerate(self.spoken))
        tokens = [sum(fields[:3]), sum(fields[3:6]), fields[6] + heard, said]
        return torch.stack(tokens, -2) + self.slots[:QUERIES]

    def window(self, rows: Tensor) -> Tensor:
        """[..., S, WIDTH] labels of the slices so far in a window -> [..., 4, D]: a coarse summary, their mean."""
        return self.slices(rows).mean(-3) + self.slots[QUERIES:]

    def reading_loss(self, tokens: Tensor, rows: Tensor) -> Tensor:
        """How badly labels [N, WIDTH] can be read back, linearly, from slice tokens [N, 4, D]."""
        place = [0, 0, 0, 1, 1, 1, 2]
        losses = [F.cross_entropy(r(tokens[:, place[at]]), rows[:, at]) for at, r in enumerate(self.readers)]
        sounds = rows[:, labels.SOUND : labels.SPOKEN].float()
        losses.append(F.binary_cross_entropy_with_logits(self.sound_reader(tokens[:, 2]), sounds) * 4)
        for at, reader in enumerate(self.spoken_readers):
            losses.append(F.cross_entropy(reader(tokens[:, 3]), rows[:, labels.SPOKEN + at]))
        return torch.stack(losses).sum()
