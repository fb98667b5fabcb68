"""What an engine is: named tensors in, named tensors out. It knows no graph by name and keeps nothing between two runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]


class EngineError(Exception):
    """A graph, a plan or an engine is missing or does not fit. One line: what was found, what was expected, what to do."""


class ToleranceError(EngineError):
    """A graph computes something else than torch does."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output."""

    dtype: torch.dtype | None  # None: the engine does not tell
    shape: tuple[int | str, ...] | None  # a free axis has a name


class Engine(Protocol):
    """A graph that is ready to run."""

    @property
    def inputs(self) -> Mapping[str, Port]: ...

    @property
    def outputs(self) -> Mapping[str, Port]: ...

    def run(self, given: Tensors) -> dict[str, Tensor]:
        """Every output, on the engine's device; the caller may keep them. Raises EngineError for tensors that do not fit."""
        ...


def check(ports: Mapping[str, Port], given: Tensors) -> None:
    """Raises EngineError unless every input is there with its dtype and shape."""
    if given.keys() != ports.keys():
        raise EngineError(f"the inputs are {', '.join(given)}; expected {', '.join(ports)}: is the graph of another model?")
    for name, port in ports.items():
        tensor = given[name]
        if not (port.dtype in (None, tensor.dtype) and fits(port.shape, tuple(tensor.shape))):
            raise EngineError(
                f"{name} is {tensor.dtype} {list(tensor.shape)}; expected {port.dtype} {list(port.shape or ())}; "
                "export the graph for it (favor-export --size, --batch)"
            )


def fits(wanted: tuple[int | str, ...] | None, shape: tuple[int, ...]) -> bool:
    if wanted is None:
        return True
    return len(wanted) == len(shape) and all(
        isinstance(one, str) or one == other for one, other in zip(wanted, shape, strict=True)
    )
