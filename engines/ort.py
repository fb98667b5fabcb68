"""ONNX Runtime: on the CPU, or through its CUDA and TensorRT providers with all tensors staying on the GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engines.engine import EngineError, Port, Tensors, check

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
DTYPES = {"tensor(float)": torch.float32, "tensor(int64)": torch.int64, "tensor(uint8)": torch.uint8}


class OrtEngine:
    """An ONNX file. Raises EngineError for a file that cannot be read, and for a provider that this build lacks."""

    def __init__(self, path: Path, threads: int = 0, providers: Sequence[str] = (CPU,), cache: Path | None = None) -> None:
        """`threads` 0: one for each core; `providers` in the order of preference, all of which must be there.

        What TensorRT builds on first use is kept in the folder `cache`, and what it timed.
        """
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise EngineError("onnxruntime is not installed; pip install --editable '.[onnx]', or '.[gpu]' for a GPU") from error
        if missing := [name for name in providers if name not in onnxruntime.get_available_providers()]:
            raise EngineError(f"this onnxruntime has no {missing[0]}; pip install --editable '.[gpu]' in place of '.[onnx]'")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Several graphs and torch take turns on the same cores: a thread that spins after its turn takes the next one's.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            told = [(name, kept(cache) if name == TENSORRT and cache else {}) for name in providers]
            self._session = onnxruntime.InferenceSession(str(path), options, providers=told)
        except Exception as error:  # which is what onnxruntime raises, of several kinds without a name
            raise EngineError(
                f"{path} cannot be loaded ({str(error).splitlines()[0]}); export it again (favor-export)"
            ) from error
        if self._session.get_providers()[0] != providers[0]:
            raise EngineError(
                f"onnxruntime fell back from {providers[0]} to {self._session.get_providers()[0]}; is its CUDA there?"
            )
        self._device = torch.device("cpu" if providers[0] == CPU else "cuda")
        self.inputs = {each.name: port(each) for each in self._session.get_inputs()}
        self.outputs = {each.name: port(each) for each in self._session.get_outputs()}

    def run(self, given: Tensors) -> dict[str, Tensor]:
        """Inputs and outputs are bound where torch has them, so state never leaves the GPU."""
        check(self.inputs, given)
        held = {name: tensor.to(self._device).contiguous() for name, tensor in given.items()}
        made = {
            name: torch.empty(shape, device=self._device, dtype=self.outputs[name].dtype) for name, shape in self._shapes(held)
        }
        binding = self._session.io_binding()
        for bind, tensors in ((binding.bind_input, held), (binding.bind_output, made)):
            for name, tensor in tensors.items():
                dtype = str(tensor.dtype).removeprefix("torch.")
                bind(name, self._device.type, 0, dtype, list(tensor.shape), tensor.data_ptr())
        if self._device.type == "cuda":  # what made the inputs ran on torch's stream, the graph runs on its own
            torch.cuda.current_stream().synchronize()
        self._session.run_with_iobinding(binding)
        return made

    def _shapes(self, held: Tensors) -> Iterator[tuple[str, list[int]]]:
        """Of each output: a free axis is as long as the input's of that name."""
        lengths: dict[int | str, int] = {}
        for name, tensor in held.items():
            lengths |= dict(zip(self.inputs[name].shape or (), tensor.shape, strict=True))
        for name, port in self.outputs.items():
            yield name, [axis if isinstance(axis, int) else lengths[axis] for axis in port.shape or ()]


def kept(cache: Path) -> dict[str, str]:
    """The settings of the TensorRT provider that keep what it builds."""
    folder = str(cache / "ort-tensorrt")
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
    }


def port(told: Any) -> Port:
    return Port(DTYPES[told.type], tuple(told.shape))
