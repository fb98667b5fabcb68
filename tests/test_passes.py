"""Passes against transformers' own, joined ones against one by one, and replays against what they replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_llm import QUESTIONS, ROOM, assert_same, listener, llama, window, words
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import DynamicCache, LlamaForCausalLM

from favor_stream.cache import Room, WindowCache
from favor_stream.llm import Llm
from favor_stream.passes import SIZES, Passes, Plan, Read, Told, carry_out, cuda_graph
from favor_stream.training import train
from favor_stream.words import Prompt

TOLERANCE = 1e-4  # float32, absolute, on logits of size 10


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What a CUDA graph does, without the GPU: the same operations again, from and to the same addresses."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        assert "local_scalar" not in str(func), "a capture cannot ask a tensor for its value"
        results = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, results))
        return results

    def replay(self) -> None:
        for func, args, kwargs, results in self.calls:
            given = {each.data_ptr() for each in tree_leaves(args) if isinstance(each, Tensor)}
            for was, now in zip(tree_leaves(results), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(was, Tensor) and was.data_ptr() not in given:  # else a view, which is there already
                    was.copy_(now)


def taped(work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    work()
    with Tape() as tape:
        results = work()
    for each in tree_leaves(results):
        assert isinstance(each, Tensor | Told)
    return tape.replay, results


@torch.inference_mode()
def whole(model: LlamaForCausalLM, *parts: Tensor) -> Tensor:
    """Logits of the last token [vocabulary] by transformers alone, part after part."""
    cache = DynamicCache(config=model.config)
    for part in parts:
        logits: Tensor = model(inputs_embeds=part[None], past_key_values=cache).logits[0, -1]
    return logits


def streamed(passes: Passes, *parts: Tensor) -> Tensor:
    cache = WindowCache(passes.model, ROOM)
    for part in parts:
        [told] = passes.read([Read(cache, part, rows=(-1,))])
    return told.logits[0]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("lengths", [(1,), (8,), (5, 1, 1, 20), (1, 16, 3)])
def test_passes_equal_those_of_transformers(lengths: tuple[int, ...], attention: str) -> None:
    model = llama()
    model.set_attn_implementation(attention)
    parts = [window(seed, length) for seed, length in enumerate(lengths)]
    assert torch.allclose(streamed(Passes(model), *parts), whole(model, *parts), atol=TOLERANCE)


@pytest.mark.parametrize("tokens", [1, 2, 8, 9, 40, 64, 65, 80])
def test_replayed_pass_equals_the_direct_one(tokens: int) -> None:
    model = llama()
    passes = Passes(model, record=taped)
    for captured in passes._captured:  # what stands behind the tokens of a pass must not matter
        captured._embeddings.fill_(torch.nan)
    parts = [window(1, 5), window(2, tokens)]
    assert torch.allclose(streamed(passes, *parts), streamed(Passes(model), *parts), atol=TOLERANCE)


def test_replayed_answers_are_those_of_the_direct_passes_to_the_token() -> None:
    model = llama()
    direct, replayed = (crowd(model, 3, record) for record in (None, taped))
    assert answers(replayed) == answers(direct)
    assert any(answers(direct))


@pytest.mark.parametrize("begin", [lambda: Passes(llama()), train.prepare])
def test_attention_needs_no_plan_for_each_length(begin: Callable[[], object]) -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    begin()
    assert not torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]


def test_a_pass_too_long_to_be_captured_is_read_directly() -> None:
    model, long = llama(), window(0, SIZES[-1] + 1)
    room = Room(budget_tokens=400, low_tokens=320, branch_tokens=200)
    direct, replayed = (Passes(model, record).read([Read(WindowCache(model, room), long, (-1,))])[0] for record in (None, taped))
    assert torch.equal(direct.logits, replayed.logits)


def crowd(model: LlamaForCausalLM, size: int, record: Any = None) -> list[Llm]:
    """Viewers that share their passes, each of whom has seen something else."""
    passes = Passes(model, record)
    viewers = [Llm(model, words(), Prompt(), ROOM, passes=passes) for _ in range(size)]
    for number, llm in enumerate(viewers):
        for index in range(number + 1):
            llm.append(window(10 * number + index), 5.0 * index, 5.0 * (index + 1))
    return viewers


def answers(viewers: list[Llm], tokens: int = 12) -> list[str]:
    """What they answer, all at once."""
    texts = [""] * len(viewers)
    plans = [llm.answering(QUESTIONS[n % len(QUESTIONS)], max_tokens=tokens + n) for n, llm in enumerate(viewers)]
    for number, piece in carry_out(viewers[0].passes, plans):
        texts[number] += piece
    return texts


def test_joined_answers_are_those_given_one_by_one_and_leave_nothing() -> None:
    model = llama()
    joined, single = crowd(model, 4), crowd(model, 4)
    expected = ["".join(llm.generate(QUESTIONS[n % len(QUESTIONS)], max_tokens=12 + n)) for n, llm in enumerate(single)]
    assert answers(joined) == expected
    assert len(set(expected)) > 1
    for ours, theirs in zip(joined, single, strict=True):
        assert_same(ours, theirs)


def test_joined_windows_are_remembered_as_if_read_one_by_one() -> None:
    model = llama()
    joined, single = crowd(model, 3), crowd(model, 3)
    windows = [window(100 + n, tokens) for n, tokens in enumerate((8, 3, 14))]
    plans = [llm.appending(each, 60.0, 65.0) for llm, each in zip(joined, windows, strict=True)]
    assert list(carry_out(joined[0].passes, plans)) == []
    for ours, theirs, each in zip(joined, single, windows, strict=True):
        theirs.append(each, 60.0, 65.0)
        assert ours.cache.segments == theirs.cache.segments
        assert ours.probability(QUESTIONS) == pytest.approx(theirs.probability(QUESTIONS), abs=TOLERANCE)


def test_joined_passes_read_the_weights_once() -> None:
    viewers, passes = crowd(llama(), 4), []
    viewers[0].model.model.layers[0].mlp.register_forward_hook(lambda *_: passes.append(1))
    answers(viewers, tokens=6)
    assert len(passes) <= 6 + len(viewers)  # as many as the longest answer has tokens


def test_last_layer_is_computed_for_wanted_rows_alone() -> None:
    model = llama()
    passes, computed = Passes(model), list[int]()
    model.model.layers[-1].mlp.register_forward_hook(lambda module, given, made: computed.append(made.shape[1]))
    passes.read([Read(WindowCache(model, ROOM), window(0, 9))])
    due = [Read(WindowCache(model, ROOM), window(seed, 9), rows) for seed, rows in enumerate([(2, 8), (), (-1,)])]
    joined = passes.read(due)
    assert computed == [3]
    for read, told in zip(due, joined, strict=True):
        all_rows = Passes(model).read([Read(WindowCache(model, ROOM), read.embeddings, range(9))])[0].logits
        assert torch.allclose(told.logits, all_rows[list(read.rows)], atol=TOLERANCE)


def test_window_of_one_and_answer_of_another_share_a_pass() -> None:
    viewers = crowd(llama(), 2)
    twin = crowd(viewers[0].model, 2)
    expected = "".join(twin[1].generate(QUESTIONS[0], max_tokens=5))
    twin[0].append(window(50), 60.0, 65.0)
    plans = [viewers[0].appending(window(50), 60.0, 65.0), viewers[1].answering(QUESTIONS[0], max_tokens=5)]
    assert "".join(piece for _, piece in carry_out(viewers[0].passes, plans)) == expected
    assert viewers[0].cache.segments == twin[0].cache.segments


def test_a_plan_that_fails_leaves_the_others_and_its_error_is_raised_in_the_end() -> None:
    viewers = crowd(llama(), 2)
    expected = "".join(viewers[1].generate(QUESTIONS[0], max_tokens=9))

    def failing(llm: Llm) -> Plan:
        yield from llm.appending(window(7), 60.0, 65.0)
        raise LookupError("the cup is gone")

    plans = [failing(viewers[0]), viewers[1].answering(QUESTIONS[0], max_tokens=9)]
    said: list[tuple[int, str]] = []
    with pytest.raises(LookupError, match="the cup is gone"):
        said.extend(carry_out(viewers[0].passes, plans))
    assert "".join(piece for _, piece in said) == expected
    with pytest.raises(ExceptionGroup, match="several answers failed"):
        list(carry_out(viewers[0].passes, [failing(llm) for llm in viewers]))


def test_closing_early_and_a_pass_that_fails_leave_nothing_of_any(monkeypatch: pytest.MonkeyPatch) -> None:
    viewers = crowd(llama(), 2)
    before = [(llm.tokens, llm.cache.segments) for llm in viewers]
    said = carry_out(viewers[0].passes, [llm.answering(QUESTIONS[0], max_tokens=9) for llm in viewers])
    next(said)
    said.close()
    assert [(llm.tokens, llm.cache.segments) for llm in viewers] == before
    monkeypatch.setattr(viewers[0].model.model.layers[2].mlp, "forward", lambda x: 1 / 0)
    plans = [viewers[0].appending(window(7), 60.0, 65.0), viewers[1].answering(QUESTIONS[0], max_tokens=9)]
    with pytest.raises(ZeroDivisionError):
        list(carry_out(viewers[0].passes, plans))
    assert [(llm.tokens, llm.cache.segments) for llm in viewers] == before
    assert not any(llm.cache.branch_length for llm in viewers)


def on_gpu(dtype: torch.dtype) -> LlamaForCausalLM:
    model = llama(dtype)  # drawn on a processor: a GPU draws other weights
    torch.nn.Module.to(model, "cuda")
    return model


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_captured_answers_on_the_gpu_are_those_of_the_direct_passes(dtype: torch.dtype) -> None:
    model = on_gpu(dtype)
    captured, direct = crowd(model, 4, cuda_graph()), crowd(model, 4)
    for llm in direct:
        llm.passes._captured.clear()
    for _ in range(30):  # past several evictions
        for llm in (*captured, *direct):
            llm.append(window(llm.tokens), 0.0, 0.0)
    assert answers(captured) == answers(direct)
    for ours, theirs in zip(captured, direct, strict=True):
        assert ours.probability(QUESTIONS) == pytest.approx(
            theirs.probability(QUESTIONS), abs=1e-5 if dtype == torch.float32 else 0.05
        )


@pytest.mark.gpu
def test_memory_on_the_gpu_is_that_of_the_processor() -> None:
    there, here = listener(on_gpu(torch.float32)), listener(llama())
    for index in range(200):
        for llm in (there, here):
            llm.append(window(index), 5.0 * index, 5.0 * (index + 1))
        assert there.probability(QUESTIONS) == pytest.approx(here.probability(QUESTIONS), abs=1e-3), index


@pytest.mark.gpu
def test_memory_on_the_gpu_in_bf16_stays_near_float32_after_many_evictions() -> None:
    exact, rounded = listener(llama()), listener(on_gpu(torch.bfloat16))
    for index in range(200):
        for llm in (exact, rounded):
            llm.append(window(index), 5.0 * index, 5.0 * (index + 1))
    assert rounded.cache.segments == exact.cache.segments
    assert rounded.probability(QUESTIONS) == pytest.approx(exact.probability(QUESTIONS), abs=0.1)
