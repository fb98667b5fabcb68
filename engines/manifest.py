"""What is known of an exported graph, in a JSON file beside it, and whether it still is true here."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engines.engine import EngineError

AGAIN = "export it again (favor-export)"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Written when a graph is exported, after it was compared with torch."""

    graph: str  # which part of the model
    preset: str
    weights: str  # sha256 of the weights it was made of
    precision: str
    sha256: str  # of the graph's file
    opset: int
    shapes: dict[str, list[int | str]]  # of each input and output; a free axis has a name
    tools: dict[str, str]  # what made it, in which version
    device: dict[str, str]  # where; a plan runs nowhere else
    steps: int  # of a stream in which it was compared with torch
    error_max: float  # absolute, over all outputs that are no state
    error_mean: float
    cosine: float  # of the worst step
    relative: float  # error of the worst step against the size of what torch gives
    tolerance: float  # which that may have
    score: dict[str, float] = field(default_factory=dict)  # of a slice of the evaluation: clips, torch, exported

    def write(self, graph: Path) -> None:
        """Beside the graph; whole or not at all."""
        part = manifest_of(graph).with_suffix(".part")
        part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        os.replace(part, manifest_of(graph))


def manifest_of(graph: Path) -> Path:
    return graph.with_name(graph.name + ".json")


def read(graph: Path, weights: str) -> Manifest:
    """What is known of the graph. Raises EngineError when it is missing, damaged, or made of other weights."""
    path = manifest_of(graph)
    if not graph.is_file() or not path.is_file():
        raise EngineError(f"no {(path if graph.is_file() else graph).name} in {graph.parent}; {AGAIN}")
    try:
        manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise EngineError(f"{path} cannot be read ({error}); {AGAIN}") from error
    if manifest.weights != weights:
        raise EngineError(f"{graph} was made of weights {manifest.weights[:12]}, these are {weights[:12]}; {AGAIN}")
    if manifest.sha256 != fingerprint(graph):
        raise EngineError(f"{graph} is damaged: its sha256 is not that of its manifest; {AGAIN}")
    if not manifest.steps:
        raise EngineError(
            f"{graph} was never compared with torch, it was made without a GPU; make it where it shall run (favor-export)"
        )
    if not manifest.relative <= manifest.tolerance:
        raise EngineError(f"{graph} is off by {manifest.relative:.2g}, its tolerance is {manifest.tolerance:g}; {AGAIN}")
    return manifest


def fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
