"""The cache against definitions that know no cache: whole passes, and one float64 pass under a mask that changes with time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from favor_stream.cache import Room, Segment, WindowCache
from favor_stream.errors import ConfigError

LAYERS, HEADS, SHARED_HEADS, D, HEAD_D = 3, 4, 2, 64, 16
TOLERANCE = 2e-5  # float32, absolute, on hidden states whose size is about 1
ROOM = Room(budget_tokens=64, low_tokens=48, branch_tokens=24)


def llama(dtype: torch.dtype = torch.float32, **settings: Any) -> LlamaForCausalLM:
    """A random Llama with weights so large that its attention is sharp: a wrong position shows."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=D,
        intermediate_size=128,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=SHARED_HEADS,
        vocab_size=300,
        initializer_range=0.2,
        **settings,
    )
    model: LlamaForCausalLM = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()  # type: ignore[no-untyped-call]
    return model


def embeddings(tokens: int, seed: int = 0) -> Tensor:
    return torch.randn(tokens, D, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def read(model: LlamaForCausalLM, cache: WindowCache, tokens: Tensor) -> Tensor:
    """One pass over [T, D] behind the cache; the hidden states [T, D]."""
    positions = cache.positions(len(tokens))
    output = model.model(inputs_embeds=tokens[None].to(model.dtype), position_ids=positions, past_key_values=cache)
    hidden: Tensor = output.last_hidden_state[0]
    return hidden


@torch.inference_mode()
def whole(model: LlamaForCausalLM, tokens: Tensor) -> Tensor:
    """The same without any cache."""
    hidden: Tensor = model.model(inputs_embeds=tokens[None], use_cache=False).last_hidden_state[0]
    return hidden


def pinned(model: LlamaForCausalLM, room: Room = ROOM, prefix: int = 5) -> WindowCache:
    cache = WindowCache(model, room)
    read(model, cache, embeddings(prefix, seed=99))
    cache.pin()
    return cache


def append(
    model: LlamaForCausalLM,
    cache: WindowCache,
    tokens: Tensor,
    time_s: float = 0.0,
    *,
    is_text: bool = False,
    look_back: int | None = None,
) -> Tensor:
    with cache.looking_back(look_back):
        hidden = read(model, cache, tokens)
    cache.commit(time_s, time_s + 1.0, is_text=is_text)
    if cache.is_over:
        cache.evict()
    return hidden


@torch.inference_mode()
def contents(cache: WindowCache) -> list[Tensor]:
    """The live keys and values of every layer, as the next pass would see them."""
    nothing = torch.zeros(1, SHARED_HEADS, 0, HEAD_D)
    return [part.clone() for index in range(LAYERS) for part in cache.update(nothing, nothing, index)]


def is_same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


# Before the first eviction: equal to a pass without a cache


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5))
@settings(max_examples=25)
def test_any_chunking_equals_the_whole_pass(lengths: list[int]) -> None:
    model, tokens = llama(), embeddings(sum(lengths))
    cache = WindowCache(model, Room(budget_tokens=61, low_tokens=48, branch_tokens=12))
    streamed = torch.cat([append(model, cache, chunk) for chunk in torch.split(tokens, lengths)])
    torch.testing.assert_close(streamed, whole(model, tokens), atol=TOLERANCE, rtol=0)


@torch.inference_mode()
def test_branches_side_by_side_equal_one_by_one() -> None:
    model = llama()
    cache = pinned(model)
    append(model, cache, embeddings(20))
    shared, stretches = embeddings(3, seed=1), [embeddings(length, seed=length) for length in (4, 1, 7)]
    alone, before = [], cache.mark()
    for stretch in stretches:
        alone.append(read(model, cache, torch.cat([shared, stretch]))[len(shared) :])
        cache.rewind(before)
    parents = [at - 1 if at else -1 for at in range(4)] + [-1] + [at + 4 if at else -1 for at in range(7)]
    positions, mask = cache.branching(parents, shared=len(shared))
    together = model.model(
        inputs_embeds=torch.cat([shared, *stretches])[None],
        position_ids=positions,
        attention_mask=mask,
        past_key_values=cache,
    ).last_hidden_state[0, len(shared) :]
    torch.testing.assert_close(together, torch.cat(alone), atol=TOLERANCE, rtol=0)


