"""Passes of the language model. What several viewers have due is read in one; on a GPU all but attention is captured.

Attention alone knows whose token is whose: it goes viewer by viewer over the live views of their caches. Everything else is done
to each token for itself, so it does not matter whose they are, and the weights are read once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import eager_attention_forward

from favor_stream.cache import WindowCache
from favor_stream.model.attention import attend_at_any_length
from favor_stream.model.llama import Turned, before, behind

SIZES = (1, 8, 16, 32, 64, 128)  # tokens of a captured pass; a longer one is long enough to hide its launches


@dataclass(frozen=True, slots=True)
class Read:
    """A pass that one viewer has due: embeddings [N, D] behind what its cache holds."""

    cache: WindowCache
    embeddings: Tensor
    rows: Sequence[int] = ()  # the tokens whose logits are wanted
    positions: Tensor | None = None  # [1, N]; None: one behind the other
    mask: Tensor | None = None  # [1, 1, N, cached + N], additive; None: each token sees those before it

    @property
    def tokens(self) -> int:
        return len(self.embeddings)


@dataclass(frozen=True, slots=True)
class Told:
    """What a pass says of the wanted rows."""

    logits: Tensor  # [rows, vocabulary], float32
    best: Tensor  # [rows], the likeliest tokens


Plan = Generator[Read | str, Told | None, None]  # yields what it has due, and what it says
Recorder = Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]]  # work -> its replay, and where that leaves its results


class Stages(Protocol):
    """What is done to N tokens between one attention and the next."""

    def stage(self, number: int, attended: Tensor | None) -> Turned:
        """From the attention [1, N, heads * D] of the layer before (None: from the start) to that of this layer."""
        ...

    def told(self, attended: Tensor, rows: Sequence[int]) -> Told:
        """From the attention [1, rows, heads * D] of the last layer, for these rows alone, to their words."""
        ...


class Passes:
    """The passes of one model, for all its viewers. One thread only."""

    def __init__(self, model: LlamaForCausalLM, record: Recorder | None = None) -> None:
        """With `record` (None: `cuda_graph` on a GPU, nothing elsewhere) a pass of up to 128 tokens is a replay."""
        attend_at_any_length()
        self.model = model
        self._attend = ALL_ATTENTION_FUNCTIONS.get_interface(model.config._attn_implementation, eager_attention_forward)
        record = record or (cuda_graph() if model.device.type == "cuda" else None)
        self._captured = [Captured(model, tokens, record) for tokens in SIZES] if record else []

    @torch.inference_mode()
    def read(self, due: Sequence[Read]) -> list[Told]:
        """All of these in one pass. One that fails has happened in some of the caches: their owners rewind them."""
        model = self.model
        embeddings = torch.cat([each.embeddings.to(model.device, model.dtype) for each in due])[None]
        positions = torch.cat([_positions(each) for each in due], 1)
        stages, masks = self._stages(embeddings, positions), [_mask(model, each) for each in due]
        attended, last = None, len(model.model.layers) - 1
        for number, layer in enumerate(model.model.layers):
            turned = stages.stage(number, attended)
            seen = list(self._attended(layer.self_attn, number, turned, due, masks, is_last=number == last))
            attended = torch.cat(seen, 1) if seen else None
        if attended is None:
            return [_nothing(model)] * len(due)
        starts = accumulate((each.tokens for each in due), initial=0)
        rows = [start + row % each.tokens for start, each in zip(starts, due, strict=False) for row in each.rows]
        return _shared(stages.told(attended, rows), due)

    def _stages(self, embeddings: Tensor, positions: Tensor) -> Stages:
        tokens = embeddings.shape[1]
        for captured in self._captured:
            if tokens <= captured.tokens:
                return captured.filled(embeddings, positions)
        return Direct(self.model, embeddings, positions)

    def _attended(
        self,
        module: nn.Module,
        number: int,
        turned: Turned,
        due: Sequence[Read],
        masks: Sequence[Tensor | None],
        is_last: bool,
    ) -> Iterator[Tensor]:
        """One layer's attention, viewer by viewer. Of the last nothing is read but the wanted rows."""
        start = 0
        for each, mask in zip(due, masks, strict=True):
            query, key, value = (part[:, :, start : start + each.tokens] for part in turned)
            keys, values = each.cache.update(key, value, number)
            if is_last:
                wanted = list(each.rows)
                query, mask = query[:, :, wanted], mask if mask is None else mask[:, :, wanted]
            if query.shape[2]:
                seen, _ = self._attend(module, query, keys, values, mask, scaling=module.scaling)
                yield seen.flatten(2)
            start += each.tokens


class Direct:
    """The model's own modules, called one by one."""

    def __init__(self, model: LlamaForCausalLM, embeddings: Tensor, positions: Tensor) -> None:
        self._model, self._hidden = model, embeddings
        self._turn = model.model.rotary_emb(embeddings, positions)

    def stage(self, number: int, attended: Tensor | None) -> Turned:
        if attended is not None:
            self._hidden = behind(self._model, number - 1, self._hidden, attended)
        return before(self._model, number, self._hidden, self._turn)

    def told(self, attended: Tensor, rows: Sequence[int]) -> Told:
        hidden = behind(self._model, len(self._model.model.layers) - 1, self._hidden[:, rows], attended)
        return _words(self._model, hidden[0])


