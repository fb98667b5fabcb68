"""One viewer's memory: see slices, ask questions, check many yes/no questions at once, reset.

Owned by one thread, so there are no locks in it. It knows the model and its cache; it knows no camera, no film and no event loop.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from favor_stream.board import Board, Reading
from favor_stream.cache import Room
from favor_stream.config import SHIPPED, Config
from favor_stream.encoder import Encoder, TorchEncoder, load_encoders
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.llm import Llm
from favor_stream.model import weights
from favor_stream.model.favor import Favor
from favor_stream.model.rounded import round_linears
from favor_stream.passes import Passes, Plan, Read, alone
from favor_stream.records import SLICE_S, Perceived, Slice, Turn
from favor_stream.words import Prompt

QUESTION_TOKENS = 448  # for the longest question and the open window; the answer is extra
SPARE = 0.9  # of a GPU's memory for weights, and of what this process may have for all
KEPT_MB_PER_S = 0.3  # of the ring: sound, and packed pictures of 640x480
PREFIX_TOKENS = 16  # at most, before the first window
FORGET = 1.25  # the memory is filled to this multiple of what is kept, then cut back: rare, and off the answer's path
SAID_LAST, SPOKEN = "what was said last?", "answer the spoken question"  # how it is asked what somebody has asked aloud
NOW = ("what do you see now?", "what do you hear now?", SAID_LAST)  # how it is asked what it perceives


def room(model: Favor, context_s: float, max_answer_tokens: int = 64, prefix_tokens: int = PREFIX_TOKENS) -> Room:
    """The cache that never holds less than the last `context_s` seconds once that much was seen.

    An eviction drops windows whole until the low watermark, 0.8 of the budget. Kept dialogue counts inside. Raises
    ConfigError for more than the model has positions for.
    """
    fusion = model.config.fusion
    windows = int(context_s / (fusion.slices_per_window * SLICE_S)) + 2  # cutting back may stop a window below the mark
    branch = QUESTION_TOKENS + max_answer_tokens
    low = prefix_tokens + max(windows * fusion.tokens_per_window, branch)
    positions = model.config.llm.positions
    if low * FORGET + branch > positions:
        most_s = longest_s(model, max_answer_tokens, prefix_tokens)
        raise ConfigError(
            f"context_s is {context_s:g}: expected at most {most_s:g} for this model's {positions} positions; lower it"
        )
    return Room(budget_tokens=int(low * FORGET), low_tokens=low, branch_tokens=branch)


def longest_s(model: Favor, max_answer_tokens: int = 64, prefix_tokens: int = PREFIX_TOKENS) -> float:
    """The longest `context_s` that the model has positions for."""
    fusion, positions = model.config.fusion, model.config.llm.positions
    windows = int(((positions - QUESTION_TOKENS - max_answer_tokens) / FORGET - prefix_tokens) / fusion.tokens_per_window) - 2
    return windows * fusion.slices_per_window * SLICE_S


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tokens [N, D] for the LLM and the seconds of the stream that they cover."""

    tokens: Tensor
    start_s: float
    end_s: float


