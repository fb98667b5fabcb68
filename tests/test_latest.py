"""What a control loop calls: the newest perception or Stale, and questions that are asked without waiting."""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import av
import pytest
from media import number_of, numbered, numbered_film

from favor_stream.agent import MOST_NOWAIT, Agent
from favor_stream.background import in_background
from favor_stream.capture.inlet import Inlet
from favor_stream.config import Config
from favor_stream.errors import DeviceError, LeftError, Stale
from favor_stream.records import SLICE_S, Perception, Slice, Watch

QUESTION = "what do you see now?"
LATE_S = 10.0  # an age that only a very busy machine reaches


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    numbered_film(path, seconds=3.0)
    return str(path)


@pytest.fixture
def agent(config: Config) -> Iterator[Agent]:
    with in_background(Agent("lavfi:testsrc=size=64x48:rate=8", config=config, watches=[Watch("red", "red")])) as agent:
        yield agent


def newer(agent: Agent, than: Perception | None = None) -> Perception:
    """The next perception, waited for."""
    give_up_s = time.monotonic() + 60
    while time.monotonic() < give_up_s:
        try:
            newest = agent.latest(LATE_S)
        except Stale:
            continue
        if newest is not than:
            return newest
        time.sleep(0.01)
    raise AssertionError("nothing newer came")


def test_latest_goes_on_with_the_stream(agent: Agent) -> None:
    first = newer(agent)
    second = newer(agent, first)
    assert second.until_s >= first.until_s
    assert second.captured_s >= first.captured_s
    assert time.monotonic() - second.captured_s < LATE_S
    assert 0 <= second.chances["red"] <= 1


def test_latest_says_in_words_what_was_told_last(agent: Agent) -> None:
    newest = newer(agent)
    while newest.perceived is None:
        newest = newer(agent, newest)
    assert newest.perceived.kind == "perceived"
    assert newest.perceived.time_s <= newest.until_s


def test_what_is_older_than_asked_for_is_stale(agent: Agent) -> None:
    newer(agent)
    with pytest.raises(Stale, match=r"s old; expected 0 s at most"):
        agent.latest(max_age_s=0.0)


def test_the_same_one_is_never_told_for_ever(film: str, config: Config) -> None:
    with in_background(Agent(film, config=config)) as agent:
        last = newer(agent)
        with suppress(Stale):
            while time.monotonic() < last.captured_s + 60:
                last = agent.latest(max_age_s=2.0)
                time.sleep(0.01)
        assert 2.0 < time.monotonic() - last.captured_s < 60


def test_stale_says_what_perceiving_has_ended_with(film: str, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        async with Agent(film, config=config) as agent:
            await agent.until(1.0)
            monkeypatch.setattr(agent._entered.session, "see", lambda piece: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await agent.ended()
            with pytest.raises(Stale, match="division by zero"):
                agent.latest(max_age_s=0.0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(use())


def test_before_anything_was_perceived_there_is_nothing(film: str, config: Config) -> None:
    with pytest.raises(Stale, match="nothing was perceived yet"):
        Agent(film, config=config).latest()


def test_reading_the_newest_over_and_over_grows_nothing(agent: Agent) -> None:
    newer(agent)
    agent.latest(LATE_S)
    tracemalloc.start()
    try:
        for _ in range(10_000):
            agent.latest(LATE_S)
        kept = [trace for trace in tracemalloc.take_snapshot().traces if trace.traceback[0].filename.endswith("agent.py")]
        assert len(kept) < 500  # what the agent itself does meanwhile
    finally:
        tracemalloc.stop()


def test_question_is_answered_while_the_control_loop_goes_on(agent: Agent) -> None:
    newer(agent)
    asked, turns = agent.ask_nowait(QUESTION, within_s=60), 0
    while not asked.done():
        agent.latest(LATE_S)
        time.sleep(0.001)
        turns += 1
    assert turns > 0
    assert asked.result().question == QUESTION


def test_answer_that_comes_too_late_is_stale(agent: Agent) -> None:
    newer(agent)
    with pytest.raises(Stale, match="no answer within 0.001 s"):
        agent.ask_nowait(QUESTION, within_s=0.001).result(60)
    assert agent.ask_nowait(QUESTION, within_s=60).result(60).question == QUESTION  # the next one is not held up by it


def test_more_questions_than_can_wait_are_refused(agent: Agent) -> None:
    newer(agent)
    asked = [agent.ask_nowait(QUESTION, within_s=60) for _ in range(MOST_NOWAIT)]
    with pytest.raises(Stale, match="questions wait"):
        agent.ask_nowait(QUESTION)
    for each in asked:
        each.result(60)
    agent.ask_nowait(QUESTION, within_s=60).result(60)


def test_question_that_is_taken_back_makes_room(agent: Agent) -> None:
    newer(agent)
    asked = [agent.ask_nowait(QUESTION, within_s=60) for _ in range(MOST_NOWAIT)]
    assert asked[-1].cancel()
    agent.ask_nowait(QUESTION, within_s=60).result(60)


def test_leaving_tells_who_still_waits_for_an_answer(config: Config) -> None:
    with in_background(Agent("lavfi:testsrc=size=64x48:rate=8", config=config)) as agent:
        newer(agent)
        asked = [agent.ask_nowait(QUESTION, within_s=60) for _ in range(MOST_NOWAIT)]
    assert any(isinstance(each.exception(60), LeftError) for each in asked)
    with pytest.raises(LeftError):
        agent.ask_nowait(QUESTION)


def test_source_that_is_not_there_is_told_to_who_enters(tmp_path: Path, config: Config) -> None:
    with pytest.raises(DeviceError, match=r"none\.mp4"), in_background(Agent(str(tmp_path / "none.mp4"), config=config)):
        pass
    assert not any(thread.name == "agent" for thread in threading.enumerate())


@pytest.mark.alone
def test_age_of_pictures_stays_where_it_is_when_the_model_takes_twice_the_time_there_is(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    ages_s, shown_s, lag_s, step_s = list[float](), dict[int, float](), 1.0, 2 * SLICE_S
    inlet = Inlet("camera", sound=False)
    with in_background(Agent(inlet, config=replace(config, lag_s=lag_s), perceive_every=0)) as agent:
        see = agent._entered.session.see

        def slow(piece: Slice) -> object:
            time.sleep(step_s)
            if (number := number_of(piece.picture)) is not None:
                ages_s.append(time.monotonic() - shown_s[number])
            return see(piece)

        monkeypatch.setattr(agent._entered.session, "see", slow)
        for turn in range(150):
            shown_s[turn % 20] = time.monotonic()
            inlet.put_picture(av.VideoFrame.from_ndarray(numbered(turn % 20), "rgb24"), shown_s[turn % 20])
            time.sleep(0.1)
        counts = agent.counts
    assert len(ages_s) >= 3
    assert max(ages_s) < lag_s + SLICE_S + step_s + 1.0
    assert max(ages_s[len(ages_s) // 2 :]) < max(ages_s[: len(ages_s) // 2]) + 1.0
    assert counts.pictures_dropped > 0
    assert counts.pictures_in == counts.pictures_used + counts.pictures_dropped + counts.pictures_waiting
