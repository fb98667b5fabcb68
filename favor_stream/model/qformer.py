"""The causal Q-Former (FAVOR, section 3.3): slices in, a few tokens for the LLM out.

Per layer: causal self-attention over the window's slices, then queries attend to each other and to those slices. The
causal features of a slice are final when the slice is, so their keys and values are kept and a slice costs one slice.
As in the released code each layer applies its causal attention to the same input, not to the layer below's output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from favor_stream.model.attention import Attention
from favor_stream.model.config import FusionConfig

Memory = list[tuple[Tensor, Tensor]]  # per layer keys and values that queries read [B, heads, T, d]
Outputs = dict[int, Tensor]  # of the queries, for each resolution


@dataclass(slots=True)
class WindowState:
    """The open window of one batch of streams; bounded by the window."""

    slices: int  # in the open window, 0 .. slices_per_window - 1 between steps
    causal: list[tuple[Tensor, Tensor]]  # per layer keys and values of the causal attention [B, heads, slices x tokens, d]
    read: list[tuple[Tensor, Tensor]]  # per layer keys and values that queries read
    raw: Tensor | None  # [B, slices x tokens, W]; kept for the `future` mask only


class Layer(nn.Module):
    """One layer, post-norm as in BERT."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        width, hidden = config.pair_width, config.hidden
        self.causal = Attention(width, config.causal_heads) if config.causal else None
        self.causal_norm = nn.LayerNorm(width)
        self.self_attention = Attention(hidden, config.heads)
        self.self_norm = nn.LayerNorm(hidden)
        self.cross = Attention(hidden, config.heads, width)
        self.cross_norm = nn.LayerNorm(hidden)
        self.mlp = nn.Sequential(nn.Linear(hidden, config.mlp), nn.GELU(), nn.Linear(config.mlp, hidden))
        self.mlp_norm = nn.LayerNorm(hidden)

    def mix(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Causal self-attention: x [B, T, W] looks at kept keys and values, its own among them."""
        if self.causal is None:
            return x
        mixed: Tensor = self.causal_norm(x + self.causal(x, key, value, mask))
        return mixed

    def read(self, queries: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Queries [B, Q, D] read a span of mixed tokens, or where `mask` is True."""
        queries = self.self_norm(queries + self.self_attention(queries, *self.self_attention.remember(queries)))
        queries = self.cross_norm(queries + self.cross(queries, key, value, mask))
        out: Tensor = self.mlp_norm(queries + self.mlp(queries))
        return out


class CausalQFormer(nn.Module):
    """Windows of slices [B, S, N, W] -> query outputs [B, Q, D], whole or slice by slice."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config
        length = config.slices_per_window * config.slice_tokens
        self.norm = nn.LayerNorm(config.pair_width)
        # Added after the norm, at a visible scale: 0.02 was too small to learn order from.
        self.place = nn.Parameter(torch.randn(length, config.pair_width) * 0.3)
        self.queries = nn.ParameterList(torch.randn(n, config.hidden) * 0.5 for n in config.queries)
        self.query_norm = nn.LayerNorm(config.hidden)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    @property
    def stack(self) -> list[Layer]:
        return cast(list[Layer], list(self.layers))

    def start(self, batch: int = 1) -> WindowState:
        """A window that no slice has entered."""
        c, place = self.config, self.place

        def empty(width: int, heads: int) -> tuple[Tensor, Tensor]:
            nothing = place.new_zeros(batch, heads, 0, width // heads)
            return nothing, nothing

        return WindowState(
            slices=0,
            causal=[empty(c.pair_width, c.causal_heads) for _ in self.layers],
            read=[empty(c.hidden, c.heads) for _ in self.layers],
            raw=place.new_zeros(batch, 0, c.pair_width) if c.mask_direction == "future" else None,
        )

    def step(self, pairs: Tensor, state: WindowState) -> tuple[Outputs, WindowState]:
        """One slice [B, N, W] enters the window -> what is now final, [B, n, D] for each resolution, and the state.

        A slice's own read-out comes at once, or where it has to wait with the window's, when the last slice has come; then the
        window is new.
        """
        entered, c = self.enter(pairs, state), self.config
        own = c.queries_of(1) and c.slices_per_window > 1 and not c.waits
        final = {1: self.query(1, self.span(entered, newest=1))} if own else {}
        if entered.slices == c.slices_per_window:
            final |= self.read_out(entered)
            entered = self.start(pairs.shape[0])
        return final, entered

    def enter(self, pairs: Tensor, state: WindowState) -> WindowState:
        """Mix a slice [B, N, W] with the window so far and keep its keys and values."""
        tokens = self.config.slice_tokens
        at = state.slices * tokens
        x = self.norm(pairs) + self.place[at : at + tokens]
        if state.raw is not None:
            return WindowState(state.slices + 1, state.causal, state.read, torch.cat([state.raw, x], 1))
        causal, read = [], []
        for layer, kept, readable in zip(self.stack, state.causal, state.read, strict=True):
            if layer.causal is not None:
                kept = extend(kept, layer.causal.remember(x))
            causal.append(kept)
            read.append(extend(readable, layer.cross.remember(layer.mix(x, *kept, None))))
        return WindowState(state.slices + 1, causal, read, None)

    def read_out(self, state: WindowState) -> Outputs:
        """What the window tells of its slices so far, as `step` returns it; provisional until it is full (anytime read-out)."""
        c, memory = self.config, self.span(state, newest=state.slices)
        owed = [resolution for resolution in sorted(c.resolutions) if c.waits or resolution == c.slices_per_window]
        return {resolution: self.told(resolution, memory, state.slices).flatten(1, -2) for resolution in owed}

    def span(self, state: WindowState, newest: int) -> Memory:
        """Per layer the keys and values of the window's newest slices."""
        if state.raw is not None:  # every slice may still look ahead, so nothing could be kept
            mask = self.mask(state.slices).to(state.raw.device)
            return [self.look(layer, state.raw, mask) for layer in self.stack]
        length = newest * self.config.slice_tokens
        return [(key[:, :, -length:], value[:, :, -length:]) for key, value in state.read]

    def look(self, layer: Layer, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        mixed = layer.mix(x, *layer.causal.remember(x), mask) if layer.causal is not None else x
        return layer.cross.remember(mixed)

    def query(self, resolution: int, memory: Memory, mask: Tensor | None = None) -> Tensor:
        index = self.config.resolutions.index(resolution)
        batch = memory[0][0].shape[0]
        out: Tensor = self.query_norm(self.queries[index]).expand(batch, -1, -1)
        for layer, (key, value) in zip(self.stack, memory, strict=True):
            out = layer.read(out, key, value, mask)
        return out

    def mask(self, slices: int) -> Tensor:
        """Block-triangular over slices: [T, T], True where a token may look. `past` looks back, `future` ahead."""
        at = torch.arange(slices).repeat_interleave(self.config.slice_tokens)
        if self.config.mask_direction == "past":
            return at[:, None] >= at[None]
        return at[:, None] <= at[None]

    def forward(self, pairs: Tensor) -> Outputs:
        """Whole windows at once [B, S, N, W], S <= slices_per_window: the offline definition, and what training runs.

        Returns for each resolution its outputs: the window's [B, Q, D], the slices' [B, S, Q, D].
        """
        slices = pairs.shape[1]
        x = self.norm(pairs).flatten(1, 2)
        x = x + self.place[: x.shape[1]]
        mask = self.mask(slices).to(x.device)
        memory = [self.look(layer, x, mask) for layer in self.stack]
        return {resolution: self.told(resolution, memory, slices) for resolution in self.config.resolutions}

    def told(self, resolution: int, memory: Memory, slices: int) -> Tensor:
        """A read-out of a window of so many slices: the window's [B, Q, D], the slices' [B, S, Q, D]."""
        if resolution == self.config.slices_per_window:
            return self.query(resolution, memory)
        each = [(by_slice(key, slices), by_slice(value, slices)) for key, value in memory]
        return self.query(resolution, each).unflatten(0, (-1, slices))


@dataclass(slots=True)
class SeparateState:
    """The open window as each of two Q-Formers has it."""

    seeing: WindowState
    hearing: WindowState

    @property
    def slices(self) -> int:
        return self.seeing.slices


class SeparateQFormers(nn.Module):
    """An ablation with the interface of `CausalQFormer`: one reads the pictures' half of each pair and one the sound's.

    A query of the one and a query of the other make one output, side by side; neither knows what the other has read.
    """

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.seeing, self.hearing = CausalQFormer(config.of_one_sense), CausalQFormer(config.of_one_sense)

    def start(self, batch: int = 1) -> SeparateState:
        return SeparateState(self.seeing.start(batch), self.hearing.start(batch))

    def step(self, pairs: Tensor, state: SeparateState) -> tuple[Outputs, SeparateState]:
        seen, heard = pairs.chunk(2, -1)
        one, seeing = self.seeing.step(seen, state.seeing)
        other, hearing = self.hearing.step(heard, state.hearing)
        return side_by_side(one, other), SeparateState(seeing, hearing)

    def read_out(self, state: SeparateState) -> Outputs:
        return side_by_side(self.seeing.read_out(state.seeing), self.hearing.read_out(state.hearing))

    def forward(self, pairs: Tensor) -> Outputs:
        seen, heard = pairs.chunk(2, -1)
        return side_by_side(self.seeing(seen), self.hearing(heard))


def side_by_side(one: Outputs, other: Outputs) -> Outputs:
    return {resolution: torch.cat([x, other[resolution]], -1) for resolution, x in one.items()}


def extend(kept: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return torch.cat([kept[0], new[0]], 2), torch.cat([kept[1], new[1]], 2)


def by_slice(x: Tensor, slices: int) -> Tensor:
    """[B, heads, S x N, d] -> [B x S, heads, N, d]"""
    return x.unflatten(2, (slices, -1)).transpose(1, 2).flatten(0, 1)


def diversity_loss(outputs: Tensor) -> Tensor:
    """Mean cosine similarity between different queries' outputs [..., Q, D] (FAVOR, section 3.4; signed, as released)."""
    unit = torch.nn.functional.normalize(outputs.float(), dim=-1)
    similarity = unit @ unit.transpose(-1, -2)
    queries = outputs.shape[-2]
    off_diagonal = similarity.sum((-1, -2)) - similarity.diagonal(dim1=-2, dim2=-1).sum(-1)
    return (off_diagonal / max(1, queries * (queries - 1))).mean()