class Session:
    """What one stream left behind, and who answers from it.

    Every question sees the windows so far and the open window as it stands (anytime read-out), so an answer is at most one
    slice behind the stream. It is asked on a branch of the memory and leaves no trace, unless the dialogue is kept.
    """

    def __init__(
        self,
        model: Favor,
        tokenizer: Tokenizer,
        context_s: float = 600.0,
        max_answer_tokens: int = 64,
        encoder: Encoder | None = None,
        passes: Passes | None = None,
    ) -> None:
        """`encoder` None: the model perceives in torch. `passes` None: this session has its own, else it shares the model's."""
        self._model, self._encoder = model, encoder or TorchEncoder(model)
        self._max_answer_tokens = max_answer_tokens
        self._room = room(model, context_s, max_answer_tokens)
        self._new_llm = partial(Llm, model.llm, tokenizer, Prompt(), self._room, model.config.llm.look_back)
        self._llm = self._new_llm(passes)
        self._past: Llm | None = None  # a second memory, for what is recalled; made when it is first wanted
        self._open: list[Stretch] = []  # the open window's slices
        self._waiting: deque[Stretch] = deque()  # windows that closed while an answer was being written
        self._is_answering = False
        self._slices = 0
        self.answered_until_s = 0.0  # the stream's time that the newest answer rests on
        self.append_s = 0.0  # wall-clock seconds that reading the newest window took

    @property
    def passes(self) -> Passes:
        """The model's passes, which sessions may share."""
        return self._llm.passes

    @property
    def heard_until_s(self) -> float:
        """The stream's time up to which everything was perceived."""
        return self._slices * SLICE_S

    @property
    def remembered_s(self) -> tuple[float, float]:
        """From when to when the memory reaches, in seconds of the stream; (0.0, 0.0) with nothing in it."""
        start_s, end_s = self._llm.remembered_s
        unread = [*self._waiting, *self._open]
        if not unread:
            return start_s, end_s
        return start_s if end_s else unread[0].start_s, unread[-1].end_s

    @property
    def tokens(self) -> int:
        """Tokens in the cache: of the windows that have closed, and of kept dialogue."""
        return self._llm.tokens

    @property
    def memory_mb(self) -> float:
        """What its cache takes when it is full."""
        return self._llm.cache.memory_bytes / 1e6

    @property
    def budget_tokens(self) -> int:
        """Tokens that the cache may hold before its oldest windows are forgotten."""
        return self._room.budget_tokens

    @property
    def most_windows(self) -> int:
        """How many windows can be recalled at once: what is remembered of them all is never evicted."""
        room, fusion = self._room, self._model.config.fusion
        return (room.low_tokens - PREFIX_TOKENS) // fusion.tokens_per_window

    @property
    def window_shape(self) -> tuple[int, int]:
        """Of a window's tokens: how many, and how wide."""
        return self._model.config.fusion.tokens_per_window, self._model.config.llm.width

    @property
    def pictures(self) -> int:
        """How many pictures of each slice its model looks at."""
        return self._model.config.fusion.pictures

    @property
    def engines(self) -> Mapping[str, str]:
        """What runs each part that perceives."""
        return self._encoder.engines

    @property
    def took_s(self) -> tuple[float, float]:
        """Wall-clock seconds of the last slice: in the encoders, and in the Q-Former."""
        return self._encoder.took_s

    def see(self, piece: Slice) -> Stretch | None:
        """Perceive the next slice. When it closes a window, which is returned, the LLM reads its tokens into the memory.

        One pass for ten slices is as good as ten: until then a question brings the open window's tokens along on its branch.
        While an answer is being written, windows wait for its end; no more of them than the memory holds, for the oldest would
        be forgotten as they are read.
        """
        window = self.perceive(piece)
        self._catch_up()
        return window

    def perceive(self, piece: Slice) -> Stretch | None:
        """Perceive the next slice, and leave a window that it closes, which is returned, to `reading`."""
        if piece.index != self._slices:
            raise ValueError(f"slice {piece.index} came, slice {self._slices} was due; feed slices in order, without gaps")
        # numpy copies it on this thread: torch would wake its others, and they spin while an engine wants the cores.
        seen = piece.shown(self.pictures)
        tokens = self._encoder.step(None if seen is None else torch.from_numpy(seen), torch.tensor(piece.sound))
        self._slices += 1
        self._open.append(Stretch(tokens, piece.start_s, piece.end_s))
        if self._encoder.slices:
            return None
        window = Stretch(torch.cat([each.tokens for each in self._open]), self._open[0].start_s, piece.end_s)
        self._open.clear()
        if not len(window.tokens):
            return None
        self._waiting.append(window)
        while sum(len(each.tokens) for each in self._waiting) > self.budget_tokens:
            self._waiting.popleft()
        return window

    def reading(self) -> Plan:
        """Reads the windows that wait, each for itself: the memory shall not depend on when somebody asked."""
        while self._waiting and not self._is_answering:
            window = self._waiting.popleft()
            yield from self._llm.appending(window.tokens, window.start_s, window.end_s)

    def restore(self, windows: Sequence[Stretch]) -> None:
        """Remember windows from before the first slice, as if this session had seen them: at the times that they carry, below 0.

        It may be called again with later ones. RuntimeError once something was seen.
        """
        if self._slices:
            raise RuntimeError("something was seen already: restore what was before it first")
        self._waiting.extend(windows)
        self._catch_up()

    def recalling(
        self, windows: Sequence[Stretch], question: str, with_open: bool = False, schema: Mapping[str, Any] | None = None
    ) -> Plan:
        """Answers from these windows alone, read anew into a second memory; `with_open`: and from the open window.

        The live memory is neither read nor changed, and goes on meanwhile. After each window an empty piece lets others have a
        turn. ConfigError at once for more windows than `most_windows`.
        """
        if len(windows) > self.most_windows:
            most_s = self.most_windows * self._model.config.fusion.slices_per_window * SLICE_S
            raise ConfigError(f"too long a time to be recalled at once: expected at most {most_s:g} s; ask about less at a time")
        self._spoken(question, False, schema, ())  # refused now, if at all
        extra = self._open_window() if with_open else None
        return self._recalled(windows, question, extra, schema)

    def _recalled(
        self, windows: Sequence[Stretch], question: str, extra: Tensor | None, schema: Mapping[str, Any] | None
    ) -> Plan:
        self._past = past = self._past or self._new_llm(self.passes)
        past.reset()
        for window in windows:
            yield from past.appending(window.tokens, window.start_s, window.end_s)
            yield ""
        yield from _trimmed(past.answering(question, extra, self._max_answer_tokens, schema=schema))

    def ask(
        self,
        question: str,
        keep: bool = False,
        schema: Mapping[str, Any] | None = None,
        earlier: Sequence[Turn] = (),
    ) -> Generator[str, None, None]:
        """Answer piece by piece; closing the generator early stops the answer. ConfigError at once for an impossible question.

        It rests on what was seen when its first piece is asked for. With `keep`, question and answer stay in memory and later
        questions may refer to them. With a JSON `schema` the answer fills it, or ends with a ConfigError. `earlier` turns are
        what a follow-up question refers to; a model that was not taught to converse does not read them. RuntimeError from the
        first piece while another answer is being written.
        """
        return alone(self.passes, self.answering(question, keep, schema, earlier))

    def answering(
        self,
        question: str,
        keep: bool = False,
        schema: Mapping[str, Any] | None = None,
        earlier: Sequence[Turn] = (),
    ) -> Plan:
        """The same as a plan, to be carried out beside those of other sessions. ConfigError at once, as from `ask`."""
        make = partial(self._spoken, question, keep, schema, earlier if self._model.config.llm.converses else ())
        make()  # refused now, if at all
        return self._answer(make)

    def check(self, questions: Sequence[str], back_s: float | None = None) -> list[float]:
        """The probability of yes for each question, all read in one pass on branches of one memory.

        With `back_s` they see only so much of it, in whole windows: enough for what is there now, at a cost that does not grow
        with the memory. RuntimeError while an answer is being written.
        """
        fusion = self._model.config.fusion
        windows = None if back_s is None else math.ceil(back_s / (fusion.slices_per_window * SLICE_S))
        return self._llm.probability(questions, self._open_window(), windows and windows * fusion.tokens_per_window)

    def require(self, question: str) -> None:
        """Raises ConfigError where `check` could not be asked this at every moment of a window. On any thread."""
        self._llm.require(question, extra=self.window_shape[0])

    def perceived(self) -> Perceived:
        """What is seen, heard and was last said, as the model puts it; questions like any other."""
        seen, heard, said = ("".join(self.ask(question)) for question in NOW)
        text = f"sees {seen}; hears {heard}; last said: {said}"
        return Perceived("perceived", self.heard_until_s, text, sees=seen, hears=heard, said=said)

    def reset(self, keep_clock: bool = False) -> None:
        """Forget the stream; the next slice is slice 0 again or, with `keep_clock`, the one that was due.

        Raises RuntimeError while an answer is being written.
        """
        self._llm.reset()
        self._past = None
        self._open.clear()
        self._waiting.clear()
        self._encoder.reset()
        self._slices = self._slices if keep_clock else 0

    def _open_window(self) -> Tensor | None:
        """What the memory lacks: the open window's slices and its provisional read-out; None when no window is open."""
        if not self._open:
            return None
        return torch.cat([*(each.tokens for each in self._open), self._encoder.read_out()])

    def _spoken(self, question: str, keep: bool, schema: Mapping[str, Any] | None, earlier: Sequence[Turn]) -> Plan:
        return self._llm.answering(question, self._open_window(), self._max_answer_tokens, keep, schema, earlier)

    def _answer(self, make: Callable[[], Plan]) -> Plan:
        if self._is_answering:
            raise RuntimeError("an answer is being written: finish or close it first")
        spoken = make()  # here: a slice may have come since it was asked
        self.answered_until_s = self.heard_until_s
        self._is_answering = True
        try:
            yield from _trimmed(spoken)
        finally:
            self._is_answering = False
            self._catch_up()

    def _catch_up(self) -> None:
        started_s, had_waited = time.perf_counter(), len(self._waiting)
        for _ in alone(self.passes, self.reading()):
            pass
        if read := had_waited - len(self._waiting):
            self.append_s = (time.perf_counter() - started_s) / read


