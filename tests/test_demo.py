from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from media import numbered_film
from tiny import tiny_model

from favor_stream.config import Config
from favor_stream.demo import FILM, QUESTIONS, Asked, is_right, questions, run
from favor_stream.errors import DeviceError
from favor_stream.model import weights

ROW = {"question": "what was said?", "expected": "", "needs": "sound", "at_s": 1.0}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A tiny random model, whose every answer is empty."""
    folder = tmp_path_factory.mktemp("tiny")
    weights.save(folder, *tiny_model(), {})
    return Config(weights=folder, max_answer_tokens=4)


def show(folder: Path, *rows: dict[str, Any]) -> Path:
    """A folder with a film of two seconds and questions about it."""
    numbered_film(folder / FILM, seconds=2.0)
    (folder / QUESTIONS).write_text(json.dumps({"questions": rows}))
    return folder


def test_demo_succeeds_when_every_answer_is_right(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = show(tmp_path, {**ROW, "at_s": 9.0, "question": "what came first?", "needs": "order"}, ROW)
    assert run(config, folder) == 0
    out = capsys.readouterr().out
    assert out.index("what was said?  (needs sound; asked at 1.") < out.index("what came first?  (needs order; asked at 2.0 s, ")
    assert "2 of 2 answers are right." in out


def test_demo_fails_when_one_answer_is_wrong(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = show(tmp_path, ROW, {**ROW, "expected": "red circle"})
    assert run(config, folder) == 1
    out = capsys.readouterr().out
    assert "WRONG, expected: red circle" in out
    assert "1 of 2 answers are right." in out


def test_demo_says_how_the_agent_kept_up(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(config, show(tmp_path, ROW))
    out = capsys.readouterr().out
    assert "s behind" in out
    assert "first token after" in out
    assert "tokens in the cache" in out
    assert "dropped" in out


def test_questions_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    folder = show(tmp_path, {**ROW, "at_s": 7}, {**ROW, "at_s": 2.5})
    assert questions(folder / QUESTIONS) == [Asked("what was said?", "", "sound", at_s) for at_s in (2.5, 7.0)]


@pytest.mark.parametrize("content", ["", "[]", '{"questions": [{"question": "what?"}]}', '{"asked": []}'])
def test_file_without_questions_is_told(content: str, tmp_path: Path) -> None:
    path = tmp_path / QUESTIONS
    path.write_text(content)
    with pytest.raises(DeviceError, match="holds no questions"):
        questions(path)


def test_missing_film_is_told(config: Config, tmp_path: Path) -> None:
    show(tmp_path, ROW)
    (tmp_path / FILM).unlink()
    with pytest.raises(DeviceError, match=r"no demo\.mp4"):
        run(config, tmp_path)


@pytest.mark.parametrize(
    ("answer", "right"),
    [("red circle", True), (" Red  circle.", True), ("circle red", False), ("a red circle", False), ("", False)],
)
def test_same_words_in_the_same_order_are_right(answer: str, right: bool) -> None:
    assert is_right(answer, "red circle") is right
