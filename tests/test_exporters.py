"""Exported graphs compute what torch computes, on every engine of this machine and over hundreds of steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from engines import trt
from engines.manifest import manifest_of, read
from engines.ort import OrtEngine
from exporters import to_trt
from exporters.__main__ import main
from exporters.check import compare
from exporters.export import export, write
from exporters.graph import Graph
from exporters.parts import graphs
from exporters.score import score
from exporters.source import Source, random, trained
from favor_stream.config import Config
from favor_stream.encoder import GraphEncoder
from favor_stream.errors import EngineError
from favor_stream.graphs import TOLERANCE, Choice, Graphs
from favor_stream.model import weights
from favor_stream.model.steps import steps
from favor_stream.records import SLICE_SAMPLES
from favor_stream.sample import sample
from favor_stream.session import load_session

SIZE = (40, 24)
PARTS = ("vision", "audio", "window", "read_out")


@pytest.fixture(scope="module")
def folder(exported_folder: Path) -> Path:
    """A weights folder, and in it the graphs of its model for one stream and for several."""
    graphs = ["--out", str(exported_folder / "graphs"), "--batch", "any", "--steps", "6"]
    assert main(["--preset", "tiny", "--weights", str(exported_folder), *graphs]) == 0
    return exported_folder


@pytest.fixture
def exported(folder: Path) -> Graphs:
    model, _ = weights.load(folder)
    return Graphs(steps(model), weights.read_manifest(folder)["sha256"], folder / "graphs")


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # torch.compile's own
@pytest.mark.parametrize("engine", ["torch", "compile", "onnxruntime", "openvino"])
def test_streamed_through_exported_graphs_equals_whole_in_torch_over_500_steps(
    engine: str, folder: Path, exported: Graphs
) -> None:
    model, _ = weights.load(folder)
    compiled = {"audio", "window"} if engine == "compile" else PARTS  # those with a state: compiling takes its time
    choices = {name: Choice(engine if name in compiled else "torch") for name in PARTS}
    encoder = GraphEncoder(model, {name: exported.open(name, choice) for name, choice in choices.items()})
    pieces = list(sample(501, size=SIZE))
    tokens = [encoder.step(torch.from_numpy(piece.picture), torch.from_numpy(piece.sound)) for piece in pieces]
    pictures, sound = (torch.stack([torch.from_numpy(getattr(piece, name)) for piece in pieces]) for name in ("picture", "sound"))
    whole = model.perceive(pictures[None], sound.reshape(1, 501 * SLICE_SAMPLES))[0]
    streamed = torch.cat([*tokens, encoder.read_out()])
    assert (streamed - whole).norm() / whole.norm() < 1e-4
    assert encoder.slices == 1


@pytest.mark.parametrize("name", PARTS)
def test_a_graph_of_any_batch_runs_one_stream_and_five(name: str, exported: Graphs) -> None:
    engine, step = exported.open(f"{name}@any", Choice("onnxruntime")), exported.part(name)
    for batch in (1, 5):
        given = (
            {"pictures": torch.randint(0, 256, (batch, *SIZE, 3), dtype=torch.uint8)}
            if name == "vision"
            else {
                port: torch.ones(batch, *shape.shape[1:], dtype=shape.dtype)  # type: ignore[index]
                for port, shape in engine.inputs.items()
            }
        )
        with torch.inference_mode():
            wanted = step(*(given[port] for port in step.inputs))
        for one, other in zip(engine.run(given).values(), wanted, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("size", [(17, 20), (24, 40), (90, 50), (31, 300)])
def test_graph_of_any_size_sees_what_torch_sees_in_small_pictures_and_large(size: tuple[int, int], exported: Graphs) -> None:
    """Small: than the 32 by 32 that the encoder looks at."""
    pictures = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        wanted = exported.part("vision")(pictures)[0]
    seen = exported.open("vision", Choice("onnxruntime")).run({"pictures": pictures})["seen"]
    torch.testing.assert_close(seen, wanted, atol=1e-4, rtol=1e-3)


def test_pictures_of_another_size_go_through_the_graph_of_any_size(folder: Path, exported: Graphs) -> None:
    model, _ = weights.load(folder)
    opened = {name: exported.open(name, Choice("onnxruntime")) for name in exported.names}
    assert sorted(opened) == sorted([*PARTS, "vision@40x24"])
    encoder = GraphEncoder(model, opened)
    sound = torch.zeros(SLICE_SAMPLES)
    assert (
        encoder.step(torch.zeros(24, 40, 3, dtype=torch.uint8), sound).shape
        == encoder.step(torch.zeros(30, 50, 3, dtype=torch.uint8), sound).shape
    )
    with pytest.raises(Exception, match=r"pictures is torch.uint8 \[1, 30, 50, 3\].*--size"):
        opened["vision@40x24"].run({"pictures": torch.zeros(1, 30, 50, 3, dtype=torch.uint8)})


def test_manifest_says_what_was_made_of_what_and_how_far_off_it_is(folder: Path, exported: Graphs) -> None:
    known = read(exported.file("audio", "fp32"), exported.weights)
    assert (known.graph, known.preset, known.precision, known.steps, known.opset) == ("audio", "tiny", "fp32", 6, 20)
    assert known.weights == weights.read_manifest(folder)["sha256"]
    assert 0 < known.relative < known.tolerance
    assert known.shapes["sound"] == [1, SLICE_SAMPLES]
    assert read(exported.file("vision@any", "fp32"), exported.weights).shapes["pictures"] == ["batch", "height", "width", 3]
    assert "torch" in known.tools


def test_session_answers_through_the_engine_that_is_configured(folder: Path) -> None:
    plain = Config(weights=folder, engine="torch", max_answer_tokens=8)
    sessions = [load_session(each) for each in (plain, replace(plain, engine="onnxruntime", graphs=folder / "graphs"))]
    for piece in sample(7, size=SIZE):
        for session in sessions:
            session.see(piece)
    one, other = ("".join(session.ask("what do you see now?")) for session in sessions)
    assert one == other


def test_engine_whose_graphs_were_not_exported_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no vision.fp32.onnx in .*favor-export"):
        load_session(Config(weights=folder, engine="onnxruntime", graphs=tmp_path))


def test_graph_out_of_tolerance_is_told_and_not_kept(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = trained("tiny", folder)
    strict = replace(named(source, "audio"), tolerance={"fp32": 0.0})
    with pytest.raises(Exception, match=r"audio.fp32.onnx is off by .*tolerance is 0: it is not kept"):
        export(source, strict, "fp32", tmp_path, compared=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", PARTS)
def test_half_precision_is_near(part: str, folder: Path, tmp_path: Path) -> None:
    source = trained("tiny", folder)
    assert 1e-5 < export(source, named(source, part), "fp16", tmp_path, compared=4).relative < 0.01


def test_eight_bits_are_calibrated_on_generated_clips(folder: Path, tmp_path: Path) -> None:
    source = trained("tiny", folder)
    loose = replace(named(source, "vision"), tolerance={"int8": 1.0})  # random weights of 8 channels bear rounding badly
    export(source, loose, "int8", tmp_path, compared=2)
    nodes = onnx.load(tmp_path / "vision.int8.onnx").graph.node
    assert sum(node.op_type == "DequantizeLinear" for node in nodes) > 20


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--preset", "favor-13b"], "no weights of favor-13b are shipped; name a folder with --weights, or take --random"),
        (["--preset", "favor-7b", "--weights", "FOLDER"], "holds tiny; expected favor-7b; give --preset tiny"),
        (["--precision", "fp33"], "'fp33' is none of fp32, fp16, bf16, int8, fp8"),
        (
            ["--precision", "fp32,fp8"],
            "no processor's engine reads fp8 from a file; expected fp32, fp16 or int8",
        ),
        (["--size", "640"], "'640' is not a size such as 640x480"),
        (["--random", "--score", "5"], "--score asks a trained model through ONNX graphs of one stream"),
        (["--batch", "none"], "'none' is not a number of streams, nor the word any"),
        (["--weights", "/nowhere"], "no manifest.json in /nowhere"),
        (["--weights", "FOLDER", "--preset", "tiny", "--out", "/proc/graphs"], "/proc/graphs cannot be written"),
    ],
)
def test_mistakes_are_told_in_one_line(flags: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder) if flag == "FOLDER" else flag for flag in flags]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_what_rounding_costs_in_answers_is_written_into_the_manifest(folder: Path, exported: Graphs) -> None:
    found = score(trained("tiny", folder), folder, folder / "graphs", "fp32", clips=1)
    assert found["torch"] == found["exported"]
    assert found["questions"] > 3
    assert read(exported.file("audio", "fp32"), exported.weights).score == found


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_paper_sizes_export_with_parity_on_two_layers(part: str, tmp_path: Path) -> None:
    source = random("favor-13b", layers=2)
    manifest = export(source, named(source, part), "fp32", tmp_path, compared=2)
    assert manifest.relative < 1e-4
    shapes = manifest.shapes
    assert {"vision": shapes.get("pictures"), "audio": shapes.get("samples"), "window": shapes.get("causal_keys")}.get(part) in (
        None,
        [1, "height", "width", 3],
        [1, 480_000],
        [1, 2, 12, 320, 128],
    )


@pytest.mark.device
@pytest.mark.parametrize("part", [*PARTS, "vision@640x480"])
def test_tensorrt_rtx_builds_every_graph_of_the_shipped_model(part: str, tmp_path: Path) -> None:
    """It compiles ahead of time, so no GPU is needed here; nor is it known, then, whether the plan is right."""
    if trt_missing():
        pytest.skip("needs tensorrt-rtx: pip install --editable '.[rtx]'")
    source = trained("favor-nano", None)
    manifest = export(source, named(source, part), "fp16", tmp_path, target="trt", compared=2)
    plan = tmp_path / f"{part}.fp16.tensorrt_rtx.plan"
    assert plan.stat().st_size > 100_000
    assert manifest.device["build"].startswith("tensorrt_rtx 1.")
    assert json.loads(manifest_of(plan).read_text())["steps"] == (2 if torch.cuda.is_available() else 0)


@pytest.mark.device
@pytest.mark.parametrize("precision", ["bf16", "int8", "fp8"])
@pytest.mark.parametrize("part", ["vision@640x480", *PARTS[1:]])
def test_tensorrt_rtx_builds_every_precision(part: str, precision: str, tmp_path: Path) -> None:
    if trt_missing():
        pytest.skip("needs tensorrt-rtx: pip install --editable '.[rtx]'")
    source = random("tiny", None)
    manifest = export(source, named(source, part), precision, tmp_path, target="trt", compared=2)
    assert (manifest.precision, manifest.opset) == (precision, 22 if precision == "bf16" else 20)
    assert (tmp_path / f"{part}.{precision}.tensorrt_rtx.plan").stat().st_size > 10_000


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_eight_bits_for_a_gpu_are_near(precision: str, tmp_path: Path) -> None:
    """The form in which TensorRT is given them, run by ONNX Runtime."""
    source = trained("favor-nano", None)
    path = tmp_path / "read_out.onnx"
    write(source, graph := named(source, "read_out"), precision, path, is_for_gpu=True)
    assert 1e-3 < compare(graph, steps(source.model), OrtEngine(path), 20).relative < TOLERANCE[precision]


@pytest.mark.gpu
@pytest.mark.parametrize("part", PARTS)
def test_plans_have_parity_on_the_gpu(part: str, tmp_path: Path) -> None:
    if trt_missing():
        pytest.skip("needs tensorrt-rtx: pip install --editable '.[rtx]'")
    source = trained("favor-nano", None)
    source.model.to("cuda")
    assert export(source, named(source, part), "fp16", tmp_path, target="trt", compared=50).relative < 0.01


def test_a_truncated_graph_cannot_become_a_plan(folder: Path, tmp_path: Path) -> None:
    if trt_missing():
        pytest.skip("needs tensorrt-rtx: pip install --editable '.[rtx]'")
    path = tmp_path / "audio.fp32.onnx"
    path.write_bytes((folder / "graphs" / path.name).read_bytes()[:1000])
    with pytest.raises(Exception, match=r"audio.fp32.onnx cannot be read by tensorrt_rtx .*favor-export"):
        to_trt.build(path, "tensorrt_rtx", named(trained("tiny", folder), "audio"), tmp_path)


def named(source: Source, name: str) -> Graph:
    return next(graph for graph in graphs(source.model, size=(640, 480)) if graph.name == name)


def trt_missing() -> bool:
    try:
        trt.library("tensorrt_rtx")
    except Exception:
        return True
    return False
