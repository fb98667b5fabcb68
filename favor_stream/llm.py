"""A language model that reads window tokens and words into one remembered cache, and answers beside it.

It knows the prompt's words and the cache; it knows nothing of pictures, sound or how window tokens are made.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import LlamaForCausalLM

from favor_stream.cache import Mark, Room, WindowCache
from favor_stream.errors import ConfigError
from favor_stream.form import Form
from favor_stream.passes import Passes, Plan, Read, alone
from favor_stream.records import Turn

QUESTION = "{question}"
BROKEN = "\ufffd"  # what a tokenizer writes for bytes that are no whole character


@dataclass(frozen=True, slots=True)
class Prompt:
    """The words around the windows, written as the model was trained with them."""

    prefix: str = "<s>USER: <Img>"  # pinned, before the first window
    ask: str = "</Img> {question}\nASSISTANT:"  # closes the windows and asks
    eos: str = "</s>"  # one token, which ends an answer
    resume: str = "USER: <Img>"  # opens the windows again after a dialogue that is kept
    yes: str = " yes"  # as an answer starts; the first token counts
    no: str = " no"

    def __post_init__(self) -> None:
        if self.ask.count(QUESTION) != 1:
            raise ConfigError(
                f"the ask template is {self.ask!r}: expected {QUESTION} in it once; write it where the question goes"
            )


class Llm:
    """One viewer's language model: `append` what is seen, then ask with `generate` or `probability` at any moment.

    A question is read on a branch of the cache and leaves no trace there, unless the dialogue is kept. Several viewers may share
    one model; each has its own `Llm`. One thread only, and while an answer is being written everything else waits for it.

    A window sees `look_back` tokens before it (None: all), a question sees everything. The model must be trained so.

    Raises `ConfigError` where model, tokenizer, prompt and room do not fit together.
    """

    def __init__(
        self,
        model: LlamaForCausalLM,
        tokenizer: Tokenizer,
        prompt: Prompt,
        room: Room,
        look_back: int | None = None,
        passes: Passes | None = None,
    ) -> None:
        """`passes` are the model's, shared by its viewers; None: this one's own."""
        self.passes = passes or Passes(model)
        self.model, self.tokenizer, self.prompt, self._look_back = model, tokenizer, prompt, look_back
        self.cache = WindowCache(model, room)
        self._control = {token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special}
        self._eos = self._token(self.prompt.eos)
        self._yes, self._no = self._first_token(self.prompt.yes), self._first_token(self.prompt.no)
        if self._yes == self._no:
            raise ConfigError(
                f"{self.prompt.yes!r} and {self.prompt.no!r} begin with the same token: expected two; choose other words"
            )
        self.reset()

    @property
    def tokens(self) -> int:
        """How many tokens the next pass will see."""
        return self.cache.length

    @property
    def remembered_s(self) -> tuple[float, float]:
        """From when to when the remembered windows reach, in seconds of the session's clock; (0.0, 0.0) with none."""
        windows = [segment for segment in self.cache.segments if not segment.is_text]
        return (windows[0].start_s, windows[-1].end_s) if windows else (0.0, 0.0)

    def append(self, tokens: Tensor, start_s: float, end_s: float) -> None:
        """Remembers a window's tokens [N, D], which cover these seconds, and forgets the oldest windows when over the budget.

        Raises `ConfigError` if N is more than `branch_tokens`, and `RuntimeError` while an answer is being written.
        """
        for _ in alone(self.passes, self.appending(tokens, start_s, end_s)):
            pass

    def appending(self, tokens: Tensor, start_s: float, end_s: float) -> Plan:
        """The same as a plan, to be carried out beside those of others."""
        self._check_free()
        self.cache.require(len(tokens), "a window")
        before = self.cache.mark()
        try:
            with self.cache.looking_back(self._look_back):
                yield Read(self.cache, tokens)
        except BaseException:
            self.cache.rewind(before)
            raise
        self._commit(start_s, end_s)

    def generate(
        self,
        question: str,
        extra: Tensor | None = None,
        max_tokens: int = 64,
        keep: bool = False,
        schema: Mapping[str, Any] | None = None,
    ) -> Generator[str, None, None]:
        """Answers greedily, piece by piece, whole characters only. Closing the generator early stops the answer.

        `extra` [N, D] are the open window's tokens, seen by this question alone. With `keep`, the question and what was said stay
        in the cache as a text segment, without `extra`. With a JSON `schema` only what fills it is said.

        Raises `ConfigError` at once for a question that is blank, holds a control token, or leaves `branch_tokens` no room, and
        for a schema that cannot be filled; at the end for an answer that has not filled it.
        """
        return alone(self.passes, self.answering(question, extra, max_tokens, keep, schema))

    def answering(
        self,
        question: str,
        extra: Tensor | None = None,
        max_tokens: int = 64,
        keep: bool = False,
        schema: Mapping[str, Any] | None = None,
        earlier: Sequence[Turn] = (),
    ) -> Plan:
        """The same as a plan, to be carried out beside those of others. Raises as `generate` does.

        `earlier` turns of a dialogue are read before the question, on the same branch: the last ones that it has room for.
        """
        question_ids = self._ask_ids(question)
        ending = 1 + len(self._encode(self.prompt.resume)) if keep else 0
        self.cache.require(_length(extra) + len(question_ids) + max_tokens + ending, "the question with its answer")
        form = None if schema is None else Form(schema, self.tokenizer, self._eos)
        room = self.cache.room.branch_tokens - _length(extra) - len(question_ids) - max_tokens - ending
        return self._answer(self._dialogue(earlier, room) + question_ids, extra, max_tokens, keep, form)

    def probability(self, questions: Sequence[str], extra: Tensor | None = None, back: int | None = None) -> list[float]:
        """P(yes) against P(no) for each question, all read in one pass where `branch_tokens` has the room, else in a few.

        `extra` [N, D] are the open window's tokens; of those before they see the last `back`, or all. Raises `ConfigError` as
        `generate` does.
        """
        self._check_free()
        asked = [self._ask_ids(question) for question in questions]
        for question_ids in asked:
            self.cache.require(_length(extra) + len(question_ids), "the question")
        room = self.cache.room.branch_tokens - _length(extra)
        with self.cache.looking_back(back):
            return [chance for tree in trees(asked, room) for chance in self._chances(tree, extra)]

    def mark(self) -> Mark:
        """Remembers this place, to `rewind` to until the next eviction."""
        return self.cache.mark()

    def rewind(self, mark: Mark) -> None:
        """Forgets everything since the mark. Raises `RuntimeError` if something was evicted since."""
        self.cache.rewind(mark)

    def reset(self) -> None:
        """Forgets the stream and reads the prefix anew. Raises `RuntimeError` while an answer is being written."""
        self._check_free()
        self.cache.reset()
        self.passes.read([Read(self.cache, self._embed(self._encode(self.prompt.prefix)))])
        self.cache.pin()

    # The model

    @torch.inference_mode()
    def _embed(self, ids: Sequence[int], extra: Tensor | None = None) -> Tensor:
        """Embeddings [N + len(ids), D] of `extra` [N, D], if any, and these tokens."""
        words: Tensor = self.model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long, device=self.model.device))
        return words if extra is None else torch.cat([extra.to(words), words])

    def _commit(self, start_s: float, end_s: float, *, is_text: bool = False) -> None:
        self.cache.commit(start_s, end_s, is_text=is_text)
        if self.cache.is_over:
            self.cache.evict()

    # Questions

    def _answer(self, question_ids: list[int], extra: Tensor | None, max_tokens: int, keep: bool, form: Form | None) -> Plan:
        self._check_free()
        before = self.cache.mark()
        spoken: list[int] = []
        try:
            yield from self._speak(self._embed(question_ids, extra), spoken, max_tokens, form)
        finally:
            self.cache.rewind(before)
            if keep and spoken:
                self._keep(question_ids + spoken)

    def _speak(self, embeddings: Tensor, spoken: list[int], max_tokens: int, form: Form | None) -> Plan:
        """Decodes greedily from embeddings [N, D], noting each token in `spoken` before its text is given out."""
        text = _Text(self.tokenizer)
        while len(spoken) < max_tokens:
            told = yield Read(self.cache, embeddings, rows=(-1,))
            assert told is not None, "a pass was due"
            token = int(form.allow(told.logits[0].cpu()).argmax() if form else told.best)
            if token == self._eos:
                break
            spoken.append(token)
            if form:
                form.take(token)
            if piece := text.piece(spoken):
                yield piece
            embeddings = self._embed([token])
        if piece := text.piece(spoken, is_last=True):
            yield piece
        if form and not form.is_filled:
            raise ConfigError(
                f"the answer has not filled its schema within {max_tokens} tokens; ask for less (an object may go on and on"
                ' without "additionalProperties": false) or raise max_answer_tokens'
            )

    def _keep(self, dialogue_ids: list[int]) -> None:
        """Reads the dialogue once more, behind the windows alone, and remembers it at the stream's present time."""
        self.passes.read([Read(self.cache, self._embed(self._closed(dialogue_ids)))])
        now_s = self.remembered_s[1]
        self._commit(now_s, now_s, is_text=True)

    def _chances(self, asked: Tree, extra: Tensor | None) -> list[float]:
        """P(yes) of several questions in one pass; what some of them begin with is read once."""
        before = self.cache.mark()
        positions, mask = self.cache.branching(asked.parents, shared=_length(extra))
        ends = [_length(extra) + end for end in asked.ends]
        try:
            [told] = self.passes.read([Read(self.cache, self._embed(asked.tokens, extra), ends, positions, mask)])
        finally:
            self.cache.rewind(before)
        logits = told.logits
        chances: list[float] = (logits[:, self._yes] - logits[:, self._no]).sigmoid().tolist()
        return chances

    def _check_free(self) -> None:
        if self.cache.branch_length:
            raise RuntimeError("an answer is being written: finish or close it first")

    # Words

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _ask_ids(self, question: str) -> list[int]:
        if not question.strip():
            raise ConfigError("the question is blank: expected words; ask something")
        self._plain(question)
        return self._encode(self.prompt.ask.replace(QUESTION, question.strip()))

    def _plain(self, text: str) -> list[int]:
        """The tokens of what somebody has written. Raises `ConfigError` where one of them would steer the model."""
        ids = self._encode(text)
        if control := self._control.intersection(ids):
            word = self.tokenizer.id_to_token(min(control))
            raise ConfigError(f"the question holds the control token {word!r}: expected plain words; leave it out")
        return ids

    def _closed(self, dialogue_ids: list[int]) -> list[int]:
        """A question with its answer, and windows open again behind it."""
        return [*dialogue_ids, self._eos, *self._encode(self.prompt.resume)]

    def _dialogue(self, turns: Sequence[Turn], room: int) -> list[int]:
        """The last of these turns that fit into so many tokens."""
        ids = list[int]()
        for question, answer in reversed(turns):
            longer = self._closed(self._ask_ids(question) + self._plain(f" {answer}")) + ids
            if len(longer) > room:
                break
            ids = longer
        return ids

    def _token(self, word: str) -> int:
        token = self.tokenizer.token_to_id(word)
        if token is None:
            raise ConfigError(
                f"{word!r} is no token of this tokenizer: expected one; choose another or the model's own tokenizer"
            )
        return token

    def _first_token(self, word: str) -> int:
        """The token that an answer beginning with this word begins with."""
        ask = self._encode(self.prompt.ask)
        answered = self._encode(self.prompt.ask + word)
        if answered[: len(ask)] != ask or len(answered) == len(ask):
            raise ConfigError(
                f"{word!r} melts into the end of the ask template: expected tokens of its own; change its first letter"
            )
        return answered[len(ask)]


