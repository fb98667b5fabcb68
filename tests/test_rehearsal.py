"""A watch that is tried on what is kept tells what it would have told live, and nothing remembers that it was tried."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import numpy as np
import pytest
from media import film, numbered, sweep
from test_recall import is_same, memory

from favor_stream.agent import Agent
from favor_stream.clip import picture_of, snapshot_jpeg
from favor_stream.config import Config
from favor_stream.errors import ConfigError
from favor_stream.mind import Mind
from favor_stream.records import RATE, SLICE_S, SLICE_SAMPLES, Picture, Slice, Watch, WatchEvent
from favor_stream.rehearsal import Rehearsal, first_s, rehearse, slices
from favor_stream.ring import Clip
from favor_stream.session import load_session
from favor_stream.signals import Signals
from favor_stream.watches import BACK_S, Now, Watching

ENDED_AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
MOVES = Watch("moves", "something moves", by="motion", on=0.5, off=0.1, hold_s=0.5, cooldown_s=0.0)
LOUD = Watch("loud", "it is loud", by="loudness", on=0.3, off=0.2, hold_s=0.5, cooldown_s=0.0)
OTHER = Watch("other", "the light is another", by="scene", on=0.0005, off=0.0004, hold_s=0.5, cooldown_s=0.0)
MODEL = Watch("model", "something is there", on=0.4999, off=0.4998, hold_s=0.5, cooldown_s=0.0)
NUMBERS = [0, 0, 0, 0, 7, 7, 14, 14, 14, 14, 14, 2, 2, 2, 2, 2]  # of the picture in each half second
Result = TypeVar("Result")


def noisy(number: int) -> Picture:
    """A picture that JPEG changes."""
    return np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def clip(start_s: float = 0.0, count: int = 16) -> Clip:
    """Pictures a tenth of a second into each half second."""
    rising = np.linspace(0, 0.6, count * SLICE_SAMPLES, dtype=np.float32)
    shots = tuple((start_s + 0.1 + SLICE_S * k, snapshot_jpeg(noisy(NUMBERS[k % 16]))) for k in range(count))
    return Clip(start_s, rising, shots)


def tried(config: Config, watch: Watch, kept: Clip) -> Rehearsal:
    async def run() -> Rehearsal:
        async with Mind(config) as mind:
            return await rehearse(mind, watch, kept, ENDED_AT)

    return asyncio.run(run())


def as_live(kept: Clip) -> list[Slice]:
    """What a ring would have handed out of it, whose slices begin where it begins."""
    pieces = kept.sound.reshape(-1, SLICE_SAMPLES)
    return [Slice(k, picture_of(kept.pictures[k][1]), sound) for k, sound in enumerate(pieces)]


def told(events: list[WatchEvent]) -> list[tuple[str, float, float, float, datetime]]:
    return [(each.phase, each.time_s, each.started_s, each.confidence, each.captured_at) for each in events]


def stepped(watch: Watch, levels: list[tuple[float, float]], end_s: float) -> list[WatchEvent]:
    watching = Watching(watch)
    steps = [watching.step(level, Now(at_s, ENDED_AT + timedelta(seconds=at_s - end_s))) for at_s, level in levels]
    return [event for events in steps for event in events]


@pytest.mark.parametrize("watch", [MOVES, LOUD, OTHER])
def test_watch_that_needs_no_model_gives_the_levels_and_events_of_the_live_one(config: Config, watch: Watch) -> None:
    kept, signals, levels = clip(start_s=30.0), Signals(), []
    for piece in as_live(kept):
        signals.see(piece)
        levels.append((30.0 + piece.end_s, getattr(signals, watch.by)))
    found = tried(config, watch, kept)
    assert found.levels == levels
    assert told(found.events) == told(stepped(watch, levels, end_s=38.0))
    assert {event.phase for event in found.events} >= {"new", "update"}


def test_watch_by_the_model_gives_the_levels_and_events_of_the_live_one(config: Config) -> None:
    kept, viewer, levels = clip(), load_session(config), []
    for piece in as_live(kept):
        viewer.see(piece)
        levels.append((piece.end_s, viewer.check([MODEL.asked], BACK_S)[0]))
    found = tried(config, MODEL, kept)
    assert found.levels == levels
    assert len({level for _, level in levels}) > 8  # what is seen makes a difference
    assert told(found.events) == told(stepped(MODEL, levels, end_s=8.0))


def test_clip_that_begins_within_a_slice_is_cut_where_the_stream_was(config: Config) -> None:
    whole, late = clip(start_s=10.0), 1234
    cut = Clip(10.0 + late / RATE, whole.sound[late:], whole.pictures)
    assert first_s(cut) == 10.5
    expected = as_live(whole)[1:]
    for ours, theirs in zip(slices(cut), expected, strict=True):
        assert np.array_equal(ours.sound, theirs.sound)
        assert ours.picture is not None
        assert theirs.picture is not None
        assert np.array_equal(ours.picture, theirs.picture)
    assert tried(config, LOUD, cut).levels == tried(config, LOUD, whole).levels[1:]


def test_clip_without_pictures_or_without_sound_is_tried_on_what_there_is(config: Config) -> None:
    whole = clip()
    dark, silent = Clip(0.0, whole.sound, ()), Clip(0.0, whole.sound[:0], whole.pictures)
    assert {level for _, level in tried(config, MOVES, dark).levels} == {0.0}
    assert tried(config, LOUD, dark).levels == tried(config, LOUD, whole).levels
    assert tried(config, MOVES, silent).levels == tried(config, MOVES, whole).levels[:-1]  # the last one has not ended
    assert tried(config, MODEL, Clip(3.0, whole.sound[:0], ())) == Rehearsal([], [])


def test_levels_of_a_long_clip_are_all_there(config: Config) -> None:
    found = tried(config, LOUD, clip(count=150))
    assert [at_s for at_s, _ in found.levels] == [SLICE_S * (k + 1) for k in range(150)]


@pytest.mark.parametrize("by", ["schedule", "manual", "speech"])
def test_watch_by_the_clock_a_hand_or_speech_is_refused_in_one_line(config: Config, by: str) -> None:
    watch = Watch("door", "it opens", by=by, hours="10:00-11:00")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"a watch by {by} cannot be tried; try one by model, motion") as caught:
        tried(config, watch, clip())
    assert "\n" not in str(caught.value)


# With an agent.


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A film that stands still and changes, now and then."""
    shots = [numbered(number) for number in NUMBERS]
    times_s = [SLICE_S * k for k in range(len(shots))]
    return str(film(tmp_path_factory.mktemp("film") / "film.mp4", shots, times_s, sweep(8.0)))


