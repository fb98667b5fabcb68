"""The stages of training, each a small loop: sight, hearing, language on the world's truth, read-out, everything together.

One soup from scratch stays at chance; taught in this order, each part learns from a teacher that knows the answer.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from favor_stream.aveb.lexicon import SOUNDS
from favor_stream.model.favor import Favor, Fusion
from favor_stream.model.qformer import diversity_loss
from favor_stream.model.vision import VisionEncoder
from favor_stream.training import bank, labels, talk
from favor_stream.training.oracle import Oracle

Step = Callable[[], tuple[Tensor, dict[str, float]]]  # -> loss and figures to report
DIVERSITY = 0.01  # FAVOR's weight of the diversity loss


def train(name: str, folder: Path, module: nn.Module, step: Step, steps: int, rate: float) -> None:
    """AdamW with warm-up and cosine decay; the module is kept in `folder` when done, and a finished stage is only loaded.

    Prints progress with the time left and appends one line of figures every 20 steps to `curves.jsonl`.
    """
    path = folder / f"{name}.pt"
    if path.exists():
        module.load_state_dict(torch.load(path, weights_only=True))
        return
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, rate, weight_decay=0.01, betas=(0.9, 0.98))
    started, seen = time.monotonic(), []
    for at in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (at + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * at / steps)) + rate * 0.01
        loss, figures = step()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        seen.append({"loss": loss.item(), **figures})
        if (at + 1) % 20 == 0 or at + 1 == steps:
            report(name, folder, at + 1, steps, time.monotonic() - started, seen)
            seen.clear()
    torch.save(module.state_dict(), path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def report(name: str, folder: Path, step: int, steps: int, spent_s: float, seen: list[dict[str, float]]) -> None:
    figures = {key: round(float(np.mean([s[key] for s in seen if key in s])), 4) for key in seen[-1]}
    left_s = spent_s / step * (steps - step)
    print(f"{name} {step}/{steps}  {spent_s:.0f} s, {left_s:.0f} s left  {figures}", flush=True)
    with (folder / "curves.jsonl").open("a") as file:
        file.write(json.dumps({"stage": name, "step": step, "seconds": round(spent_s, 1), **figures}) + "\n")


def faster() -> torch.autocast:
    """bfloat16 where the matrices are large, on CPU and GPU."""
    return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16)


# ---------------------------------------------------------------------------------------------------------------- sight


class Sight(nn.Module):
    """The vision encoder with a head that names the left thing, the right thing and the card; the head is thrown away."""

    def __init__(self, model: Favor) -> None:
        super().__init__()
        width = model.config.vision.width
        assert isinstance(model.vision, VisionEncoder)
        self.vision = model.vision
        self.queries = nn.Parameter(torch.randn(3, width) * 0.5)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        sizes = [labels.SIZES[0], labels.SIZES[1], labels.SIZES[0], labels.SIZES[1], labels.SIZES[6]]
        self.readers = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        # Somewhere in the picture: teaches the trunk before the queries know where to look.
        self.somewhere = nn.Linear(model.config.vision.stages[-1], sum(labels.SIZES[i] for i in (0, 1, 6)))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Classes of SIGHT_FIELDS, and last whether each colour, shape and word is somewhere in the picture."""
        grid = self.vision.grid(pictures)
        tokens = self.vision.read(grid)
        read, _ = self.attention(self.queries.expand(len(tokens), -1, -1), tokens, tokens, need_weights=False)
        guesses = [reader(read[:, slot]).float() for reader, slot in zip(self.readers, (0, 0, 1, 1, 2), strict=True)]
        return [*guesses, self.somewhere(grid).amax(1).float()]


def somewhere(rows: Tensor) -> Tensor:
    """Which colours, shapes and words SIGHT_FIELDS rows hold, as 0 and 1; class 0, none, is never there."""
    colours, shapes, words = (labels.SIZES[i] for i in (0, 1, 6))
    there = torch.zeros(len(rows), colours + shapes + words)
    for field, offset in zip(range(5), (0, colours, 0, colours, colours + shapes), strict=True):
        there.scatter_add_(1, (rows[:, field] + offset)[:, None], (rows[:, field] > 0).float()[:, None])
    return there.clamp(max=1)


SIGHT_FIELDS = [0, 1, 3, 4, 6]  # of labels: colour and shape of two things, the card


