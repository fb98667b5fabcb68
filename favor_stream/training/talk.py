"""Question answering as training sees it: one memory, many questions on branches of it, as in the running agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from transformers import LlamaForCausalLM

from favor_stream.aveb.questions import Question
from favor_stream.model.attention import attend
from favor_stream.model.config import ModelConfig
from favor_stream.model.favor import Favor
from favor_stream.model.llama import before, behind
from favor_stream.training.ahead import placed
from favor_stream.words import Prompt

PROMPT = Prompt()
IGNORED = -100
ASKING = 0.2  # weight of a question's words against an answer's
SPREAD = 0.15  # of the memories have leaps in their positions
FARTHEST = 8_000  # positions; ten minutes of favor-nano's stream are 6,500


@dataclass(frozen=True, slots=True)
class Branches:
    """Questions with their answers to a batch of memories; those to one memory lie packed one behind another. All [B, T]."""

    ids: Tensor
    following: Tensor  # the next token of the branch; IGNORED at its end and in padding
    answering: Tensor  # whether that token belongs to the answer
    number: Tensor  # which branch a token belongs to, from 1; 0 in padding
    place: Tensor  # of a token in its branch, from 0


def branches(packed: tuple[NDArray[Any], ...]) -> Branches:
    """What `pack` gives, where the run computes."""
    return Branches(*placed(packed))


def pack(asked: list[tuple[Question, ...]], tokenizer: Tokenizer) -> tuple[NDArray[Any], ...]:
    """Equally many questions to each memory of a batch: the fields of their branches as arrays."""
    rows = [[encode(question, tokenizer) for question in questions] for questions in asked]
    shape = len(rows), max(sum(len(words) for words, _ in row) for row in rows)
    ids, number, place = (np.zeros(shape, np.int64) for _ in range(3))
    following, answering = np.full(shape, IGNORED), np.zeros(shape, bool)
    for b, row in enumerate(rows):
        at = 0
        for m, (words, start) in enumerate(row, 1):
            end = at + len(words)
            ids[b, at:end], number[b, at:end], place[b, at:end] = words, m, range(len(words))
            following[b, at : end - 1] = words[1:]
            answering[b, at + start - 1 : end - 1] = True
            at = end
    return ids, following, answering, number, place


def encode(question: Question, tokenizer: Tokenizer) -> tuple[list[int], int]:
    """The branch's token ids and where the answer starts in them."""
    turns = "".join(f"{PROMPT.ask.format(question=q)} {a}{PROMPT.eos}{PROMPT.resume}" for q, a in question.earlier)
    asked: list[int] = tokenizer.encode(turns + PROMPT.ask.format(question=question.text)).ids
    return asked + tokenizer.encode(f" {question.answer}{PROMPT.eos}").ids, len(asked)


