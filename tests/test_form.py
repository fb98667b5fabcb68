"""Answers that fill a JSON schema, whatever the model would rather say, or end with one clear error."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import talkative_model
from tokenizers import Tokenizer

from favor_stream.capture import open_source
from favor_stream.config import SHIPPED, Config
from favor_stream.errors import ConfigError
from favor_stream.ring import Ring
from favor_stream.session import Session, load_session

pytest.importorskip("llguidance")

from favor_stream.form import Form

TOKENIZER = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
EOS: int = TOKENIZER.encode("</s>").ids[0]
COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "there": {"type": "boolean"}},
    "required": ["colour", "there"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "object": COLOUR,
    "numbers": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99}, "minItems": 1, "maxItems": 3},
    "text": {"type": "string", "maxLength": 8},
    "choice": {"anyOf": [{"const": None}, {"type": "boolean"}]},
}


def is_valid(value: Any, name: str) -> bool:
    if name == "object":
        return set(value) == {"colour", "there"} and value["colour"] in ("red", "blue") and isinstance(value["there"], bool)
    if name == "numbers":
        return 1 <= len(value) <= 3 and all(isinstance(each, int) and 0 <= each <= 99 for each in value)
    if name == "text":
        return isinstance(value, str) and len(value) <= 8
    return value is None or isinstance(value, bool)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(SCHEMAS)), st.integers(0, 1 << 30))
def test_whatever_is_likely_what_is_said_is_valid(name: str, seed: int) -> None:
    form, said, draw = Form(SCHEMAS[name], TOKENIZER, EOS), list[int](), torch.Generator().manual_seed(seed)
    while (token := int(form.allow(torch.randn(1024, generator=draw)).argmax())) != EOS:
        form.take(token)
        said.append(token)
    assert form.is_filled
    assert is_valid(json.loads(TOKENIZER.decode(said)), name)


@pytest.mark.parametrize(
    "schema", [{"type": "nonsense"}, {"type": "object", "required": 3}, {"type": "string", "pattern": "("}, {"$ref": "#/no"}]
)
def test_schema_that_cannot_be_filled_is_one_clear_error(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cannot be filled") as caught:
        Session(*talkative_model()).ask("what?", schema=schema)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("depth", [200, 900])
def test_schema_that_is_nested_too_deeply_is_one_clear_error(depth: int) -> None:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"inner": schema}}
    with pytest.raises(ConfigError, match="write a flatter one") as caught:
        Session(*talkative_model()).ask("what?", schema=schema)
    assert "\n" not in str(caught.value)


def test_answer_that_does_not_fill_its_schema_is_an_error_and_leaves_no_trace() -> None:
    session = Session(*talkative_model(), max_answer_tokens=3)
    before = session.check(["what?"])
    with pytest.raises(ConfigError, match="within 3 tokens"):
        list(session.ask("what?", schema=COLOUR))
    assert session.check(["what?"]) == before


def test_shipped_model_fills_a_schema_about_a_film() -> None:
    session = load_session(Config())
    ring = Ring(60.0, 2.0, 2.0, "lossless")
    with open_source(str(SHIPPED / "demo.mp4"), ring, lambda _: None, 4.0):
        for piece in islice(ring, 6):
            session.see(piece)
    text = "".join(session.ask("what do you see now?", schema=COLOUR))
    assert is_valid(json.loads(text), "object")
    assert "".join(session.ask("what do you see now?")) != text  # nobody asked for a form
