from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tiny import tiny_model

from favor_stream import doctor
from favor_stream.config import Config
from favor_stream.doctor import Finding, examine, run
from favor_stream.model import weights


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    weights.save(folder, *tiny_model(), {})
    return Config(weights=folder)


@pytest.fixture(autouse=True)
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for the demo's film, with a film in it."""
    path = tmp_path / "demo.mp4"
    path.touch()
    path.with_suffix(".json").touch()
    monkeypatch.setattr(doctor, "FILM", path)
    return path


def found(config: Config, part: str) -> Finding:
    (finding,) = [finding for finding in examine(config) if finding.part == part]
    return finding


def test_machine_that_can_run_the_demo_says_so(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, json_out=False) == 0
    assert "The demo can run" in capsys.readouterr().out


def test_json_says_the_same(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(config, json_out=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["can_run_demo"] is True
    assert {"python", "torch", "cuda", "onnxruntime", "weights", "cameras", "microphones"} <= {
        finding["part"] for finding in told["findings"]
    }


def test_damaged_weights_are_found(config: Config, tmp_path: Path) -> None:
    weights.save(tmp_path / "damaged", *tiny_model(), {})
    (tmp_path / "damaged" / weights.TENSORS).write_bytes(b"no tensors")
    finding = found(Config(weights=tmp_path / "damaged"), "weights")
    assert not finding.present
    assert "is damaged" in finding.found


def test_package_that_breaks_is_a_finding(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brittle.py").write_text("raise OSError('libbrittle.so: wrong ELF class')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "NEEDED", (*doctor.NEEDED, "brittle"))
    monkeypatch.setattr(doctor, "version", lambda name: "1.0")
    finding = found(config, "brittle")
    assert not finding.present
    assert finding.found == "1.0 cannot be imported (libbrittle.so: wrong ELF class)"


def test_missing_film_stops_the_demo_and_is_told(config: Config, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film.unlink()
    assert run(config, json_out=False) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("MISSING")]
    assert "demo film" in line


def test_sound_library_that_hangs_is_a_finding(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LIST_MICROPHONES", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor, "LISTING_S", 0.2)
    finding = found(config, "microphones")
    assert not finding.present
    assert "does not answer" in finding.found


def test_microphones_are_listed_by_name(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [{"name": name, "max_input_channels": inputs} for name, inputs in (("desk", 2), ("speaker", 0), ("room", 1))]
    (tmp_path / "sounddevice.py").write_text(f"def query_devices():\n    return {devices}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = found(config, "microphones")
    assert finding.present
    assert finding.found == "desk, room"


@pytest.mark.skipif(sys.platform != "linux", reason="cameras are files on Linux alone")
def test_absent_parts_come_with_advice(config: Config) -> None:
    assert all(finding.advice for finding in examine(config) if not finding.present)
