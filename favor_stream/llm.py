"""A language model that reads window tokens and words into one remembered cache, and answers beside it.

It knows words and the cache; it knows nothing of pictures, sound or how window tokens are made.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
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
from favor_stream.trees import Tree, trees
from favor_stream.words import Prompt, Text, Words


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
        self.model, self._words, self._look_back = model, Words(tokenizer, prompt), look_back
        self.cache = WindowCache(model, room)
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
        asked = self._words.question(question)
        ending = 1 + len(self._words.resume) if keep else 0
        taken = _length(extra) + len(asked) + max_tokens + ending
        self.cache.require(taken, "the question with its answer")
        form = None if schema is None else Form(schema, self._words.tokenizer, self._words.eos)
        dialogue = self._words.dialogue(earlier, self.cache.room.branch_tokens - taken)
        return self._answer([*dialogue, *asked], extra, max_tokens, keep, form)

    def probability(self, questions: Sequence[str], extra: Tensor | None = None, back: int | None = None) -> list[float]:
        """P(yes) against P(no) for each question, all read in one pass where `branch_tokens` has the room, else in a few.

        `extra` [N, D] are the open window's tokens; of those before they see the last `back`, or all. Raises `ConfigError` as
        `generate` does.
        """
        self._check_free()
        asked = tuple(self._words.question(question) for question in questions)
        for tokens in asked:
            self.cache.require(_length(extra) + len(tokens), "the question")
        room = self.cache.room.branch_tokens - _length(extra)
        with self.cache.looking_back(back):
            return [chance for tree in trees(asked, room) for chance in self._chances(tree, extra)]

    def require(self, question: str, extra: int) -> None:
        """Raises `ConfigError` where `probability` could not be asked this beside so many `extra` tokens. On any thread."""
        tokens, most = len(self._words.question(question)), self.cache.room.branch_tokens - extra
        if tokens > most:
            raise ConfigError(f"the question takes {tokens} tokens: expected at most {most}; shorten it")

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
        self.passes.read([Read(self.cache, self._embed(self._words.prefix))])
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

    def _answer(self, asked: list[int], extra: Tensor | None, max_tokens: int, keep: bool, form: Form | None) -> Plan:
        self._check_free()
        before = self.cache.mark()
        spoken: list[int] = []
        try:
            yield from self._speak(self._embed(asked, extra), spoken, max_tokens, form)
        finally:
            self.cache.rewind(before)
            if keep and spoken:
                self._keep(asked + spoken)

    def _speak(self, embeddings: Tensor, spoken: list[int], max_tokens: int, form: Form | None) -> Plan:
        """Decodes greedily from embeddings [N, D], noting each token in `spoken` before its text is given out."""
        text = Text(self._words.tokenizer)
        while len(spoken) < max_tokens:
            told = yield Read(self.cache, embeddings, rows=(-1,))
            assert told is not None, "a pass was due"
            token = int(form.allow(told.logits[0].cpu()).argmax() if form else told.best)
            if token == self._words.eos:
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

    def _keep(self, dialogue: list[int]) -> None:
        """Reads the dialogue once more, behind the windows alone, and remembers it at the stream's present time."""
        self.passes.read([Read(self.cache, self._embed(self._words.closed(dialogue)))])
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
        chances: list[float] = (logits[:, self._words.yes] - logits[:, self._words.no]).sigmoid().tolist()
        return chances

    def _check_free(self) -> None:
        if self.cache.branch_length:
            raise RuntimeError("an answer is being written: finish or close it first")


def _length(extra: Tensor | None) -> int:
    return 0 if extra is None else len(extra)