def _trimmed(plan: Plan) -> Plan:
    """The plan without the space that an answer's first token carries."""
    told, has_begun = None, False
    with closing(plan), suppress(StopIteration):
        while True:
            step = plan.send(told)
            told = None
            if isinstance(step, Read):
                told = yield step
            elif text := step if has_begun else step.lstrip():
                has_begun = True
                yield text


def load_model(config: Config) -> tuple[Favor, Tokenizer]:
    """The configured weights, on the configured device and threads."""
    if config.threads:
        torch.set_num_threads(config.threads)
    model, tokenizer = weights.load(config.weights)
    cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
    if cuda and not torch.cuda.is_available():
        raise DeviceError("device is cuda and torch finds no CUDA here; set device to cpu or install a CUDA build of torch")
    if config.llm_weights != "stored":
        round_linears(model.llm.model, config.llm_weights)  # here: what moves to the device is small already
    if cuda:
        check_memory(model, torch.cuda.mem_get_info()[0])
    return model.to("cuda" if cuda else "cpu"), tokenizer


def check_memory(model: Favor, free_bytes: int) -> None:
    """Raises DeviceError where a GPU with so much memory left cannot hold the model and work beside it."""
    stored = sum(each.nbytes for each in (*model.parameters(), *model.buffers()))
    if stored > free_bytes * SPARE:
        layers = sum(each.nbytes for each in model.llm.model.layers.parameters())
        smaller = stored - layers + layers // model.llm.dtype.itemsize
        advice = 'set llm_weights = "int8"' if smaller <= free_bytes * SPARE and layers else "choose smaller weights or the CPU"
        raise DeviceError(
            f"the model needs {stored / 1e9:.1f} GB and {free_bytes / 1e9:.1f} GB of the GPU's memory are free; {advice}"
        )


