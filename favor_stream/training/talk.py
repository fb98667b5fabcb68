"""Question answering as training sees it: one memory, many questions on branches of it, as in the running agent."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor
from transformers import LlamaForCausalLM

from favor_stream.aveb.questions import Question
from favor_stream.llm import Prompt

PROMPT = Prompt()
IGNORED, PAD = -100, 0
ASKING = 0.2  # weight of a question's words against an answer's
SPREAD = 0.15  # of the memories have leaps in their positions
FARTHEST = 8_000  # positions; ten minutes of favor-nano's stream are 6,500


def branches(asked: list[tuple[Question, ...]], tokenizer: Tokenizer) -> tuple[Tensor, Tensor]:
    """Token ids and next-token targets [B, M, T] of M questions to each of B memories; targets only within answers."""
    texts = [[encode(q, tokenizer) for q in questions] for questions in asked]
    longest = max(len(ids) for row in texts for ids, _ in row)
    ids = torch.zeros(len(texts), len(texts[0]), longest, dtype=torch.long)
    targets = torch.full_like(ids, IGNORED)
    for b, row in enumerate(texts):
        for m, (words, start) in enumerate(row):
            ids[b, m, : len(words)] = torch.tensor(words)
            targets[b, m, start - 1 : len(words) - 1] = torch.tensor(words[start:])
    return ids, targets


def encode(question: Question, tokenizer: Tokenizer) -> tuple[list[int], int]:
    """The branch's token ids and where the answer starts in them."""
    asked: list[int] = tokenizer.encode(PROMPT.ask.format(question=question.text)).ids
    return asked + tokenizer.encode(f" {question.answer}{PROMPT.eos}").ids, len(asked)


def answer_loss(
    llm: LlamaForCausalLM,
    tokenizer: Tokenizer,
    memory: Tensor,
    ids: Tensor,
    targets: Tensor,
    rng: np.random.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the answers and, lighter, of the questions; and which branches [B, M] would be answered word for word.

    Questions are worth predicting: their words name what is in the memory, so looking things up is learned from them too.
    memory: LLM tokens [B, n, D], the open window's read-out last; every branch sees all of it and itself, no other branch.
    With `rng` some memories are spread over many more positions than they fill, see `spread`.
    """
    batch, count, length = ids.shape
    table = llm.get_input_embeddings()
    prefix = table(torch.tensor(tokenizer.encode(PROMPT.prefix).ids)).expand(batch, -1, -1)
    memory = torch.cat([prefix, memory.to(prefix.dtype)], 1)
    x = torch.cat([memory, table(ids.flatten(1))], 1)
    remembered = memory.shape[1]
    places = torch.arange(remembered) if rng is None else spread(remembered, rng)
    positions = torch.cat([places, (places[-1] + 1 + torch.arange(length)).repeat(count)])
    hidden = llm.model(
        inputs_embeds=x, attention_mask=visible(remembered, count, length), position_ids=positions[None], use_cache=False
    ).last_hidden_state[:, remembered:]
    wanted = targets.flatten(1)
    logits = llm.lm_head(hidden[wanted != IGNORED]).float()
    loss = F.cross_entropy(logits, wanted[wanted != IGNORED])
    following = F.pad(ids[..., 1:], (0, 1)).flatten(1)
    asking = (wanted == IGNORED) & (following != PAD)
    loss = loss + ASKING * F.cross_entropy(llm.lm_head(hidden[asking]).float(), following[asking])
    right = torch.ones_like(wanted, dtype=torch.bool)
    right[wanted != IGNORED] = logits.argmax(-1) == wanted[wanted != IGNORED]
    return loss, right.unflatten(1, (count, length)).all(-1)


def spread(tokens: int, rng: np.random.Generator) -> Tensor:
    """Positions [tokens] that rise by one, but for a few leaps: so the model knows distances longer than its lessons."""
    if tokens < 2 or rng.random() > SPREAD:
        return torch.arange(tokens)
    steps = np.ones(tokens, np.int64)
    at = rng.integers(1, tokens, size=rng.integers(1, 4))
    steps[at] += rng.integers(0, FARTHEST // 3, size=len(at))
    return torch.from_numpy(np.cumsum(steps) - 1)


def visible(remembered: int, count: int, length: int) -> Tensor:
    """[1, 1, T, T] True where a token may look: back in the memory, and back in its own branch."""
    total = remembered + count * length
    branch = torch.cat([torch.zeros(remembered, dtype=torch.long), torch.arange(1, count + 1).repeat_interleave(length)])
    shared = (branch[None] == 0) | (branch[:, None] == branch[None])
    return (shared & torch.ones(total, total).tril().bool())[None, None]