@dataclass(slots=True)
class _Text:
    """The text of a growing list of tokens, given out in whole characters.

    Each piece is the end of a text decoded from a little earlier, because a tokenizer may drop the space before a first word.
    """

    tokenizer: Tokenizer
    start: int = 0  # decode from this token
    given: int = 0  # the text of the tokens before this one is out

    def piece(self, tokens: list[int], *, is_last: bool = False) -> str:
        """What can be said now: nothing while a character is incomplete, which at the last call is left out."""
        before, now = self.tokenizer.decode(tokens[self.start : self.given]), self.tokenizer.decode(tokens[self.start :])
        if len(now) <= len(before) or (now.endswith(BROKEN) and not is_last):
            return ""
        self.start, self.given = self.given, len(tokens)
        return now[len(before) :].rstrip(BROKEN)


def _length(extra: Tensor | None) -> int:
    return 0 if extra is None else len(extra)


@dataclass(frozen=True, slots=True)
class Tree:
    """Lists of tokens woven into one: what begins alike is there once."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)  # of each token; -1: it begins a list
    ends: list[int] = field(default_factory=list)  # where each list ends
    _places: dict[tuple[int, int], int] = field(default_factory=dict)  # of a token behind its parent

    def shared(self, tokens: Sequence[int]) -> list[int]:
        """Where the first of these tokens lie, as far as they are there already."""
        places = list[int]()
        for token in tokens:
            place = self._places.get((places[-1] if places else -1, token))
            if place is None:
                break
            places.append(place)
        return places

    def add(self, tokens: Sequence[int]) -> None:
        places = self.shared(tokens)
        at = places[-1] if places else -1
        for token in tokens[len(places) :]:
            self._places[at, token] = len(self.tokens)
            self.parents.append(at)
            at = len(self.tokens)
            self.tokens.append(token)
        self.ends.append(at)


def trees(lists: Iterable[list[int]], room: int) -> Iterator[Tree]:
    """The lists in their order, in as few trees as have room for them."""
    tree = Tree()
    for tokens in lists:
        if tree.ends and len(tree.tokens) + len(tokens) - len(tree.shared(tokens)) > room:
            yield tree
            tree = Tree()
        tree.add(tokens)
    if tree.ends:
        yield tree