def check_ceiling(needed_mb: float, context_s: float, board: Reading) -> None:
    """Raises ConfigError where a session that still grows by so much would break the limit that this process was given."""
    limit_mb, used_mb = board.memory_limit_mb or math.inf, board.memory_mb or 0.0
    if used_mb + needed_mb > limit_mb * SPARE:
        told = f"{context_s:g} s of context need {needed_mb:.0f} MB beside {used_mb:.0f} MB, and the limit is {limit_mb:.0f} MB"
        raise ConfigError(f"{told}; lower context_s or keep_s, or raise the limit")


def load_session(config: Config) -> Session:
    """A session with the configured model, engines and memory."""
    return load_sessions(config)()


def load_sessions(config: Config) -> Callable[..., Session]:
    """A maker of such sessions, of another `context_s` if one is given. They share model, engines, passes and one thread."""
    model, tokenizer = load_model(config)
    encoders = load_encoders(config, model, weights.read_manifest(config.weights or SHIPPED)["sha256"])
    passes = Passes(model.llm)

    def new(context_s: float = config.context_s) -> Session:
        session = Session(model, tokenizer, context_s, config.max_answer_tokens, encoders(), passes)
        if model.device.type == "cpu":
            check_ceiling(session.memory_mb + config.keep_s * KEPT_MB_PER_S, context_s, Board().read())
        return session

    return new
