"""What `train --preset smoke` makes: it has learned something, is gone on with where it stopped, and can be taught further."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from favor_stream.aveb import evaluation
from favor_stream.aveb.answering import here
from favor_stream.errors import ConfigError, WeightsError
from favor_stream.model import weights
from favor_stream.session import Session
from favor_stream.training import train
from favor_stream.training.curriculum import GENTLY, SMOKE
from favor_stream.training.loop import Run, Stage

FEW = {"clips": 4, "odd": 2, "speech": 4, "sight": 0, "hearing": 6, "language": 1, "distil": 1, "join": 1}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("espeakng_loader")
    folder = tmp_path_factory.mktemp("smoke")
    assert train.run("smoke", folder) == 0
    return folder


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[Stage]:
    """What is taught from now on."""
    taught, teach = list[Stage](), Run.train

    def noted(run: Run, stage: Stage, *how: Any, **further: Any) -> None:
        taught.append(stage)
        teach(run, stage, *how, **further)

    monkeypatch.setattr(Run, "train", noted)
    return taught


@pytest.mark.alone
@pytest.mark.slow
def test_it_answers_about_unseen_pictures_better_than_chance(smoke: Path) -> None:
    pytest.importorskip("jiwer")
    answered = here([Session(*weights.load(smoke))], with_recent=False)
    given = evaluation.measured(answered, evaluation.chosen(["captions", "pictures"]), 40, 1)
    captions, pictures = evaluation.rows_of(given)
    assert captions.low > captions.chance
    assert pictures.score > pictures.chance


@pytest.mark.alone
def test_what_is_there_is_not_made_again(smoke: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f'"stage": "join", "step": {SMOKE.budget.join},' in (smoke / "work" / "curves.jsonl").read_text()
    before = weights.fingerprint(smoke / weights.TENSORS)
    assert train.run("smoke", smoke) == 0
    assert "join" not in capsys.readouterr().out
    assert weights.fingerprint(smoke / weights.TENSORS) == before
    with pytest.raises(ConfigError, match="was begun with"):
        train.run("smoke", smoke, seed=1)
    assert (smoke / "curves.png").stat().st_size > 1000


@pytest.mark.alone
def test_weights_that_are_taught_further_keep_their_sight_and_need_their_oracle(
    smoke: Path, tmp_path: Path, stages: list[Stage]
) -> None:
    """The clips that they were taught with are as good for that."""
    out = tmp_path / "further"
    made_ns = dict[Path, int]()
    for path in (smoke / "work").glob("*/000000.*"):  # the first clips of each sort
        copy = out / path.relative_to(smoke)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        made_ns[copy] = copy.stat().st_mtime_ns
    assert train.run("smoke", out, start=smoke, other=FEW) == 0
    assert {stage.name for stage in stages if stage.steps} == {"hearing", "language", "distil", "join"}
    assert all(stage.rate == GENTLY * SMOKE.stage(stage.name, is_new=True).rate for stage in stages)
    assert {path: path.stat().st_mtime_ns for path in made_ns} == made_ns
    assert len(made_ns) == 9
    before, after = weights.load(smoke)[0], weights.load(out)[0]
    for part, is_kept in {"vision": True, "audio": False, "fusion": False, "llm": False}.items():
        pairs = zip(getattr(before, part).parameters(), getattr(after, part).parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs) == is_kept
    with pytest.raises(ConfigError, match="was begun with"):
        train.run("smoke", out, other=FEW)
    (out / train.ORACLE).unlink()
    with pytest.raises(WeightsError, match=f"{train.ORACLE} cannot be read"):
        train.run("smoke", tmp_path / "on", start=out, other=FEW)
