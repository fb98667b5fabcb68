"""What is shipped: the weights, and the film of the demo with its questions."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import av
import pytest
from safetensors import safe_open

from favor_stream import demo
from favor_stream.agent import Agent
from favor_stream.aveb import world
from favor_stream.aveb.alarms import NEVER
from favor_stream.aveb.script import Thing
from favor_stream.aveb.staged import Scene
from favor_stream.config import SHIPPED, Config
from favor_stream.model import weights
from favor_stream.model.config import PRESETS
from favor_stream.records import Watch
from favor_stream.session import load_session
from favor_stream.watches import BACK_S, Now, Watching

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


def test_what_comes_again_is_told_again() -> None:
    script = replace(world.draw(1, 16.0, "held_out"), things=(), cards=(), noises=(), utterances=())
    comings = tuple(
        Thing("red", "circle", at_s, at_s + 2, 0.5, 0.5, 0.14, "still", 0.0, 0, 0.0) for at_s in (3.0, 8.0, 13.0, 18.0)
    )
    watching, told = Watching(Watch("circle", "a red circle appears", cooldown_s=0.0)), list[float]()
    session = load_session(Config(engine="torch"))
    for piece in Scene(replace(script, duration_s=22.0, things=comings)).played():
        session.see(piece)
        (chance,) = session.check([watching.watch.asked], BACK_S)
        told += [e.time_s for e in watching.step(chance, Now(piece.end_s, NEVER)) if e.phase == "new"]
    assert [at_s - thing.start_s for at_s, thing in zip(told, comings, strict=True)] == pytest.approx([0.75] * 4, abs=0.5)
