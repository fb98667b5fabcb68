"""What is shipped: the weights, and the film of the demo with its questions."""

from __future__ import annotations

import asyncio

import av
import pytest
from safetensors import safe_open

from favor_stream import demo
from favor_stream.agent import Agent
from favor_stream.config import SHIPPED, Config
from favor_stream.model import weights
from favor_stream.model.config import PRESETS

TENSORS = SHIPPED / weights.TENSORS
ASKED = demo.questions(SHIPPED / demo.QUESTIONS)


def test_weights_are_whole_and_of_the_preset() -> None:
    model, _ = weights.load()
    assert model.config == PRESETS["favor-nano"]
    assert sum(p.numel() for p in model.parameters()) <= 20_000_000


def test_weights_are_small() -> None:
    assert TENSORS.stat().st_size < 40_000_000
    with safe_open(TENSORS, "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118


def test_film_of_the_demo_is_h264_and_aac() -> None:
    with av.open(str(SHIPPED / demo.FILM)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]


def test_demo_asks_for_what_needs_sight_sound_and_order() -> None:
    assert sorted(one.needs for one in ASKED) == ["order in time", "sight", "sound"]


@pytest.mark.parametrize("one", ASKED, ids=lambda one: one.needs)
def test_demo_s_questions_are_answered_rightly(one: demo.Asked) -> None:
    async def answered() -> str:
        async with Agent(str(SHIPPED / demo.FILM), config=Config(), pace="fast", perceive_every=0) as agent:
            await agent.until(one.at_s)
            return (await agent.answer(one.question)).text

    assert demo.is_right(asyncio.run(answered()), one.expected)
