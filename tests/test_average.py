"""The mean of several weights: their language models', with the senses of the last."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import talkative_model

from favor_stream.errors import ConfigError, WeightsError
from favor_stream.model import weights
from favor_stream.training import average, train


def weights_of(folder: Path, number: float, name: str = "tiny", sense: float | None = None) -> Path:
    """Weights whose every tensor is `number`, those of the encoders `sense` if it is given."""
    model, tokenizer = talkative_model()
    model.config = replace(model.config, name=name)
    with torch.no_grad():
        for part in (model.llm, model.fusion, model.audio, model.vision):
            for tensor in part.parameters():
                tensor.fill_(sense if sense is not None and part in (model.audio, model.vision) else number)
    weights.save(folder, model, tokenizer, {"seed": number})
    return folder


def test_language_is_the_mean_and_all_else_the_last(tmp_path: Path) -> None:
    folders = [weights_of(tmp_path / str(number), number) for number in (1.0, 2.0, 6.0)]
    (folders[-1] / train.ORACLE).write_bytes(b"the last's")
    assert average.run(folders, tmp_path / "mean") == 0
    model, _ = weights.load(tmp_path / "mean")
    for part, number in {"llm": 3.0, "fusion": 6.0, "audio": 6.0, "vision": 6.0}.items():
        assert {each.unique().tolist()[0] for each in getattr(model, part).parameters()} == {number}
    assert (tmp_path / "mean" / train.ORACLE).read_bytes() == b"the last's"
    manifest = weights.read_manifest(tmp_path / "mean")
    assert manifest["seed"] == 6.0
    assert manifest["averaged"]["sha256"] == [weights.fingerprint(folder / weights.TENSORS) for folder in folders]


def test_qformers_are_averaged_too_where_the_senses_are_the_same(tmp_path: Path) -> None:
    folders = [weights_of(tmp_path / str(number), number, sense=5.0) for number in (1.0, 3.0)]
    assert average.run(folders, tmp_path / "mean", with_qformer=True) == 0
    model, _ = weights.load(tmp_path / "mean")
    for part, number in {"llm": 2.0, "fusion": 2.0, "audio": 5.0, "vision": 5.0}.items():
        assert {each.unique().tolist()[0] for each in getattr(model, part).parameters()} == {number}
    other = weights_of(tmp_path / "other", 3.0, sense=4.0)
    with pytest.raises(ConfigError, match="differ in their encoders"):
        average.run([other, *folders], tmp_path / "no", with_qformer=True)
    assert not (tmp_path / "no").exists()


def test_weights_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    one, other = weights_of(tmp_path / "one", 1.0), weights_of(tmp_path / "other", 2.0, name="another")
    with pytest.raises(ConfigError, match="differ in their configurations"):
        average.run([one, other], tmp_path / "mean")
    with pytest.raises(ConfigError, match="1 weights to average"):
        average.run([one], tmp_path / "mean")
    with pytest.raises(WeightsError, match="nowhere"):
        average.run([one, tmp_path / "nowhere"], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
    before = weights.fingerprint(other / weights.TENSORS)
    with pytest.raises(ConfigError, match="other holds weights already"):
        average.run([one, one], other)
    with pytest.raises(ConfigError, match="one holds weights already"):  # by whichever way it is named
        average.run([other, one], other / ".." / "one")
    assert weights.fingerprint(other / weights.TENSORS) == before
