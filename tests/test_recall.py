"""What is recalled is what was remembered, and what is restored is as if nobody had restarted: to the bit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from media import numbered_film
from test_session import QUESTIONS, answers, see, session, slices
from tiny import talkative_model
from torch import Tensor

from favor_stream.agent import Agent
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.journal import Journal
from favor_stream.passes import alone
from favor_stream.recall import journal_file
from favor_stream.records import Event
from favor_stream.reply import Reply
from favor_stream.session import Session, Stretch
from favor_stream.when import Span

ENDLESS = "lavfi:testsrc=size=64x48:rate=4"
Result = TypeVar("Result")


def memory(viewer: Session) -> list[Tensor]:
    """The live keys and values, as the next pass would see them."""
    return _contents(viewer._llm)


def recalled(viewer: Session) -> list[Tensor]:
    assert viewer._past is not None
    return _contents(viewer._past)


def _contents(llm: object) -> list[Tensor]:
    cache = llm.cache  # type: ignore[attr-defined]
    live = slice(cache._span.first, cache._trunk)
    return [cache._keys[:, :, live].clone(), cache._values[:, :, live].clone()]


def is_same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def watched(viewer: Session, count: int, seed: int = 0) -> list[Stretch]:
    """The windows that so many slices close."""
    return [window for piece in slices(count, seed) if (window := viewer.see(piece))]


def said(viewer: Session, windows: list[Stretch], question: str, with_open: bool = False) -> str:
    return "".join(alone(viewer.passes, viewer.recalling(windows, question, with_open)))


def made(count: int, start_s: float = 0.0, seed: int = 0) -> list[Stretch]:
    """Windows of any tokens, of a size that the tiny model's have."""
    rng = torch.Generator().manual_seed(seed)
    config = talkative_model()[0].config
    shape = (config.fusion.tokens_per_window, config.llm.width)
    return [Stretch(torch.randn(shape, generator=rng), start_s + 2.0 * k, start_s + 2.0 * (k + 1)) for k in range(count)]


# The session: recalled == remembered.


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 3), (2, 5), (4, 9), (0, 10)])
def test_recalled_memory_is_that_of_one_who_saw_just_these_windows(first: int, last: int) -> None:
    viewer, other = session(), session()
    windows = watched(viewer, 41)[first:last]
    other.restore(windows)
    assert [said(viewer, windows, question) for question in QUESTIONS] == answers(other)
    assert is_same(recalled(viewer), memory(other))


def test_recalling_all_that_was_seen_is_remembering_it() -> None:
    viewer = session()
    windows = watched(viewer, 27)  # three slices of a window are open
    live = answers(viewer)
    assert [said(viewer, windows, question, with_open=True) for question in QUESTIONS] == live
    assert is_same(recalled(viewer), memory(viewer))
    assert [said(viewer, windows, question) for question in QUESTIONS] != live  # without the open one


def test_recalling_does_not_change_the_live_memory() -> None:
    viewer, other = session(), session()
    windows = watched(viewer, 27)
    see(other, slices(27))
    before = memory(viewer)
    said(viewer, windows[:3], QUESTIONS[0])
    said(viewer, windows[2:5], QUESTIONS[1], with_open=True)
    assert is_same(memory(viewer), before)
    assert viewer.remembered_s == other.remembered_s
    assert answers(viewer) == answers(other)
    assert viewer.check(QUESTIONS) == other.check(QUESTIONS)


def test_stream_is_perceived_between_the_windows_of_a_recall_and_neither_disturbs_the_other() -> None:
    viewer, undisturbed, alone_ = session(), session(), session()
    pieces = slices(60)
    windows = watched(viewer, 20)
    see(undisturbed, pieces)
    expected = said(alone_, windows, QUESTIONS[0])
    recalling, text = alone(viewer.passes, viewer.recalling(windows, QUESTIONS[0])), ""
    for piece in pieces[20:]:
        text += next(recalling, "")
        viewer.see(piece)
    assert text == expected
    assert is_same(memory(viewer), memory(undisturbed))
    assert answers(viewer) == answers(undisturbed)


