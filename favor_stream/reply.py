"""An answer while it is being written. It knows neither the model nor who listens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from favor_stream.records import Answer


@dataclass(slots=True)
class Latency:
    """Where an answer's time went, in seconds; the first four are of what it rests on."""

    capture_s: float = 0.0  # how old the newest half second was
    encode_s: float = 0.0  # its encoders
    fuse_s: float = 0.0  # its Q-Former
    append_s: float = 0.0  # reading the newest window into the memory
    wait_s: float = 0.0  # for other answers
    first_token_s: float = 0.0  # from the question to the first token, waiting included
    total_s: float = 0.0  # to the last token


class Reply:
    """An `async for` over the pieces of one answer, and what is known of it so far.

    It is written whether or not somebody reads on, so who takes it slowly holds up nobody; `aclose` ends it early. Writing
    starts with the first piece that is asked for.
    """

    def __init__(self, question: str, write: Callable[[Reply], Awaitable[None]]) -> None:
        self.question, self.text, self.latency = question, "", Latency()
        self.since_s = self.until_s = 0.0  # the stream's time that it rests on
        self._write = write
        self._writing: asyncio.Task[None] | None = None
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()  # bounded by the longest answer
        self._error: Exception | None = None
        self._when_written: Callable[[], None] | None = None
        self._asked_s = time.monotonic()

    def put(self, piece: str) -> None:
        """The next piece was written."""
        if piece and not self.text:
            self.latency.first_token_s = self.elapsed_s
        self.text += piece
        self._pieces.put_nowait(piece)

    def when_written(self, call: Callable[[], None]) -> None:
        """Calls this once, when all is written or nobody wants it any more, whether or not it was read."""
        self._when_written = call

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._asked_s

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._writing is None:
            self._writing = asyncio.create_task(self._written(), name="write")
        if (piece := await self._pieces.get()) is not None:
            return piece
        self._pieces.put_nowait(None)  # whoever asks again is told the same
        raise self._error or StopAsyncIteration

    async def aclose(self) -> None:
        """Write no more of it."""
        if self._writing is None:
            return self._end()
        self._writing.cancel()
        await asyncio.wait({self._writing})
        self._end()  # of a task that was cancelled before it began

    async def whole(self) -> Answer:
        """The answer once it is complete."""
        try:
            async for _ in self:
                pass
        finally:
            await self.aclose()
        return self.answer

    @property
    def answer(self) -> Answer:
        """As it is so far."""
        total_s = self.latency.total_s or self.elapsed_s
        return Answer(self.question, self.text, self.until_s, self.latency.first_token_s or total_s, total_s)

    async def _written(self) -> None:
        try:
            await self._write(self)
        except Exception as error:  # whatever it is, it is the reader's
            self._error = error
        finally:
            self.latency.total_s = self.elapsed_s
            self._pieces.put_nowait(None)
            self._end()

    def _end(self) -> None:
        call, self._when_written = self._when_written, None
        if call:
            call()
