"""OpenVINO on the CPU: it runs an fp32 graph in bf16 where the processor has instructions for that (AVX512-BF16, AMX)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from engines.engine import EngineError, Port, Tensors, check

DTYPES = {"f32": torch.float32, "i64": torch.int64, "u8": torch.uint8}


class OpenVinoEngine:
    """An ONNX file. Raises EngineError for a file that cannot be read, and where OpenVINO is not installed."""

    def __init__(self, path: Path, threads: int = 0, precision: Literal["fp32", "bf16"] = "fp32") -> None:
        """`threads` 0: OpenVINO's own choice."""
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise EngineError("openvino is not installed; pip install --editable '.[openvino]'") from error
        hints = {"INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision], "PERFORMANCE_HINT": "LATENCY"}
        hints |= {"INFERENCE_NUM_THREADS": str(threads)} if threads else {}
        try:
            model = openvino.Core().compile_model(str(path), "CPU", hints)
        except RuntimeError as error:
            raise EngineError(
                f"{path} cannot be loaded ({str(error).splitlines()[-1]}); export it again (favor-export)"
            ) from error
        self._request, self._tensor = model.create_infer_request(), openvino.Tensor
        self.inputs = {each.any_name: port(each) for each in model.inputs}
        self.outputs = {each.any_name: port(each) for each in model.outputs}

    def run(self, given: Tensors) -> dict[str, Tensor]:
        check(self.inputs, given)
        arrays = {name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in given.items()}
        for name, array in arrays.items():  # which are read where they lie
            self._request.set_tensor(name, self._tensor(array, shared_memory=True))
        self._request.start_async()  # `infer` would copy all outputs once more
        self._request.wait()
        # Copied: the request writes its next outputs where these lie.
        return {name: torch.from_numpy(self._request.get_tensor(name).data.copy()) for name in self.outputs}


def port(told: Any) -> Port:
    """ONNX's names of free axes are lost here: the first is the batch."""
    shape = tuple(told.get_partial_shape())
    named = tuple(each.get_length() if each.is_static else f"axis_{at}" for at, each in enumerate(shape))
    return Port(DTYPES[told.get_element_type().get_type_name()], named)
