"""How far an engine is from another one that is right, over a stream of steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cosine_similarity

from engines.engine import Tensors
from engines.stream import Stream


@dataclass(slots=True)
class Parity:
    """Errors of what two streams gave for the same steps, their state included."""

    steps: int = 0
    error_max: float = 0.0
    error_mean: float = 0.0  # of the worst tensor
    cosine: float = 1.0  # of the worst step
    relative: float = 0.0  # |exported - right| / |right| of the worst step

    def add(self, right: Tensor, other: Tensor) -> None:
        error = (other - right).abs()
        self.error_max = max(self.error_max, float(error.max()))
        self.error_mean = max(self.error_mean, float(error.mean()))
        self.relative = max(self.relative, float(error.norm() / right.norm().clamp(min=1e-12)))
        if right.any():  # else it has no direction
            self.cosine = min(self.cosine, float(cosine_similarity(right.flatten(), other.flatten(), 0)))


def parity(right: Stream, other: Stream, steps: Iterable[Tensors]) -> Parity:
    """Both streams go the same steps, each with its own state."""
    found = Parity()
    for given in steps:
        expected, told = (stream.step(given) | stream.state for stream in (right, other))
        for name, tensor in expected.items():
            found.add(tensor.double().cpu(), told[name].double().cpu())
        found.steps += 1
    return found
