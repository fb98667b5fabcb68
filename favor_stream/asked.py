"""A question as it comes from a broker: its words, and where who asked wants the answer. It knows messages and no agent."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from paho.mqtt.properties import Properties

from favor_stream.errors import ConfigError

MOST_COMMAND_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Asked:
    id: str
    question: str
    schema: dict[str, Any] | None = None  # that the answer is to fill
    reply_to: str = ""  # topic of who asked (MQTT 5)
    correlation: bytes = b""  # what is to be sent back with the answer


def words(raw: object) -> str:
    """A command's payload as text. Raises ConfigError for one that is too large or no text."""
    if not isinstance(raw, bytes) or len(raw) > MOST_COMMAND_BYTES:
        size = f"{len(raw)} bytes" if isinstance(raw, bytes) else repr(raw)
        raise ConfigError(f"the command holds {size}; expected at most {MOST_COMMAND_BYTES} bytes of text")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError("the command is no UTF-8; expected text") from error


def asked(text: str, properties: Properties | None, own: tuple[str, ...]) -> Asked:
    """The question in plain text or in JSON {"id": ..., "text": ..., "schema": ...}. Raises ConfigError for other JSON.

    Who asks by MQTT 5 may name a topic for the answer, but none below the `own` topics: an answer could be a question again.
    """
    told = parsed(text) if text.lstrip().startswith("{") else {"text": text}
    request, question, schema = str(told.get("id", f"{random.randrange(1 << 64):016x}")), told.get("text"), told.get("schema")
    if not isinstance(question, str) or not request.isalnum() or len(request) > 64:
        raise ConfigError("the question's text is no text, or its id not of 1 to 64 letters and digits; mend it")
    if not isinstance(schema, dict | None):
        raise ConfigError("the question's schema is no JSON object; write a JSON schema, or none")
    reply_to = getattr(properties, "ResponseTopic", "")
    if reply_to.startswith((*own, "$")) or set("+#") & set(reply_to):
        raise ConfigError(f"the response topic is {reply_to[:40]!r}; name one of your own")
    return Asked(request, question, schema, reply_to, getattr(properties, "CorrelationData", b""))


def parsed(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or "text" not in told:
        raise ConfigError('the question is no JSON with a text; write {"id": "1", "text": "what do you see now?"}')
    return told
