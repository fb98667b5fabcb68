"""What is in the wheel: the three packages with the shipped weights, and nothing that belongs to one machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("favor_stream", "engines", "exporters")
SHIPPED_SUFFIXES = {".py", ".typed", ".safetensors", ".json", ".mp4", ".md", ".toml", ".png", ".html", ".css", ".js"} | {
    *(".msg", ".srv", ".service", "Containerfile"),  # of robots
}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of a wheel that is built from a copy of the tree in which somebody left an engine."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / folder, tree / folder)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tree / name)
    for left in ("engines/left.plan", "favor_stream/models/left.engine", "exporters/left.onnx"):
        (tree / left).write_bytes(b"left behind")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tree / "dist")]
    subprocess.run(command, cwd=tree, check=True, capture_output=True, timeout=120)
    (wheel,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_three_packages_and_its_own_papers(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    papers = {top for top in tops if top.startswith("favor_stream-") and top.endswith(".dist-info")}
    assert len(papers) == 1
    assert tops - papers == set(PACKAGES)


def test_every_module_is_in_the_wheel(names: set[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


def test_shipped_weights_are_in_the_wheel(names: set[str]) -> None:
    folder = ROOT / "favor_stream" / "models"
    assert {str(path.relative_to(ROOT)) for path in folder.rglob("*") if path.is_file()} <= names


def test_nothing_else_is_in_the_wheel(names: set[str]) -> None:
    """No exported graph, built engine, cache of the training or any other file of an unexpected kind."""
    strays = {
        name for name in names if ".dist-info/" not in name and (Path(name).suffix or Path(name).name) not in SHIPPED_SUFFIXES
    }
    assert strays == set()
