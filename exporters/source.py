"""Which model is exported: a weights folder, or a preset with random weights, for speed alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from favor_stream.config import SHIPPED
from favor_stream.errors import ConfigError
from favor_stream.model import weights
from favor_stream.model.config import PRESETS, ModelConfig
from favor_stream.model.favor import Favor


@dataclass(frozen=True, slots=True)
class Source:
    model: Favor
    weights: str  # sha256, or what stands for it where they are random


def trained(preset: str, folder: Path | None) -> Source:
    """The weights of that preset. Raises ConfigError where the folder holds another one, or none is shipped."""
    if folder is None and preset != SHIPPED.name:
        raise ConfigError(f"no weights of {preset} are shipped; name a folder with --weights, or take --random for speed alone")
    model, _ = weights.load(folder)
    if model.config.name != preset:
        raise ConfigError(f"{folder} holds {model.config.name}; expected {preset}; give --preset {model.config.name}")
    return Source(model, weights.read_manifest(folder or SHIPPED)["sha256"])


def random(preset: str, layers: int | None) -> Source:
    """The same random weights each time, without a language model, which is not exported. `layers`: of each encoder at most."""
    return Source(*weights.random(PRESETS[preset] if layers is None else shallow(PRESETS[preset], layers)))


def shallow(config: ModelConfig, layers: int) -> ModelConfig:
    """The same widths with so few layers that it fits a small machine."""
    vision = replace(
        config.vision, layers=min(layers, config.vision.layers), patch_layers=min(layers, config.vision.patch_layers)
    )
    audio = replace(config.audio, layers=min(layers, config.audio.layers))
    return replace(config, vision=vision, audio=audio)
