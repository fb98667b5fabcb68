"""A module of torch as an engine, as it stands or compiled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engines.engine import EngineError, Port, Tensors, check

ANY = Port(None, None)  # torch itself says what does not fit


class TorchEngine:
    """`module` takes what `inputs` names, in that order, and returns a tuple of what `outputs` names."""

    def __init__(self, module: nn.Module, inputs: Sequence[str], outputs: Sequence[str], compiled: bool = False) -> None:
        """`compiled` runs it through torch.compile, whose compiler (g++ on a CPU) is looked for at the first run."""
        self.inputs, self.outputs = dict.fromkeys(inputs, ANY), dict.fromkeys(outputs, ANY)
        self._device = next(module.parameters()).device
        self._module = torch.compile(module, dynamic=False) if compiled else module

    @torch.inference_mode()
    def run(self, given: Tensors) -> dict[str, Tensor]:
        check(self.inputs, given)
        try:
            outputs = self._module(*(given[name].to(self._device) for name in self.inputs))
        except torch._dynamo.exc.BackendCompilerFailed as error:
            raise EngineError(
                f"torch.compile failed ({str(error).splitlines()[0]}); install g++ or choose another engine"
            ) from error
        return dict(zip(self.outputs, outputs, strict=True))