@torch.inference_mode()
def test_branches_that_begin_alike_equal_one_by_one() -> None:
    model = llama()
    cache = pinned(model)
    append(model, cache, embeddings(20))
    stem, ends, before = embeddings(4, seed=1), [embeddings(length, seed=length) for length in (3, 2)], cache.mark()
    alone = []
    for end in ends:
        alone.append(read(model, cache, torch.cat([stem, end])))
        cache.rewind(before)
    positions, mask = cache.branching([-1, 0, 1, 2, 3, 4, 5, 3, 7])
    together = model.model(
        inputs_embeds=torch.cat([stem, *ends])[None], position_ids=positions, attention_mask=mask, past_key_values=cache
    ).last_hidden_state[0]
    torch.testing.assert_close(together, torch.cat([alone[0], alone[1][4:]]), atol=TOLERANCE, rtol=0)


# Branches


def test_rewound_branch_leaves_no_trace() -> None:
    model, asked = llama(), pinned(llama())
    never = pinned(model)
    for cache in (asked, never):
        append(model, cache, embeddings(20))
    before = asked.mark()
    read(model, asked, embeddings(11, seed=1))
    asked.rewind(before)
    assert is_same(contents(asked), contents(never))
    assert torch.equal(append(model, asked, embeddings(6, seed=2)), append(model, never, embeddings(6, seed=2)))


def test_rewinding_takes_committed_segments_back_too() -> None:
    model = llama()
    cache = pinned(model)
    append(model, cache, embeddings(8), time_s=0.0)
    before, held = cache.mark(), contents(cache)
    append(model, cache, embeddings(8, seed=1), time_s=1.0)
    cache.rewind(before)
    assert cache.segments == [Segment(8, 0.0, 1.0)]
    assert cache.branch_length == 0
    assert is_same(contents(cache), held)


def test_rewinding_past_an_eviction_is_refused() -> None:
    model = llama()
    cache = pinned(model)
    before = cache.mark()
    while cache.mark() == before or not cache.is_over:
        read(model, cache, embeddings(10))
        cache.commit(0.0, 1.0)
    cache.evict()
    with pytest.raises(RuntimeError, match="before evicting"):
        cache.rewind(before)


def test_rewinding_forward_is_refused() -> None:
    model = llama()
    cache = pinned(model)
    before = cache.mark()
    read(model, cache, embeddings(3))
    later = cache.mark()
    cache.rewind(before)
    with pytest.raises(RuntimeError, match="older than"):
        cache.rewind(later)


