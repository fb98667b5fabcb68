"""The fastest engine that is right is found, written down and used; without one, torch is used and one warning says so."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from favor_stream import tune
from favor_stream.config import Config
from favor_stream.encoder import GraphEncoder, TorchEncoder, choices_file, load_encoder
from favor_stream.errors import ConfigError, EngineError
from favor_stream.graphs import Choice
from favor_stream.model import weights
from favor_stream.model.favor import Favor

SIZE = (40, 24)


@pytest.fixture
def exported(exported_folder: Path) -> Config:
    return Config(weights=exported_folder, graphs=exported_folder / "graphs")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def loaded(config: Config) -> tuple[Favor, str]:
    assert config.weights
    return weights.load(config.weights)[0], weights.read_manifest(config.weights)["sha256"]


def test_choice_is_written_explained_and_used(exported: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune.run(exported, ["torch", "onnxruntime"], SIZE, explain=True) == 0
    told = capsys.readouterr().out
    model, sha256 = loaded(exported)
    chosen = json.loads(choices_file(sha256).read_text())
    assert sorted(chosen) == ["audio", "read_out", "vision", "vision@40x24", "window"]
    assert told.count("| chosen |") == 5
    assert "| audio | torch fp32 |" in told
    assert isinstance(load_encoder(exported, model, sha256), GraphEncoder)


def test_engine_that_is_wrong_or_missing_is_passed_over_and_told(exported: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune.run(exported, ["torch", "onnxruntime"], SIZE, explain=True) == 0
    assert "int8" not in capsys.readouterr().out  # it was not exported
    assert exported.graphs is not None
    (exported.graphs / "vision.int8.onnx").write_bytes(b"half of a gr")
    assert tune.run(exported, ["torch", "onnxruntime"], SIZE, explain=True) == 0
    table = capsys.readouterr().out
    assert "no audio.int8.onnx in" in table
    assert "| vision | onnxruntime int8 x1 | | | | " in table


def test_of_those_about_as_fast_the_most_exact_is_taken() -> None:
    exact, rounded, slow = (
        tune.Trial("audio", Choice("onnxruntime", precision), error, spent_s=[spent_s])
        for precision, error, spent_s in (("fp32", 1e-6, 1.05), ("int8", 0.05, 1.0), ("fp16", 0.0, 2.0))
    )
    assert tune.fastest([slow, rounded, exact]) is exact
    exact.spent_s = [1.2]
    assert tune.fastest([slow, rounded, exact]) is rounded


def test_without_a_choice_torch_perceives_and_one_warning_says_so(exported: Config, caplog: pytest.LogCaptureFixture) -> None:
    model, sha256 = loaded(exported)
    with caplog.at_level(logging.WARNING):
        assert isinstance(load_encoder(exported, model, sha256), TorchEncoder)
    assert [record.getMessage() for record in caplog.records] == [
        'torch perceives: nothing was tuned here; run favor-export and favor-stream tune, or set engine = "torch"'
    ]


@pytest.mark.parametrize("content", ["", "[1]", '{"audio": {"engine": "horn"}}', '{"audio": {"speed": 1}}'])
def test_a_choice_that_cannot_be_had_leaves_torch_and_a_warning(
    content: str, exported: Config, caplog: pytest.LogCaptureFixture
) -> None:
    model, sha256 = loaded(exported)
    choices_file(sha256).parent.mkdir(parents=True)
    choices_file(sha256).write_text(content)
    with caplog.at_level(logging.WARNING):
        assert isinstance(load_encoder(exported, model, sha256), TorchEncoder)
    assert len(caplog.records) == 1


def test_tuning_without_graphs_says_how_to_make_them(exported: Config, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no graphs in .*; make them: favor-export --preset tiny --to onnx"):
        tune.run(replace(exported, graphs=tmp_path), [], SIZE, explain=False)


def test_unknown_engine_is_refused(exported: Config) -> None:
    with pytest.raises(ConfigError, match="no engine 'horn'; write some of torch, compile"):
        tune.run(exported, ["horn"], SIZE, explain=False)


def test_graph_that_nothing_can_run_is_an_error() -> None:
    with pytest.raises(EngineError, match="audio runs on none of these engines .no such file.; leave --only out"):
        tune.fastest([tune.Trial("audio", Choice(), refusal="no such file")])
