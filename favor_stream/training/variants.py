"""Models that are alike but for one of FAVOR's ideas, and the oracle that teaches them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from favor_stream.model.config import FusionConfig, ModelConfig
from favor_stream.training.fusion import DIVERSITY
from favor_stream.training.oracle import Oracle, shown

WHOLE = 32  # slices of a training clip and of a film that is asked about


@dataclass(frozen=True, slots=True)
class Variant:
    """What differs from the full model: its fusion, and the weight of the diversity loss."""

    fusion: Callable[[FusionConfig], FusionConfig] = replace
    diversity: float = DIVERSITY

    @property
    def pictures(self) -> int:
        """Of each slice."""
        return self.fusion(FusionConfig()).pictures

    def of(self, full: ModelConfig) -> ModelConfig:
        return replace(full, fusion=self.fusion(full.fusion))


def windowed(slices: int) -> Variant:
    """Windows of so many slices. A window of one is its slice: it has no read-out of its own."""

    def fusion(full: FusionConfig) -> FusionConfig:
        each, whole = full.queries_of(1), full.queries_of(full.slices_per_window)
        if slices == 1:
            return replace(full, slices_per_window=1, resolutions=(1,), queries=(each,))
        return replace(full, slices_per_window=slices, resolutions=(slices, 1), queries=(whole, each))

    return Variant(fusion)


VARIANTS = {
    "full": Variant(),  # windows of 10 slices, 2 pictures per second
    "without-causal": Variant(partial(replace, causal=False)),
    "mask-future": Variant(partial(replace, mask_direction="future")),
    "without-synchronised": Variant(partial(replace, synchronised=False)),
    "without-diversity": Variant(diversity=0.0),
    "whole-clip": windowed(WHOLE),
    "window-1": windowed(1),
    "window-2": windowed(2),
    "window-5": windowed(5),
    "window-20": windowed(20),
    "fps-1": Variant(partial(replace, picture_every=2)),
    "fps-4": Variant(partial(replace, pictures=2)),
    "separate": Variant(partial(replace, joint=False)),
}


class ShownOracle(Oracle):
    """An oracle of windows of any size: it writes what they show, and nothing for a read-out that they do not have."""

    def slices(self, rows: Tensor, words: Tensor) -> Tensor:
        return super().slices(shown(rows, self.window_slices), words)

    def memory(self, rows: Tensor, words: Tensor) -> tuple[Tensor, list[Tensor]]:
        slices, windows = super().memory(rows, words)
        return slices, windows if self.window_slices > 1 else [window[:, :0] for window in windows]

    def copy_loss(self, slices: Tensor, window: Tensor, rows: Tensor, words: Tensor) -> Tensor:
        if self.window_slices == 1:  # nothing was written, so nothing is wrong
            window = self.window(self.slices(rows, words))
        return super().copy_loss(slices, window, rows, words)
