"""One graph at one precision: written, compared with torch, and kept with its manifest only if it is right."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch

from engines import trt
from engines.engine import ToleranceError
from engines.manifest import Manifest, fingerprint, manifest_of
from engines.ort import OrtEngine
from engines.parity import Parity
from exporters import clips, to_onnx, to_trt
from exporters.check import compare
from exporters.eight_bits import Form, quantise
from exporters.graph import Graph
from exporters.source import Source
from favor_stream.model.feeds import feeds
from favor_stream.model.steps import steps

TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", *trt.BUILDS)


def export(
    source: Source, graph: Graph, precision: str, folder: Path, target: Literal["onnx", "trt"] = "onnx", compared: int = 500
) -> Manifest:
    """Writes the graph and its manifest; compared over so many steps of a stream, a plan only where there is a GPU.

    Raises ToleranceError, and leaves no file, when it is off by more than its tolerance.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, device = folder / f"{graph.name}.{precision}.onnx", {"machine": platform.machine()}
    if target == "onnx":
        write(source, graph, precision, path)
    else:
        build = trt.installed()
        with TemporaryDirectory() as scratch:
            draft = Path(scratch) / path.name
            write(source, graph, precision, draft, is_for_gpu=True)
            path, device = to_trt.build(draft, build, graph, folder), trt.here(build)
    engine = OrtEngine(path) if target == "onnx" else trt.TrtEngine(path, build) if torch.cuda.is_available() else None
    found = compare(graph, steps(source.model), engine, compared) if engine else Parity()
    manifest = described(source, graph, precision, path, found, device)
    if manifest.relative > manifest.tolerance:
        for file in (path, manifest_of(path)):
            with suppress(FileNotFoundError):
                file.unlink()
        raise ToleranceError(
            f"{path.name} is off by {manifest.relative:.2g} of the size, its tolerance is {manifest.tolerance:g}: it is not kept;"
            " choose another precision"
        )
    manifest.write(path)
    return manifest


def write(source: Source, graph: Graph, precision: str, path: Path, is_for_gpu: bool = False) -> None:
    """The ONNX file; eight bits are made of fp32, whose file is left beside it."""
    if precision not in ("int8", "fp8"):
        return to_onnx.export(graph, path, precision)
    exact = path.with_name(f"{graph.name}.fp32.onnx")
    if not exact.exists():
        to_onnx.export(graph, exact, "fp32")
    form: Form = "fp8 for a GPU" if precision == "fp8" else "int8 for a GPU" if is_for_gpu else "int8"
    return quantise(exact, path, feeds(steps(source.model), graph.part, clips.slices(graph.size), graph.batch), form)


def described(source: Source, graph: Graph, precision: str, path: Path, found: Parity, device: dict[str, str]) -> Manifest:
    return Manifest(
        graph=graph.name,
        preset=source.model.config.name,
        weights=source.weights,
        precision=precision,
        sha256=fingerprint(path),
        opset=to_onnx.opset(precision),
        shapes=shapes(graph),
        tools={tool: known for tool in TOOLS if (known := installed(tool))},
        device=device,
        steps=found.steps,
        error_max=found.error_max,
        error_mean=found.error_mean,
        cosine=found.cosine,
        relative=found.relative,
        tolerance=graph.tolerance[precision],
    )


def shapes(graph: Graph) -> dict[str, list[int | str]]:
    """Of each input; a free axis by its name."""
    return {
        name: [graph.free[name].get(at, length) for at, length in enumerate(tensor.shape)]
        for name, tensor in graph.example.items()
    }


def installed(tool: str) -> str | None:
    try:
        return version(tool)
    except PackageNotFoundError:
        return None
