"""A weights folder is read whole or refused in one line that says what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_model

from favor_stream.errors import ConfigError, WeightsError
from favor_stream.model import weights

NAME = "fusion.to_llm.0.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    weights.save(tmp_path, *tiny_model(), {"seed": 7})
    return tmp_path


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Changes them and lets the manifest know."""
    tensors = load_file(folder / weights.TENSORS)
    change(tensors)
    save_file(tensors, folder / weights.TENSORS)
    change_manifest(folder, lambda told: told.update(sha256=weights.fingerprint(folder / weights.TENSORS)))


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    told = json.loads((folder / weights.MANIFEST).read_text())
    change(told)
    (folder / weights.MANIFEST).write_text(json.dumps(told))


def refusal(folder: Path) -> str:
    with pytest.raises((WeightsError, ConfigError)) as caught:
        weights.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_saved_model_is_the_loaded_one_but_for_half_precision(folder: Path) -> None:
    model, tokenizer = tiny_model()
    loaded, its_tokenizer = weights.load(folder)
    assert loaded.config == model.config
    assert its_tokenizer.get_vocab() == tokenizer.get_vocab()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(loaded.get_parameter(name), parameter.half().float(), atol=0, rtol=0)
    assert weights.read_manifest(folder)["seed"] == 7


@pytest.mark.parametrize("name", [weights.TENSORS, weights.TOKENIZER, weights.MANIFEST])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"no {name} in {folder}" in refusal(folder)


def test_one_flipped_bit_is_found(folder: Path) -> None:
    content = bytearray((folder / weights.TENSORS).read_bytes())
    content[-1] ^= 1
    (folder / weights.TENSORS).write_bytes(content)
    assert "is damaged" in refusal(folder)


def test_lacking_tensor_is_named(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.pop(NAME))
    assert f"lacks ['{NAME}']" in refusal(folder)


def test_tensor_too_many_is_named(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update(stranger=torch.zeros(1)))
    assert "has ['stranger'] too many" in refusal(folder)


def test_tensor_of_another_size_is_named(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({NAME: torch.zeros(1, 1)}))
    assert NAME in refusal(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"config": {}, "sha256": 1'])
def test_broken_manifest_is_told(folder: Path, text: str) -> None:
    (folder / weights.MANIFEST).write_text(text)
    assert f"{folder / weights.MANIFEST} cannot be read" in refusal(folder)


def test_setting_of_another_version_is_named(folder: Path) -> None:
    change_manifest(folder, lambda told: told["config"]["audio"].update(warmth=1))
    assert "warmth" in refusal(folder)


@pytest.mark.parametrize(
    ("part", "setting"),
    [("audio", {"width": -1}), ("fusion", {"hidden": "wide"}), ("llm", {"heads": None}), ("llm", {"mlp": []})],
)
def test_sizes_that_no_model_has_are_told(folder: Path, part: str, setting: dict[str, Any]) -> None:
    change_manifest(folder, lambda told: told["config"][part].update(setting))
    assert f"{folder / weights.MANIFEST} describes no model" in refusal(folder)


def test_configuration_that_is_none_is_told(folder: Path) -> None:
    change_manifest(folder, lambda told: told.update(config={"name": "tiny", "audio": 3}))
    assert "describes another configuration" in refusal(folder)


def test_encoder_that_nobody_knows_is_named(folder: Path) -> None:
    change_manifest(folder, lambda told: told["config"]["vision"].update(kind="owl"))
    assert "no encoder of kind 'owl'" in refusal(folder)
