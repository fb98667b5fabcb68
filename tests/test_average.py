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


def weights_of(folder: Path, number: float, name: str = "tiny") -> Path:
    """Weights whose every tensor is `number`."""
    model, tokenizer = talkative_model()
    model.config = replace(model.config, name=name)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.fill_(number)
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


def test_weights_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    one, other = weights_of(tmp_path / "one", 1.0), weights_of(tmp_path / "other", 2.0, name="another")
    with pytest.raises(ConfigError, match="differ in their configurations"):
        average.run([one, other], tmp_path / "mean")
    with pytest.raises(ConfigError, match="another folder for their mean"):
        average.run([other, one], other / ".." / "one")
    with pytest.raises(ConfigError, match="1 weights to average"):
        average.run([one], tmp_path / "mean")
    with pytest.raises(WeightsError, match="nowhere"):
        average.run([one, tmp_path / "nowhere"], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
