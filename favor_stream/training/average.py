"""The mean of several weights of one line: what the later ones have forgotten, the earlier ones still know.

Joint training is on films, which lack the pairs of colour and shape that are held out; what symbolic lessons taught of those
seems to wear off in it. A mean of the weights before and after has the strength of each (https://arxiv.org/abs/2203.05482).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from favor_stream.errors import ConfigError
from favor_stream.model import weights
from favor_stream.training.provenance import ROOT, revision
from favor_stream.training.train import ORACLE


def run(folders: Sequence[Path], out: Path) -> int:
    """Write the last of these weights into `out`, with the mean of all their language models in place of its own.

    Its encoders and its Q-Former stay as they are: to a new encoder only the Q-Former fits that was taught with it. Raises
    ConfigError for fewer than two folders and for weights of different configurations or words, WeightsError for unusable ones.
    """
    if len(folders) < 2 or out.resolve() in [folder.resolve() for folder in folders]:
        raise ConfigError(
            f"{len(folders)} weights to average into {out}: expected two or more, and another folder for their mean"
        )
    *others, (model, tokenizer) = [weights.load(folder) for folder in folders]
    for folder, (other, words) in zip(folders, others, strict=False):
        if other.config != model.config or words.to_str() != tokenizer.to_str():
            raise ConfigError(f"{folder} and {folders[-1]} differ in their configurations or words: expected weights of one line")
    model.llm.load_state_dict(mean([other.llm for other, _ in others] + [model.llm]))
    *_, last = manifests = [weights.read_manifest(folder) for folder in folders]
    averaged = {"sha256": [manifest["sha256"] for manifest in manifests], "revision": revision(ROOT)}
    weights.save(
        out, model, tokenizer, {**{k: v for k, v in last.items() if k not in {"config", "sha256"}}, "averaged": averaged}
    )
    if (folders[-1] / ORACLE).exists():
        shutil.copyfile(folders[-1] / ORACLE, out / ORACLE)
    print(f"wrote {out}")
    return 0


def mean(modules: Sequence[nn.Module]) -> dict[str, torch.Tensor]:
    """Of each of their tensors."""
    states = [module.state_dict() for module in modules]
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
