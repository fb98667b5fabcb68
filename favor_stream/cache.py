"""What one viewer remembers: the keys and values of a Llama, in buffers that never grow.

It knows tokens, segments, positions and the stream time they cover; it knows neither words nor what the tokens show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.cache_utils import Cache, CacheLayerMixin

from favor_stream.errors import ConfigError

KNOWN_BRANCHES = 64  # of trees, that are kept: watches ask the same after every slice


@dataclass(frozen=True, slots=True)
class Room:
    """How many tokens a cache holds. Raises `ConfigError` when the numbers cannot work together."""

    budget_tokens: int  # high watermark, pinned prefix included: with more than this the owner evicts
    low_tokens: int  # low watermark: eviction goes down to this
    branch_tokens: int  # room behind the budget for one append, or for one question with its answer
    text_tokens: int = 0  # dialogue that may outlive the windows around it, inside the budget
    rebase_at: int | None = None  # positions run up to here, then begin again; None: twice the budget

    def __post_init__(self) -> None:
        if not 0 < self.low_tokens < self.budget_tokens:
            raise ConfigError(
                f"low_tokens is {self.low_tokens}: expected 1 to {self.budget_tokens - 1}, "
                "below budget_tokens; lower it or raise budget_tokens"
            )
        if self.branch_tokens < 1 or self.text_tokens < 0:
            raise ConfigError(
                f"branch_tokens is {self.branch_tokens} and text_tokens is {self.text_tokens}: "
                "expected at least 1 and 0; raise them"
            )
        if self.last_position < self.budget_tokens:
            raise ConfigError(
                f"rebase_at is {self.rebase_at}: expected at least budget_tokens, {self.budget_tokens}; raise it or leave it out"
            )

    @property
    def last_position(self) -> int:
        """The position that what is remembered never passes; only a branch goes beyond."""
        return 2 * self.budget_tokens if self.rebase_at is None else self.rebase_at


@dataclass(frozen=True, slots=True)
class Segment:
    """What is evicted as one: the tokens of a window, of a slice, or of a kept piece of dialogue."""

    tokens: int
    start_s: float  # seconds of the session's clock that the tokens cover
    end_s: float
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A place to rewind to. It is worth nothing after the next eviction."""

    end: int
    trunk: int
    segments: int
    era: int


@dataclass(frozen=True, slots=True)
class _Kept:
    """A stretch that is written again at each eviction, from here."""

    keys: Tensor  # [layers, heads, T, D], float32 or wider, as they were before rotation
    values: Tensor  # [layers, heads, T, D]
    segment: Segment | None = None  # None: the pinned prefix

    @property
    def tokens(self) -> int:
        return self.keys.shape[2]


@dataclass(slots=True)
class _Span:
    """The slots in use, one for all layers."""

    first: int = 0
    end: int = 0


