"""A graph to be exported: a part of the model, what goes into it, and how far from torch it may be."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from favor_stream.model.steps import Step
from favor_stream.sample import SIZE

FREE_BATCH = 3  # streams in the example of a graph that takes any number: one of 1 would be taken for a constant


@dataclass(frozen=True, slots=True)
class Shapes:
    """What a graph is to fit; what is fixed runs a little faster."""

    batch: int | None = 1  # streams at once; None: any number
    size: tuple[int, int] | None = None  # width and height of the pictures; None: any

    @property
    def examples(self) -> int:
        return self.batch or FREE_BATCH

    def named(self, part: str) -> str:
        """The part's name with what is out of the ordinary: audio, audio@any, vision@640x480."""
        size = f"{self.size[0]}x{self.size[1]}" if self.size and part == "vision" else ""
        batch = {None: "any", 1: ""}.get(self.batch, f"x{self.batch}")
        return "@".join(filter(None, (part, size, batch)))

    def free(self, example: dict[str, Tensor]) -> dict[str, dict[int, str]]:
        """All inputs of a part begin with the batch."""
        return {name: {0: "batch"} if self.batch is None else {} for name in example}


@dataclass(frozen=True, slots=True)
class Graph:
    """One part of one model, for these shapes."""

    name: str
    step: Step
    example: dict[str, Tensor]  # each input
    free: dict[str, dict[int, str]]  # the free axes of each input, by name
    tolerance: dict[str, float]  # by precision: the error of the worst step of a stream against the size of what is right

    @property
    def part(self) -> str:
        """Of which part of the model."""
        return self.name.split("@")[0]

    @property
    def batch(self) -> int:
        """Streams in the example."""
        return len(next(iter(self.example.values())))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures in the example, or a plain camera's."""
        if "pictures" not in self.example:
            return SIZE
        height, width = self.example["pictures"].shape[1:3]
        return width, height
