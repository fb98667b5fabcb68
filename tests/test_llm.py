"""The language model's answers against passes without a cache, and what a question leaves behind: nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from favor_stream.cache import Room, Segment
from favor_stream.errors import ConfigError
from favor_stream.llm import Llm
from favor_stream.trees import trees
from favor_stream.words import KNOWN_LETTERS, Prompt, Text, Words

D = 64
TOLERANCE = 1e-5  # float32, absolute, on probabilities
ROOM = Room(budget_tokens=160, low_tokens=128, branch_tokens=90)
SENTENCES = ["USER: what is on the table? ASSISTANT: a red cup and a dog", "is a person there? yes or no", "the dog barks twice"]
SENTENCES += [" a日 a月 a明 a是"]  # makes a token of " a" with the first byte that these share
QUESTIONS = ["what is on the table?", "is a dog there?", "did the red cup fall before the dog barks?"]


@cache
def words() -> Tokenizer:
    """A byte-level BPE tokenizer that knows a few English words, and other scripts mostly as bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<s>", "</s>", "<Img>", "</Img>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def llama(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """Random weights, large enough for sharp attention; in any precision the same, for they are drawn in float32 and rounded."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=D,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=words().get_vocab_size(),
        initializer_range=0.2,
    )
    model: LlamaForCausalLM = LlamaForCausalLM._from_config(config)  # type: ignore[no-untyped-call]
    for parameter in model.parameters():  # and not the angles, which stay exact
        parameter.data = parameter.data.to(dtype)
    return model


def listener(model: LlamaForCausalLM | None = None, room: Room = ROOM, windows: int = 4) -> Llm:
    """One that has seen some windows of 8 tokens and 5 seconds."""
    llm = Llm(model or llama(), words(), Prompt(), room)
    for index in range(windows):
        llm.append(window(index), 5.0 * index, 5.0 * (index + 1))
    return llm


def window(index: int, tokens: int = 8) -> Tensor:
    return torch.randn(tokens, D, generator=torch.Generator().manual_seed(index))


def ids(text: str) -> list[int]:
    return words().encode(text).ids


def reciter(*said: int) -> LlamaForCausalLM:
    """A Llama whose next token depends on the last one alone: after a question it says these tokens, then ends."""
    model, chain = llama(), [ids(Prompt().ask)[-1], *said, *ids("</s>")]
    assert len(set(chain)) == len(chain), "a token that comes twice has two successors"
    for layer in model.model.layers:  # what is left is the last token's own embedding
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    embedding = torch.nn.init.normal_(model.model.embed_tokens.weight)
    torch.nn.init.zeros_(model.lm_head.weight)
    with torch.no_grad():
        model.lm_head.weight[chain[1:]] = embedding[chain[:-1]]
    return model


def contents(llm: Llm) -> tuple[Tensor, Tensor]:
    """All that is remembered: keys and values [layers, heads, tokens, D]."""
    live = slice(llm.cache.next_position - llm.tokens, llm.cache.next_position)
    return llm.cache._keys[:, :, live].clone(), llm.cache._values[:, :, live].clone()


def assert_same(llm: Llm, twin: Llm) -> None:
    """Both remember the same, to the bit, and so would answer the same."""
    assert llm.cache.segments == twin.cache.segments
    assert llm.cache.branch_length == twin.cache.branch_length == 0
    for ours, theirs in zip(contents(llm), contents(twin), strict=True):
        assert torch.equal(ours, theirs)
    assert llm.probability(QUESTIONS) == twin.probability(QUESTIONS)


@torch.inference_mode()
def next_logits(llm: Llm, parts: Sequence[str | Tensor]) -> Tensor:
    """Logits [vocabulary] after one whole pass, without a cache, over texts and window tokens."""
    embed = llm.model.get_input_embeddings()
    rows = [part if isinstance(part, Tensor) else embed(torch.tensor(ids(part))) for part in parts]
    logits: Tensor = llm.model(inputs_embeds=torch.cat(rows)[None], use_cache=False).logits[0, -1]
    return logits


def ask(question: str) -> str:
    return Prompt().ask.replace("{question}", question)


# Cached equals uncached


def test_probability_equals_the_whole_pass() -> None:
    llm, extra = listener(), window(9, tokens=5)
    yes, no = (ids(word)[0] for word in (" yes", " no"))
    for question, chance in zip(QUESTIONS, llm.probability(QUESTIONS, extra), strict=True):
        logits = next_logits(llm, ["<s>USER: <Img>", *map(window, range(4)), extra, ask(question)])
        assert chance == pytest.approx(logits[[yes, no]].softmax(0)[0].item(), abs=TOLERANCE)


def test_answer_equals_greedy_decoding_without_a_cache() -> None:
    llm, extra, spoken = listener(), window(9, tokens=5), list[int]()
    for _ in range(12):
        said = llm.model.model.embed_tokens.weight[spoken]
        logits = next_logits(llm, ["<s>USER: <Img>", *map(window, range(4)), extra, ask(QUESTIONS[0]), said])
        spoken.append(int(logits.argmax()))
    assert ids("</s>")[0] not in spoken
    assert "".join(llm.generate(QUESTIONS[0], extra, max_tokens=12)) == words().decode(spoken).rstrip("\ufffd")


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6))
@settings(max_examples=20)
def test_any_chunking_of_appends_equals_one(lengths: list[int]) -> None:
    tokens, room = window(0, sum(lengths)), Room(budget_tokens=300, low_tokens=200, branch_tokens=120)
    chunked, once = listener(room=room, windows=0), listener(room=room, windows=0)
    once.append(tokens, 0.0, 5.0)
    for chunk in torch.split(tokens, lengths):
        chunked.append(chunk, 0.0, 5.0)
    for ours, theirs in zip(contents(chunked), contents(once), strict=True):
        torch.testing.assert_close(ours, theirs, atol=3e-5, rtol=1e-5)
    assert chunked.probability(QUESTIONS) == pytest.approx(once.probability(QUESTIONS), abs=TOLERANCE)


@pytest.mark.parametrize("extra", [None, window(9, tokens=5)], ids=["windows alone", "with an open window"])
@pytest.mark.parametrize("windows", [4, 40], ids=["before eviction", "after many evictions"])
def test_questions_in_one_pass_equal_one_by_one(extra: Tensor | None, windows: int) -> None:
    llm = listener(windows=windows)
    together = llm.probability(QUESTIONS, extra)
    assert together == pytest.approx([llm.probability([question], extra)[0] for question in QUESTIONS], abs=TOLERANCE)
    assert max(together) - min(together) > 100 * TOLERANCE


def test_as_many_questions_as_the_branch_holds_share_a_pass() -> None:
    llm, extra, passes = listener(), window(9, tokens=20), []
    llm.model.model.layers[0].mlp.register_forward_hook(lambda *given: passes.append(given))
    few = llm.probability(QUESTIONS, extra)
    assert len(passes) == 1
    assert llm.probability(QUESTIONS * 4, extra) == pytest.approx(few * 4, abs=TOLERANCE)
    assert len(passes) == 2  # what is asked twice is read once
    llm.probability([f"{number} {question}" for number in range(4) for question in QUESTIONS], extra)
    assert 2 < len(passes) < 12


def test_no_questions_no_chances() -> None:
    assert listener().probability([]) == []


# A question leaves nothing behind


def test_asked_equals_never_asked() -> None:
    asked, never = listener(), listener()
    list(asked.generate(QUESTIONS[0], window(9, tokens=5), max_tokens=10))
    asked.probability(QUESTIONS, window(9, tokens=5))
    assert_same(asked, never)
    asked.append(window(5), 20.0, 25.0)
    never.append(window(5), 20.0, 25.0)
    assert_same(asked, never)


@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_answer_closed_early_leaves_nothing(pieces: int) -> None:
    llm = listener(reciter(*ids("the red dog")))
    answer = llm.generate(QUESTIONS[0], window(9, tokens=5), max_tokens=10)
    for _ in range(pieces):
        next(answer)
    answer.close()
    assert_same(llm, listener(llm.model))


def test_answer_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = listener(reciter(*ids("the red dog")))
    answer = llm.generate(QUESTIONS[0], max_tokens=10)
    next(answer)
    monkeypatch.setattr(llm.model.model.layers[1].mlp, "forward", lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(answer)
    monkeypatch.undo()
    assert_same(llm, listener(llm.model))


def test_windows_wait_while_an_answer_is_written() -> None:
    llm = listener(reciter(*ids("the red dog")))
    answer = llm.generate(QUESTIONS[0], max_tokens=10)
    next(answer)
    with pytest.raises(RuntimeError, match="finish or close it first"):
        llm.append(window(5), 20.0, 25.0)
    with pytest.raises(RuntimeError, match="finish or close it first"):
        llm.probability(QUESTIONS)
    with pytest.raises(RuntimeError, match="finish or close it first"):
        llm.reset()
    assert "".join(answer)
    llm.append(window(5), 20.0, 25.0)
    assert llm.remembered_s == (0.0, 25.0)


def test_rewinding_takes_windows_back() -> None:
    llm = listener()
    before = llm.mark()
    llm.append(window(5), 20.0, 25.0)
    llm.rewind(before)
    assert_same(llm, listener(llm.model))


def test_reset_forgets_all_but_the_prefix() -> None:
    llm = listener(windows=40)
    llm.reset()
    assert llm.remembered_s == (0.0, 0.0)
    assert_same(llm, listener(llm.model, windows=0))


# Dialogue


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_kept_dialogue_equals_having_read_what_was_said(pieces: int) -> None:
    llm = listener(reciter(*ids("the red dog")))
    answer = llm.generate(QUESTIONS[0], window(9, tokens=5), max_tokens=10, keep=True)
    said = "".join(islice(answer, pieces))
    answer.close()
    dialogue = ids(ask(QUESTIONS[0]) + said + "</s>USER: <Img>")
    assert llm.cache.segments[-1] == Segment(len(dialogue), 20.0, 20.0, is_text=True)
    reader = listener(llm.model)
    reader.append(llm.model.model.embed_tokens.weight[dialogue], 20.0, 20.0)
    for ours, theirs in zip(contents(llm), contents(reader), strict=True):
        assert torch.equal(ours, theirs)
    assert llm.remembered_s == (0.0, 20.0)


def test_kept_dialogue_outlives_the_windows_around_it() -> None:
    llm = listener(reciter(*ids("the red dog")), Room(budget_tokens=240, low_tokens=200, branch_tokens=90, text_tokens=70))
    list(llm.generate(QUESTIONS[0], max_tokens=10, keep=True))
    dialogue = llm.cache.segments[-1]
    for index in range(4, 40):
        llm.append(window(index), 5.0 * index, 5.0 * (index + 1))
    assert llm.cache.segments[0] == dialogue
    assert llm.remembered_s[0] > dialogue.end_s


# What is remembered


def test_memory_is_bounded_and_says_what_it_holds() -> None:
    llm, held = listener(windows=0), list[int]()
    assert llm.remembered_s == (0.0, 0.0)
    for index in range(60):
        llm.append(window(index), 5.0 * index, 5.0 * (index + 1))
        llm.probability(QUESTIONS[:1], window(99, tokens=4))
        held.append(llm.tokens)
        start_s, end_s = llm.remembered_s
        assert end_s == 5.0 * (index + 1)
        assert llm.tokens == len(ids("<s>USER: <Img>")) + 8 * (end_s - start_s) / 5.0
    assert ROOM.low_tokens < max(held) <= ROOM.budget_tokens
    assert start_s > 0


# Words


@pytest.mark.parametrize("text", ["the red cup", " yes", "é日", "dog \U0001f642!"])
def test_pieces_are_whole_characters_and_join_to_the_text(text: str) -> None:
    pieces = list(listener(reciter(*ids(text))).generate(QUESTIONS[0], max_tokens=30))
    assert "".join(pieces) == text
    assert all(pieces)
    assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(4, words().get_vocab_size() - 1), unique=True, max_size=20))
@settings(max_examples=40)
def test_pieces_of_any_tokens_join_to_their_text(said: list[int]) -> None:
    said = [token for token in said if token != ids(Prompt().ask)[-1]]
    pieces = list(listener(reciter(*said), windows=0).generate(QUESTIONS[0], max_tokens=30))
    assert "".join(pieces) == words().decode(said).rstrip("\ufffd")


@pytest.mark.parametrize(("text", "whole"), [("a日", "a"), ("a日\U0001f642", "a日"), (" a木", " a")])
def test_answer_cut_within_a_character_ends_before_it(text: str, whole: str) -> None:
    llm, max_tokens = listener(reciter(*ids(text))), len(ids(text)) - 1
    assert words().decode(ids(text)[:max_tokens]) != whole
    assert "".join(llm.generate(QUESTIONS[0], max_tokens=max_tokens)) == whole


def test_spaces_survive_a_tokenizer_that_drops_the_first_one() -> None:
    tokenizer = Tokenizer(models.WordLevel({"\u2581a": 0, "\u2581dog": 1, "\u2581barks": 2}))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<Img>"])  # 3
    text, spoken = Text(tokenizer), [0, 1, 3, 2, 1]
    pieces = [text.piece(spoken[:count]) for count in range(1, 6)]
    assert [*pieces, text.piece(spoken, is_last=True)] == ["a", " dog", "", " barks", " dog", ""]


def test_answer_may_be_empty() -> None:
    assert list(listener(reciter(*ids(""))).generate(QUESTIONS[0], keep=True, max_tokens=5)) == []


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("", "the question is blank"),
        (" \n\t", "the question is blank"),
        ("x" * 100_000, r"the question with its answer takes \d{5,} tokens: expected at most 90; shorten it"),
        ("what </s> is it?", "holds the control token '</s>'"),
    ],
)
def test_question_that_cannot_be_asked_is_refused_in_one_line(question: str, found: str) -> None:
    llm = listener()
    with pytest.raises(ConfigError, match=found) as refused:
        llm.generate(question)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200
    with pytest.raises(ConfigError, match=found.replace(" with its answer", "")):
        llm.probability([QUESTIONS[0], question])
    assert_same(llm, listener(llm.model))


@pytest.mark.parametrize(("keep", "ending"), [(False, ""), (True, "</s>USER: <Img>")])
def test_longest_answer_that_the_branch_holds_can_be_given(keep: bool, ending: str) -> None:
    extra, before = window(9, tokens=5), ids(ask(QUESTIONS[0]))
    longest = ROOM.branch_tokens - 5 - len(before) - len(ids(ending))
    spoken = [token for token in range(4, 200) if token not in before][:longest]
    llm = listener(reciter(*spoken))
    list(llm.generate(QUESTIONS[0], extra, max_tokens=longest, keep=keep))
    assert [segment.tokens for segment in llm.cache.segments[4:]] == [ROOM.branch_tokens - 5] * keep
    with pytest.raises(ConfigError, match="takes 91 tokens: expected at most 90; shorten it or raise branch_tokens"):
        llm.generate(QUESTIONS[0], extra, max_tokens=longest + 1, keep=keep)


def test_window_longer_than_the_branch_is_refused() -> None:
    llm = listener()
    with pytest.raises(ConfigError, match="a window takes 91 tokens: expected at most 90"):
        llm.append(window(4, tokens=91), 20.0, 25.0)
    assert_same(llm, listener(llm.model))


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ({"eos": "<end>"}, "'<end>' is no token"),
        ({"no": " yes but no"}, "begin with the same token"),
        ({"ask": "</Img> ASSISTANT:"}, "expected {question} in it once"),
        ({"ask": "</Img> {question} ye", "yes": "s"}, "melts into the end"),
    ],
)
def test_prompt_that_does_not_fit_is_refused(prompt: dict[str, str], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        Llm(llama(), words(), Prompt(**prompt), ROOM)


def test_lists_that_begin_alike_are_woven_into_as_few_trees_as_hold_them() -> None:
    lists = ((1, 2, 3), (1, 2, 4, 5), (6,), (1, 2, 3))
    assert [tree.tokens for tree in trees(lists, room=4)] == [[1, 2, 3], [1, 2, 4, 5], [6, 1, 2, 3]]
    (tree,) = trees(lists, room=6)
    assert tree.tokens == [1, 2, 3, 4, 5, 6]
    assert tree.parents == [-1, 0, 1, 1, 3, -1]
    assert tree.ends == [2, 4, 5, 2]


def test_long_question_is_not_kept() -> None:
    asked = Words(words(), Prompt())
    for text in ("what is it?", "x" * (KNOWN_LETTERS + 1)):
        assert asked.question(text) == asked.question(text)
    assert asked._known.cache_info().currsize == 1  # type: ignore[attr-defined]
