"""A weights folder: model.safetensors (fp16), tokenizer.json and manifest.json with the configuration and a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from tokenizers import Tokenizer
from torch import nn

from favor_stream.config import SHIPPED
from favor_stream.errors import ConfigError, WeightsError
from favor_stream.model.config import AudioConfig, FusionConfig, LlmConfig, ModelConfig, VisionConfig
from favor_stream.model.favor import Favor

TENSORS, TOKENIZER, MANIFEST = "model.safetensors", "tokenizer.json", "manifest.json"


def save(folder: Path, model: Favor, tokenizer: Tokenizer, facts: dict[str, Any]) -> None:
    """Write a weights folder; `facts` (seeds, data, hours, hardware) go into its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    # Tied weights are one tensor under two names, and safetensors wants each tensor once.
    write(model, folder / TENSORS, {"llm.lm_head.weight"} if model.llm.config.tie_word_embeddings else frozenset())
    tokenizer.save(str(folder / TOKENIZER))
    manifest = {"config": asdict(model.config), "sha256": fingerprint(folder / TENSORS), **facts}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def refuse_to_replace(folder: Path) -> None:
    """Raises ConfigError where a folder that new weights are to be written into has some: they took hours."""
    if (folder / MANIFEST).exists():
        raise ConfigError(f"{folder} holds weights already: expected a folder without; choose another")


def load(folder: Path | None = None) -> tuple[Favor, Tokenizer]:
    """The model and tokenizer of a weights folder, ready to run in float32; None: the shipped favor-nano.

    Raises WeightsError for a folder that is missing, damaged or of another configuration.
    """
    folder = folder or SHIPPED
    manifest = read_manifest(folder)
    try:
        found = fingerprint(folder / TENSORS)
    except OSError as error:
        raise WeightsError(f"{folder / TENSORS} cannot be read ({error.strerror}); let its owner allow it") from error
    if found != manifest["sha256"]:
        raise WeightsError(
            f"{folder / TENSORS} is damaged: its sha256 begins {found[:12]}, the manifest says {str(manifest['sha256'])[:12]}; "
            "fetch the folder again or train it (favor-stream train)"
        )
    try:
        tensors = load_file(folder / TENSORS)
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # which is what tokenizers raises
        raise WeightsError(
            f"{folder} cannot be read ({error}); fetch the folder again or train it (favor-stream train)"
        ) from error
    config = config_of(manifest["config"], folder)
    try:
        model = Favor(config)
    except Exception as error:  # whatever stumbles over sizes that no model has
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{folder / MANIFEST} describes no model ({reason}); fetch the folder again") from error
    fill(model, tensors, folder)
    return model.float().eval(), tokenizer


def random(config: ModelConfig) -> tuple[Favor, str]:
    """The same random weights each time, for speed alone, without a language model; and a name in place of their sha256."""
    small = replace(config, llm=replace(config.llm, layers=0, vocabulary=8, lora_rank=0))
    torch.manual_seed(0)
    return Favor(small).eval(), hashlib.sha256(f"random {small}".encode()).hexdigest()


def write(module: nn.Module, path: Path, without: Collection[str] = ()) -> None:
    """Write its tensors, halved."""
    tensors = {k: v.detach().half().contiguous().cpu() for k, v in module.state_dict().items() if k not in without}
    path.write_bytes(serialised(tensors))  # written here, a full disk is an OSError


def read(module: nn.Module, path: Path) -> None:
    """Fill it with what was written. Raises WeightsError for a file that is missing, damaged or of something else."""
    try:
        tensors = load_file(path)
    except Exception as error:  # which is what safetensors raises
        raise WeightsError(f"{path} cannot be read ({error}); fetch it again, or train from the beginning") from error
    fill(module, tensors, path)


def fill(model: nn.Module, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    try:
        missing, unknown = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise WeightsError(
            f"{folder} holds tensors of another size ({str(error).splitlines()[1].strip()}); train it anew"
        ) from error
    missing = [name for name in missing if name != "llm.lm_head.weight"]
    if missing or unknown:
        raise WeightsError(
            f"{folder} is of another configuration: lacks {missing[:3]}, has {unknown[:3]} too many; train it anew"
        )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a weights folder; WeightsError when it or a file beside it is missing."""
    for name in (MANIFEST, TENSORS, TOKENIZER):
        if not (folder / name).is_file():
            raise WeightsError(f"no {name} in {folder}; expected a weights folder as `favor-stream train` writes it")
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if not {"config", "sha256"} <= manifest.keys():
            raise KeyError("config or sha256")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"{folder / MANIFEST} cannot be read ({error}); fetch the folder again") from error
    return manifest


def config_of(saved: dict[str, Any], folder: Path) -> ModelConfig:
    """The configuration as it was saved; JSON has no tuples."""

    def tuples(part: dict[str, Any]) -> dict[str, Any]:
        return {key: tuple(value) if isinstance(value, list) else value for key, value in part.items()}

    try:
        return ModelConfig(
            saved["name"],
            AudioConfig(**tuples(saved["audio"])),
            VisionConfig(**tuples(saved["vision"])),
            FusionConfig(**tuples(saved["fusion"])),
            LlmConfig(**tuples(saved["llm"])),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{folder / MANIFEST} describes another configuration ({error}); expected one of this version"
        ) from error


def fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
