"""Teaches the causal Q-Former: first to write what the oracle writes, then together with the LLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from favor_stream.model.favor import Favor, Fusion
from favor_stream.model.qformer import diversity_loss
from favor_stream.training import bank
from favor_stream.training.ahead import Ahead
from favor_stream.training.language import Asked, Lessons, answering, ask
from favor_stream.training.loop import Run, Stage, faster, keep
from favor_stream.training.oracle import shown

BATCH, ASKED = 10, 8  # clips of a joint step, questions to each
DIVERSITY = 0.01  # FAVOR's weight of the diversity loss
TETHER = 0.3  # weight of the oracle's tokens in joint training


@dataclass(frozen=True, slots=True)
class Encoded:
    """A shard of clips as the frozen encoders give them, in half precision; it stays on the disk."""

    clips: bank.Clips
    seen: Tensor  # [clips, S, 32 F, Dv], zeros where there are no pictures
    heard: Tensor  # [clips, S, 25, Da]

    def part(self, chosen: np.ndarray, span: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Some clips' slices: what is seen, what is heard, and the labels."""
        seen, heard = (each[chosen, span].to(torch.get_default_device()).float() for each in (self.seen, self.heard))
        return seen, heard, torch.as_tensor(self.clips.rows[chosen, span]).long()


def encode(model: Favor, clips: list[bank.Clips], folder: Path) -> list[Encoded]:
    """The frozen encoders' tokens of every clip; made once and kept in `folder`."""
    out = []
    for number, shard in enumerate(clips, 1):
        path = folder / f"{number:04d}.encoded"
        if not path.exists():
            keep(path, encoded(model, shard))
        seen, heard = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        out.append(Encoded(shard, seen.expand(*heard.shape[:2], -1, -1), heard))
        print(f"\r{folder.name}: encoded {number}/{len(clips)}", end="", flush=True)
    print()
    return out


@torch.inference_mode()
def encoded(model: Favor, shard: bank.Clips) -> tuple[Tensor, Tensor]:
    """What `Encoded` holds; of clips without pictures one slice's zeros stand for all."""
    slices = shard.rows.shape[1]
    with faster():
        seen = [model.see(torch.as_tensor(np.array(p)), slices).half() for p in shard.pictures]
        sound = torch.as_tensor(np.array(shard.sound)).float() / 32767
        heard = [model.audio(s).unflatten(1, (slices, -1)).half() for s in sound.split(10)]
    pictures = torch.stack(seen) if seen else model.see(None, 1).half()[None]
    return pictures.cpu(), torch.cat(heard).cpu()


