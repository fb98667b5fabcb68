"""Training data, generated once by worker processes and kept on disk: clips (pictures, sound, labels) and symbolic samples (labels only)."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from favor_stream.aveb import questions, truth, world
from favor_stream.aveb.picture import picture
from favor_stream.aveb.questions import Question
from favor_stream.aveb.script import Script
from favor_stream.aveb.soundtrack import soundtrack
from favor_stream.records import SLICE_S
from favor_stream.training import labels

SHARD = 50  # clips that one worker makes at a time
HEIGHT, WIDTH = 120, 160


@dataclass(frozen=True, slots=True)
class Clips:
    """Memory-mapped clips of one length."""

    pictures: NDArray[np.uint8]  # [clips, slices, HEIGHT, WIDTH, 3]
    sound: NDArray[np.int16]  # [clips, slices x 8000]
    rows: NDArray[np.int16]  # [clips, slices, labels.WIDTH]
    scripts: list[Script]


def make_clips(folder: Path, tokenizer: Tokenizer, clips: int, slices: int, seed: int, density: float, workers: int) -> None:
    """Write `clips` clips of `slices` slices into `folder`; shards that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    work = partial(make_shard, folder, tokenizer.to_str(), slices, seed, density)
    starts = range(0, clips, SHARD)
    with ProcessPoolExecutor(workers) as pool:
        for done, _ in enumerate(pool.map(work, starts), 1):
            print(f"\r{folder.name}: {done * SHARD}/{clips} clips", end="", flush=True)
    print()


def make_shard(folder: Path, tokenizer_json: str, slices: int, seed: int, density: float, start: int) -> None:
    path = folder / f"{start:06d}.pickle"
    if path.exists():
        return
    tokenizer = Tokenizer.from_str(tokenizer_json)
    scripts = [world.draw(seed + start + i, slices * SLICE_S, "training", density=density) for i in range(SHARD)]
    pictures = np.stack([[picture(s, k * SLICE_S + truth.PICTURE_AT_S) for k in range(slices)] for s in scripts])
    np.save(folder / f"{start:06d}.pictures.npy", pictures)
    np.save(folder / f"{start:06d}.sound.npy", np.stack([np.round(soundtrack(s) * 32767).astype(np.int16) for s in scripts]))
    rows = np.stack([[labels.encode(t, tokenizer) for t in truth.slices(s)] for s in scripts])
    path.with_suffix(".part").write_bytes(pickle.dumps((scripts, rows)))
    path.with_suffix(".part").rename(path)  # a shard counts only when whole


def shards(folder: Path) -> Iterator[Clips]:
    """The clips of a folder, shard by shard."""
    for path in sorted(folder.glob("*.pickle")):
        scripts, rows = pickle.loads(path.read_bytes())
        pictures = np.load(path.with_suffix(".pictures.npy"), mmap_mode="r")
        yield Clips(pictures, np.load(path.with_suffix(".sound.npy"), mmap_mode="r"), rows, scripts)


@dataclass(frozen=True, slots=True)
class Sample:
    """A clip's labels up to a moment and questions asked at that moment."""

    rows: NDArray[np.int16]  # [slices, labels.WIDTH]
    asked: tuple[Question, ...]


def sample(script: Script, rows: NDArray[np.int16], until: int, asked: int, rng: np.random.Generator) -> Sample:
    """`asked` questions about the first `until` slices of a clip."""
    drawn = (questions.draw(script, until * SLICE_S, rng, "training") for _ in range(asked))
    return Sample(rows[:until], tuple(drawn))


def make_samples(tokenizer: Tokenizer, count: int, asked: int, seed: int, workers: int) -> list[Sample]:
    """Symbolic samples of 8 to 40 s: what is true and what may be asked, without a picture or a sound."""
    work = partial(symbolic, tokenizer.to_str(), asked, seed)
    with ProcessPoolExecutor(workers) as pool:
        return [s for part in pool.map(work, range(0, count, 100)) for s in part]


def symbolic(tokenizer_json: str, asked: int, seed: int, start: int) -> list[Sample]:
    tokenizer, rng = Tokenizer.from_str(tokenizer_json), np.random.default_rng((seed, start))
    out = []
    for at in range(start, start + 100):
        slices = int(rng.choice([16, 24, 32, 48, 80], p=[0.2, 0.25, 0.35, 0.15, 0.05]))
        script = world.draw(seed * 10_000_000 + at, slices * SLICE_S, "training", timed=world.guessed)
        rows = np.stack([labels.encode(t, tokenizer) for t in truth.slices(script)])
        until = slices if rng.random() < 0.3 else int(rng.integers(6, slices + 1))
        out.append(sample(script, rows, until, asked, rng))
    return out
