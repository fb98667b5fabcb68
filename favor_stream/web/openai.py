"""The streams as a chat model, for programs that speak OpenAI's HTTP interface (platform.openai.com/docs/api-reference/chat).

The live stream is the context that nobody has to send: the last user message is a question about it. One that brings pictures
or sound is answered from those alone. Instructions of a system or developer message are taken and not followed, and neither is
how to draw words: the shipped model takes no instructions, and answers are always the likeliest words.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, BeforeValidator, Field

from favor_stream import payload
from favor_stream.errors import ConfigError, FavorError
from favor_stream.glance import glance, picture_in, sound_in
from favor_stream.mind import Mind
from favor_stream.records import Picture, Sound, Turn
from favor_stream.reply import Reply
from favor_stream.web.access import MOST_BYTES
from favor_stream.web.asking import EVENT_STREAM, sent
from favor_stream.web.chosen import AllStreams, wrong
from favor_stream.web.streams import NotThereError, Stream, Streams

MOST_MESSAGES, MOST_PARTS = 1000, 32  # of a chat, and of a message
DONE = "data: [DONE]\n\n"
PICTURE = re.compile(r"data:image/(jpeg|png);base64,")
routes = APIRouter()


class Text(BaseModel):
    type: Literal["text"]
    text: str


class Address(BaseModel):
    url: str


class Image(BaseModel):
    """A JPEG or PNG as a data: URL; nothing is fetched from elsewhere."""

    type: Literal["image_url"]
    image_url: Address


class Recording(BaseModel):
    data: str  # in base64
    format: Literal["wav", "mp3"]


class Audio(BaseModel):
    type: Literal["input_audio"]
    input_audio: Recording


Part = Annotated[Text | Image | Audio, Field(discriminator="type")]


def as_parts(content: object) -> object:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [] if content is None else content


class Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        list[Part],
        Field(max_length=MOST_PARTS),
        BeforeValidator(as_parts, json_schema_input_type=str | list[Part] | None),
    ] = []

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.content if isinstance(part, Text))

    @property
    def brings_media(self) -> bool:
        return any(not isinstance(part, Text) for part in self.content)


class StreamOptions(BaseModel):
    include_usage: bool = False


class Plain(BaseModel):
    type: Literal["text"]


class Schema(BaseModel):
    form: dict[str, Any] = Field(alias="schema")


class Filled(BaseModel):
    type: Literal["json_schema"]
    json_schema: Schema


class Completion(BaseModel):
    """A chat to be completed. What is not named here is taken and does nothing, as clients send many things."""

    model: str = Field(description="a name from /v1/models")
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    response_format: Annotated[Plain | Filled, Field(discriminator="type")] | None = None
    n: Literal[1] | None = 1
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    @property
    def schema_to_fill(self) -> dict[str, Any] | None:
        return self.response_format.json_schema.form if isinstance(self.response_format, Filled) else None

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def has_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def question(self) -> tuple[Message, list[Turn]]:
        """The last user message, and the turns before it. ConfigError where nobody asks, or at too great length."""
        places = [place for place, message in enumerate(self.messages) if message.role == "user"]
        if not places:
            raise ConfigError("messages: none is by the user; the last one that is, is the question")
        if sum(len(message.text) for message in self.messages) > MOST_BYTES:
            raise ConfigError(f"messages: more than {MOST_BYTES} characters of text; send less")
        return self.messages[places[-1]], turns((message.role, message.text) for message in self.messages[: places[-1]])


@routes.get("/v1/models")
async def models(streams: AllStreams) -> dict[str, Any]:
    """The model by its own name, which is about the first stream, and once for each stream as NAME:STREAM."""
    name = streams.mind.name
    return {"object": "list", "data": [described(each) for each in (name, *(f"{name}:{each.name}" for each in streams.all))]}


@routes.get("/v1/models/{name}")
async def model(name: str, streams: AllStreams) -> dict[str, Any]:
    stream_of(streams, name)
    return described(name)


def described(name: str) -> payload.Json:
    return {"id": name, "object": "model", "created": 0, "owned_by": "favor_stream"}  # nobody noted when


@routes.post("/v1/chat/completions")
async def complete(wanted: Completion, streams: AllStreams) -> Response:
    """The answer to the last user message; one that cannot be given is refused before anything is sent."""
    asked, earlier = wanted.question()
    schema = wanted.schema_to_fill
    if asked.brings_media:
        _check(streams.mind, wanted.model)
        pictures, sound = await asyncio.to_thread(brought, asked)
        reply, remembered = glance(streams.mind, pictures, sound, asked.text, schema, earlier), 0
    else:
        agent = stream_of(streams, wanted.model).agent
        reply, remembered = agent.ask(asked.text, schema=schema, earlier=earlier), agent.tokens
    told, said = Telling(wanted, streams.mind, asked.text, remembered), pieces(streams.placed(reply))
    first = await anext(said, "")
    if wanted.stream:
        return StreamingResponse(_chunks(told, first, said), media_type=EVENT_STREAM)
    text = first
    async with aclosing(said):
        while not told.is_cut(text) and (piece := await anext(said, None)) is not None:
            text += piece
    return JSONResponse(told.whole(text))


async def pieces(reply: Reply) -> AsyncGenerator[str, None]:
    async with aclosing(reply):
        async for piece in reply:
            yield piece


async def _chunks(told: Telling, first: str, rest: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    text = first
    async with aclosing(rest):
        yield sent(told.chunk({"role": "assistant", "content": ""}))
        yield sent(told.chunk({"content": first}))
        try:
            while not told.is_cut(text) and (piece := await anext(rest, None)) is not None:
                text += piece
                yield sent(told.chunk({"content": piece}))
        except FavorError as error:
            yield sent(wrong("refused", str(error)))
            return
        for chunk in told.last_chunks(text):
            yield sent(chunk)
        yield DONE


class Telling:
    """How one answer is told: whole, or in chunks. Its usage counts words and the live memory, not what came along."""

    def __init__(self, wanted: Completion, mind: Mind, question: str, remembered: int) -> None:
        """`remembered` tokens of the memory were read long before anybody asked."""
        self._wanted, self._mind, self._question, self._remembered = wanted, mind, question, remembered
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": wanted.model}

    def is_cut(self, text: str) -> bool:
        """Whether this is as much as was asked for."""
        most = self._wanted.most_tokens
        return most is not None and self._mind.tokens(text) >= most

    def whole(self, text: str) -> payload.Json:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": self._reason(text), "logprobs": None}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage(text)}

    def chunk(self, delta: payload.Json, reason: str | None = None) -> payload.Json:
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}])

    def last_chunks(self, text: str) -> Iterator[payload.Json]:
        yield self.chunk({}, self._reason(text))
        if self._wanted.has_usage:
            yield {**self._chunk([]), "usage": self._usage(text)}

    def _chunk(self, choices: list[payload.Json]) -> payload.Json:
        usage = {"usage": None} if self._wanted.has_usage else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": choices, **usage}

    def _reason(self, text: str) -> str:
        return "length" if self.is_cut(text) else "stop"

    def _usage(self, text: str) -> payload.Json:
        read, written = self._remembered + self._mind.tokens(self._question), self._mind.tokens(text)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": self._remembered},
        }


# What is asked, and about what.


def stream_of(streams: Streams, model: str) -> Stream:
    """The stream that a model's name stands for. NotThereError where there is none."""
    _check(streams.mind, model)
    return streams.find(model.partition(":")[2])


