"""An engine takes what fits and says what does not; a stream carries state; a manifest that is not true any more is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engines import manifest
from engines.engine import EngineError, Port, Tensors, check
from engines.manifest import Manifest, manifest_of
from engines.ort import OrtEngine
from engines.ov import OpenVinoEngine
from engines.parity import parity
from engines.stream import Stream
from engines.torch_eager import TorchEngine
from engines.trt import TrtEngine, library


class Adder:
    """Adds what is given to what it was given before."""

    inputs = {"x": Port(torch.float32, (2,)), "sum": Port(torch.float32, (2,))}
    outputs = {"twice": Port(torch.float32, (2,)), "new_sum": Port(torch.float32, (2,))}

    def __init__(self, error: float = 0.0) -> None:
        self.error = error

    def run(self, given: Tensors) -> dict[str, Tensor]:
        check(self.inputs, given)
        total = given["x"] + given["sum"] + self.error
        return {"twice": 2 * total, "new_sum": total}


ONE = {"x": torch.ones(2)}
EMPTY = {"sum": torch.zeros(2)}


def test_stream_gives_new_state_back_as_state_and_begins_anew_after_a_reset() -> None:
    stream = Stream(Adder(), EMPTY)
    assert [stream.step(ONE)["twice"][0].item() for _ in range(3)] == [2, 4, 6]
    stream.reset()
    assert stream.step(ONE)["twice"][0].item() == 2


def test_two_streams_share_an_engine() -> None:
    engine = Adder()
    one, other = Stream(engine, EMPTY), Stream(engine, EMPTY)
    one.step(ONE)
    assert other.step(ONE)["twice"][0].item() == 2


def test_stream_without_the_state_of_its_graph_is_refused() -> None:
    with pytest.raises(EngineError, match="the state begins with nothing; expected an input for each of new_sum"):
        Stream(Adder(), {})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"x": torch.ones(2)}, "the inputs are x; expected x, sum"),
        ({"x": torch.ones(3), "sum": torch.ones(2)}, r"x is torch.float32 \[3\]; expected torch.float32 \[2\]"),
        ({"x": torch.ones(2, 1), "sum": torch.ones(2)}, r"x is torch.float32 \[2, 1\]"),
        ({"x": torch.ones(2, dtype=torch.int64), "sum": torch.ones(2)}, "x is torch.int64"),
    ],
)
def test_what_does_not_fit_is_told_with_what_would(given: dict[str, Tensor], told: str) -> None:
    with pytest.raises(EngineError, match=told):
        check(Adder.inputs, given)


def test_parity_finds_an_error_that_only_the_state_has() -> None:
    right = parity(Stream(Adder(), EMPTY), Stream(Adder(), EMPTY), [ONE] * 4)
    assert (right.steps, right.error_max, right.relative) == (4, 0, 0)
    assert right.cosine == pytest.approx(1)
    wrong = parity(Stream(Adder(), EMPTY), Stream(Adder(error=0.1), EMPTY), [ONE] * 4)
    assert wrong.error_max == pytest.approx(0.8)  # 2 x 4 x 0.1
    assert wrong.relative == pytest.approx(0.1)


def test_module_of_torch_is_an_engine() -> None:
    class Doubler(torch.nn.Linear):
        def forward(self, x: Tensor) -> tuple[Tensor]:  # type: ignore[override]
            return (2 * x,)

    assert TorchEngine(Doubler(1, 1), ("x",), ("y",)).run({"x": torch.ones(3)})["y"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("engine", [OrtEngine, OpenVinoEngine])
@pytest.mark.parametrize("content", [b"", b"not a graph at all"])
def test_a_damaged_graph_is_refused_in_one_line(engine: type, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "audio.fp32.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"audio.fp32.onnx cannot be loaded .*export it again") as caught:
        engine(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "make", "told"),
    [
        ("onnxruntime", lambda: OrtEngine(Path("x")), r"onnxruntime is not installed; pip install --editable '.\[onnx\]'"),
        ("openvino", lambda: OpenVinoEngine(Path("x")), r"openvino is not installed; pip install --editable '.\[openvino\]'"),
        ("tensorrt", lambda: library("tensorrt"), "tensorrt is not installed; pip install tensorrt-rtx, or tensorrt"),
    ],
)
def test_an_engine_that_is_not_installed_says_how_to_get_it(
    module: str, make: object, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert callable(make)
    with pytest.raises(EngineError, match=told):
        make()


def test_a_provider_that_this_build_lacks_is_refused() -> None:
    with pytest.raises(EngineError, match="this onnxruntime has no CUDAExecutionProvider; pip install"):
        OrtEngine(Path("x"), providers=("CUDAExecutionProvider",))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_plan_without_a_gpu_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(EngineError, match="torch finds no CUDA here; set engine to auto or torch"):
        TrtEngine(tmp_path / "audio.plan", "tensorrt_rtx")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A file with a manifest that is true of it."""
    path = tmp_path / "audio.fp32.onnx"
    path.write_bytes(b"graph")
    known = Manifest("audio", "tiny", "aa", "fp32", manifest.fingerprint(path), 20, {}, {}, {}, 9, 0.0, 0.0, 1.0, 1e-6, 1e-4)
    known.write(path)
    return path


def test_manifest_is_read_as_it_was_written(graph: Path) -> None:
    assert manifest.read(graph, "aa").tolerance == 1e-4


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"weights": "bb"}, "was made of weights bb, these are aa"),
        ({"sha256": "00"}, "is damaged: its sha256 is not that of its manifest"),
        ({"relative": 0.2}, "is off by 0.2, its tolerance is 0.0001"),
        ({"relative": float("nan")}, "is off by nan"),
        ({"steps": 0}, "was never compared with torch"),
    ],
)
def test_manifest_that_is_not_true_here_is_refused(graph: Path, changed: dict[str, object], told: str) -> None:
    replace(manifest.read(graph, "aa"), **changed).write(graph)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=f"{told}.*favor-export"):
        manifest.read(graph, "aa")


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"graph": "audio"})])
def test_manifest_that_cannot_be_read_is_refused(graph: Path, text: str) -> None:
    manifest_of(graph).write_text(text)
    with pytest.raises(EngineError, match="cannot be read .*favor-export"):
        manifest.read(graph, "aa")


@pytest.mark.parametrize("missing", ["graph", "manifest"])
def test_graph_that_is_not_there_is_named(graph: Path, missing: str) -> None:
    (graph if missing == "graph" else manifest_of(graph)).unlink()
    with pytest.raises(EngineError, match=r"no audio.fp32.onnx.* in .*favor-export"):
        manifest.read(graph, "aa")
