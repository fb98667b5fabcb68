"""An ONNX file to a TensorRT plan for this GPU; TensorRT-RTX builds ahead of time, also where there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from engines import trt as runtime
from engines.engine import EngineError
from exporters.graph import Graph

LEAST = {"batch": 1, "height": 64, "width": 64}  # of a free axis in the plan's profile
USUAL = {"batch": 1, "height": 480, "width": 640}
TIMES = {"tensorrt"}  # builds that time kernels, and need not time the same ones again; TensorRT-RTX builds ahead of time
MOST = {"batch": 16, "height": 1080, "width": 1920}


def build(source: Path, name: str, graph: Graph, folder: Path) -> Path:
    """Writes the plan of an ONNX file into the folder, with that build of TensorRT. Precision is the file's: strongly typed.

    Raises EngineError for a file that cannot be parsed or a graph that the build cannot make.
    """
    trt = runtime.library(name)
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(source)):
        raise EngineError(f"{source} cannot be read by {name} ({parser.get_error(0).desc()}); export it again (favor-export)")
    config = builder.create_builder_config()
    if any(graph.free.values()):
        config.add_optimization_profile(profile(builder, graph))
    cache = folder / f"{name}.timings"
    if name in TIMES:
        config.set_timing_cache(config.create_timing_cache(cache.read_bytes() if cache.exists() else b""), ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f'{name} cannot build {source.name}; run it with ONNX Runtime instead (engine = "cuda")')
    path = folder / f"{source.name.removesuffix('.onnx')}.{name}.plan"
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(bytes(plan))
    os.replace(part, path)
    if name in TIMES:
        cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    return path


def profile(builder: Any, graph: Graph) -> Any:
    """The shapes that free axes may take, and those to be fastest at."""
    made = builder.create_optimization_profile()
    for name, tensor in graph.example.items():
        each = [
            tuple(lengths[axis] if (axis := graph.free[name].get(at)) else length for at, length in enumerate(tensor.shape))
            for lengths in (LEAST, USUAL, MOST)
        ]
        made.set_shape(name, *each)
    return made
