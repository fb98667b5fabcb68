"""A graph to an ONNX file, checked for form. Whether it computes the right thing is told by exporters/check.py."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch.export import Dim

from exporters.graph import Graph
from favor_stream.model.steps import lowered

OPSET, BF16_OPSET = 20, 22  # the first in which every operator takes bf16
MOST = {"batch": 64, "height": 4320, "width": 7680}  # of a free axis; LEAST is what torch.export takes for no constant
LEAST = {"batch": 2, "height": 16, "width": 16}
LARGEST = 2**31 - 1  # bytes of one protobuf; weights beyond it lie in a file of their own
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def export(graph: Graph, path: Path, precision: str) -> None:
    """Writes the file, whole or not at all; fp32, fp16 or bf16. Raises OSError where it cannot be written."""
    step = lowered(graph.step, DTYPES[precision]) if precision != "fp32" else graph.step
    part = path.with_name(f".{path.name}.part")
    is_large = sum(weight.nbytes for weight in step.parameters()) > LARGEST * 0.9
    with quiet(), torch.no_grad():  # what learns attends in another way
        program = torch.onnx.export(
            step.eval(),
            tuple(graph.example.values()),
            dynamo=True,
            input_names=list(graph.example),
            output_names=list(graph.step.outputs),
            dynamic_shapes=dynamic(graph),
            opset_version=opset(precision),
            verbose=False,
        )
        assert program is not None
        program.save(str(path if is_large else part), external_data=is_large)
    onnx.checker.check_model(str(path if is_large else part), full_check=True)
    if not is_large:
        os.replace(part, path)


def opset(precision: str) -> int:
    return BF16_OPSET if precision == "bf16" else OPSET


def dynamic(graph: Graph) -> tuple[object, ...]:
    """The free axes as torch.export wants them: one entry for each of forward's arguments, a tuple for `*state`."""
    axes = {name: Dim(name, min=LEAST[name], max=MOST[name]) for name in MOST}
    each = [{at: axes[name] for at, name in graph.free[key].items()} for key in graph.example]
    named = graph.step.forward.__code__.co_argcount - 1  # without self
    return (*each[:named], tuple(each[named:])) if len(each) > named else tuple(each)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's talk of operators that a torch without torchvision lacks."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.utils._sympy", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
