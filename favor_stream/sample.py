"""A stream made of nothing: boxes that drift over a grainy wall, tones, noise and silence. The same on every machine.

It is what figures and comparisons run on where no film may be needed; it knows no model, and no model learns from it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from favor_stream.records import RATE, SLICE_SAMPLES, Picture, Slice, Sound

SIZE = (640, 480)  # width and height of a plain camera's pictures


def sample(slices: int, first: int = 0, size: tuple[int, int] = SIZE, seed: int = 0) -> Iterator[Slice]:
    """So many slices from slice `first` on."""
    for index in range(first, first + slices):
        yield Slice(index, picture(index, size, seed), sound(index, seed))


def picture(index: int, size: tuple[int, int] = SIZE, seed: int = 0) -> Picture:
    """A new room every 20 slices; a box in it drifts, and every seventh slice is dark."""
    width, height = size
    room = np.random.default_rng([seed, index // 20])
    wall, box = room.integers(0, 256, (2, 3))
    x, y, w, h = (int(part) for part in room.integers(1, 8, 4) * (width, height, width, height) // 10)
    x = (x + index % 20 * width // 40) % width
    scene = np.broadcast_to(wall, (height, width, 3)).astype(np.int16)
    scene[y : y + h, x : x + w] = box
    grain = np.random.default_rng([seed, index]).integers(-12, 13, (height, width, 1), dtype=np.int16)
    light = 8 if index % 7 == 6 else 1
    shown: Picture = (np.clip(scene + grain, 0, 255) // light).astype(np.uint8)
    return shown


def sound(index: int, seed: int = 0) -> Sound:
    """Silence every fifth slice, else a tone over noise, in steps of loudness from quiet to loud."""
    chance = np.random.default_rng([seed, index, 1])
    loudness = 10.0 ** -(index % 4) if index % 5 else 0.0
    at = np.arange(index * SLICE_SAMPLES, (index + 1) * SLICE_SAMPLES) / RATE
    tone = np.sin(2 * np.pi * 110 * 2 ** (index % 36 / 6) * at)
    return (loudness * (0.5 * tone + 0.2 * chance.standard_normal(SLICE_SAMPLES))).astype(np.float32)
