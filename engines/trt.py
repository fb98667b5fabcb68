"""TensorRT: runs a plan that was built for this GPU. TensorRT 8.5 to 11 and TensorRT-RTX share all that is used here."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from engines.engine import EngineError, Port, Tensors, check

BUILDS = ("tensorrt", "tensorrt_rtx")
DTYPES = {"FLOAT": torch.float32, "INT64": torch.int64, "INT32": torch.int32, "UINT8": torch.uint8}


def installed() -> str:
    """The build of TensorRT that is here, the first of BUILDS. Raises EngineError where there is none."""
    for name in BUILDS:
        if find_spec(name):
            return name
    raise EngineError("TensorRT is not installed; pip install tensorrt-rtx, or tensorrt from NVIDIA's index (README, Engines)")


def library(name: str) -> ModuleType:
    """The named build of TensorRT. Raises EngineError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise EngineError(f"{name} is not installed; pip install tensorrt-rtx, or tensorrt from NVIDIA's index") from error


def here(name: str) -> dict[str, str]:
    """What a plan depends on: it is refused where this is another."""
    told = {"build": f"{name} {library(name).__version__}"}
    if not torch.cuda.is_available():
        return told | {"gpu": "none"}
    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    return told | {"gpu": torch.cuda.get_device_name(), "capability": capability, "cuda": str(torch.version.cuda)}


class TrtEngine:
    """A plan. Raises EngineError where there is no GPU, and for a plan that cannot be read or was built for another one."""

    def __init__(self, path: Path, build: str) -> None:
        """`build` is what made the plan, one of BUILDS: they do not read each other's."""
        trt = library(build)
        if not torch.cuda.is_available():
            raise EngineError(f"{path.name} is a TensorRT plan and torch finds no CUDA here; set engine to auto or torch")
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._plan = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._plan is None:
            raise EngineError(f"{path} is damaged or built for another GPU or TensorRT; build it again (favor-export --to trt)")
        self._context = self._plan.create_execution_context()
        names = [self._plan.get_tensor_name(at) for at in range(self._plan.num_io_tensors)]
        is_input = {name: self._plan.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        self.inputs = {name: self._port(name) for name in names if is_input[name]}
        self.outputs = {name: self._port(name) for name in names if not is_input[name]}

    def run(self, given: Tensors) -> dict[str, Tensor]:
        """Queued on torch's current stream."""
        check(self.inputs, given)
        held = {name: tensor.to("cuda").contiguous() for name, tensor in given.items()}
        for name, tensor in held.items():
            if not self._context.set_input_shape(name, tuple(tensor.shape)):
                least, _, most = self._plan.get_tensor_profile_shape(name, 0)
                raise EngineError(
                    f"{name} is {list(tensor.shape)}; the plan takes {list(least)} to {list(most)}; build it for more"
                    " (favor-export --to trt)"
                )
        made = {
            name: torch.empty(tuple(self._context.get_tensor_shape(name)), dtype=port.dtype, device="cuda")
            for name, port in self.outputs.items()
        }
        for name, tensor in (held | made).items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise EngineError("TensorRT failed to run the plan; build it again (favor-export --to trt)")
        for tensor in held.values():
            tensor.record_stream(torch.cuda.current_stream())
        return made

    def _port(self, name: str) -> Port:
        shape: Any = tuple(self._plan.get_tensor_shape(name))
        named = tuple(f"{name}_{axis}" if length < 0 else length for axis, length in enumerate(shape))
        return Port(DTYPES[self._plan.get_tensor_dtype(name).name], named)
