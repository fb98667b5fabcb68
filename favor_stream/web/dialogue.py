"""What a program says over a realtime connection, checked, and what was said in turn so far: the items of one conversation.

Source: platform.openai.com/docs/api-reference/realtime-client-events. What is not named here is taken and does nothing.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from favor_stream import payload
from favor_stream.errors import ConfigError
from favor_stream.records import Turn
from favor_stream.web.access import MOST_BYTES
from favor_stream.web.openai import MOST_PARTS, turns

MOST_ITEMS = 32  # kept; the oldest make room


class InputText(BaseModel):
    type: Literal["input_text"]
    text: str = Field(max_length=MOST_BYTES)


class InputImage(BaseModel):
    type: Literal["input_image"]
    image_url: str


class InputAudio(BaseModel):
    type: Literal["input_audio"]
    audio: str = ""  # in base64; of one that was appended it is not kept


class OutputText(BaseModel):
    type: Literal["output_text"]
    text: str = Field(max_length=MOST_BYTES)


Part = Annotated[InputText | InputImage | InputAudio | OutputText, Field(discriminator="type")]


def new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(10)}"


class Item(BaseModel):
    """A message of the conversation."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system"]
    id: str = Field(default_factory=lambda: new_id("item"), max_length=64)
    content: list[Part] = Field(max_length=MOST_PARTS)

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.content if isinstance(part, InputText | OutputText))

    @property
    def is_spoken(self) -> bool:
        return any(isinstance(part, InputAudio) for part in self.content)

    def told(self, status: str = "completed") -> payload.Json:
        """As it is told to the program, which has its pictures and sound already."""
        parts = [part.model_dump(exclude={"image_url", "audio"}) for part in self.content]
        return {**self.model_dump(exclude={"content"}), "object": "realtime.item", "status": status, "content": parts}


class Conversation:
    """The last items, oldest first."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque(maxlen=MOST_ITEMS)

    def add(self, item: Item) -> str | None:
        """Returns the id of the item that was the last before."""
        before = self._items[-1].id if self._items else None
        self._items.append(item)
        return before

    def question(self) -> str | None:
        """What the user has asked last; "" where that was aloud, None where there is nothing."""
        for item in reversed(self._items):
            if item.role == "user" and (item.text.strip() or item.is_spoken):
                return item.text.strip()
        return None

    def earlier(self) -> list[Turn]:
        """Questions that were answered, with their answers."""
        return turns((item.role, item.text) for item in self._items)


class Format(BaseModel):
    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24_000] = 24_000


class Input(BaseModel):
    """`turn_detection` is None: it is for the program to say when something is to be answered."""

    format: Format | None = None
    turn_detection: None = None


class SessionAudio(BaseModel):
    input: Input | None = None


class Own(BaseModel):
    """What only this server has."""

    events: bool


class Settings(BaseModel):
    output_modalities: list[Literal["text"]] | None = None
    audio: SessionAudio | None = None
    favor: Own | None = None


class Wish(BaseModel):
    """How a response is to be. It is about the whole conversation, so it brings no `input` of its own."""

    output_modalities: list[Literal["text"]] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | Literal["inf"] | None = None
    input: None = None


class Update(BaseModel):
    type: Literal["session.update"]
    session: Settings


class Append(BaseModel):
    type: Literal["input_audio_buffer.append"]
    audio: str


class Commit(BaseModel):
    type: Literal["input_audio_buffer.commit"]


class Clear(BaseModel):
    type: Literal["input_audio_buffer.clear"]


class Create(BaseModel):
    type: Literal["conversation.item.create"]
    item: Item


class Respond(BaseModel):
    type: Literal["response.create"]
    response: Wish | None = None


class Cancel(BaseModel):
    type: Literal["response.cancel"]


Said = Update | Append | Commit | Clear | Create | Respond | Cancel
SAID: TypeAdapter[Said] = TypeAdapter(Annotated[Said, Field(discriminator="type")])


def parsed(text: str) -> dict[str, Any]:
    """ConfigError for what is no JSON object."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError("a frame that is no JSON; expected an event, a JSON object with a type") from error
    if not isinstance(told, dict):
        raise ConfigError("a frame that is no event; expected a JSON object with a type")
    return told


def checked(told: dict[str, Any]) -> Said:
    """ConfigError, in one line, for an event that is not known or not as it should be."""
    try:
        return SAID.validate_python(told)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(str(part) for part in wrong["loc"]) or "the event"
        raise ConfigError(f"{where}: {wrong['msg']}") from error
