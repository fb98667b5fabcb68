"""One stream's memory as its agent has it: seen into, asked and written down, each job on the thread of the model.

One answer at a time is written from the live memory, and one from what was written down; each by a task of its own. It knows
the session and the journal; it knows no devices, no watches, and of time only what it is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from favor_stream.errors import ConfigError, LeftError
from favor_stream.mind import Mind
from favor_stream.passes import alone
from favor_stream.recall import Recall
from favor_stream.records import SLICE_S, Answer, Perceived, Slice, Turn
from favor_stream.reply import Reply
from favor_stream.session import Session
from favor_stream.signals import Signals
from favor_stream.watches import Now
from favor_stream.when import Span

LEFT = "the agent was left: expected to be asked inside `async with`; stay in it until the answer is complete"
Result = TypeVar("Result")
Schema = Mapping[str, Any]
Pieces = Generator[str, None, None]


class Memory:
    """Used on the event loop alone; a session that nobody else touches is behind it. LeftError after `close`."""

    def __init__(self, mind: Mind, session: Session, now: Callable[[], Now], lag_s: Callable[[], float]) -> None:
        """`now` is the end of what was perceived, `lag_s` how far that is behind the devices."""
        self.session, self._mind, self._now, self._lag_s = session, mind, now, lag_s
        self.recall: Recall | None = None
        self.remembered_s = (0.0, 0.0)
        self.when_answered = list[Callable[[Answer], None]]()  # called with each answer that is complete
        self._seeing_s = 0.0  # spent, on the model's thread
        self._asking = asyncio.Lock()  # one answer at a time is written on the memory's branch
        self._recalling = asyncio.Lock()  # and one from what was written down
        self._noting = asyncio.Lock()  # a window is open or written down: who recalls finds it in one of the two
        self._writing = list[Pieces]()  # answers that have not ended
        self.is_left = False

    @property
    def is_asked(self) -> bool:
        """Somebody's answer is being written from it."""
        return self._asking.locked()

    @property
    def real_time_factor(self) -> float:
        """Seconds of seeing for a second of stream, so far; more than 1 cannot keep up."""
        return self._seeing_s / max(SLICE_S, self.session.heard_until_s)

    # What comes in.

    async def see(self, piece: Slice, signals: Signals) -> None:
        """`signals` are taken of it too, for the same thread has the time."""
        async with self._noting:
            window = await self._compute(partial(self._see, piece, signals))
            if window and self.recall:
                await self.recall.note(window, self._now())

    def _see(self, piece: Slice, signals: Signals) -> Any:
        started_s = time.perf_counter()
        signals.see(piece)
        window = self.session.see(piece)
        self.remembered_s = self.session.remembered_s  # read here: the memory belongs to this thread
        self._seeing_s += time.perf_counter() - started_s
        return window

    async def restore(self, recall: Recall, context_s: float, is_endless: bool) -> None:
        """Write windows down from now on; what was perceived before a restart is remembered where a stream has no end."""
        self.recall = recall
        windows = await recall.before(self.session.most_windows, context_s, self._now())
        for window in windows if is_endless else ():
            await self._compute(partial(self.session.restore, [window]))
        self.remembered_s = await self._compute(lambda: self.session.remembered_s)

    async def forget(self) -> None:
        """Everything, what was written down too; the stream's time goes on."""
        async with self._asking, self._recalling, self._noting:
            await self._compute(self._forget)
            if self.recall:
                await self.recall.clear()

    def _forget(self) -> None:
        self.session.reset(keep_clock=True)
        self.remembered_s = self.session.remembered_s

    # What is asked of it.

    async def perceived(self) -> Perceived:
        return await self._compute(self.session.perceived)

    async def check(self, questions: list[str], back_s: float | None = None) -> list[float]:
        """The probability of yes for each question, in one pass, once nobody's answer is being written."""
        async with self._asking:
            return await self._compute(lambda: self.session.check(questions, back_s))

    async def write(self, reply: Reply, keep: bool, schema: Schema | None, earlier: Sequence[Turn]) -> None:
        async with self._asking:
            reply.latency.wait_s = reply.elapsed_s
            pieces = await self._compute(lambda: self.session.ask(reply.question, keep, schema, earlier))
            await self._put(reply, pieces)

    async def write_past(self, reply: Reply, span: Span, schema: Schema | None) -> None:
        """From what was written down of a time; the live memory is free meanwhile."""
        assert self.recall is not None, "only a stream with a journal is asked about the past"
        async with self._recalling:
            reply.latency.wait_s = reply.elapsed_s
            async with self._noting:
                found = await self.recall.find(span, self.session.most_windows, self._now())
                recalling = partial(self.session.recalling, found.windows, reply.question, found.reaches_now, schema)
                plan = await self._compute(recalling)
                windows, until_s = found.windows, self.session.heard_until_s
            if found.gone and schema:
                raise ConfigError(f"{found.gone} No schema can be filled from it; ask about another time")
            if found.gone:
                return reply.put(found.gone)
            since_s = windows[0].start_s if windows else until_s
            rests_on = (since_s, until_s if found.reaches_now else windows[-1].end_s)
            await self._put(reply, alone(self.session.passes, plan), rests_on)

    async def _put(self, reply: Reply, pieces: Pieces, rests_on: tuple[float, float] | None = None) -> None:
        """Writes until the pieces end or somebody stops it; `rests_on` None: the live memory."""
        self._writing.append(pieces)
        reply.latency.capture_s = self._lag_s()
        reply.latency.encode_s, reply.latency.fuse_s = self.session.took_s
        reply.latency.append_s = self.session.append_s
        try:
            piece: str | None = ""
            while piece is not None:
                piece = await self._compute(lambda: next(pieces, None))
                if not reply.text:  # also where the answer is that there is nothing to say
                    reply.since_s, reply.until_s = rests_on or (self.remembered_s[0], self.session.answered_until_s)
                if piece:
                    reply.put(piece)
            for call in self.when_answered:
                call(reply.answer)
        finally:
            if not self.is_left:  # else leaving closes it
                self._writing.remove(pieces)
                # Shielded: a cancelled question must still be taken off the memory.
                await asyncio.shield(self._compute(pieces.close))

    # Its end.

    def leave(self) -> None:
        """Whoever asks from now on, or waits for an answer, gets LeftError."""
        self.is_left = True

    async def close(self) -> None:
        """After `leave`, once nothing is seen any more."""
        for pieces in self._writing:
            await self._mind.compute(pieces.close)
        if self.recall:
            await self.recall.close()

    async def _compute(self, work: Callable[[], Result]) -> Result:
        if self.is_left:
            raise LeftError(LEFT)
        return await self._mind.compute(work)
