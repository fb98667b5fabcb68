"""Linear layers of a language model in eight bits: half the bytes of bfloat16, which is what a decoded token waits for.

A scale for each output's weights, made once, and one for each token, made as it comes; products are summed in int32 or float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favor_stream.errors import ConfigError

FEWEST_ROWS = 32  # that an int8 product on a GPU takes
KINDS = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}


class RoundedLinear(nn.Module):
    """y = W x, with W and x rounded to eight bits."""

    weight: Tensor
    scale: Tensor
    kind: str

    def __init__(self, linear: nn.Linear, kind: str) -> None:
        """Raises ConfigError for a layer with a bias or of a size that is no multiple of 16, which the products need."""
        super().__init__()
        if linear.bias is not None or linear.in_features % 16 or linear.out_features % 16:
            raise ConfigError(
                f"llm_weights is {kind!r} and a layer is {linear}: expected sizes that are multiples of 16, and no bias; "
                'set llm_weights = "stored"'
            )
        self.kind = kind
        rounded, scale = _rounded(linear.weight.detach(), KINDS[kind])
        self.register_buffer("weight", rounded)  # [out, in]
        self.register_buffer("scale", scale)  # [out, 1], float32

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        rounded, scale = _rounded(flat, KINDS[self.kind])
        multiply = self._int8 if self.kind == "int8" else self._fp8
        return multiply(rounded, scale, x.dtype).view(*x.shape[:-1], -1)

    def _int8(self, x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
        rows = len(x)
        x = F.pad(x, (0, 0, 0, max(0, FEWEST_ROWS - rows)))
        return (torch._int_mm(x, self.weight.t())[:rows] * scale * self.scale.t()).to(dtype)

    def _fp8(self, x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
        """Summed in bfloat16's precision at the end, the only one that a GPU's product with a scale for each row has."""
        y = torch._scaled_mm(x, self.weight.t(), scale, self.scale.t(), out_dtype=torch.bfloat16, use_fast_accum=True)
        return y.to(dtype)


def round_linears(model: nn.Module, kind: str) -> nn.Module:
    """Replaces every linear layer by one in eight bits, in place. `kind` is one of KINDS."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(parent, name, RoundedLinear(layer, kind))
    return model


def _rounded(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rows [N, K] as eight bits, and the scale [N, 1], float32, that brings them back."""
    most = 127.0 if dtype == torch.int8 else torch.finfo(dtype).max
    scale = values.float().abs().amax(1, keepdim=True).clamp(min=1e-12) / most
    scaled = values.float() / scale
    return (scaled.round() if dtype == torch.int8 else scaled).to(dtype), scale
