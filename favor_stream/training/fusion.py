"""Teaches the causal Q-Former: first to write what the oracle writes, then together with the LLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from favor_stream.model.favor import Favor, Fusion
from favor_stream.model.qformer import diversity_loss
from favor_stream.training import bank
from favor_stream.training.language import Lessons, answering
from favor_stream.training.loop import Run, Stage, faster, keep

BATCH, ASKED = 10, 8  # clips of a joint step, questions to each
DIVERSITY = 0.01  # FAVOR's weight of the diversity loss
TETHER = 0.3  # weight of the oracle's tokens in joint training


@dataclass(frozen=True, slots=True)
class Encoded:
    """A shard of clips as the frozen encoders give them, in half precision."""

    clips: bank.Clips
    seen: Tensor  # [clips, S, 32, Dv], zeros where there are no pictures
    heard: Tensor  # [clips, S, 25, Da]

    def part(self, chosen: np.ndarray, span: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Some clips' slices: what is seen, what is heard, and the labels."""
        at = torch.from_numpy(chosen)
        rows = torch.from_numpy(self.clips.rows[chosen, span]).long()
        return self.seen[at, span].float(), self.heard[at, span].float(), rows


def encode(model: Favor, clips: list[bank.Clips], folder: Path) -> list[Encoded]:
    """The frozen encoders' tokens of every clip; made once and kept in `folder`."""
    out = []
    for number, shard in enumerate(clips, 1):
        path = folder / f"{number:04d}.encoded"
        if not path.exists():
            keep(path, encoded(model, shard))
        seen, heard = torch.load(path, mmap=True, weights_only=True)
        out.append(Encoded(shard, seen.expand(*heard.shape[:2], -1, -1), heard))
        print(f"\r{folder.name}: encoded {number}/{len(clips)}", end="", flush=True)
    print()
    return out


@torch.inference_mode()
def encoded(model: Favor, shard: bank.Clips) -> tuple[Tensor, Tensor]:
    """What `Encoded` holds; of clips without pictures one slice's zeros stand for all."""
    vision, slices = model.config.vision, shard.rows.shape[1]
    with faster():
        seen = [model.vision(torch.from_numpy(np.array(p))).half() for p in shard.pictures]
        sound = torch.from_numpy(np.array(shard.sound)).float() / 32767
        heard = [model.audio(s).unflatten(1, (slices, -1)).half() for s in sound.split(10)]
    return torch.stack(seen) if seen else torch.zeros(1, 1, vision.tokens, vision.width).half(), torch.cat(heard)


def perceive(fusion: Fusion, seen: Tensor, heard: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Encoder tokens [B, S, N, D] -> slice tokens [B, S, Q, D] and the read-out of each started window."""
    size = fusion.config.slices_per_window
    slices, windows = [], []
    for at in range(0, seen.shape[1], size):
        out = fusion(seen[:, at : at + size], heard[:, at : at + size])
        slices.append(out[1])
        windows.append(out[size])
    return torch.cat(slices, 1), windows


def copying(run: Run, sorts: Sequence[list[Encoded]], count: int) -> tuple[Tensor, dict[str, float]]:
    """How far the Q-Former's tokens are from the oracle's in a window of `count` clips of each sort, and what they tell.

    All sorts are in each step: at equal steps everything is learned sooner than from one sort at a time.
    """
    size, words = run.model.config.fusion.slices_per_window, run.model.llm.model.embed_tokens.weight.detach()
    length = size if run.rng.random() < 0.6 else int(run.rng.integers(1, size + 1))  # a window is read at any time
    parts = [opening(sort, count, size, length, run.rng) for sort in sorts]
    seen, heard, rows = (torch.cat(part) for part in zip(*parts, strict=True))
    with faster():
        out = run.model.fusion(seen, heard)
    slices, window = out[1].float(), out[size].float()
    copy = run.oracle.copy_loss(slices, window, rows, words)
    reading, figures = run.oracle.reading(slices.flatten(0, 1), rows.flatten(0, 1))
    loss = 20 * copy + reading + DIVERSITY * diversity_loss(window)
    return loss, {"copy": copy.item(), "reading": reading.item(), **figures}


def opening(shards: list[Encoded], count: int, size: int, length: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The first `length` slices of a window of `size`, of `count` clips of some shard.

    In a film windows begin where the stream's do, for its labels tell motion as those windows show it; in speech alone anywhere.
    """
    shard = shards[int(rng.integers(len(shards)))]
    apart = size if len(shard.clips.pictures) else 1
    start = apart * int(rng.integers((shard.seen.shape[1] - length) // apart + 1))
    return shard.part(rng.permutation(len(shard.seen))[:count], slice(start, start + length))


def distil(run: Run, stage: Stage, sorts: Sequence[list[Encoded]]) -> None:
    """Teach the Q-Former to write the oracle's tokens, which stand still; so do the readers that it is held to."""
    run.oracle.requires_grad_(False)
    run.train(stage, run.model.fusion, lambda _: copying(run, sorts, 14), 2e-3, matrix_rate=0.02)


def join(run: Run, stage: Stage, clips: list[Encoded], others: Sequence[list[Encoded]], lessons: Lessons) -> None:
    """Q-Former and LLM together, on what the encoders really give of `clips`.

    The LLM goes on with its last lesson meanwhile, and the Q-Former with copying from other sorts of clips: else both would
    learn of these few what belongs together in them.
    """
    whole = nn.ModuleList([run.model.fusion, run.model.llm])

    def step(at: int) -> tuple[Tensor, dict[str, float]]:
        loss, figures = perceiving(run, clips[int(run.rng.integers(len(clips)))])
        copied, _ = copying(run, others, 8)
        told, _ = lessons.step(at)
        return loss + TETHER * copied + told, figures

    run.train(stage, whole, step, 4e-4, matrix_rate=0.004)


def perceiving(run: Run, shard: Encoded) -> tuple[Tensor, dict[str, float]]:
    """Questions about what is perceived of some clips, up to some moment of them."""
    total = shard.seen.shape[1]
    until = total if run.rng.random() < 0.3 else int(run.rng.integers(6, total + 1))
    chosen = run.rng.permutation(len(shard.seen))[:BATCH]
    samples = [bank.sample(shard.clips.scripts[n], shard.clips.rows[n], until, ASKED, run.rng) for n in chosen]
    seen, heard, _ = shard.part(chosen, slice(until))
    with faster():
        slices, windows = perceive(run.model.fusion, seen, heard)
        loss, figures = answering(run, samples, slices, windows)
    similar = torch.stack([diversity_loss(w) for w in windows]).mean()
    return loss + DIVERSITY * similar, figures
