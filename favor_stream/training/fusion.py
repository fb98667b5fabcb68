"""Teaches the causal Q-Former: first to write what the oracle writes, then together with the LLM, the oracle gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from favor_stream.model.favor import Favor, Fusion
from favor_stream.model.qformer import diversity_loss
from favor_stream.training import bank, talk
from favor_stream.training.language import remember, scores
from favor_stream.training.loop import faster, train
from favor_stream.training.oracle import Oracle

BATCH, ASKED = 10, 8  # clips of a joint step, questions to each
DIVERSITY = 0.01  # FAVOR's weight of the diversity loss


@torch.inference_mode()
def features(model: Favor, clips: list[bank.Clips]) -> list[tuple[Tensor, Tensor]]:
    """The frozen encoders' tokens of every clip, once: ([clips, S, 32, Dv], [clips, S, 25, Da]) in half precision."""
    out = []
    for number, shard in enumerate(clips, 1):
        slices = shard.rows.shape[1]
        with faster():
            seen = [model.vision(torch.from_numpy(np.array(p))).half() for p in shard.pictures]
            sound = torch.from_numpy(np.array(shard.sound)).float() / 32767
            heard = [model.audio(s).unflatten(1, (slices, -1)).half() for s in sound.split(10)]
        out.append((torch.stack(seen), torch.cat(heard)))
        print(f"\rfeatures {number}/{len(clips)}", end="", flush=True)
    print()
    return out


def perceive(fusion: Fusion, seen: Tensor, heard: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Encoder tokens [B, S, N, D] -> slice tokens [B, S, Q, D] and the read-out of each started window."""
    size = fusion.config.slices_per_window
    slices, windows = [], []
    for at in range(0, seen.shape[1], size):
        out = fusion(seen[:, at : at + size], heard[:, at : at + size])
        slices.append(out[1])
        windows.append(out[size])
    return torch.cat(slices, 1), windows


def distil(
    name: str,
    model: Favor,
    oracle: Oracle,
    clips: list[bank.Clips],
    encoded: list[tuple[Tensor, Tensor]],
    folder: Path,
    steps: int,
    rng: np.random.Generator,
) -> None:
    """Teach the Q-Former to write the oracle's tokens, which stand still; so do the readers that it is held to."""
    size, words = model.config.fusion.slices_per_window, model.llm.model.embed_tokens.weight
    oracle.requires_grad_(False)

    def step() -> tuple[Tensor, dict[str, float]]:
        at, start = int(rng.integers(len(clips))), int(rng.integers(clips[0].rows.shape[1] // size)) * size
        length = size if rng.random() < 0.6 else int(rng.integers(1, size + 1))  # a window is read at any time
        chosen = torch.from_numpy(rng.permutation(bank.SHARD)[:40])
        span = slice(start, start + length)
        seen, heard = (x[chosen, span].float() for x in encoded[at])
        rows = torch.from_numpy(clips[at].rows[chosen.numpy(), span]).long()
        with faster():
            out = model.fusion(seen, heard)
        slices, window = out[1].float(), out[size].float()
        with torch.no_grad():
            wanted = oracle.slices(rows, words)
        copy = F.mse_loss(slices, wanted) + F.mse_loss(window, oracle.window(wanted))
        reading, figures = oracle.reading(slices.flatten(0, 1), rows.flatten(0, 1))
        loss = 20 * copy + reading + DIVERSITY * diversity_loss(window)
        return loss, {"copy": copy.item(), "reading": reading.item(), **figures}

    train(name, folder, model.fusion, step, steps, 1e-3)


def join(
    name: str,
    model: Favor,
    tokenizer: Tokenizer,
    clips: list[bank.Clips],
    encoded: list[tuple[Tensor, Tensor]],
    folder: Path,
    steps: int,
    rng: np.random.Generator,
) -> None:
    """Q-Former and LLM together, on what the encoders really give, with the oracle gone."""
    whole = nn.ModuleList([model.fusion, model.llm])
    total, size = clips[0].rows.shape[1], model.config.fusion.slices_per_window

    def step() -> tuple[Tensor, dict[str, float]]:
        at = int(rng.integers(len(clips)))
        until = total if rng.random() < 0.3 else int(rng.integers(6, total + 1))
        chosen = rng.permutation(bank.SHARD)[:BATCH]
        samples = [bank.sample(clips[at].scripts[n], clips[at].rows[n], until, ASKED, rng) for n in chosen]
        seen, heard = (x[torch.from_numpy(chosen), :until].float() for x in encoded[at])
        ids, targets = talk.branches([s.asked for s in samples], tokenizer)
        with faster():
            slices, windows = perceive(model.fusion, seen, heard)
            loss, right = talk.answer_loss(model.llm, tokenizer, remember(slices, windows, size), ids, targets)
        similar = torch.stack([diversity_loss(w) for w in windows]).mean()
        return loss + DIVERSITY * similar, scores(samples, right)

    train(name, folder, whole, step, steps, 6e-4)
