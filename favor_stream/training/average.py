"""The mean of several weights of one line: what the later ones have forgotten, the earlier ones still know.

Joint training is on films, which lack the pairs of colour and shape that are held out; what symbolic lessons taught of those
seems to wear off in it. A mean of the weights before and after has the strength of each (https://arxiv.org/abs/2203.05482).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from favor_stream.errors import ConfigError
from favor_stream.model import weights
from favor_stream.training.provenance import ROOT, revision
from favor_stream.training.train import ORACLE


def run(folders: Sequence[Path], out: Path, with_qformer: bool = False) -> int:
    """Write the last of these weights into `out`, with the mean of all their language models in place of its own.

    Its encoders stay as they are, and its Q-Former if not `with_qformer`: a Q-Former fits only the encoders that it was taught
    with. Raises ConfigError for fewer than two folders, for weights that do not fit together and for an `out` that holds some,
    WeightsError for unusable ones.
    """
    if len(folders) < 2:
        raise ConfigError(f"{len(folders)} weights to average into {out}: expected two or more")
    weights.refuse_to_replace(out)
    loaded = [weights.load(folder) for folder in folders]
    model, tokenizer = loaded[-1]
    for folder, (other, words) in zip(folders, loaded, strict=True):
        if other.config != model.config or words.to_str() != tokenizer.to_str():
            raise ConfigError(f"{folder} and {folders[-1]} differ in their configurations or words: expected weights of one line")
        if with_qformer and not (are_equal(other.vision, model.vision) and are_equal(other.audio, model.audio)):
            raise ConfigError(
                f"{folder} and {folders[-1]} differ in their encoders: expected equal ones; leave out --with-qformer"
            )
    for part in ("llm", "fusion") if with_qformer else ("llm",):
        getattr(model, part).load_state_dict(mean([getattr(each, part) for each, _ in loaded]))
    weights.save(out, model, tokenizer, facts(folders, with_qformer))
    if (folders[-1] / ORACLE).exists():
        shutil.copyfile(folders[-1] / ORACLE, out / ORACLE)
    print(f"wrote {out}")
    return 0


def facts(folders: Sequence[Path], with_qformer: bool) -> dict[str, Any]:
    """Those of the last's manifest, and what was averaged."""
    manifests = [weights.read_manifest(folder) for folder in folders]
    averaged = {"sha256": [each["sha256"] for each in manifests], "with_qformer": with_qformer, "revision": revision(ROOT)}
    return {name: fact for name, fact in manifests[-1].items() if name not in {"config", "sha256"}} | {"averaged": averaged}


def are_equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(*pair) for pair in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def mean(modules: Sequence[nn.Module]) -> dict[str, torch.Tensor]:
    """Of each of their tensors."""
    states = [module.state_dict() for module in modules]
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
