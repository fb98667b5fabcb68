"""Weights tell what they came from."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from favor_stream.training.provenance import provenance, revision


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_revision_is_the_commit_and_says_when_files_differ(tmp_path: Path) -> None:
    assert revision(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message=one")
    git(tmp_path, "tag", "v1")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert revision(tmp_path) == commit[:12]
    (tmp_path / "file").write_text("two")
    assert revision(tmp_path) == f"{commit[:12]}-dirty"


def test_broken_checkout_has_no_revision(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert revision(tmp_path) is None


def test_hours_are_those_of_all_stages(tmp_path: Path) -> None:
    lines = [("sight", 20, 60.0), ("sight", 40, 1800.0), ("hearing", 20, 5400.0)]
    curves = tmp_path / "curves.jsonl"
    curves.write_text("".join(json.dumps({"stage": s, "step": at, "seconds": spent_s}) + "\n" for s, at, spent_s in lines))
    told = provenance(curves)
    assert (told["hours"], told["stage_seconds"]) == (2.0, {"sight": 1800.0, "hearing": 5400.0})
    assert told["hardware"]
