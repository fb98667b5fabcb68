"""Slices of films of the generated world, as training draws them: what int8 is calibrated on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from favor_stream.aveb import world
from favor_stream.aveb.picture import picture
from favor_stream.aveb.soundtrack import soundtrack
from favor_stream.aveb.truth import picture_s
from favor_stream.records import SLICE_S, SLICE_SAMPLES, Picture, Slice

CLIPS, CLIP_S = 4, 10.0


def slices(size: tuple[int, int]) -> Iterator[Slice]:
    """One film after the other, its pixels repeated to this width and height."""
    for seed in range(CLIPS):
        script = world.draw(seed, CLIP_S, "training")
        sound = soundtrack(script)
        for k in range(int(CLIP_S / SLICE_S)):
            yield Slice(k, shown(picture(script, picture_s(k)), size), sound[k * SLICE_SAMPLES : (k + 1) * SLICE_SAMPLES])


def shown(small: Picture, size: tuple[int, int]) -> Picture:
    """The nearest pixel each."""
    (height, width), (columns, rows) = small.shape[:2], size
    return np.ascontiguousarray(small[np.arange(rows) * height // rows][:, np.arange(columns) * width // columns])
