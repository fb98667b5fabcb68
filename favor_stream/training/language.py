"""Teaches the LLM to answer from the world's own truth written as tokens."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
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
    """Steps of teaching the LLM, and the oracle with it, lesson by lesson; each is a number of steps and what memories are like.

    Each step draws memories of its own: of ten thousand that came again and again it learned those by heart, and not to answer.
    """

    def __init__(self, run: Run, lessons: Sequence[tuple[int, bank.Lesson]]) -> None:
        self.run, self.drawing = run, run.of("lessons")
        self.lessons = [lesson for _, lesson in lessons]
        self.ends = list(accumulate(steps for steps, _ in lessons))[:-1]  # the last goes on as long as it is asked for
        self.ahead = Ahead(self.draw)

    def draw(self, at: int) -> tuple[NDArray[np.int64], Asked]:
        """Labels [B, S, WIDTH] of the memories of a step, and what is asked of them."""
        lesson, window = self.lessons[bisect(self.ends, at)], self.run.model.config.fusion.slices_per_window
        drawn = bank.symbolic(self.run.tokenizer, lesson, BATCH * self.run.batch, window, self.drawing.rng_of(at))
        return np.stack([s.rows for s in drawn]).astype(np.int64), ask(self.run, drawn)

    def step(self, at: int) -> tuple[Tensor, dict[str, float]]:
        model, oracle = self.run.model, self.run.oracle
        told, asked = self.ahead[at]
        rows = torch.as_tensor(told)
        far = None if rows.shape[1] <= bank.USUAL else self.run.rng
        with faster():
            slices, windows = oracle.memory(rows, model.llm.model.embed_tokens.weight)
            loss, figures = answering(self.run, asked, slices, windows, far)
        # The readers learn from the truth what they will hold the Q-Former to.
        reading, _ = oracle.reading(slices.detach().float().flatten(0, 1), rows.flatten(0, 1))
        return loss + 0.1 * reading, figures


def speak(run: Run, stage: Stage, lessons: Lessons) -> None:
    """Teach `run.model.llm` and `run.oracle` together."""
    run.train(stage, Language(run), lessons.step, 1.5e-3, matrix_rate=0.01)


def scores(kinds: list[list[str]], right: Tensor) -> dict[str, float]:
    """Share of questions answered word for word, for each kind."""
    by_kind: dict[str, list[float]] = {}
    for row, hits in zip(kinds, right.tolist(), strict=True):
        for kind, hit in zip(row, hits, strict=True):
            by_kind.setdefault(kind, []).append(hit)
            by_kind.setdefault("all", []).append(hit)
    return {kind: float(np.mean(hits)) for kind, hits in sorted(by_kind.items())}