class Captured:
    """The same for so many tokens or fewer, recorded once, in buffers that stay where they are."""

    def __init__(self, model: LlamaForCausalLM, tokens: int, record: Recorder) -> None:
        c, self.tokens = model.config, tokens
        heads = (c.num_attention_heads, model.model.layers[0].self_attn.head_dim)
        self._embeddings = torch.zeros(1, tokens, c.hidden_size, dtype=model.dtype, device=model.device)
        self._positions = torch.zeros(1, tokens, dtype=torch.long, device=model.device)
        self._attended = torch.zeros(1, tokens, heads[0] * heads[1], dtype=model.dtype, device=model.device)
        self._stages: list[tuple[Callable[[], None], Turned]] = []
        with torch.inference_mode():
            self._record(model, record)

    def _record(self, model: LlamaForCausalLM, record: Recorder) -> None:
        def opening() -> tuple[tuple[Tensor, Tensor], Turned]:
            turn = model.model.rotary_emb(self._embeddings, self._positions)
            return turn, before(model, 0, self._embeddings, turn)

        def between(number: int, hidden: Tensor) -> tuple[Tensor, Turned]:
            hidden = behind(model, number - 1, hidden, self._attended)
            return hidden, before(model, number, hidden, turn)

        def closing(hidden: Tensor) -> Told:
            return _words(model, behind(model, len(model.model.layers) - 1, hidden, self._attended)[0])

        replay, (turn, turned) = record(opening)
        self._stages.append((replay, turned))
        hidden = self._embeddings
        for number in range(1, len(model.model.layers)):
            replay, (hidden, turned) = record(partial(between, number, hidden))
            self._stages.append((replay, turned))
        self._close, self._told = record(partial(closing, hidden))

    def filled(self, embeddings: Tensor, positions: Tensor) -> Captured:
        """With these in its buffers; what lies behind them there is of no consequence to them."""
        tokens = embeddings.shape[1]
        self._embeddings[:, :tokens] = embeddings
        self._positions[:, :tokens] = positions
        return self

    def stage(self, number: int, attended: Tensor | None) -> Turned:
        self._take(attended)
        replay, turned = self._stages[number]
        replay()
        return turned

    def told(self, attended: Tensor, rows: Sequence[int]) -> Told:
        self._attended[:, rows] = attended
        self._close()
        return Told(self._told.logits[rows], self._told.best[rows])

    def _take(self, attended: Tensor | None) -> None:
        if attended is not None:
            self._attended[:, : attended.shape[1]] = attended


def cuda_graph() -> Recorder:
    """Records CUDA graphs that share one pool of memory: they are replayed one after the other, never beside each other."""
    pool = torch.cuda.graph_pool_handle()

    def record(work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            work()  # what a first call sets up cannot be captured
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            results = work()
        return graph.replay, results

    return record


def carry_out(passes: Passes, plans: Sequence[Plan]) -> Generator[tuple[int, str], None, None]:
    """Carries out plans side by side, what they have due at one time in one pass; yields whose turn it is and what it says.

    A plan that raises ends, and the others go on; its error is raised in the end. Closing this early closes them all.
    """
    answers: dict[int, Told | None] = dict.fromkeys(range(len(plans)))
    failures: list[Exception] = []
    try:
        while answers:
            due: dict[int, Read] = {}
            for number, told in answers.items():
                try:
                    step = plans[number].send(told)
                    while isinstance(step, str):
                        yield number, step
                        step = plans[number].send(None)
                    due[number] = step
                except StopIteration:
                    continue
                except Exception as error:
                    failures.append(error)
            answers = dict(zip(due, passes.read(list(due.values())), strict=True)) if due else {}
    finally:
        for plan in plans:
            plan.close()
    if failures:
        raise failures[0] if len(failures) == 1 else ExceptionGroup("several answers failed", failures)


def alone(passes: Passes, plan: Plan) -> Generator[str, None, None]:
    """Carries out one plan; yields what it says."""
    with closing(carry_out(passes, [plan])) as said:
        for _, piece in said:
            yield piece


def _words(model: LlamaForCausalLM, hidden: Tensor) -> Told:
    logits = model.lm_head(model.model.norm(hidden)).float()
    return Told(logits, logits.argmax(-1))


def _positions(read: Read) -> Tensor:
    return read.cache.positions(read.tokens) if read.positions is None else read.positions


def _mask(model: LlamaForCausalLM, read: Read) -> Tensor | None:
    """Which cached tokens each one sees; None: all. Made once for all layers."""
    if read.mask is not None or read.tokens == 1:
        return read.mask
    before = read.cache.length
    hidden = torch.full((read.tokens, before + read.tokens), -torch.inf, dtype=model.dtype, device=model.device)
    return hidden.triu(before + 1)[None, None]


def _shared(told: Told, due: Sequence[Read]) -> list[Told]:
    """To each what it wanted to know."""
    ends = list(accumulate(len(each.rows) for each in due))
    return [Told(told.logits[start:end], told.best[start:end]) for start, end in pairwise([0, *ends])]


def _nothing(model: LlamaForCausalLM) -> Told:
    none = torch.empty(0, model.config.vocab_size, device=model.device)
    return Told(none, none[:, 0].long())
