"""Teaches the LLM to answer from the world's own truth written as tokens."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from favor_stream.training import bank, talk
from favor_stream.training.ahead import Ahead
from favor_stream.training.loop import Run, Stage, faster

BATCH = 16  # memories: many small steps, or questions never learn to look things up
USUAL = 32  # slices of a memory, up to which a batch is whole and positions are as they are


class Language(nn.Module):
    def __init__(self, run: Run) -> None:
        super().__init__()
        self.llm, self.oracle = run.model.llm, run.oracle


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a batch of memories, as arrays."""

    branches: tuple[NDArray[Any], ...]  # as `talk.pack` gives them
    evicted: NDArray[np.int64]  # [B] tokens of each memory that are forgotten by now
    kinds: list[list[str]]  # of the questions to each


def ask(run: Run, samples: list[bank.Sample]) -> Asked:
    fusion = run.model.config.fusion
    evicted = [s.forgotten // fusion.slices_per_window * fusion.tokens_per_window for s in samples]
    kinds = [[question.kind for question in s.asked] for s in samples]
    return Asked(talk.pack([s.asked for s in samples], run.tokenizer), np.array(evicted), kinds)


def remember(slices: Tensor, windows: list[Tensor], size: int) -> Tensor:
    """Slice tokens [B, S, Q, D] and one window read-out [B, Q, D] per started window, in the order of the agent's cache."""
    parts = []
    for at, window in enumerate(windows):
        parts += [slices[:, at * size : (at + 1) * size].flatten(1, 2), window]
    return torch.cat(parts, 1)


def answering(
    run: Run, asked: Asked, slices: Tensor, windows: list[Tensor], far: np.random.Generator | None = None
) -> tuple[Tensor, dict[str, float]]:
    """The loss of all that is `asked` of these tokens, and the share that is answered word for word."""
    branches = talk.branches(asked.branches)
    memory = remember(slices, windows, run.model.config.fusion.slices_per_window)
    hidden = talk.read(run.model, run.tokenizer, memory, branches, far, torch.as_tensor(asked.evicted))
    loss, right = talk.answer_loss(run.model, hidden, branches)
    return loss, scores(asked.kinds, right)


class Lessons:
    """Steps of teaching the LLM, and the oracle with it, lesson by lesson; each is a number of steps and its memories."""

    def __init__(self, run: Run, lessons: list[tuple[int, list[bank.Sample]]]) -> None:
        self.run = run
        self.ends = list(accumulate(steps for steps, _ in lessons))[:-1]  # the last goes on as long as it is asked for
        self.batches = [Batches(samples, BATCH * run.batch, number) for number, (_, samples) in enumerate(lessons)]
        self.ahead = Ahead(self.draw)

    def draw(self, at: int) -> tuple[NDArray[np.int64], Asked]:
        """Labels [B, S, WIDTH] of the memories of a step, and what is asked of them."""
        chosen = self.batches[bisect(self.ends, at)][at]
        return np.stack([s.rows for s in chosen]).astype(np.int64), ask(self.run, chosen)

    def step(self, at: int) -> tuple[Tensor, dict[str, float]]:
        model, oracle = self.run.model, self.run.oracle
        told, asked = self.ahead[at]
        rows = torch.as_tensor(told)
        far = None if rows.shape[1] <= USUAL else self.run.rng
        with faster():
            slices, windows = oracle.memory(rows, model.llm.model.embed_tokens.weight)
            loss, figures = answering(self.run, asked, slices, windows, far)
        # The readers learn from the truth what they will hold the Q-Former to.
        reading, _ = oracle.reading(slices.detach().float().flatten(0, 1), rows.flatten(0, 1))
        return loss + 0.1 * reading, figures


def speak(run: Run, stage: Stage, lessons: Lessons) -> None:
    """Teach `run.model.llm` and `run.oracle` together."""
    run.train(stage, Language(run), lessons.step, 1.5e-3, matrix_rate=0.01)


class Batches:
    """Batches of equally long samples, each epoch in another order; long memories come in smaller batches.

    The order follows from the seed alone, so that a run that was killed goes on as if it had not been.
    """

    def __init__(self, samples: list[bank.Sample], size: int, seed: int) -> None:
        self._samples, self._size, self._seed = samples, size, seed
        self._epoch, self._drawn = 0, self._draw(0)

    def __getitem__(self, at: int) -> list[bank.Sample]:
        """The batch of step `at`, from 0."""
        epoch, place = divmod(at, len(self._drawn))  # equally many in each epoch
        if epoch != self._epoch:
            self._epoch, self._drawn = epoch, self._draw(epoch)
        return self._drawn[place]

    def _draw(self, epoch: int) -> list[list[bank.Sample]]:
        rng, groups = np.random.default_rng((self._seed, epoch)), dict[int, list[bank.Sample]]()
        out = []
        for sample in (self._samples[i] for i in rng.permutation(len(self._samples))):
            length = len(sample.rows)
            group = groups.setdefault(length, [])
            group.append(sample)
            if len(group) == min(self._size, max(4, self._size * USUAL // length)):
                out.append(groups.pop(length))
        out = out or list(groups.values())  # of few samples no batch is whole
        return [out[i] for i in rng.permutation(len(out))]


def scores(kinds: list[list[str]], right: Tensor) -> dict[str, float]:
    """Share of questions answered word for word, for each kind."""
    by_kind: dict[str, list[float]] = {}
    for row, hits in zip(kinds, right.tolist(), strict=True):
        for kind, hit in zip(row, hits, strict=True):
            by_kind.setdefault(kind, []).append(hit)
            by_kind.setdefault("all", []).append(hit)
    return {kind: float(np.mean(hits)) for kind, hits in sorted(by_kind.items())}
