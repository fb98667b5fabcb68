"""The agent over films that are made here: it perceives, answers meanwhile, and leaves nothing behind however it is left."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import av
import pytest
from media import numbered_film

from favor_stream.agent import Agent
from favor_stream.capture.container import Heard, Seen
from favor_stream.capture.file import File
from favor_stream.clip import write_clip
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.health import Health
from favor_stream.records import Event

QUESTION = "what do you see now?"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    numbered_film(path, seconds=3.0)
    return str(path)


def within(film: str, config: Config, use: Callable[[Agent], Awaitable[None]], seconds: float = 20.0) -> None:
    async def run() -> None:
        async with asyncio.timeout(seconds), Agent(film, config=config, pace="fast") as agent:
            await use(agent)

    asyncio.run(run())


def test_perceives_to_the_end_and_counts_everything(film: str, config: Config) -> None:
    events: list[Event] = []

    async def use(agent: Agent) -> None:
        listener = agent.events()
        await agent.ended()
        events.extend([event async for event in listener])
        counts = agent.counts
        assert agent.heard_until_s == 3.0
        assert agent.remembered_s == (0.0, 3.0)
        assert counts.pictures_in == counts.pictures_used + counts.pictures_dropped + counts.pictures_waiting
        assert counts.samples_in == counts.samples_used + counts.samples_dropped + counts.samples_waiting
        assert 0 < agent.tokens <= agent.budget_tokens
        assert agent.lag_s == 0
        assert agent.real_time_factor > 0

    within(film, config, use)
    assert events[-1].kind == "ended"


def test_same_film_gives_the_same_answers_twice(film: str, config: Config) -> None:
    said: list[str] = []

    async def use(agent: Agent) -> None:
        await agent.ended()
        said.append((await agent.answer(QUESTION)).text)
        said.append(str(await agent.check([QUESTION, "yes?"])))

    within(film, config, use)
    within(film, config, use)
    assert said[:2] == said[2:]
    assert said[0]


def test_same_film_is_perceived_the_same_twice(film: str, config: Config) -> None:
    async def told() -> list[Event]:
        agent = Agent(film, config=config, pace="fast")
        events = agent.events()  # before entering, so that none is missed
        async with asyncio.timeout(20.0), agent:
            return [event async for event in events if event.kind == "perceived"]

    first, second = asyncio.run(told()), asyncio.run(told())
    assert first == second
    assert [event.time_s for event in first] == [1.0, 2.0, 3.0]


def test_source_that_breaks_is_told(film: str, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    put, pieces = File._put, itertools.count()

    def breaking(self: File, piece: Heard | Seen) -> None:
        if next(pieces) == 20:  # in the middle of a slice
            raise RuntimeError("it broke")
        put(self, piece)

    async def use(agent: Agent) -> None:
        assert agent.failure == ""
        with pytest.raises(RuntimeError, match="it broke"):
            await agent.ended()
        assert Health().status(agent) == {"state": "error", "reason": agent.failure} == {"state": "error", "reason": "it broke"}

    monkeypatch.setattr(File, "_put", breaking)
    with pytest.raises(RuntimeError, match="it broke"):  # leaving tells it too
        within(film, config, use)


def test_sound_and_pictures_may_come_from_two_sources(config: Config) -> None:
    async def run() -> tuple[float, str]:
        sources = ("lavfi:sine=duration=2", "lavfi:testsrc=size=64x48:rate=8:duration=2")
        async with asyncio.timeout(20.0), Agent(*sources, config=config, pace="fast") as agent:
            await agent.ended()
            assert agent.counts.pictures_used > 0
            assert agent.counts.samples_missing == 0
            return agent.heard_until_s, (await agent.answer(QUESTION)).text

    heard_until_s, text = asyncio.run(run())
    assert heard_until_s == 2.0
    assert text


def test_last_seconds_become_a_film(film: str, config: Config, tmp_path: Path) -> None:
    async def use(agent: Agent) -> None:
        await agent.ended()
        write_clip(tmp_path / "clip.mp4", agent.clip(2.0))

    within(film, config, use)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(2.0, abs=0.3)
        assert [stream.type for stream in container.streams] == ["video", "audio"]


def test_answer_streams_and_can_be_left_midway_without_a_trace(film: str, config: Config) -> None:
    async def use(agent: Agent) -> None:
        await agent.ended()
        tokens, whole = agent.tokens, (await agent.answer(QUESTION)).text
        async with aclosing(agent.ask(QUESTION)) as answer:
            first = await anext(answer)
        assert whole.startswith(first)
        assert first != whole
        assert agent.tokens == tokens
        assert (await agent.answer(QUESTION)).text == whole

    within(film, config, use)


def test_cancelled_question_leaves_the_agent_usable(film: str, config: Config) -> None:
    async def use(agent: Agent) -> None:
        asking = asyncio.create_task(agent.answer(QUESTION))
        await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.wait({asking})
        await agent.ended()
        assert (await agent.answer(QUESTION)).heard_until_s == 3.0

    within(film, config, use)


def test_two_questions_at_once_are_both_answered(film: str, config: Config) -> None:
    async def use(agent: Agent) -> None:
        await agent.ended()
        alone = (await agent.answer(QUESTION)).text
        both = await asyncio.gather(agent.answer(QUESTION), agent.answer(QUESTION))
        assert [answer.text for answer in both] == [alone, alone]

    within(film, config, use)


def test_bad_question_is_refused_and_the_agent_goes_on(film: str, config: Config) -> None:
    async def use(agent: Agent) -> None:
        with pytest.raises(ConfigError):
            await agent.answer("  ")
        await agent.ended()

    within(film, config, use)


@pytest.mark.parametrize("source", ["/nowhere/film.mp4", "/", "ftx://x"])
def test_missing_source_is_one_clear_error_on_entering(source: str, config: Config) -> None:
    async def use(agent: Agent) -> None:
        raise AssertionError("entered")

    with pytest.raises(DeviceError) as caught:
        within(source, config, use)
    assert "\n" not in str(caught.value)


def test_leaving_midway_leaves_no_threads(film: str, config: Config) -> None:
    before = threading.active_count()

    async def run() -> None:
        async with Agent(film, config=config) as agent:
            await agent.answer(QUESTION)

    asyncio.run(run())
    assert threading.active_count() <= before


def test_test_picture_is_perceived_and_its_events_arrive_in_order(config: Config) -> None:
    events: list[Event] = []

    async def use(agent: Agent) -> None:
        listener = agent.events()
        await agent.ended()
        events.extend([event async for event in listener])

    within("lavfi:testsrc=size=64x48:rate=8:duration=2", config, use)
    assert {event.kind for event in events} >= {"perceived", "ended"}
    assert events[-1] == Event("ended", 2.0, "every source has ended")


def test_waits_until_a_moment_of_the_stream(film: str, config: Config) -> None:
    async def run() -> None:
        async with Agent(film, config=config) as agent:
            await agent.until(1.0)
            assert 1.0 <= agent.heard_until_s < 3.0
            assert (await agent.answer(QUESTION)).heard_until_s <= agent.heard_until_s

    asyncio.run(run())


def test_stream_is_perceived_while_an_answer_stands_open(film: str, config: Config) -> None:
    async def use(agent: Agent) -> None:
        async with aclosing(agent.ask(QUESTION)) as answer:
            await anext(answer)
            await agent.ended()
        assert agent.heard_until_s == 3.0
        await agent.answer(QUESTION)  # after it: what was seen meanwhile is caught up
        assert agent.remembered_s == (0.0, 3.0)

    within(film, config, use)


def test_leaving_while_an_answer_is_written_tells_who_listens_to_it(film: str, config: Config) -> None:
    async def run() -> None:
        async with Agent(film, config=config, pace="fast") as agent:
            answer = agent.ask(QUESTION)
            await anext(answer)
        with pytest.raises(RuntimeError, match="the agent was left"):
            async for _ in answer:  # what was written before it is given first
                pass
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(("model", "reader", "capture"))]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_entering_that_is_cancelled_leaves_nothing_behind(config: Config) -> None:
    async def run() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0), Agent("rtsp://127.0.0.1:9/nobody", config=config):
                raise AssertionError("entered")
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before = threading.active_count()
    asyncio.run(run())
    assert threading.active_count() <= before


def test_overload_is_told(film: str, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []

    async def run() -> None:
        agent = Agent(film, config=replace(config, lag_s=0.0))
        monkeypatch.setattr(agent._signals, "see", lambda piece: time.sleep(0.7))  # slower than the stream comes
        async with agent:
            listener = agent.events()
            await agent.ended()
            events.extend([event async for event in listener])

    asyncio.run(run())
    assert any(event.kind == "overload" and "were dropped to keep up" in event.text for event in events)


def test_held_agent_has_closed_its_devices_and_goes_on_where_it_was(config: Config) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), Agent("lavfi:testsrc=size=64x48:rate=8", config=config) as agent:
            events = agent.events()
            await agent.until(1.5)
            await agent.hold()
            assert agent.is_held
            await asyncio.sleep(0.3)  # for what was on its way
            held_s, taken = agent.heard_until_s, agent.counts.pictures_in
            await asyncio.sleep(1.2)
            assert (agent.heard_until_s, agent.counts.pictures_in) == (held_s, taken)
            assert not agent.clip(60.0).pictures
            assert (await agent.answer(QUESTION)).heard_until_s == held_s  # asked meanwhile
            agent.resume()
            await agent.until(held_s + 1.0)
            assert not agent.is_held
            assert agent.counts.pictures_in > taken
            assert agent.lag_s < 2.0
            assert agent.remembered_s[0] == 0.0
            counts = agent.counts
            assert counts.pictures_in == counts.pictures_used + counts.pictures_dropped + counts.pictures_waiting
            events.close()

    asyncio.run(run())


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.05, 0.3])
def test_held_again_while_devices_are_opening_it_is_held(config: Config, after_s: float) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), Agent("lavfi:testsrc=size=64x48:rate=8", config=config) as agent:
            await agent.until(0.5)
            await agent.hold()
            agent.resume()
            await asyncio.sleep(after_s)
            await agent.hold()
            assert agent.is_held
            await asyncio.sleep(0.3)  # for what was on its way
            taken = agent.counts.pictures_in
            await asyncio.sleep(0.7)
            assert agent.is_held
            assert agent.counts.pictures_in == taken

    asyncio.run(run())


def test_leaving_while_it_is_held_ends_it(config: Config) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), Agent("lavfi:testsrc=size=64x48:rate=8", config=config) as agent:
            await agent.hold()
            await asyncio.sleep(0.3)

    asyncio.run(run())


def test_agent_needs_a_source() -> None:
    with pytest.raises(DeviceError, match="no source"):
        Agent()


def test_wrong_weights_are_told_on_entering(film: str, tmp_path: Path) -> None:
    from favor_stream.errors import WeightsError

    async def use(agent: Agent) -> None:
        raise AssertionError("entered")

    with pytest.raises(WeightsError):
        within(film, Config(weights=tmp_path), use)
