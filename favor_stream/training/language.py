"""Teaches the LLM to answer from the world's own truth written as tokens."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn

from favor_stream.training import bank, talk
from favor_stream.training.loop import Run, Stage, faster

BATCH = 16  # memories: many small steps, or questions never learn to look things up
USUAL = 32  # slices of a memory, up to which a batch is whole and positions are as they are


class Language(nn.Module):
    def __init__(self, run: Run) -> None:
        super().__init__()
        self.llm, self.oracle = run.model.llm, run.oracle


def remember(slices: Tensor, windows: list[Tensor], size: int) -> Tensor:
    """Slice tokens [B, S, Q, D] and one window read-out [B, Q, D] per started window, in the order of the agent's cache."""
    parts = []
    for at, window in enumerate(windows):
        parts += [slices[:, at * size : (at + 1) * size].flatten(1, 2), window]
    return torch.cat(parts, 1)


def answering(
    run: Run, samples: list[bank.Sample], slices: Tensor, windows: list[Tensor], far: np.random.Generator | None = None
) -> tuple[Tensor, dict[str, float]]:
    """The loss of all questions of `samples`, asked of these tokens, and the share that is answered word for word."""
    asked = talk.branches([s.asked for s in samples], run.tokenizer)
    fusion = run.model.config.fusion
    memory = remember(slices, windows, fusion.slices_per_window)
    evicted = torch.tensor([s.forgotten // fusion.slices_per_window * fusion.tokens_per_window for s in samples])
    hidden = talk.read(run.model, run.tokenizer, memory, asked, far, evicted)
    loss, right = talk.answer_loss(run.model, hidden, asked)
    return loss, scores(samples, right)


class Lessons:
    """Steps of teaching the LLM, and the oracle with it, lesson by lesson; each is a number of steps and its memories."""

    def __init__(self, run: Run, lessons: list[tuple[int, list[bank.Sample]]]) -> None:
        self.run = run
        self.ends = list(accumulate(steps for steps, _ in lessons))
        self.batches = [Batches(samples, BATCH * run.batch, number) for number, (_, samples) in enumerate(lessons)]

    def step(self, at: int) -> tuple[Tensor, dict[str, float]]:
        model, oracle = self.run.model, self.run.oracle
        chosen = self.batches[bisect(self.ends, at)][at]
        rows = torch.as_tensor(np.stack([s.rows for s in chosen])).long()
        far = None if rows.shape[1] <= USUAL else self.run.rng
        with faster():
            slices, windows = oracle.memory(rows, model.llm.model.embed_tokens.weight)
            loss, figures = answering(self.run, chosen, slices, windows, far)
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


def scores(chosen: list[bank.Sample], right: Tensor) -> dict[str, float]:
    """Share of questions answered word for word, for each kind."""
    by_kind: dict[str, list[float]] = {}
    for sample, row in zip(chosen, right, strict=True):
        for question, hit in zip(sample.asked, row.tolist(), strict=True):
            by_kind.setdefault(question.kind, []).append(hit)
            by_kind.setdefault("all", []).append(hit)
    return {kind: float(np.mean(hits)) for kind, hits in sorted(by_kind.items())}
