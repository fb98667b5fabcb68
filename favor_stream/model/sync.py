"""Temporal synchronisation (FAVOR, section 3.2): slice k's picture tokens meet slice k's sound tokens. No parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def synchronise(pictures: Tensor, sounds: Tensor, tokens: int, paired: bool = True) -> Tensor:
    """[B, S, <= tokens, D] of each modality -> [B, S, tokens, 2 D], token j of the one beside token j of the other.

    The shorter one (25 sound tokens against 32 of the picture) is padded with zeros. With `paired` False, the ablation,
    they lie one after the other instead: [B, S, 2 tokens, D].
    """
    both = [F.pad(x, (0, 0, 0, tokens - x.shape[2])) for x in (pictures, sounds)]
    return torch.cat(both, -1 if paired else 2)
