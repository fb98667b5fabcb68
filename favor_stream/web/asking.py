"""Questions over HTTP: of now, or of a time that is past."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from favor_stream import payload
from favor_stream.errors import ConfigError, FavorError
from favor_stream.reply import Reply
from favor_stream.web.chosen import AllStreams, Chosen, wrong
from favor_stream.when import Span

EVENT_STREAM = "text/event-stream"
routes = APIRouter()


class Asked(BaseModel):
    """A question about the stream. `stream`: the answer piece by piece, as server-sent events.

    `between`: two times, with time zones, that it is about; without them it is about now and what is remembered, or about
    the time that its words name. `earlier`: questions and answers that it follows up.
    """

    model_config = ConfigDict(extra="forbid")
    question: str
    stream: bool = False
    answer_schema: dict[str, Any] | None = Field(None, alias="schema")
    between: tuple[AwareDatetime, AwareDatetime] | None = None
    earlier: list[tuple[str, str]] = []

    def span(self) -> Span | None:
        if self.between is None:
            return None
        begin, end = self.between
        if begin >= end:
            raise ConfigError(f"between {begin} and {end} is no time; write the earlier one first")
        return Span(local(begin), local(end))


def local(at: datetime) -> datetime:
    """In this machine's time zone, in which answers name times. ConfigError for one that is in no year there."""
    try:
        return at.astimezone()
    except (OverflowError, ValueError) as error:
        raise ConfigError(f"{at} is too far away; expected a time of this stream") from error


@routes.post("/v1/ask")
async def ask(asked: Asked, stream: Chosen, streams: AllStreams) -> Response:
    """The answer; a question that cannot be answered is refused before anything is sent."""
    given = stream.agent.ask(asked.question, schema=asked.answer_schema, earlier=asked.earlier, span=asked.span())
    said = spoken(streams.placed(given))
    first = await anext(said)
    if asked.stream:
        return StreamingResponse(_told(first, said), media_type=EVENT_STREAM)
    async with aclosing(said):
        async for last in said:
            first = last
    return JSONResponse(first)


async def spoken(reply: Reply) -> AsyncGenerator[payload.Json, None]:
    """Its pieces, `{"piece": text}`, and at last the whole answer with its times."""
    async with aclosing(reply):
        async for piece in reply:
            yield {"piece": piece}
    yield payload.reply(reply)


async def _told(first: payload.Json, rest: AsyncGenerator[payload.Json, None]) -> AsyncIterator[str]:
    async with aclosing(rest):
        yield sent(first)
        try:
            async for each in rest:
                yield sent(each)
        except FavorError as error:
            yield sent(wrong("refused", str(error)))


def sent(told: payload.Json, number: int | None = None) -> str:
    """A server-sent event."""
    return ("" if number is None else f"id: {number}\n") + f"data: {json.dumps(told)}\n\n"