def answer_loss(model: Favor, hidden: Tensor, asked: Branches) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the answers and, lighter, of the questions; and which branches [B, M] would be answered word for word.

    `hidden` are the states that `read` gives. Questions are worth predicting: their words name what is in the memory, so looking
    things up is learned from them too.
    """
    answering, asking = asked.answering, ~asked.answering & (asked.following != IGNORED)
    logits, wanted = model.llm.lm_head(hidden[answering]).float(), asked.following[answering]
    loss = F.cross_entropy(logits, wanted)
    loss = loss + ASKING * F.cross_entropy(model.llm.lm_head(hidden[asking]).float(), asked.following[asking])
    wrong = torch.zeros(asked.ids.shape)
    wrong[answering] = (logits.argmax(-1) != wanted).float()
    count = int(asked.number.max())
    return loss, torch.zeros(len(wrong), count + 1).scatter_add(1, asked.number, wrong)[:, 1:] == 0


def read(
    model: Favor,
    tokenizer: Tokenizer,
    memory: Tensor,
    asked: Branches,
    rng: np.random.Generator | None = None,
    evicted: Tensor | None = None,
) -> Tensor:
    """Hidden states [B, T, D] of the branches, as `Llm` would have them.

    memory: LLM tokens [B, n, D], the open window's read-out last; every branch sees all of it and itself, no other branch.
    With `rng` some memories are spread over many more positions than they fill, see `spread`. Of each memory the oldest `evicted`
    [B] tokens are forgotten by now: what was remembered after them has seen them, no branch does.
    """
    table = model.llm.get_input_embeddings()
    prefix = table(torch.tensor(tokenizer.encode(PROMPT.prefix).ids)).expand(len(memory), -1, -1)
    since = earliest(model.config, prefix.shape[1], prefix.shape[1] + memory.shape[1])
    places = torch.arange(len(since)) if rng is None else spread(len(since), rng)
    tokens = torch.cat([prefix, memory.to(prefix.dtype), table(asked.ids)], 1)
    positions = torch.cat([places.expand(len(memory), -1), places[-1] + 1 + asked.place], 1)
    mask = visible(asked.number, since) if evicted is None else unforgotten(asked.number, since, prefix, evicted)
    return asking(model.llm, tokens, positions, mask, len(since))


def asking(llm: LlamaForCausalLM, hidden: Tensor, positions: Tensor, mask: Tensor, start: int) -> Tensor:
    """Hidden states of the tokens from `start` on. Those before look at none of them, and have nothing to say at last."""
    turn, last = llm.model.rotary_emb(hidden, positions), len(llm.model.layers) - 1
    remembered, asked = slice(0, start), slice(start, hidden.shape[1])
    for number in range(last + 1):
        query, key, value = before(llm, number, hidden, turn)
        parts = [asked] if number == last else [remembered, asked]
        seen = [
            attend(query[:, :, part], key[:, :, : part.stop], value[:, :, : part.stop], mask[:, :, part, : part.stop])
            for part in parts
        ]
        attended = torch.cat(seen, 2).transpose(1, 2).flatten(2)
        hidden = behind(llm, number, hidden[:, parts[0].start :], attended)
    normed: Tensor = llm.model.norm(hidden)
    return normed


def spread(tokens: int, rng: np.random.Generator) -> Tensor:
    """Positions [tokens] that rise by one, but for a few leaps: so the model knows distances longer than its lessons."""
    if tokens < 2 or rng.random() > SPREAD:
        return torch.arange(tokens)
    steps = np.ones(tokens, np.int64)
    at = rng.integers(1, tokens, size=rng.integers(1, 4))
    steps[at] += rng.integers(0, FARTHEST // 3, size=len(at))
    return torch.as_tensor(np.cumsum(steps) - 1)


def visible(number: Tensor, since: Tensor) -> Tensor:
    """[B, 1, T, T] True where a token may look: back in the memory since `since` [remembered], and back in its own branch."""
    remembered, length = len(since), number.shape[1]
    branch, since = F.pad(number, (remembered, 0)), F.pad(since, (0, length))
    place = torch.arange(remembered + length)
    own = branch[:, :, None] == branch[:, None]
    past = (place <= place[:, None]) & (place >= since[:, None])
    return ((own | (place < remembered)) & past)[:, None]


def unforgotten(number: Tensor, since: Tensor, prefix: Tensor, evicted: Tensor) -> Tensor:
    """`visible`, but for what no branch sees any more: `evicted` [B] tokens behind the prefix."""
    mask = visible(number, since)
    place = torch.arange(mask.shape[-1])
    is_gone = (place >= prefix.shape[1]) & (place < prefix.shape[1] + evicted[:, None])
    is_asking = place >= len(since)
    return mask & ~(is_asking[:, None] & is_gone[:, None, None])


def earliest(config: ModelConfig, prefix: int, remembered: int) -> Tensor:
    """[remembered] the first token that each remembered one may see. The open window is read with the question: it sees all."""
    if config.llm.look_back is None:
        return torch.zeros(remembered, dtype=torch.long)
    size = config.fusion.tokens_per_window
    place = torch.arange(remembered) - prefix
    start = prefix + place.div(size, rounding_mode="floor") * size
    is_closed = start + size <= remembered
    return ((start - config.llm.look_back) * is_closed).clamp(min=0)