def test_pass_that_fails_half_way_has_not_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    cache, twin = pinned(model), pinned(model)
    held = contents(cache)
    monkeypatch.setattr(model.model.layers[1].mlp, "forward", lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read(model, cache, embeddings(7))
    monkeypatch.undo()
    assert cache.branch_length == 0
    assert is_same(contents(cache), held)
    assert torch.equal(read(model, cache, embeddings(4)), read(model, twin, embeddings(4)))


def test_input_longer_than_the_branch_is_refused_before_anything_is_written() -> None:
    model = llama()
    cache = pinned(model)
    read(model, cache, embeddings(4))
    keys, values = cache._keys.clone(), cache._values.clone()
    with pytest.raises(ConfigError, match=r"^the input takes 21 tokens: expected at most 20; shorten it or raise branch_tokens$"):
        read(model, cache, embeddings(ROOM.branch_tokens - 3))
    assert torch.equal(cache._keys, keys)
    assert torch.equal(cache._values, values)
    assert cache.branch_length == 4


# Eviction: what is left


def test_buffers_and_contents_are_bounded_however_long_the_stream() -> None:
    model = llama()
    cache = pinned(model)
    buffers, most = (cache._keys.data_ptr(), cache.memory_bytes), 0
    for index in range(200):
        append(model, cache, embeddings(1 + index % 11, seed=index), time_s=float(index))
        most = max(most, cache.length)
        assert cache.next_position <= ROOM.last_position
        assert cache.length == 5 + sum(segment.tokens for segment in cache.segments)
    assert ROOM.low_tokens < most <= ROOM.budget_tokens
    assert (cache._keys.data_ptr(), cache.memory_bytes) == buffers
    assert cache.get_seq_length() == cache.length <= cache.get_max_length()


def test_eviction_takes_whole_segments_oldest_first_down_to_the_low_watermark() -> None:
    model = llama()
    cache = pinned(model)
    for index in range(6):  # 5 + 6 x 10 = 65 tokens, one more than the budget
        append(model, cache, embeddings(10), time_s=float(index))
    assert [segment.start_s for segment in cache.segments] == [2.0, 3.0, 4.0, 5.0]
    assert cache.length == 45


def test_texts_outlive_windows_while_they_fit_the_oldest_going_first() -> None:
    model, room = llama(), Room(budget_tokens=64, low_tokens=48, branch_tokens=10, text_tokens=13)
    cache = pinned(model, room)
    for index in range(20):
        append(model, cache, embeddings(6 if index in (0, 3, 4) else 10), time_s=float(index), is_text=index in (0, 3, 4))
    assert [(segment.start_s, segment.is_text) for segment in cache.segments[:3]] == [(3.0, True), (4.0, True), (17.0, False)]
    assert cache.length == 5 + 2 * 6 + 3 * 10


@dataclass
class Stream:
    """Random segments: their tokens, and which are text."""

    lengths: list[int]
    texts: list[bool]


streams = st.lists(st.tuples(st.integers(1, 10), st.booleans()), min_size=10, max_size=60).map(
    lambda pairs: Stream([length for length, _ in pairs], [text for _, text in pairs])
)


@given(streams, st.sampled_from([0, 12]), st.sampled_from([None, 40, 55]))
@settings(max_examples=60)
@torch.inference_mode()
def test_every_live_key_is_rotated_to_its_slot(stream: Stream, text_tokens: int, rebase_at: int | None) -> None:
    """Keys written at positions that run on are, after evictions and rebases, the raw keys rotated to contiguous positions."""
    cache = WindowCache(llama(), Room(40, 30, branch_tokens=10, text_tokens=text_tokens, rebase_at=rebase_at))
    raw = torch.randn(sum(stream.lengths) + 4, LAYERS, SHARED_HEADS, HEAD_D, generator=torch.Generator().manual_seed(0)).double()
    born = [range(4)]  # the prefix, then each segment's rows in `raw`

    def write(rows: range) -> None:
        for index in range(LAYERS):
            keys = rotated(raw[rows, index], torch.arange(len(rows)) + cache.next_position)
            cache.update(keys.transpose(0, 1)[None].float(), raw[rows, index].transpose(0, 1)[None].float(), index)

    write(born[0])
    cache.pin()
    for index, (length, text) in enumerate(zip(stream.lengths, stream.texts, strict=True), start=1):
        born.append(range(born[-1].stop, born[-1].stop + length))
        write(born[-1])
        cache.commit(index, index + 1, is_text=text)
        if cache.is_over:
            cache.evict()
            assert cache.length <= 30
        assert cache.next_position <= cache.room.last_position
    alive = [row for index in (0, *(int(segment.start_s) for segment in cache.segments)) for row in born[index]]
    positions = torch.arange(cache.next_position - len(alive), cache.next_position)
    for index in range(LAYERS):
        keys, values = contents(cache)[2 * index : 2 * index + 2]
        assert torch.equal(values[0].transpose(0, 1), raw[alive, index].float())
        torch.testing.assert_close(keys[0].transpose(0, 1).double(), rotated(raw[alive, index], positions), atol=3e-6, rtol=0)


# Eviction: what the model makes of it


def rotated(heads: Tensor, positions: Tensor) -> Tensor:
    """Llama's rotary embedding of [T, heads, D] at positions [T], in float64, by the formula (arXiv 2104.09864, 3.2.2)."""
    frequencies = 10000.0 ** (-torch.arange(0, HEAD_D, 2, dtype=torch.float64) / HEAD_D)
    turn = torch.polar(torch.ones(1, 1, dtype=torch.float64), positions.double()[:, None] * frequencies)[:, None]
    turned = torch.complex(*heads.chunk(2, dim=-1)) * turn
    return torch.cat((turned.real, turned.imag), dim=-1)


def normed(x: Tensor, weight: Tensor) -> Tensor:
    return weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def offline(model: LlamaForCausalLM, tokens: Tensor, seen: Sequence[Tensor]) -> Tensor:
    """The definition: one float64 pass over the whole stream, layer by layer, with no cache, under the mask of its time.

    The tokens of pass p see the tokens `seen[p]` (indices in order, their own last) and nothing else, causally. Raw keys and
    queries are rotated to their place in that list. tokens [T, D]; returns the logits [T, vocabulary].
    """
    for layer in model.model.layers:
        attention, inputs = layer.self_attn, normed(tokens, layer.input_layernorm.weight)
        queries, keys, values = (
            project(inputs).view(len(tokens), -1, HEAD_D) for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        mixed, start = [], 0
        for rows in seen:
            places = torch.arange(len(rows))
            stop = int(rows[-1]) + 1
            query = rotated(queries[start:stop], places[start - stop :]).view(stop - start, SHARED_HEADS, -1, HEAD_D)
            scores = torch.einsum("qhgd,khd->hgqk", query, rotated(keys[rows], places)) / HEAD_D**0.5
            hidden = places > places[start - stop :, None]
            weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
            mixed.append(torch.einsum("hgqk,khd->qhgd", weights, values[rows]).flatten(1))
            start = stop
        tokens = tokens + attention.o_proj(torch.cat(mixed))
        tokens = tokens + layer.mlp(normed(tokens, layer.post_attention_layernorm.weight))
    logits: Tensor = model.lm_head(normed(tokens, model.model.norm.weight))
    return logits


@torch.inference_mode()
def errors_against_offline(
    dtype: torch.dtype, room: Room, lengths: Sequence[int], look_back: int | None = None
) -> tuple[Tensor, int]:
    """Streams windows of these lengths, each tenth one a text, and then a question on a branch, which sees all that is left.

    Returns the relative logit error of each pass, the question's last, and how many rebases it took.
    """
    model, definition = llama(dtype), llama(dtype).double()
    cache, prefix, question = WindowCache(model, room), 5, 6
    edges = [*accumulate(lengths, initial=prefix)]
    tokens = embeddings(edges[-1] + question).to(dtype)
    streamed, seen, rebases = [read(model, cache, tokens[:prefix])], [torch.arange(prefix)], 0
    cache.pin()

    def alive() -> list[int]:
        born = (range(*edges[int(segment.start_s) :][:2]) for segment in cache.segments)
        return [*range(prefix), *(row for rows in born for row in rows)]

    for index, (start, stop) in enumerate(pairwise(edges)):
        near = alive() if look_back is None else alive()[-look_back:]
        seen.append(torch.tensor([*near, *range(start, stop)]))
        position = cache.next_position
        streamed.append(append(model, cache, tokens[start:stop], float(index), is_text=index % 10 == 0, look_back=look_back))
        rebases += cache.next_position < position
    seen.append(torch.tensor([*alive(), *range(edges[-1], len(tokens))]))
    streamed.append(read(model, cache, tokens[edges[-1] :]))
    ours = model.lm_head(torch.cat(streamed)).double()
    theirs = offline(definition, tokens.double(), seen)
    passes = [*lengths, question]
    errors = zip(torch.split((ours - theirs)[prefix:], passes), torch.split(theirs[prefix:], passes), strict=True)
    return torch.stack([error.norm() / wanted.norm() for error, wanted in errors]), rebases


@pytest.mark.parametrize("look_back", [None, 20])
def test_float32_stays_with_the_definition_over_two_thousand_windows(look_back: int | None) -> None:
    room = Room(budget_tokens=128, low_tokens=96, branch_tokens=16, text_tokens=32)
    error, rebases = errors_against_offline(torch.float32, room, [8] * 2000, look_back)
    assert rebases >= 50
    assert error.max() < 2e-5
    assert error[-500:].mean() < 1.2 * error[50:550].mean()


@pytest.mark.parametrize("look_back", [1, 20, 200])
def test_float32_stays_with_the_definition_when_a_window_looks_back_a_little(look_back: int) -> None:
    error, rebases = errors_against_offline(torch.float32, Room(96, 64, branch_tokens=16), [8] * 400, look_back)
    assert rebases >= 20
    assert error.max() < 2e-5


@given(st.lists(st.integers(1, 12), min_size=30, max_size=60), st.sampled_from([None, 1, 20]))
@settings(max_examples=15)
def test_float32_stays_with_the_definition_whatever_the_windows_lengths(lengths: list[int], look_back: int | None) -> None:
    error, _ = errors_against_offline(torch.float32, Room(48, 32, branch_tokens=16), lengths, look_back)
    assert error.max() < 2e-5


def test_looking_back_a_little_ends_with_the_pass_even_when_it_fails() -> None:
    model = llama()
    cache = pinned(model)
    append(model, cache, embeddings(8))
    with pytest.raises(ConfigError, match="25 tokens"), cache.looking_back(3):
        cache.require(25)
    assert cache.length == 13


@pytest.mark.parametrize("rebase_at", [None, 96], ids=["rebase now and then", "rebase at every eviction"])
def test_float32_stays_with_the_definition_however_often_it_is_rebased(rebase_at: int | None) -> None:
    error, rebases = errors_against_offline(torch.float32, Room(96, 64, branch_tokens=16, rebase_at=rebase_at), [8] * 400)
    assert rebases >= 20
    assert error.max() < 2e-5


def test_bfloat16_does_not_drift() -> None:
    error, rebases = errors_against_offline(torch.bfloat16, Room(96, 64, branch_tokens=16, text_tokens=16), [8] * 600)
    early, late = error[:100].mean(), error[-100:].mean()
    assert rebases >= 20
    assert late < 1.2 * early


# Mistakes


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ({"low_tokens": 64}, "low_tokens is 64: expected 1 to 63"),
        ({"low_tokens": 0}, "low_tokens is 0: expected 1 to 63"),
        ({"branch_tokens": 0}, "branch_tokens is 0"),
        ({"text_tokens": -1}, "text_tokens is -1"),
        ({"rebase_at": 63}, "rebase_at is 63: expected at least budget_tokens, 64"),
    ],
)
def test_numbers_that_cannot_work_together_are_refused(numbers: dict[str, int], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        Room(**{"budget_tokens": 64, "low_tokens": 48, "branch_tokens": 24, **numbers})


def test_prefix_that_leaves_no_room_above_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="low_tokens is 48: expected at least 52, for a prefix of 20 tokens"):
        pinned(llama(), Room(budget_tokens=64, low_tokens=48, branch_tokens=24, text_tokens=8), prefix=20)


def test_model_too_short_for_the_room_is_refused() -> None:
    with pytest.raises(ConfigError, match="is 88: the model was made for 80 positions"):
        WindowCache(llama(max_position_embeddings=80), ROOM)


def test_rotary_angles_that_change_with_length_are_refused() -> None:
    model = llama(rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0})
    with pytest.raises(ConfigError, match="rope_type is 'dynamic'"):
        WindowCache(model, ROOM)


def test_rotary_angles_rounded_to_bfloat16_are_refused() -> None:
    with pytest.raises(ConfigError, match="rounded by model.to"):
        WindowCache(llama().bfloat16(), ROOM)


def test_reset_cache_is_a_new_cache() -> None:
    model, room = llama(), Room(budget_tokens=64, low_tokens=48, branch_tokens=24, text_tokens=8)
    cache = pinned(model, room)
    for index in range(30):
        append(model, cache, embeddings(8, seed=index), is_text=index % 4 == 0)
    old = cache.mark()
    cache.reset()
    assert (cache.length, cache.segments) == (0, [])
    with pytest.raises(RuntimeError):
        cache.rewind(old)
    read(model, cache, embeddings(5, seed=99))
    cache.pin()
    assert is_same(contents(cache), contents(pinned(model, room)))
