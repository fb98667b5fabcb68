"""An fp32 graph to int8: weights per channel, activations by what a stream of generated clips shows (static, QDQ)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx
from torch import Tensor

from favor_stream.errors import EngineError

ROUNDED = ["Conv", "MatMul", "Gemm"]


def quantise(source: Path, target: Path, steps: Iterable[Mapping[str, Tensor]]) -> None:
    """`steps` are the graph's inputs as they occur, state included. Raises EngineError where onnxruntime is missing."""
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ModuleNotFoundError as error:
        raise EngineError("int8 needs onnxruntime; pip install --editable '.[export]'") from error

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Mapping[str, Tensor]] = iter(steps)

        def get_next(self) -> dict[str, object] | None:
            given = next(self.left, None)
            return None if given is None else {name: tensor.numpy() for name, tensor in given.items()}

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / source.name
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=ROUNDED,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(learned(prepared)),
        )


def learned(path: Path) -> Iterator[str]:
    """The products with weights: of Conv2d and Conv1d, which have a bias, and of Linear, which the exporter names so.

    The rest is arithmetic on raw pictures and sound, where eight bits are too few, and attention, where little is gained.
    """
    for node in onnx.load(path).graph.node:
        if (node.op_type == "Conv" and len(node.input) == 3) or node.name.startswith("node_MatMul_"):
            yield node.name
