"""An fp32 graph to eight bits: activations by what a stream of generated clips shows (static, QDQ), weights by themselves."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
import onnx
from onnx import numpy_helper
from torch import Tensor

from favor_stream.errors import EngineError

ROUNDED = ["Conv", "MatMul", "Gemm"]
WIDER = 127 / 448  # the largest of int8 against the largest of fp8
Form = Literal["int8", "int8 for a GPU", "fp8 for a GPU"]


def quantise(source: Path, target: Path, steps: Iterable[Mapping[str, Tensor]], form: Form) -> None:
    """`steps` are the graph's inputs as they occur, state included. Raises EngineError where onnxruntime is missing."""
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ModuleNotFoundError as error:
        raise EngineError("eight bits need onnxruntime; pip install --editable '.[onnx]'") from error

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Mapping[str, Tensor]] = iter(steps)

        def get_next(self) -> dict[str, object] | None:
            given = next(self.left, None)
            return None if given is None else {name: tensor.numpy() for name, tensor in given.items()}

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # it tells its progress
        prepared = Path(folder) / source.name
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=ROUNDED,
            nodes_to_quantize=list(learned(prepared)),
            **numbers(form),
        )
    if form == "fp8 for a GPU":
        widened(target)


def numbers(form: Form) -> dict[str, Any]:
    """A processor's int8 products want activations without a sign; TensorRT wants zero in the middle, and biases as they are."""
    from onnxruntime.quantization import QuantType

    told = {"weight_type": QuantType.QInt8, "per_channel": True}
    if form == "int8":
        return told | {"activation_type": QuantType.QUInt8}
    centred = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    return told | {"activation_type": QuantType.QInt8, "extra_options": centred}


def widened(path: Path) -> None:
    """A file of centred int8 to fp8 (e4m3fn), in place: the same largest values, a finer grid near zero.

    onnxruntime's own fp8 chooses its scales by how values are spread; with the shipped weights vision is then off by 0.88 of
    its size, and so by 0.06.
    """
    model = onnx.load(path)
    graph = model.graph
    rounding = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    scales, zeros = ({node.input[place] for node in rounding} for place in (1, 2))
    for kept in graph.initializer:
        values = numpy_helper.to_array(kept)
        if kept.name in scales:
            kept.CopyFrom(numpy_helper.from_array(values * np.float32(WIDER), kept.name))
        elif kept.name in zeros or (values.dtype == np.int8 and any(kept.name == node.input[0] for node in rounding)):
            fine = (values.astype(np.float32) / WIDER).astype(ml_dtypes.float8_e4m3fn)
            kept.CopyFrom(numpy_helper.from_array(fine, kept.name))
    del graph.value_info[:]  # which tells the types that were
    onnx.save(model, path)


def learned(path: Path) -> Iterator[str]:
    """The products with weights: of Conv2d and Conv1d, which have a bias, and of Linear, which the exporter names so.

    The rest is arithmetic on raw pictures and sound, where eight bits are too few, and attention, where little is gained.
    """
    for node in onnx.load(path).graph.node:
        if (node.op_type == "Conv" and len(node.input) == 3) or node.name.startswith("node_MatMul_"):
            yield node.name
