"""Teaches the audio encoder letters (CTC), the words that end in each slice, and sound events."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from favor_stream.aveb.lexicon import SOUNDS
from favor_stream.aveb.truth import SPOKEN_WORDS
from favor_stream.model.audio import AudioEncoder
from favor_stream.model.favor import Favor
from favor_stream.training import bank, labels
from favor_stream.training.ahead import Ahead, placed
from favor_stream.training.loop import Run, Stage, faster

BAND_MASKS, BAND_MASK = 2, 14  # how many in a recording, and the mels that one may hide
TIME_MASKS, TIME_MASK = 16, 10  # and the frames of 10 ms
BATCH = 16  # of 8 s: many small steps, or spelling takes long to begin
JOINED = 2  # clips that are heard as one: in a stream a fan is switched on, a door opened, and that is no whistle


class Hearing(nn.Module):
    """The audio encoder with heads for letters, words and sound events; the heads are thrown away."""

    def __init__(self, model: Favor) -> None:
        super().__init__()
        width = model.config.audio.width
        assert isinstance(model.audio, AudioEncoder)
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
        tokens = self.audio(sound.unflatten(0, (-1, JOINED)).flatten(1)).unflatten(1, (JOINED, -1)).flatten(0, 1)
        slices = tokens.unflatten(1, (-1, len(self.place))).flatten(0, 1) + self.place
        read, _ = self.attention(self.queries.expand(len(slices), -1, -1), slices, slices, need_weights=False)
        return self.letters(tokens).float(), self.events(tokens).float(), self.words(read).float()


def hear(run: Run, stage: Stage, clips: list[bank.Clips], heads_alone: int = 0) -> None:
    """Teach `run.model.audio` on clips that are dense with speech; for `heads_alone` steps only what is thrown away learns."""
    hearing = Hearing(run.model)
    masking = hearing.audio.mel.register_forward_hook(lambda _, __, mel: masked(mel, run.rng))
    batches = Ahead(lambda at: draw(clips, BATCH * run.batch, run.rng_of(at)))

    def step(at: int) -> tuple[Tensor, dict[str, float]]:
        hearing.audio.requires_grad_(at >= heads_alone)
        samples, loudness, letters, lengths, events, words = placed(batches[at])
        with faster():
            spelled, sounding, said = hearing(samples.float() * loudness)
        ctc = spelling_loss(spelled, letters, lengths)
        bce = F.binary_cross_entropy_with_logits(sounding, events.float(), pos_weight=torch.tensor(3.0))
        said = said.flatten(0, 1)
        naming = F.cross_entropy(said, words)
        hit = ((sounding > 0) & (events > 0)).sum() * 2 / ((sounding > 0).sum() + events.sum()).clamp(min=1)
        named = ((said.argmax(-1) == words) & (words > 0)).sum() / (words > 0).sum()
        figures = torch.stack([ctc.detach(), named, hit]).tolist()
        return ctc + 4 * bce + 4 * naming, dict(zip(("ctc", "words", "event_f1"), figures, strict=True))

    run.train(stage, hearing, step, 2e-3, matrix_rate=0.01)
    masking.remove()


def draw(clips: list[bank.Clips], count: int, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """So many clips at random [B, 8000 S], each with a loudness of its own [B, 1] to be multiplied by, and what is heard in them:

    all that is said, one behind another, and how many letters each clip has of it [B]; sound events [B, 25 S, 8], 1 where it
    sounds; words [B x S x 2] that end in each slice, 0 for none.
    """
    shards = [clips[rng.integers(len(clips))] for _ in range(count)]
    where = [(shard, int(rng.integers(len(shard.sound)))) for shard in shards]
    rows = np.stack([c.rows[n] for c, n in where])
    letters = [labels.letters(c.scripts[n]) for c, n in where]
    return (
        np.stack([c.sound[n] for c, n in where]),
        (rng.uniform(0.3, 1.5, (count, 1)) / 32767).astype(np.float32),
        np.concatenate(letters).astype(np.int64),
        np.array([len(each) for each in letters]),
        np.stack([labels.sounding(c.scripts[n], rows.shape[1]) for c, n in where]),
        rows[..., labels.SPOKEN :].ravel().astype(np.int64),
    )


def masked(mel: Tensor, rng: np.random.Generator) -> Tensor:
    """Spectra [B, mels, n] with some bands and some moments of each levelled to its mean (SpecAugment, Park et al., 2019)."""
    batch, bands, frames = mel.shape
    hidden = (
        spans(rng, (batch, BAND_MASKS), bands, BAND_MASK)[:, :, None]
        | spans(rng, (batch, TIME_MASKS), frames, TIME_MASK)[:, None]
    )
    return torch.where(torch.as_tensor(hidden), mel.mean((1, 2), keepdim=True), mel)


def spans(rng: np.random.Generator, count: tuple[int, int], length: int, longest: int) -> NDArray[np.bool_]:
    """[batch, length] True in some spans of up to `longest`, as many as `count` [batch, spans]."""
    size = rng.integers(0, longest + 1, (*count, 1))
    start = rng.integers(0, length - size + 1)
    at = np.arange(length)
    hidden = (start <= at) & (at < start + size)
    return np.logical_or.reduce(hidden, 1)


def spelling_loss(spelled: Tensor, letters: Tensor, lengths: Tensor) -> Tensor:
    """CTC, for each letter; silence in a clip without a word counts too."""
    steps = torch.full_like(lengths, spelled.shape[1])
    return F.ctc_loss(spelled.log_softmax(-1).transpose(0, 1), letters, steps, lengths, zero_infinity=True)