class _Layer(CacheLayerMixin):
    """One layer's slots. A pass writes behind `span.end` in every layer; the cache moves the end when all have written."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, span: _Span, most_tokens: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values = keys, values  # [1, heads, slots, D]
        self.is_initialized = True
        self._span, self._most_tokens = span, most_tokens

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is left to do: the buffers exist from the start."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        first, end = self._span.first, self._span.end
        stop = end + key_states.shape[2]
        self.keys[:, :, end:stop] = key_states
        self.values[:, :, end:stop] = value_states
        return self.keys[:, :, first:stop], self.values[:, :, first:stop]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return self._span.end - self._span.first

    def get_max_length(self) -> int:
        return self._most_tokens


class WindowCache(Cache):
    """Preallocated keys and values for an unmodified transformers Llama: `[pinned | kept texts | segments ... | branch]`.

    **A token's slot in the buffer is its rotary position.** A pass writes behind the last token, and `positions` tells the model
    where that is. Eviction leaves the survivors where they are, neither moved nor rotated: only the few pinned (and kept) tokens
    are written again so that they end just before the oldest survivor, from unrotated copies and with float64 angles. So what is
    remembered is always one contiguous view with contiguous positions, and rotary attention, which feels only differences, sees
    exactly `0, 1, 2, ...`. When positions come near `rebase_at`, the survivors move to the front of the buffer and are rotated
    back by that distance, once.

    Cost: an eviction writes the pinned tokens. A rebase moves at most `low_tokens`, once in `rebase_at - budget_tokens` evicted
    tokens: with the default, less than one moved token for each appended one, and a key is corrected about once in its life. The
    price is memory, `rebase_at + branch_tokens` slots. A smaller `rebase_at` trades it for more corrections of one key, about
    `budget_tokens / (rebase_at - budget_tokens)`; a much larger one lets positions grow to where the model's own float32 angles
    are coarse (by about 6e-8 of the position, in radians).

    What the model has just read is an open branch, until `pin` makes it the prefix, `commit` a segment, or `rewind` drops it. A
    pass that fails half-way has not happened. After an eviction the survivors still carry what they saw of the evicted tokens.

    The caller owns the cache and passes `position_ids=cache.positions(n)` with every pass. One thread only.

    Raises `ConfigError` for a model whose rotary angles depend on anything but the position, or that is too short for the room.
    """

    def __init__(self, model: LlamaForCausalLM, room: Room) -> None:
        config, self.room = model.config, room
        self._frequencies = _rotary_frequencies(model)  # [D / 2], radians per position
        if room.budget_tokens + room.branch_tokens > config.max_position_embeddings:
            raise ConfigError(
                f"budget_tokens + branch_tokens is {room.budget_tokens + room.branch_tokens}: the model was made for "
                f"{config.max_position_embeddings} positions; lower one of them"
            )
        slots = room.last_position + room.branch_tokens
        heads = config.num_key_value_heads or config.num_attention_heads
        shape = (config.num_hidden_layers, heads, slots, 2 * len(self._frequencies))
        self._keys = torch.zeros(shape, dtype=model.dtype, device=model.device)
        self._values = torch.zeros(shape, dtype=model.dtype, device=model.device)
        self._span = _Span()
        self._front: list[_Kept] = []  # the pinned prefix, then texts older than the oldest window
        self._segments: list[Segment] = []  # what follows, oldest first
        self._trunk = 0  # the slot behind the last segment, where a branch begins
        self._era = 0  # counts evictions and resets: a mark is good for one era
        most_tokens = room.budget_tokens + room.branch_tokens
        pairs = zip(self._keys, self._values, strict=True)
        super().__init__(layers=[_Layer(keys[None], values[None], self._span, most_tokens) for keys, values in pairs])

    # What it holds

    @property
    def length(self) -> int:
        """Tokens that the next pass will see, an open branch included."""
        return self._span.end - self._span.first

    @property
    def branch_length(self) -> int:
        """Tokens that were read and neither committed nor rewound."""
        return self._span.end - self._trunk

    @property
    def next_position(self) -> int:
        return self._span.end

    @property
    def is_over(self) -> bool:
        """More is remembered than the budget: the owner shall `evict` before the next pass."""
        return self._trunk - self._span.first > self.room.budget_tokens

    @property
    def segments(self) -> list[Segment]:
        """What is remembered behind the pinned prefix, oldest first."""
        return [kept.segment for kept in self._front if kept.segment is not None] + self._segments

    @property
    def memory_bytes(self) -> int:
        """The buffers' size, which never changes."""
        return self._keys.nbytes + self._values.nbytes

    # What a pass needs

    def positions(self, tokens: int) -> Tensor:
        """The `position_ids` [1, tokens] of the next pass."""
        return torch.arange(self.next_position, self.next_position + tokens, device=self._keys.device)[None]

    def branching(self, parents: Sequence[int], shared: int = 0) -> tuple[Tensor, Tensor]:
        """Lets one pass read a tree of tokens: `shared` ones, then for each one its parent among those after them, or -1.

        A token sees the cache, the shared tokens and the way that leads to it, and stands right behind its parent; parents come
        first. The branches lie packed along one sequence, so the remembered keys are read once for all, without a copy and
        without padding, and what several branches begin with is read once.

        Returns `position_ids` [1, N] and an additive `attention_mask` [1, 1, N, length + N] for attention "sdpa" or "eager".
        """
        device, tokens = self._keys.device, shared + len(parents)
        behind, hidden = _branches(tuple(parents), shared)
        mask = torch.zeros(tokens, self.length + tokens, dtype=self._keys.dtype, device=device)
        mask[:, self.length :].masked_fill_(hidden.to(device), -torch.inf)
        return (self.next_position + behind.to(device))[None], mask[None, None]

    @contextmanager
    def looking_back(self, tokens: int | None) -> Iterator[None]:
        """Inside, a pass sees only so many tokens before it, the prefix as long as it is among them; None: all.

        What is read so costs the same however much is remembered, and knows nothing of what was long ago.
        """
        first = self._span.first
        if tokens is not None:
            self._span.first = max(first, self._span.end - tokens)
        try:
            yield
        finally:
            self._span.first = first

    def require(self, tokens: int, what: str = "the input") -> None:
        """Raises `ConfigError` if the branch has no room for so many tokens more."""
        free = self.room.branch_tokens - self.branch_length
        if tokens > free:
            raise ConfigError(f"{what} takes {tokens} tokens: expected at most {free}; shorten it or raise branch_tokens")

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes [1, heads, T, D] behind the last token and returns views on all live ones. Called by the model."""
        tokens = key_states.shape[2]
        if layer_idx == 0:
            assert not torch.is_grad_enabled(), "gradients would hold on to every pass: read under torch.inference_mode()"
            assert not self.is_over, "evict before the next pass"
            self.require(tokens)
        seen: tuple[Tensor, Tensor] = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if layer_idx == len(self.layers) - 1:
            self._span.end += tokens
        return seen

    # What becomes of a branch

    def pin(self) -> None:
        """Makes what was read so far the prefix that is never evicted.

        Raises `ConfigError` if eviction to the low watermark could then touch the newest segment.
        """
        assert self._trunk == 0, "the prefix comes before everything else"
        floor = self._span.end + self.room.text_tokens + self.room.branch_tokens
        if floor > self.room.low_tokens:
            raise ConfigError(
                f"low_tokens is {self.room.low_tokens}: expected at least {floor}, for a prefix of {self._span.end} tokens, "
                "text_tokens and branch_tokens; raise it or lower those"
            )
        self._front = [self._keep(0, self._span.end)]
        self._trunk = self._span.end

    def commit(self, start_s: float, end_s: float, *, is_text: bool = False) -> None:
        """Makes the open branch a segment that covers these seconds of the stream."""
        assert self.branch_length > 0, "there is nothing to commit"
        self._segments.append(Segment(self.branch_length, start_s, end_s, is_text))
        self._trunk = self._span.end

    def mark(self) -> Mark:
        """Remembers this place, in O(1)."""
        return Mark(self._span.end, self._trunk, len(self._segments), self._era)

    def rewind(self, mark: Mark) -> None:
        """Forgets everything since the mark, in O(1). Raises `RuntimeError` if something was evicted since."""
        if mark.era != self._era or mark.end > self._span.end:
            raise RuntimeError("this mark is older than the last eviction or rewind: rewind before evicting")
        self._span.end, self._trunk = mark.end, mark.trunk
        del self._segments[mark.segments :]

    def reset(self) -> None:
        """Forgets everything, the pinned prefix too."""
        self._span.first = self._span.end = self._trunk = 0
        self._front.clear()
        self._segments.clear()
        self._era += 1

    @torch.inference_mode()
    def evict(self) -> None:
        """Drops the oldest segments, whole, until at most `low_tokens` are left. A branch must not be open.

        Texts on the way are kept while they fit into `text_tokens`, the oldest text going first.
        """
        assert self.branch_length == 0, "an open branch is rewound or committed before an eviction"
        oldest = self._span.first + self._front_tokens
        while self._front_tokens + self._span.end - oldest > self.room.low_tokens:
            segment = self._segments.pop(0)
            if segment.is_text:
                self._front.append(self._keep(oldest, oldest + segment.tokens, segment))
                while self._front_tokens - self._front[0].tokens > self.room.text_tokens:
                    del self._front[1]
            oldest += segment.tokens
        if oldest - self._front_tokens + self.room.budget_tokens > self.room.last_position:
            self._rebase(oldest)
            oldest = self._front_tokens
        self._write_front(oldest)
        self._era += 1

    @property
    def _front_tokens(self) -> int:
        return sum(kept.tokens for kept in self._front)

    def _keep(self, start: int, stop: int, segment: Segment | None = None) -> _Kept:
        keys = self._rotate(self._keys[:, :, start:stop], -torch.arange(start, stop, dtype=torch.float64))
        return _Kept(keys, self._values[:, :, start:stop].clone(), segment)

    def _write_front(self, oldest: int) -> None:
        self._span.first = slot = oldest - self._front_tokens
        for kept in self._front:
            stop = slot + kept.tokens
            self._keys[:, :, slot:stop] = self._rotate(kept.keys, torch.arange(slot, stop, dtype=torch.float64))
            self._values[:, :, slot:stop] = kept.values
            slot = stop

    def _rebase(self, oldest: int) -> None:
        """Moves the survivors from slot `oldest` to right behind the front at slot 0, layer by layer to keep the copies small."""
        start, stop = self._front_tokens, self._front_tokens + self._span.end - oldest
        back = torch.tensor([float(start - oldest)], dtype=torch.float64)
        for keys, values in zip(self._keys, self._values, strict=True):
            keys[:, start:stop] = self._rotate(keys[:, oldest : self._span.end], back)
            values[:, start:stop] = values[:, oldest : self._span.end].clone()
        self._span.end = self._trunk = stop

    def _rotate(self, keys: Tensor, positions: Tensor) -> Tensor:
        """Turns keys [..., T, D] by positions [T] or [1], float64, the way Llama pairs its halves. Returns float32 or wider."""
        wide = torch.promote_types(keys.dtype, torch.float32)
        angles = positions[:, None] * self._frequencies
        cos, sin = angles.cos().to(keys.device, wide), angles.sin().to(keys.device, wide)
        left, right = keys.to(wide).chunk(2, dim=-1)
        return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


def _rotary_frequencies(model: LlamaForCausalLM) -> Tensor:
    """The model's own radians per position [D / 2], float64 on the CPU."""
    rotary = model.model.rotary_emb
    if rotary.rope_type in ("dynamic", "longrope"):
        raise ConfigError(
            f"rope_type is {rotary.rope_type!r}, whose angles change with length: expected another; change the model"
        )
    if rotary.inv_freq.dtype not in (torch.float32, torch.float64):
        raise ConfigError(
            f"the model's rotary frequencies are {rotary.inv_freq.dtype}, rounded by model.to(): expected float32; "
            "give the dtype when the model is made or loaded"
        )
    frequencies: Tensor = rotary.inv_freq.to("cpu", torch.float64)
    return frequencies


@lru_cache(KNOWN_BRANCHES)
def _branches(parents: tuple[int, ...], shared: int) -> tuple[Tensor, Tensor]:
    """How far behind the cache each token of a tree stands [N], and which others it does not see [N, N]."""
    tokens = shared + len(parents)
    sees, behind = np.tri(tokens, dtype=bool), np.arange(tokens)
    sees[shared:, shared:] = np.eye(len(parents), dtype=bool)
    for at, parent in enumerate(parents, shared):
        behind[at] = shared if parent < 0 else behind[shared + parent] + 1
        if parent >= 0:
            sees[at] |= sees[shared + parent]
    return torch.from_numpy(behind), torch.from_numpy(~sees)
