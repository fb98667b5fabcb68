"""Teaches the audio encoder letters (CTC), the words that end in each slice, and sound events."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favor_stream.aveb.lexicon import SOUNDS
from favor_stream.aveb.truth import SPOKEN_WORDS
from favor_stream.model.favor import Favor
from favor_stream.training import bank, labels
from favor_stream.training.loop import Run, faster

BATCH = 16  # of 8 s: many small steps, or spelling takes long to begin


class Hearing(nn.Module):
    """The audio encoder with heads for letters, words and sound events; the heads are thrown away."""

    def __init__(self, model: Favor) -> None:
        super().__init__()
        width = model.config.audio.width
        self.audio = model.audio
        self.letters = nn.Linear(width, len(labels.LETTERS) + 1)
        self.events = nn.Linear(width, len(SOUNDS))
        # As the Q-Former will read it: a few queries over one slice's tokens.
        self.queries = nn.Parameter(torch.randn(SPOKEN_WORDS, width) * 0.5)
        self.place = nn.Parameter(torch.randn(model.config.audio.tokens, width) * 0.3)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.words = nn.Linear(width, model.config.llm.vocabulary)

    def forward(self, sound: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, 8000 S] -> letters [B, 25 S, 28], sound events [B, 25 S, 8], words [B x S, 2, vocabulary]"""
        tokens = self.audio(sound)
        slices = tokens.unflatten(1, (-1, len(self.place))).flatten(0, 1) + self.place
        read, _ = self.attention(self.queries.expand(len(slices), -1, -1), slices, slices, need_weights=False)
        return self.letters(tokens).float(), self.events(tokens).float(), self.words(read).float()


def hear(run: Run, clips: list[bank.Clips], steps: int) -> None:
    """Teach `run.model.audio` on clips that are dense with speech."""
    hearing, rng = Hearing(run.model), run.rng

    def step(_: int) -> tuple[Tensor, dict[str, float]]:
        where = [(clips[rng.integers(len(clips))], int(rng.integers(bank.SHARD))) for _ in range(BATCH)]
        sound = torch.from_numpy(np.stack([c.sound[n] for c, n in where])).float() / 32767
        sound = sound * torch.from_numpy(rng.uniform(0.3, 1.5, (len(where), 1))).float()
        rows = torch.from_numpy(np.stack([c.rows[n] for c, n in where])).long()
        with faster():
            spelled, sounding, said = hearing(sound)
        ctc = spelling_loss(spelled, [labels.letters(c.scripts[n]) for c, n in where])
        events = torch.from_numpy(np.stack([labels.sounding(c.scripts[n], rows.shape[1]) for c, n in where])).float()
        bce = F.binary_cross_entropy_with_logits(sounding, events, pos_weight=torch.tensor(3.0))
        words = rows[..., labels.SPOKEN :].flatten()
        naming = F.cross_entropy(said.flatten(0, 1), words)
        hit = ((sounding > 0) & (events > 0)).sum() * 2 / ((sounding > 0).sum() + events.sum()).clamp(min=1)
        named = (said.flatten(0, 1).argmax(-1) == words)[words > 0].float().mean()
        return ctc + 4 * bce + 4 * naming, {"ctc": ctc.item(), "words": named.item(), "event_f1": hit.item()}

    run.train("hearing", hearing, step, steps, 2e-3, matrix_rate=0.01)


def spelling_loss(spelled: Tensor, targets: list[np.ndarray]) -> Tensor:
    """CTC, for each letter; silence in a clip without a word counts too."""
    wanted = [torch.from_numpy(t).long() for t in targets]
    steps = torch.full((len(wanted),), spelled.shape[1])
    lengths = torch.tensor([len(t) for t in wanted])
    return F.ctc_loss(spelled.log_softmax(-1).transpose(0, 1), torch.cat(wanted), steps, lengths, zero_infinity=True)