def test_a_live_answer_may_be_written_between_the_pieces_of_a_recalled_one() -> None:
    viewer, other = session(), session()
    windows = watched(viewer, 20)
    see(other, slices(20))
    live, past = "".join(other.ask(QUESTIONS[0])), said(other, windows[:2], QUESTIONS[1])
    asked, recalling = viewer.ask(QUESTIONS[0]), alone(viewer.passes, viewer.recalling(windows[:2], QUESTIONS[1]))
    texts = ["", ""]
    for _ in range(99):
        texts = [texts[0] + next(asked, ""), texts[1] + next(recalling, "")]
    assert texts == [live, past]


def test_recall_that_is_left_midway_leaves_no_trace_in_the_next_one() -> None:
    viewer, other = session(), session()
    windows = watched(viewer, 40)
    for steps in (1, 3, 9, 12):
        recalling = alone(viewer.passes, viewer.recalling(windows[::-1], QUESTIONS[0]))
        for _ in range(steps):
            next(recalling, None)
        recalling.close()
    other.restore(windows[:4])
    assert said(viewer, windows[:4], QUESTIONS[0]) == answers(other)[0]


def test_as_many_windows_as_are_allowed_are_recalled_whole_and_one_more_is_refused_at_once() -> None:
    viewer = session()
    windows = made(viewer.most_windows + 1)
    said(viewer, windows[:-1], QUESTIONS[0])
    past = viewer._past
    assert past is not None
    assert past.remembered_s == (0.0, windows[-2].end_s)  # nothing of it was evicted
    with pytest.raises(ConfigError, match=r"expected at most \d+ s; ask about less at a time") as caught:
        viewer.recalling(windows, QUESTIONS[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("question", ["", "  ", "why? " * 20_000])
def test_impossible_question_about_the_past_is_refused_at_once(question: str) -> None:
    with pytest.raises(ConfigError):
        session().recalling(made(2), question)


def test_who_is_reset_forgets_what_it_recalled() -> None:
    viewer = session()
    said(viewer, watched(viewer, 8), QUESTIONS[0])
    viewer.reset()
    assert viewer._past is None


# The session: restored == never restarted.


def test_restored_memory_answers_as_the_one_that_saw_it() -> None:
    viewer, restarted = session(), session()
    windows = watched(viewer, 24)
    restarted.restore([Stretch(each.tokens, each.start_s - 12.0, each.end_s - 12.0) for each in windows])
    assert restarted.remembered_s == (-12.0, 0.0)
    assert is_same(memory(restarted), memory(viewer))
    assert answers(restarted) == answers(viewer)
    assert restarted.check(QUESTIONS) == viewer.check(QUESTIONS)


def test_restored_memory_goes_on_as_the_one_that_was_never_restarted() -> None:
    viewer, restarted = session(), session()
    restarted.restore(watched(viewer, 24))
    viewer._encoder.reset()  # what is heard and seen next begins anew, as in a new process
    for piece in slices(13, seed=1):
        viewer.see(replace(piece, index=24 + piece.index))
        restarted.see(piece)
    assert is_same(memory(restarted), memory(viewer))
    assert answers(restarted) == answers(viewer)


def test_restored_memory_evicts_as_the_one_that_was_never_restarted() -> None:
    viewer, restarted = session(), session()
    before, after = made(viewer.most_windows), made(3 * viewer.most_windows, 2.0 * viewer.most_windows, seed=1)
    for window in before:  # as they are read while they are seen
        viewer._llm.append(window.tokens, window.start_s, window.end_s)
    restarted.restore(before)
    evicted = 0
    for window in after:
        for each in (viewer, restarted):
            each._llm.append(window.tokens, window.start_s, window.end_s)
        evicted += viewer.remembered_s[0] > evicted
        assert restarted.remembered_s == viewer.remembered_s
    assert viewer.remembered_s[0] > before[-1].end_s  # all of the restored ones were forgotten since
    assert is_same(memory(restarted), memory(viewer))
    assert answers(restarted) == answers(viewer)


def test_restored_after_an_eviction_it_is_one_who_saw_just_the_newest() -> None:
    viewer, restarted, newest = session(), session(), session()
    windows = made(2 * viewer.most_windows)
    viewer.restore(windows)
    assert viewer.remembered_s[0] > 0  # the oldest are forgotten
    kept = windows[-viewer.most_windows :]
    restarted.restore(kept)
    for window in kept:
        newest._llm.append(window.tokens, window.start_s, window.end_s)
    assert is_same(memory(restarted), memory(newest))
    assert answers(restarted) == answers(newest)


def test_windows_are_restored_together_or_one_by_one_but_not_once_something_was_seen() -> None:
    together, one_by_one, windows = session(), session(), made(5)
    together.restore(windows)
    for window in windows:
        one_by_one.restore([window])
    assert is_same(memory(together), memory(one_by_one))
    see(together, slices(1))
    with pytest.raises(RuntimeError, match="something was seen already"):
        together.restore(windows)


# The agent with a journal.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "porch.sqlite"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(numbered_film(tmp_path_factory.mktemp("film") / "film.mp4", seconds=6.0))


def with_agent(
    source: str, config: Config, path: Path | None, use: Callable[[Agent], Awaitable[Result]], **kind: object
) -> Result:
    async def run() -> Result:
        agent = Agent(source, config=config, perceive_every=0, journal=path, **kind)  # type: ignore[arg-type]
        async with asyncio.timeout(60), agent:
            return await use(agent)

    return asyncio.run(run())


def written(path: Path, config: Config) -> list[Stretch]:
    """What is in a journal that nobody uses now."""
    from favor_stream.config import SHIPPED
    from favor_stream.model import weights

    kept = Journal(path, weights.read_manifest(config.weights or SHIPPED)["sha256"], 10**9, 1e9)
    found = [Stretch(torch.from_numpy(each.tokens.copy()), each.begun_at, each.ended_at) for each in kept.last(10**6)]
    kept.close()
    return found


def of_config(config: Config) -> Session:
    from favor_stream.session import load_session

    return load_session(config)


def local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone()


def test_every_window_of_a_film_is_written_down_as_it_was_read(film: str, config: Config, path: Path) -> None:
    async def use(agent: Agent) -> list[Tensor]:
        await agent.ended()
        return memory(agent._entered.session)

    live, other = with_agent(film, config, path, use, pace="fast"), of_config(config)
    windows = written(path, config)
    assert len(windows) == 3
    other.restore(windows)
    assert is_same(memory(other), live)


def test_question_about_a_time_of_a_film_is_answered_from_its_windows(film: str, config: Config, path: Path) -> None:
    async def use(agent: Agent) -> tuple[datetime, list[Reply], list[str]]:
        await agent.until(5.5)  # at its own speed: a time is a place in it
        begun_at = agent.utc(0.0)
        span = Span(local(begun_at.timestamp() + 2.5), local(begun_at.timestamp() + 3.5))
        replies = [agent.ask(question, span=span) for question in QUESTIONS]
        past = [(await reply.whole()).text for reply in replies]
        await agent.ended()
        return begun_at, replies, past

    begun_at, replies, past = with_agent(film, config, path, use)
    windows, other = written(path, config), of_config(config)
    assert [round(each.start_s - begun_at.timestamp()) for each in windows] == [0, 2, 4]
    other.restore(windows[1:2])
    assert past == [text.strip() for text in answers(other)]
    for reply in replies:
        assert [reply.since_s, reply.until_s] == pytest.approx([2.0, 4.0], abs=0.3)


def test_question_names_its_time_in_words(config: Config, path: Path) -> None:
    async def use(agent: Agent) -> tuple[Reply, Reply]:
        await agent.until(3.0)
        past, now = agent.ask("what do you see now in the last minute?"), agent.ask(QUESTIONS[0])
        for reply in (past, now):
            assert all([piece async for piece in reply])  # no empty ones
        return past, now

    past, now = with_agent(ENDLESS, config, path, use)
    assert past.question == now.question == QUESTIONS[0]
    assert past.text == now.text  # all of it is less than a minute
    assert [past.since_s, past.until_s] == pytest.approx([0.0, now.until_s], abs=0.5)


def test_what_is_gone_is_said_so(config: Config, path: Path) -> None:
    async def use(agent: Agent) -> tuple[str, str]:
        before = datetime.now(UTC).astimezone() - timedelta(hours=5)
        span = Span(before, before + timedelta(minutes=5))
        nothing = (await agent.ask("what?", span=span).whole()).text
        await agent.until(2.5)
        with pytest.raises(ConfigError, match="I no longer remember that.* No schema can be filled from it"):
            await agent.ask("what?", schema={"type": "object"}, span=span).whole()
        return nothing, (await agent.ask("what?", span=span).whole()).text

    nothing, gone = with_agent(ENDLESS, config, path, use)
    assert nothing == "I no longer remember that: nothing of it was written down."
    assert gone.startswith("I no longer remember that: what I remember is from 20")


def test_too_long_a_time_is_one_clear_error_and_the_agent_goes_on(config: Config, path: Path) -> None:
    most = of_config(config).most_windows

    async def use(agent: Agent) -> str:
        await agent.until(0.5)
        with pytest.raises(ConfigError, match=f"expected at most {2 * most} s") as caught:
            await agent.ask("what?", span=Span(local(1e9), local(1e9 + 10_000))).whole()
        assert "\n" not in str(caught.value)
        return (await agent.ask("what?", span=Span(None, local(1e9 + 10_000))).whole()).text

    with_agent(ENDLESS, config, path, lambda agent: agent.until(0.5), pace="fast")
    fill(path, config, most + 1)
    assert not with_agent(ENDLESS, config, path, use).startswith("I no longer remember")  # the last of them, as many as can be


def fill(path: Path, config: Config, count: int) -> None:
    from favor_stream.config import SHIPPED
    from favor_stream.journal import Window
    from favor_stream.model import weights

    kept = Journal(path, weights.read_manifest(config.weights or SHIPPED)["sha256"], 10**9, 1e9)
    for each in made(count, 1e9):
        kept.put(Window(each.tokens.numpy(), each.start_s, each.end_s))
    kept.close()


def test_agent_of_an_endless_source_remembers_what_was_before_a_restart(config: Config, path: Path) -> None:
    async def first(agent: Agent) -> tuple[float, list[Tensor]]:
        await agent.until(2.5)
        return agent.utc(2.0).timestamp(), memory(agent._entered.session)

    async def second(agent: Agent) -> tuple[float, tuple[float, float], list[Tensor]]:
        return agent.utc(0.0).timestamp(), agent.remembered_s, memory(agent._entered.session)

    ended_at, before = with_agent(ENDLESS, config, path, first)
    begun_at, remembered_s, after = with_agent(ENDLESS, config, path, second)
    assert is_same(after, before)  # no window has closed since
    assert remembered_s[0] == pytest.approx(ended_at - 2.0 - begun_at, abs=0.5)
    assert remembered_s[0] < -2.0
    assert remembered_s[1] > 0


def test_what_was_before_a_restart_is_asked_about_as_what_was_after_it(config: Config, path: Path) -> None:
    async def use(agent: Agent) -> tuple[str, str]:
        live = agent.ask(QUESTIONS[0])
        past = agent.ask(f"{QUESTIONS[0]} in the last five minutes")
        return (await live.whole()).text, (await past.whole()).text

    with_agent(ENDLESS, config, path, lambda agent: agent.until(2.5))
    live, past = with_agent(ENDLESS, config, path, use)
    assert past == live


def test_what_is_longer_ago_than_the_context_is_not_restored(config: Config, path: Path) -> None:
    async def use(agent: Agent) -> tuple[float, float]:
        return agent.remembered_s

    with_agent(ENDLESS, config, path, lambda agent: agent.until(0.5), pace="fast")
    fill(path, config, 5)
    assert with_agent(ENDLESS, config, path, use)[0] == 0.0


def test_film_begins_anew_after_a_restart(film: str, config: Config, path: Path) -> None:
    async def use(agent: Agent) -> tuple[float, float]:
        await agent.ended()
        return agent.remembered_s

    assert [with_agent(film, config, path, use, pace="fast") for _ in range(2)] == [(0.0, 6.0)] * 2
    assert len(written(path, config)) == 6  # of both; it may be asked about


def test_agent_that_was_held_when_it_started_remembers_too(config: Config, path: Path) -> None:
    async def run() -> tuple[tuple[float, float], bool]:
        agent = Agent(ENDLESS, config=config, perceive_every=0, journal=path)
        agent.begin_held()
        async with asyncio.timeout(30), agent:
            return agent.remembered_s, agent.is_held

    with_agent(ENDLESS, config, path, lambda agent: agent.until(2.5), pace="fast")
    remembered_s, is_held = asyncio.run(run())
    assert is_held
    assert remembered_s[0] < -2.0


def test_forgetting_clears_the_journal_too(config: Config, path: Path) -> None:
    async def use(agent: Agent) -> str:
        await agent.until(2.5)
        await agent.forget()
        assert agent.remembered_s == (0.0, 0.0)
        long_ago = Span(local(0.0), local(datetime.now(UTC).timestamp() - 60))
        return (await agent.ask("what?", span=long_ago).whole()).text

    assert with_agent(ENDLESS, config, path, use) == "I no longer remember that: nothing of it was written down."
    assert written(path, config) == []


def test_journal_that_fails_while_it_is_asked_is_one_clear_error(config: Config, path: Path) -> None:
    async def use(agent: Agent) -> str:
        await agent.until(0.5)
        assert agent._entered.recall is not None
        await agent._entered.recall.close()
        with pytest.raises(DeviceError, match="the journal cannot be used"):
            await agent.answer("what was that in the last minute?")
        await agent.until(agent.heard_until_s + 2.0)
        return (await agent.answer(QUESTIONS[0])).text

    with_agent(ENDLESS, config, path, use, pace="fast")


def test_damaged_journal_is_told_at_the_start_and_perceiving_goes_on(config: Config, path: Path) -> None:
    async def run() -> list[Event]:
        agent = Agent("lavfi:testsrc=size=64x48:rate=4:duration=2", config=config, perceive_every=0, pace="fast", journal=path)
        events = agent.events()
        async with asyncio.timeout(30), agent:
            await agent.ended()
            return [event async for event in events if event.kind == "error"]

    with_agent(ENDLESS, config, path, lambda agent: agent.until(0.5), pace="fast")
    fill(path, config, 500)
    content = bytearray(path.read_bytes())
    content[20_000:] = b"\xff" * (len(content) - 20_000)
    path.write_bytes(content)
    told = asyncio.run(run())
    assert len(told) == 1
    assert "the journal cannot be used" in told[0].text


def test_question_asked_at_any_moment_misses_no_window(config: Config, path: Path) -> None:
    """Also one asked while a window closes: it is either open or written down."""

    async def use(agent: Agent) -> None:
        gaps = []
        while agent.heard_until_s < 4.5:
            reply = agent.ask("what? in the last five minutes")
            await reply.whole()
            assert agent._entered.session._past is not None
            _, read_s = agent._entered.session._past.remembered_s
            gaps.append(reply.until_s - read_s)
        assert max(gaps[1:]) < 2.0 + 0.1  # of which the open window has less than two

    with_agent(ENDLESS, replace(config, max_answer_tokens=1), path, use)


def test_leaving_in_the_middle_of_a_recall_leaves_nothing_behind(config: Config, path: Path) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), Agent(ENDLESS, config=config, pace="fast", perceive_every=0, journal=path) as agent:
            await agent.until(2.5)
            reply = agent.ask("what? in the last five minutes")
            asking = asyncio.create_task(reply.whole())
            await asyncio.sleep(0.005)
        await asyncio.wait({asking})
        asking.exception()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before = threading.active_count()
    asyncio.run(run())
    assert threading.active_count() <= before


def test_entering_that_is_cancelled_while_the_journal_opens_closes_it(
    config: Config, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, is_opening, may_open = list[Journal](), threading.Event(), threading.Event()

    def slowly(*given: Any) -> Journal:
        is_opening.set()
        assert may_open.wait(30)
        opened.append(Journal(*given))
        return opened[-1]

    async def run() -> None:
        entering = asyncio.create_task(Agent(ENDLESS, config=config, journal=path).__aenter__())
        assert await asyncio.to_thread(is_opening.wait, 30)
        entering.cancel()
        may_open.set()
        with pytest.raises(asyncio.CancelledError):
            await entering

    monkeypatch.setattr("favor_stream.agent.Journal", slowly)
    asyncio.run(run())
    assert len(opened) == 1
    assert written(path, config) == []  # for one at a time may have the file


def test_journals_of_different_streams_are_different_files_without_their_passwords(tmp_path: Path) -> None:
    sources = [["rtsp://user:secret@porch/1"], ["rtsp://user:other@porch/1"], ["camera"], ["camera", "microphone"]]
    files = [journal_file(tmp_path, each) for each in sources]
    assert len(set(files)) == 4
    assert files == [journal_file(tmp_path, each) for each in sources]
    assert not [path for path in files if "secret" in path.name or "user" in path.name]
    assert files[0].name.startswith("porch_1-")
