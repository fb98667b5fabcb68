"""The parts of one model on engines: where exported graphs lie, and which engine runs one how.

Made by `favor-export`; which is the fastest here is found by `favor-stream tune`. It knows no session and no stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from engines import engine as engines
from engines import manifest, trt
from engines.engine import Engine
from engines.ort import CPU, CUDA, TENSORRT, OrtEngine
from engines.ov import OpenVinoEngine
from engines.torch_eager import TorchEngine
from favor_stream.config import cache_folder
from favor_stream.errors import EngineError
from favor_stream.model.steps import Step, lowered

# What an engine's error may be against the size of what torch gives, in the worst step of a stream, by precision.
TOLERANCE = {"fp32": 1e-4, "fp16": 0.01, "bf16": 0.05, "int8": 0.1, "fp8": 0.1}
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Choice:
    """How one graph is run."""

    engine: str = "torch"  # one of ENGINES
    precision: str = "fp32"
    threads: int = 0  # 0: the engine's own choice

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}" + (f" x{self.threads}" if self.threads else "")


@dataclass(frozen=True, slots=True)
class Graphs:
    """The graphs of one model's weights, and the model's own parts, of which they were made."""

    parts: dict[str, Step]
    weights: str  # sha256
    folder: Path

    def open(self, name: str, choice: Choice) -> Engine:
        """The graph's engine. `name` is a part's name, perhaps with what it fits: vision@640x480.

        Raises EngineError where the engine is not installed, and for a graph that is missing, damaged or of other weights.
        """
        if choice.engine not in ENGINES:
            raise EngineError(f"no engine {choice.engine!r}; expected one of {', '.join(ENGINES)}")
        try:
            return ENGINES[choice.engine](self, name, choice)
        except engines.EngineError as error:
            raise EngineError(str(error)) from error

    def part(self, name: str) -> Step:
        return self.parts[name.split("@")[0]]

    def file(self, name: str, precision: str, kind: str = "onnx") -> Path:
        return self.folder / f"{name}.{precision}.{kind}"

    def holds(self, choice: Choice) -> bool:
        """Whether some graph was exported for it; what runs in torch needs none."""
        if choice.engine in ("torch", "compile"):
            return True
        precision = "fp32" if choice.engine == "openvino" and choice.precision == "bf16" else choice.precision
        return any(self.folder.glob(f"*.{precision}.*plan" if choice.engine == "tensorrt" else f"*.{precision}.onnx"))

    def checked(self, name: str, precision: str) -> Path:
        """The graph's file, once its manifest was read."""
        path = self.file(name, precision)
        manifest.read(path, self.weights)
        return path

    @property
    def names(self) -> list[str]:
        """Of the graphs that an agent may run: each part, and vision for pictures of one size where that was exported."""
        found = {path.name.split(".")[0] for path in self.folder.glob("vision@*.onnx")}
        sizes = sorted(name for name in found if re.fullmatch(r"vision@\d+x\d+", name))
        return [name for part in self.parts for name in ([part, *sizes] if part == "vision" else [part])]


def graphs_folder(weights: str) -> Path:
    """Where the graphs of these weights lie when no other folder is given."""
    return cache_folder() / "graphs" / weights[:12]


def torch_engine(step: Step, choice: Choice = Choice(), compiled: bool = False) -> TorchEngine:
    """A part in torch; of any batch and any size."""
    step = step if choice.precision == "fp32" else lowered(step, DTYPES[choice.precision])
    return TorchEngine(step, step.inputs, step.outputs, compiled)


def _torch(graphs: Graphs, name: str, choice: Choice) -> Engine:
    return torch_engine(graphs.part(name), choice)


def _compile(graphs: Graphs, name: str, choice: Choice) -> Engine:
    return torch_engine(graphs.part(name), choice, compiled=True)


def _onnxruntime(graphs: Graphs, name: str, choice: Choice) -> Engine:
    return OrtEngine(graphs.checked(name, choice.precision), choice.threads)


def _cuda(graphs: Graphs, name: str, choice: Choice) -> Engine:
    return OrtEngine(graphs.checked(name, choice.precision), choice.threads, (CUDA, CPU))


def _ort_tensorrt(graphs: Graphs, name: str, choice: Choice) -> Engine:
    return OrtEngine(graphs.checked(name, choice.precision), choice.threads, (TENSORRT, CUDA, CPU), graphs.folder)


def _openvino(graphs: Graphs, name: str, choice: Choice) -> Engine:
    """In bf16 it rounds an fp32 graph itself."""
    rounds = choice.precision == "bf16"
    path = graphs.checked(name, "fp32" if rounds else choice.precision)
    return OpenVinoEngine(path, choice.threads, "bf16" if rounds else "fp32")


def _tensorrt(graphs: Graphs, name: str, choice: Choice) -> Engine:
    """By the build that is installed; a plan runs only where it was made."""
    build = trt.installed()
    path = graphs.file(name, choice.precision, f"{build}.plan")
    made, here = manifest.read(path, graphs.weights).device, trt.here(build)
    if made != here:
        raise engines.EngineError(f"{path.name} was built for {made}, this is {here}; build it here (favor-export --to trt)")
    return trt.TrtEngine(path, build)


ENGINES: dict[str, Callable[[Graphs, str, Choice], Engine]] = {
    "torch": _torch,
    "compile": _compile,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "cuda": _cuda,
    "ort-tensorrt": _ort_tensorrt,
    "tensorrt": _tensorrt,
}
