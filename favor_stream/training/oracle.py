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

QUERIES = 5  # a slice's tokens: left thing, right thing, card and sounds, first word, second word
WINDOW_QUERIES = 4  # a window's: the same, the words as one
SCALE = 0.3  # standard deviation of what is added up
TOKEN_OF_FIELD = (0, 0, 0, 1, 1, 1, 2)


class Oracle(nn.Module):
    """Labels of slices -> the tokens that a perfect Q-Former would write, and readers that tell labels from tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.llm.width

        def table(size: int) -> nn.Embedding:
            embedding = nn.Embedding(size, width)
            nn.init.normal_(embedding.weight, std=SCALE)
            return embedding

        self.fields = nn.ModuleList(table(size) for size in labels.SIZES)
        self.sounding, self.beginning = table(len(SOUNDS)), table(len(SOUNDS))
        self.spoken = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.spoken.weight)
        self.slots = nn.Parameter(torch.randn(QUERIES + WINDOW_QUERIES, width) * SCALE)
        self.readers = nn.ModuleList(nn.Linear(width, size) for size in labels.SIZES)
        self.sound_reader = nn.Linear(width, 2 * len(SOUNDS))
        self.spoken_reader = nn.Linear(width, config.llm.vocabulary)

    def slices(self, rows: Tensor, words: Tensor) -> Tensor:
        """[..., S, WIDTH] labels -> [..., S, 5, D]; `words` is the LLM's table of word vectors [vocabulary, D].

        A word heard is at first the word itself, as the LLM writes it, so that repeating it needs no dictionary. What all word
        vectors have in common is taken off: it grows in training until nothing else could be told.
        """
        fields = [table(rows[..., at]) for at, table in enumerate(self.fields)]
        sounds = rows[..., labels.SOUND : labels.SPOKEN]
        heard = (sounds > 0).float() @ self.sounding.weight + (sounds == 2).float() @ self.beginning.weight
        seen = torch.stack([sum(fields[:3]), sum(fields[3:6]), fields[6] + heard], -2)
        vectors = F.layer_norm(words - words.mean(0), words.shape[-1:]) * SCALE
        said = self.spoken(F.embedding(rows[..., labels.SPOKEN :], vectors))
        return torch.cat([seen, said], -2) + self.slots[:QUERIES]

    def window(self, slices: Tensor) -> Tensor:
        """The slices so far of a window [..., S, 5, D] -> [..., 4, D]: a coarse summary, their mean."""
        mean = slices.mean(-3)
        return torch.cat([mean[..., :3, :], mean[..., 3:, :].sum(-2, keepdim=True)], -2) + self.slots[QUERIES:]

    def memory(self, rows: Tensor, size: int, words: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, S, WIDTH] labels -> slice tokens [B, S, 5, D] and the read-out of each started window of `size` slices."""
        slices = self.slices(rows, words)
        return slices, [self.window(part) for part in slices.split(size, 1)]

    def reading(self, tokens: Tensor, rows: Tensor) -> tuple[Tensor, dict[str, float]]:
        """How badly labels [N, WIDTH] are read back from slice tokens [N, 5, D], and the share of things read rightly."""
        guesses = [reader(tokens[:, at]).float() for reader, at in zip(self.readers, TOKEN_OF_FIELD, strict=True)]
        guesses += [self.spoken_reader(tokens[:, at]).float() for at in (3, 4)]
        truths = [rows[:, at] for at in (*range(labels.SOUND), labels.SPOKEN, labels.SPOKEN + 1)]
        losses = [F.cross_entropy(guess, truth) for guess, truth in zip(guesses, truths, strict=True)]
        sounds = rows[:, labels.SOUND : labels.SPOKEN]
        wanted = torch.cat([sounds > 0, sounds == 2], -1).float()
        losses.append(F.binary_cross_entropy_with_logits(self.sound_reader(tokens[:, 2]).float(), wanted) * 8)
        right = [(g.argmax(-1) == t)[t > 0].float().mean().item() for g, t in zip(guesses, truths, strict=True)]
        named = dict(zip(("colour", "shape", "motion", "right", "", "", "card", "word", "word_2"), right, strict=True))
        return torch.stack(losses).sum(), {name: value for name, value in named.items() if name and value == value}