def perceive(fusion: Fusion, seen: Tensor, heard: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Encoder tokens [B, S, N, D] -> slice tokens [B, S, Q, D] and the read-out of each started window.

    Windows know nothing of each other: all whole ones are read as one batch.
    """
    size, (batch, count) = fusion.config.slices_per_window, seen.shape[:2]
    slices, windows = list[Tensor](), list[Tensor]()
    for start, stop in pairwise((0, count - count % size, count)):
        if start < stop:
            length = min(size, stop - start)
            parts = (each[:, start:stop].unflatten(1, (-1, length)).flatten(0, 1) for each in (seen, heard))
            each_slice, each_window = (tokens.unflatten(0, (batch, -1)) for tokens in told(fusion, *parts))
            slices.append(each_slice.flatten(1, 2))
            windows += each_window.unbind(1)
    return torch.cat(slices, 1), windows


def told(fusion: Fusion, seen: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
    """The same of one window: slice tokens [B, S, Q, D] and its read-out [B, Q, D], with Q = 0 where a slice is a window."""
    size, out = fusion.config.slices_per_window, fusion(seen, heard)
    return (out[1], out[size]) if size > 1 else (out[1][:, None], out[1][:, :0])


def copying(
    run: Run, sorts: Sequence[list[Encoded]], count: int, diversity: float = DIVERSITY
) -> tuple[Tensor, dict[str, float]]:
    """How far the Q-Former's tokens are from the oracle's in a window of clips of each sort, and what they tell.

    All sorts are in each step: at equal steps everything is learned sooner than from one sort at a time.
    """
    size = run.model.config.fusion.slices_per_window
    length = size if run.rng.random() < 0.6 else int(run.rng.integers(1, size + 1))  # a window is read at any time
    parts = [opening(sort, count * run.batch, size, length, run.rng) for sort in sorts]
    losses, figures = [], dict[str, float]()
    for _, alike in groupby(parts, lambda part: part[0].shape[1]):  # a clip may be shorter than a window
        group = list(alike)
        seen, heard, rows = (torch.cat(part) for part in zip(*group, strict=True))
        loss, known = copied(run, seen, heard, rows, diversity)
        losses.append(loss * len(group) / len(parts))
        figures = known | figures
    return torch.stack(losses).sum(), figures


def copied(run: Run, seen: Tensor, heard: Tensor, rows: Tensor, diversity: float) -> tuple[Tensor, dict[str, float]]:
    """The same of windows that have come equally far."""
    rows = shown(rows, run.model.config.fusion.slices_per_window)
    with faster():
        slices, window = (tokens.float() for tokens in told(run.model.fusion, seen, heard))
    copy = run.oracle.copy_loss(slices, window, rows, run.model.llm.model.embed_tokens.weight.detach())
    reading, figures = run.oracle.reading(slices.flatten(0, 1), rows.flatten(0, 1))
    loss = 20 * copy + reading + diversity * diversity_loss(window)
    return loss, {"copy": copy.item(), "reading": reading.item(), **figures}


def opening(shards: list[Encoded], count: int, size: int, length: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The first slices of a window of `size`, `length` where the clips are long enough, of `count` clips of some shard.

    In a film windows begin where the stream's do, for its labels tell motion as those windows show it; in speech alone anywhere.
    """
    shard = shards[int(rng.integers(len(shards)))]
    apart, length = size if len(shard.clips.pictures) else 1, min(length, shard.seen.shape[1])
    start = apart * int(rng.integers((shard.seen.shape[1] - length) // apart + 1))
    return shard.part(rng.permutation(len(shard.seen))[:count], slice(start, start + length))


def distil(run: Run, stage: Stage, sorts: Sequence[list[Encoded]], diversity: float = DIVERSITY) -> None:
    """Teach the Q-Former to write the oracle's tokens, which stand still; so do the readers that it is held to."""
    run.oracle.requires_grad_(False)
    run.train(stage, run.model.fusion, lambda _: copying(run, sorts, 14, diversity), 2e-3, matrix_rate=0.02)


def join(
    run: Run, stage: Stage, clips: list[Encoded], others: Sequence[list[Encoded]], lessons: Lessons, diversity: float = DIVERSITY
) -> None:
    """Q-Former and LLM together, on what the encoders really give of `clips`.

    The LLM goes on with its last lesson meanwhile, and the Q-Former with copying from other sorts of clips: else both would
    learn of these few what belongs together in them.
    """
    whole = nn.ModuleList([run.model.fusion, run.model.llm])

    parts = Ahead(lambda at: draw(run, clips, run.rng_of(at)))

    def step(at: int) -> tuple[Tensor, dict[str, float]]:
        loss, figures = perceiving(run, clips, parts[at], diversity)
        copy, _ = copying(run, others, 8, diversity)
        lesson, _ = lessons.step(at)
        return loss + TETHER * copy + lesson, figures

    run.train(stage, whole, step, 4e-4, matrix_rate=0.004)


@dataclass(frozen=True, slots=True)
class Part:
    """Some clips of one shard up to some moment of them, and what is asked then."""

    shard: int
    chosen: NDArray[np.int64]
    until: int  # slices
    asked: Asked


def draw(run: Run, shards: list[Encoded], rng: np.random.Generator) -> Part:
    number = int(rng.integers(len(shards)))
    shard = shards[number]
    until = bank.moment(shard.seen.shape[1], rng)
    chosen = rng.permutation(len(shard.seen))[: BATCH * run.batch]
    size = run.model.config.fusion.slices_per_window
    return Part(number, chosen, until, ask(run, [questions(shard.clips, n, until, size, rng) for n in chosen]))


def questions(clips: bank.Clips, number: int, until: int, window: int, rng: np.random.Generator) -> bank.Sample:
    """About the first slices of a clip; as in a stream some of them may be forgotten by now, whole windows."""
    asking = bank.Asking(ASKED, clips.settings[number], exercises=0.0)
    gone = bank.forgotten(until, window, rng)
    return bank.sample(clips.scripts[number], clips.rows[number], until, asking, rng, gone)


def perceiving(run: Run, shards: list[Encoded], part: Part, diversity: float = DIVERSITY) -> tuple[Tensor, dict[str, float]]:
    """How well questions are answered about what is perceived of some clips."""
    seen, heard, _ = shards[part.shard].part(part.chosen, slice(part.until))
    with faster():
        slices, windows = perceive(run.model.fusion, seen, heard)
        loss, figures = answering(run, part.asked, slices, windows)
    similar = torch.stack([diversity_loss(w) for w in windows]).mean()
    return loss + diversity * similar, figures