def with_agent(source: str, config: Config, use: Callable[[Agent], Awaitable[Result]], **kind: object) -> Result:
    async def run() -> Result:
        async with asyncio.timeout(30), Agent(source, config=config, perceive_every=0, **kind) as agent:  # type: ignore[arg-type]
            return await use(agent)

    return asyncio.run(run())


def test_tried_on_what_an_agent_kept_it_gives_what_the_live_watch_gave(moving: str, config: Config) -> None:
    async def run() -> tuple[list[tuple[str, float]], Rehearsal, list[tuple[float, float]]]:
        agent = Agent(moving, config=config, pace="fast", perceive_every=0, watches=[MOVES])
        events = agent.events()
        async with asyncio.timeout(30), agent:
            await agent.ended()
            live: list[tuple[str, float]] = [(each.phase, each.time_s) async for each in events if isinstance(each, WatchEvent)]
            return live, await agent.rehearse(MOVES, 60.0), agent.levels["moves"]

    live, found, levels = asyncio.run(run())
    assert found.levels == levels
    assert [level for _, level in levels].count(1.0) == 3
    assert [(each.phase, each.time_s) for each in found.events] == live


def test_trying_touches_no_live_memory(moving: str, config: Config) -> None:
    async def use(agent: Agent) -> None:
        await agent.ended()
        before, said = memory(agent._entered.session), (await agent.answer("what do you see now?")).text
        watches, chances = agent.watches, await agent.check(["yes?"])
        assert (await agent.rehearse(MODEL, 60.0)).levels
        assert is_same(memory(agent._entered.session), before)
        assert (await agent.answer("what do you see now?")).text == said
        assert await agent.check(["yes?"]) == chances
        assert agent.watches == watches

    with_agent(moving, config, use, pace="fast")


def test_stream_goes_on_while_a_watch_is_tried(config: Config) -> None:
    async def use(agent: Agent) -> None:
        await agent.until(0.5)
        trials = asyncio.create_task(_again_and_again(agent))
        heard_until_s = agent.heard_until_s
        await agent.until(heard_until_s + 1.5)
        assert agent.lag_s < 1.0
        trials.cancel()
        await asyncio.wait({trials})

    with_agent("lavfi:testsrc=size=64x48:rate=4", config, use)


async def _again_and_again(agent: Agent) -> None:
    while True:
        assert (await agent.rehearse(MODEL, 60.0)).levels is not None


def test_after_devices_were_closed_its_times_are_those_of_the_stream(config: Config) -> None:
    async def use(agent: Agent) -> None:
        await agent.until(1.0)
        await agent.hold()
        held_s = agent.heard_until_s
        agent.resume()
        await agent.until(held_s + 1.0)
        kept = agent.clip(60.0)
        assert held_s <= kept.start_s
        assert all(held_s <= time_s <= agent.heard_until_s + 1.0 for time_s, _ in kept.pictures)
        levels = (await agent.rehearse(MOVES, 60.0)).levels
        assert levels
        assert held_s < levels[0][0] <= levels[-1][0] <= agent.heard_until_s + 1.0

    with_agent("lavfi:testsrc=size=64x48:rate=4", config, use)