def see(model: Favor, clips: list[bank.Clips], folder: Path, steps: int, rng: np.random.Generator) -> None:
    """Teach the vision encoder colours, shapes and printed words on single pictures."""
    sight = Sight(model)
    sight.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures = np.concatenate([np.arange(c.rows.shape[0] * c.rows.shape[1]) + i * 10_000_000 for i, c in enumerate(clips)])
    # Empty pictures are many and soon learned; printed words are few and slow to learn.
    weight = np.concatenate(
        [(0.1 + (c.rows[..., 0] > 0) + (c.rows[..., 3] > 0) + 3 * (c.rows[..., 6] > 0)).ravel() for c in clips]
    )
    weight /= weight.sum()

    def step() -> tuple[Tensor, dict[str, float]]:
        chosen = rng.choice(pictures, 64, p=weight)
        where = [(clips[i // 10_000_000], *divmod(int(i % 10_000_000), clips[0].rows.shape[1])) for i in chosen]
        images = torch.from_numpy(np.stack([c.pictures[n, k] for c, n, k in where]))
        rows = torch.from_numpy(np.stack([c.rows[n, k] for c, n, k in where])).long()[:, SIGHT_FIELDS]
        with faster():
            *guesses, anywhere = sight(images)
        loss = torch.stack([F.cross_entropy(g, rows[:, i]) for i, g in enumerate(guesses)]).sum()
        loss = loss + 10 * F.binary_cross_entropy_with_logits(anywhere, somewhere(rows))
        named = [(g.argmax(-1) == rows[:, i])[rows[:, i] > 0].float().mean().nan_to_num(1.0) for i, g in enumerate(guesses)]
        return loss, {"colour": named[0].item(), "shape": named[1].item(), "right": named[2].item(), "card": named[4].item()}

    train("sight", folder, sight, step, steps, 1e-3)


# -------------------------------------------------------------------------------------------------------------- hearing


class Hearing(nn.Module):
    """The audio encoder with CTC letters and sound events as heads; the heads are thrown away."""

    def __init__(self, model: Favor) -> None:
        super().__init__()
        self.audio = model.audio
        self.letters = nn.Linear(model.config.audio.width, len(labels.LETTERS) + 1)
        self.events = nn.Linear(model.config.audio.width, len(SOUNDS))


def hear(model: Favor, clips: list[bank.Clips], folder: Path, steps: int, rng: np.random.Generator) -> None:
    """Teach the audio encoder letters (CTC) and sound events."""
    hearing = Hearing(model)
    slices = clips[0].rows.shape[1]

    def step() -> tuple[Tensor, dict[str, float]]:
        where = [(clips[rng.integers(len(clips))], int(rng.integers(bank.SHARD))) for _ in range(16)]
        sound = torch.from_numpy(np.stack([c.sound[n] for c, n in where])).float() / 32767
        sound = sound * torch.from_numpy(rng.uniform(0.3, 1.5, (len(where), 1))).float()
        events = torch.from_numpy(np.stack([labels.sounding(c.scripts[n], slices) for c, n in where])).float()
        targets = [torch.from_numpy(labels.letters(c.scripts[n])).long() for c, n in where]
        with faster():
            tokens = hearing.audio(sound)
            spelled, sounding = hearing.letters(tokens).float(), hearing.events(tokens).float()
        lengths = torch.tensor([len(t) for t in targets])
        ctc = F.ctc_loss(
            spelled.log_softmax(-1).transpose(0, 1), torch.cat(targets), torch.full((len(where),), tokens.shape[1]), lengths
        )
        bce = F.binary_cross_entropy_with_logits(sounding, events, pos_weight=torch.tensor(3.0))
        hit = ((sounding > 0) & (events > 0)).sum() * 2 / ((sounding > 0).sum() + events.sum()).clamp(min=1)
        return ctc + 4 * bce, {"ctc": ctc.item(), "event_f1": hit.item()}

    train("hearing", folder, hearing, step, steps, 2e-3)


# ------------------------------------------------------------------------------------------------------------- language


class Language(nn.Module):
    def __init__(self, model: Favor, oracle: Oracle) -> None:
        super().__init__()
        self.llm, self.oracle = model.llm, oracle


def remember(slices: Tensor, windows: list[Tensor], size: int) -> Tensor:
    """Slice tokens [B, S, 4, D] and one window read-out [B, 4, D] per started window, in the order of the agent's cache."""
    parts = []
    for at, window in enumerate(windows):
        parts += [slices[:, at * size : (at + 1) * size].flatten(1, 2), window]
    return torch.cat(parts, 1)


def speak(
    model: Favor,
    oracle: Oracle,
    tokenizer: Tokenizer,
    samples: list[bank.Sample],
    folder: Path,
    steps: int,
    rng: np.random.Generator,
) -> None:
    """Teach the LLM to answer from the world's own truth written as tokens."""
    language = Language(model, oracle)
    size = model.config.fusion.slices_per_window
    batches = batched(samples, 32, rng)

    def step() -> tuple[Tensor, dict[str, float]]:
        chosen = next(batches)
        rows = torch.from_numpy(np.stack([s.rows for s in chosen])).long()
        windows = [oracle.window(rows[:, at : at + size]) for at in range(0, rows.shape[1], size)]
        memory = remember(oracle.slices(rows), windows, size)
        ids, targets = talk.branches([s.asked for s in chosen], tokenizer)
        with faster():
            loss, right = talk.answer_loss(model.llm, tokenizer, memory, ids, targets)
        return loss, scores(chosen, right)

    train("language", folder, language, step, steps, 2e-3)


def batched(samples: list[bank.Sample], size: int, rng: np.random.Generator) -> Iterator[list[bank.Sample]]:
    """Batches of equally long samples, endlessly, each epoch in another order; long memories come in smaller batches."""
    while True:
        order = rng.permutation(len(samples))
        order = order[np.argsort([len(samples[i].rows) + rng.random() for i in order], kind="stable")]
        groups: dict[int, list[bank.Sample]] = {}
        out = []
        for i in order:
            group = groups.setdefault(len(samples[i].rows), [])
            group.append(samples[i])
            if len(group) == size:
                out.append(groups.pop(len(samples[i].rows)))
        yield from (out[i] for i in rng.permutation(len(out)))


def scores(chosen: list[bank.Sample], right: Tensor) -> dict[str, float]:
    """Share of questions answered word for word, for each kind."""
    by_kind: dict[str, list[float]] = {}
    for sample, row in zip(chosen, right, strict=True):
        for question, hit in zip(sample.asked, row.tolist(), strict=True):
            by_kind.setdefault(question.kind, []).append(hit)
            by_kind.setdefault("all", []).append(hit)
    return {kind: float(np.mean(hits)) for kind, hits in sorted(by_kind.items())}


# -------------------------------------------------------------------------------------------------------------- fusion


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
    """Encoder tokens [B, S, N, D] -> slice tokens [B, S, 4, D] and the read-out of each started window."""
    size = fusion.config.slices_per_window
    slices, windows = [], []
    for at in range(0, seen.shape[1], size):
        out = fusion(seen[:, at : at + size], heard[:, at : at + size])
        slices.append(out[1])
        windows.append(out[size])
    return torch.cat(slices, 1), windows


class ReadOut(nn.Module):
    def __init__(self, fusion: Fusion, oracle: Oracle) -> None:
        super().__init__()
        self.fusion, self.oracle = fusion, oracle


def distil(
    name: str,
    fusion: Fusion,
    oracle: Oracle,
    clips: list[bank.Clips],
    encoded: list[tuple[Tensor, Tensor]],
    folder: Path,
    steps: int,
    rng: np.random.Generator,
) -> None:
    """Teach the Q-Former to write the oracle's tokens."""
    size = fusion.config.slices_per_window
    for table in (oracle.fields, oracle.sounds, oracle.spoken):
        table.requires_grad_(False)

    def step() -> tuple[Tensor, dict[str, float]]:
        at, start = int(rng.integers(len(clips))), int(rng.integers(clips[0].rows.shape[1] // size)) * size
        length = size if rng.random() < 0.6 else int(rng.integers(1, size + 1))  # a window is read at any time
        chosen = torch.from_numpy(rng.permutation(bank.SHARD)[:40])
        span = slice(start, start + length)
        seen, heard = (x[chosen, span].float() for x in encoded[at])
        rows = torch.from_numpy(clips[at].rows[chosen.numpy(), span]).long()
        with faster():
            out = fusion(seen, heard)
        slices, window = out[1].float(), out[size].float()
        with torch.no_grad():
            wanted, summary = oracle.slices(rows), oracle.window(rows)
        copy = F.mse_loss(slices, wanted) + F.mse_loss(window, summary)
        reading = oracle.reading_loss(slices.flatten(0, 1), rows.flatten(0, 1))
        loss = 4 * copy + 0.5 * reading + DIVERSITY * diversity_loss(window)
        return loss, {"copy": copy.item(), "reading": reading.item()}

    train(name, folder, ReadOut(fusion, oracle), step, steps, 1e-3)


def join(
    name: str,
    fusion: Fusion,
    model: Favor,
    tokenizer: Tokenizer,
    clips: list[bank.Clips],
    encoded: list[tuple[Tensor, Tensor]],
    folder: Path,
    steps: int,
    rng: np.random.Generator,
) -> None:
    """Q-Former and LLM together, on what the encoders really give, with the oracle gone."""
    whole = nn.ModuleList([fusion, model.llm])
    total, size = clips[0].rows.shape[1], fusion.config.slices_per_window

    def step() -> tuple[Tensor, dict[str, float]]:
        at = int(rng.integers(len(clips)))
        until = total if rng.random() < 0.3 else int(rng.integers(6, total + 1))
        chosen = rng.permutation(bank.SHARD)[:20]
        samples = [bank.sample(clips[at].scripts[n], clips[at].rows[n], until, 10, rng) for n in chosen]
        seen, heard = (x[torch.from_numpy(chosen), :until].float() for x in encoded[at])
        ids, targets = talk.branches([s.asked for s in samples], tokenizer)
        with faster():
            slices, windows = perceive(fusion, seen, heard)
            loss, right = talk.answer_loss(model.llm, tokenizer, remember(slices, windows, size), ids, targets)
        similar = torch.stack([diversity_loss(w) for w in windows]).mean()
        return loss + DIVERSITY * similar, scores(samples, right)

    train(name, folder, whole, step, steps, 6e-4)