def _check(mind: Mind, model: str) -> None:
    if model.partition(":")[0] != mind.name:
        raise NotThereError(f"no model is called {model!r}; expected {mind.name!r} or one of /v1/models")


def turns(said: Iterable[tuple[str, str]]) -> list[Turn]:
    """Questions with their answers, of what each role has said."""
    found, asked = list[Turn](), ""
    for role, text in said:
        if role == "user":
            asked = text
        elif role == "assistant" and asked.strip() and text.strip():
            found.append((asked, text))
            asked = ""
    return found


def brought(asked: Message) -> tuple[list[Picture], Sound]:
    """Pictures and sound of a message, decoded; that takes a while. ConfigError for what cannot be."""
    pictures = [picture_in(inlined(part.image_url.url)) for part in asked.content if isinstance(part, Image)]
    recordings = [part.input_audio for part in asked.content if isinstance(part, Audio)]
    sounds = [sound_in(unpacked(each.data), each.format) for each in recordings]
    return pictures, np.concatenate([np.zeros(0, np.float32), *sounds])


def inlined(url: str) -> bytes:
    """The file in a data: URL. ConfigError for any other URL."""
    found = PICTURE.match(url)
    if found is None:
        raise ConfigError(f"a picture at {url[:40]!r}; expected data:image/jpeg;base64,... or data:image/png;base64,...")
    return unpacked(url[found.end() :])


def unpacked(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise ConfigError(f"data that begins {data[:16]!r} is no base64; encode it so") from error
