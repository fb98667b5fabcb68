"""Watches: what is told of a probability over time, and what an agent shows for it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media import numbered, numbered_film, tone

from favor_stream.agent import Agent
from favor_stream.clip import write_film
from favor_stream.config import Config, load
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.evidence import Archive
from favor_stream.records import RATE, SLICE_S, Watch, WatchEvent
from favor_stream.ring import Clip
from favor_stream.watches import EVIDENCE_AFTER_S, MOST_WATCHES, Now, Watches, Watching, is_within, ulid

START = datetime(2026, 5, 1, tzinfo=UTC)
DOOR = Watch("door", "it opens", on=0.7, off=0.4, hold_s=1.0)
ALWAYS = Watch("always", "anything happens", on=1e-9, off=1e-10, hold_s=0.5)


def now(end_s: float) -> Now:
    return Now(end_s, START + timedelta(seconds=end_s))


def told(watching: Watching, chances: list[float], after_s: float = 0.0) -> list[tuple[str, float]]:
    """Phases and times."""
    ends = [after_s + (k + 1) * SLICE_S for k in range(len(chances))]
    steps = (watching.step(chance, now(end_s)) for chance, end_s in zip(chances, ends, strict=True))
    return [(event.phase, event.time_s) for events in steps for event in events]


def test_happening_is_told_once_then_with_evidence_then_at_its_end() -> None:
    chances = [0.1, 0.9, 0.9, *[0.8] * 10, 0.1, 0.1, 0.1]
    assert told(Watching(DOOR), chances) == [("new", 1.5), ("update", 3.5), ("end", 7.5)]


def test_short_happening_has_its_evidence_before_its_end() -> None:
    assert [phase for phase, _ in told(Watching(DOOR), [0.9, 0.9, 0.1, 0.1])] == ["new", "update", "end"]


@pytest.mark.parametrize("chances", [[0.9, 0.1] * 10, [0.6] * 20, [0.1] * 20])
def test_what_flickers_or_stays_between_the_thresholds_is_not_told(chances: list[float]) -> None:
    assert told(Watching(DOOR), chances) == []


def test_between_the_thresholds_it_goes_on() -> None:
    assert [phase for phase, _ in told(Watching(DOOR), [0.9, 0.9, *[0.5] * 20])] == ["new", "update"]


def test_what_begins_while_it_cools_down_is_counted_and_told_with_the_next() -> None:
    watching = Watching(replace(DOOR, cooldown_s=5.0))
    told(watching, [0.9, 0.9, 0.1, 0.1])
    assert told(watching, [0.9, 0.9, *[0.9] * 20, 0.1, 0.1], after_s=2.0) == []  # begun too soon, it stays untold
    assert watching.suppressed == 1
    (event,) = [e for k in range(2) for e in watching.step(0.9, now(20.0 + k / 2))]
    assert (event.phase, event.suppressed, watching.suppressed) == ("new", 1, 0)


def test_phases_of_one_happening_share_an_id_and_know_its_best_moment() -> None:
    watching = Watching(DOOR)
    events = [e for k, c in enumerate([0.8, 0.8, 0.95, 0.1, 0.1]) for e in watching.step(c, now((k + 1) / 2))]
    assert len({event.id for event in events}) == 1
    assert [event.confidence for event in events] == [0.8, 0.95, 0.95]
    assert {event.started_s for event in events} == {0.0}


@given(st.lists(st.floats(0, 1), max_size=120), st.floats(0, 5), st.floats(0, 20))
def test_phases_always_come_in_their_order(chances: list[float], hold_s: float, cooldown_s: float) -> None:
    watching = Watching(replace(DOOR, hold_s=hold_s, cooldown_s=cooldown_s))
    phases = [phase for phase, _ in told(watching, chances)]
    phases += [event.phase for event in watching.stop(now(len(chances) * SLICE_S + 1))]
    assert phases == ["new", "update", "end"] * (len(phases) // 3)


def test_switching_off_ends_what_goes_on_and_asks_no_more() -> None:
    watches = Watches([DOOR, Watch("bell", "it rings")])
    door = watches.of("model", now=now(0.0))[0]
    told(door, [0.9, 0.9])
    phases = [event.phase for event in watches.change(replace(door.watch, is_on=False), now(2.0))]
    assert phases == ["update", "end"]
    assert [watching.watch.name for watching in watches.of("model", now=now(2.0))] == ["bell"]


def test_gate_lets_the_model_be_asked_only_while_its_watch_holds() -> None:
    watches = Watches(
        [Watch("moving", "something moves", by="motion", on=0.1, off=0.05, hold_s=0.5), Watch("door", "?", gate="moving")]
    )
    (moving,) = watches.of("motion", "loudness", now=now(0.0))
    asked = []
    for k, share in enumerate([0.0, 0.3, 0.3, 0.0]):
        moving.step(share, now((k + 1) / 2))
        asked.append([watching.watch.name for watching in watches.of("model", now=now((k + 1) / 2))])
    assert asked == [[], ["door"], ["door"], []]


def test_what_is_behind_a_gate_that_closes_ends() -> None:
    watches = Watches([Watch("moving", "something moves", by="motion", on=0.1, off=0.05), Watch("door", "?", gate="moving")])
    moving, door = watches.all
    moving.step(0.3, now(0.5))
    door.step(0.9, now(0.5))
    assert watches.shut(now(0.5)) == []
    moving.step(0.0, now(1.0))
    assert watches.shut(now(1.0)) == [door]
    assert [event.phase for event in door.stop(now(1.0))] == ["update", "end"]


def test_most_of_the_last_slices_may_be_enough() -> None:
    watching = Watching(replace(DOOR, hold_s=2.0, agree=0.75))
    assert told(watching, [0.9, 0.1, 0.9, 0.9, 0.1, 0.1, 0.9, 0.1]) == [("new", 2.0), ("update", 3.0), ("end", 4.0)]
    assert told(Watching(replace(DOOR, hold_s=2.0)), [0.9, 0.1, 0.9, 0.9, 0.9]) == []


def test_second_look_is_told_or_takes_it_back() -> None:
    watch = replace(DOOR, hold_s=0.5, look="what do you see now?", expects="red")
    for text, phases in {"red circle": ["new", "update", "end"], "blue star": []}.items():
        watching = Watching(watch)
        watching.step(0.9, now(0.5))
        events = watching.look(text)
        events += [event for k, chance in enumerate([0.9, 0.1]) for event in watching.step(chance, now(1.0 + k / 2))]
        assert [event.phase for event in events] == phases
        assert {event.text for event in events} <= {text}
        assert watching.suppressed == (not phases)


@pytest.mark.parametrize(
    ("hours", "inside"), [("08:00-17:30", {"08:00", "17:29"}), ("22:00-06:30", {"22:00", "23:59", "00:00", "06:29"})]
)
def test_hours_are_of_this_machine_s_clock_and_may_pass_midnight(hours: str, inside: set[str]) -> None:
    times = ["00:00", "06:29", "06:30", "07:59", "08:00", "17:29", "17:30", "21:59", "22:00", "23:59"]
    at = {time: datetime.fromisoformat(f"2026-05-01T{time}").astimezone() for time in times}
    assert {time for time in times if is_within(hours, Now(1.0, at[time]))} == inside


def test_clock_that_jumps_moves_no_hold_and_no_cooldown() -> None:
    """Times of the world may leap; what is counted is the stream's time."""
    watching = Watching(replace(DOOR, hold_s=1.0, cooldown_s=5.0))
    leaps = [timedelta(0), timedelta(days=400), timedelta(days=-900), timedelta(0), timedelta(days=3)]
    phases = []
    for k, (chance, leap) in enumerate(zip([0.9, 0.9, 0.9, 0.1, 0.1], leaps, strict=True)):
        phases += [event.phase for event in watching.step(chance, Now((k + 1) / 2, START + leap))]
    assert phases == ["new", "update", "end"]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": "The Door"}, "small letters"),
        ({"question": " "}, "no question"),
        ({"on": 0.3, "off": 0.6}, "off <= on"),
        ({"on": 1.0}, "off <= on"),
        ({"hold_s": -1.0}, "seconds"),
        ({"severity": "panic"}, "severity"),
        ({"by": "smell"}, "by is 'smell'"),
        ({"agree": 0.5}, "write more than 0.5"),
        ({"hours": "9-5"}, "22:00-06:30"),
        ({"by": "schedule"}, "22:00-06:30"),
        ({"expects": "red"}, "to no question"),
        ({"look": "what?", "schema": "{"}, "no JSON object"),
        ({"gate": "door"}, "another watch"),
        ({"gate": "nothing"}, "another watch"),
    ],
)
def test_watch_that_cannot_be_is_one_clear_error(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Watches([replace(DOOR, **fields)])  # type: ignore[arg-type]


def test_more_watches_than_there_can_be_are_refused() -> None:
    watches = Watches([Watch(f"door_{number}", "the door opens") for number in range(MOST_WATCHES)])
    with pytest.raises(ConfigError, match="remove one first"):
        watches.add(Watch("one_more", "the door opens"))


def test_two_watches_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two watches"):
        Watches([Watch("door", "it opens"), Watch("door", "it shuts")])


def test_identifiers_sort_by_time() -> None:
    made = [ulid(START + timedelta(milliseconds=ms), "ring") for ms in range(0, 50_000, 777)]
    assert made == sorted(made)
    assert {len(each) for each in made} == {26}


def test_words_that_are_true_or_not_become_a_question() -> None:
    assert Watch("a", "a red circle appears.").asked == "a red circle appears?"
    assert Watch("a", "do you see a star now?").asked == "do you see a star now?"


# In an agent


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    numbered_film(path, seconds=6.0)
    return str(path)


def watched(film: str, config: Config, *watches: Watch) -> list[WatchEvent]:
    async def run() -> list[WatchEvent]:
        agent = Agent(film, config=config, pace="fast", watches=watches)
        events = agent.events()
        async with asyncio.timeout(30.0), agent:
            return [event async for event in events if isinstance(event, WatchEvent)]

    return asyncio.run(run())


def test_agent_tells_once_with_a_snapshot_and_then_a_clip(film: str, config: Config, tmp_path: Path) -> None:
    new, update, end = watched(film, replace(config, evidence=tmp_path), ALWAYS)
    assert [new.phase, update.phase, end.phase] == ["new", "update", "end"]
    assert new.time_s == SLICE_S
    assert new.snapshot is not None
    assert hashlib.sha256(Path(new.snapshot.path).read_bytes()).hexdigest() == new.snapshot.sha256
    assert new.clip is None
    assert update.clip is not None
    assert "sees" in update.text
    with av.open(update.clip.path) as clip:
        assert clip.duration is not None
        assert clip.duration / 1e6 == pytest.approx(EVIDENCE_AFTER_S, abs=0.6)
    assert (end.snapshot, end.clip, end.time_s) == (new.snapshot, update.clip, 6.0)


def test_same_film_has_the_same_happenings_twice(film: str, config: Config) -> None:
    once, again = ([(e.phase, e.time_s, e.confidence, e.text) for e in watched(film, config, ALWAYS)] for _ in range(2))
    assert once == again


def test_watches_of_the_configuration_are_watched_and_may_be_switched(film: str, config: Config) -> None:
    async def run() -> list[str]:
        agent = Agent(film, config=replace(config, watches=(ALWAYS,)), pace="fast")
        events = agent.events()
        async with asyncio.timeout(30.0), agent:
            first = await anext(event async for event in events if isinstance(event, WatchEvent))
            await agent.change(replace(first.watch, is_on=False))
            with pytest.raises(ConfigError, match="no watch is called"):
                await agent.change(Watch("other", "what?"))
            assert not agent.watches[0].is_on
            return [first.phase, *[event.phase async for event in events if isinstance(event, WatchEvent)]]

    assert asyncio.run(run()) == ["new", "update", "end"]


@pytest.mark.parametrize("words", ["a </s> appears", "a red ring " * 400])
def test_words_that_cannot_be_asked_are_refused_and_perceiving_goes_on(words: str, film: str, config: Config) -> None:
    async def run() -> None:
        watch = Watch("odd", words)
        async with asyncio.timeout(30.0), Agent(film, config=config, pace="fast") as agent:
            with pytest.raises(ConfigError, match="watch 'odd': the question"):
                agent.watch(watch)
            await agent.ended()
        with pytest.raises(ConfigError, match="watch 'odd': the question"):
            await Agent(film, config=replace(config, watches=(watch,))).__aenter__()

    asyncio.run(run())


def test_motion_and_loudness_need_no_model(tmp_path: Path, config: Config) -> None:
    path = tmp_path / "film.mp4"
    still, other = numbered(1), 255 - numbered(1)
    picture_of = [still] * 8 + [still, other] * 4 + [still] * 8  # four a second
    sound = np.concatenate([np.zeros(2 * RATE, np.float32), tone(2.0), np.zeros(2 * RATE, np.float32)])
    write_film(path, picture_of, 4.0, sound)
    told = watched(
        str(path),
        config,
        Watch("moving", "something moves", by="motion", on=0.1, off=0.05, hold_s=0.5),
        Watch("loud", "it is loud", by="loudness", on=0.1, off=0.05, hold_s=0.5),
    )
    begun = {event.watch.name: event.time_s for event in told if event.phase == "new"}
    ended = {event.watch.name: event.time_s for event in told if event.phase == "end"}
    assert begun.keys() == ended.keys() == {"moving", "loud"}
    assert 2.0 < begun["loud"] <= 3.0
    assert 4.0 < ended["loud"] <= 5.0


def test_scene_that_is_cut_is_told_and_one_that_moves_is_not(tmp_path: Path, config: Config) -> None:
    left, right = np.full((48, 64, 3), 40, np.uint8), np.full((48, 64, 3), 40, np.uint8)
    left[10:30, 5:25], right[10:30, 35:55] = 200, 200
    light = 255 - left
    write_film(tmp_path / "film.mp4", [left, right] * 8 + [light, light] * 8, 4.0, np.zeros(8 * RATE, np.float32))
    told = watched(str(tmp_path / "film.mp4"), config, Watch("cut", "the scene changes", by="scene", on=0.1, off=0.05))
    assert [event.time_s for event in told if event.phase == "new"] == [4.5]


def test_second_look_asks_the_model_and_its_answer_is_what_is_told(film: str, config: Config) -> None:
    seen = watched(film, config, replace(ALWAYS, look="what do you see now?"))
    assert len({event.text for event in seen}) == 1
    assert seen[0].text != ALWAYS.question
    assert watched(film, config, replace(ALWAYS, look="what do you see now?", expects="a word that it does not say")) == []


def test_watch_by_hand_is_told_when_somebody_fires_it_and_pausing_ends_all(film: str, config: Config) -> None:
    async def run() -> list[tuple[str, str]]:
        agent = Agent(film, config=config, pace="live", watches=[Watch("now", "look here", by="manual"), ALWAYS])
        events = agent.events()
        async with asyncio.timeout(30.0), agent:
            agent.fire("now")
            with pytest.raises(ConfigError, match="no watch by hand is called 'always'"):
                agent.fire("always")
            await agent.until(2.0)
            await agent.pause()
            assert agent.is_paused
            await agent.until(4.0)
            agent.unpause()
            await agent.ended()
            told = [event async for event in events if isinstance(event, WatchEvent)]
            assert not [event for event in told if event.phase == "new" and 2.5 < event.time_s <= 4.0]
            return [(event.watch.name, event.phase) for event in told]

    told = asyncio.run(run())
    assert [phase for name, phase in told if name == "now"] == ["new", "update", "end"]
    assert [phase for name, phase in told if name == "always"] == ["new", "update", "end"]


def test_schedule_needs_no_model(film: str, config: Config) -> None:
    """Of an hour that is now, and of one that is not."""
    clock = datetime.now().astimezone()
    hours = [f"{clock + timedelta(hours=h):%H:%M}-{clock + timedelta(hours=h + 2):%H:%M}" for h in (-1, 4)]
    watches = [Watch(f"hours_{n}", "it is time", by="schedule", hours=each) for n, each in enumerate(hours)]
    asleep = replace(ALWAYS, hours=hours[1])
    assert [(event.watch.name, event.phase) for event in watched(film, config, *watches, asleep)] == [
        ("hours_0", phase) for phase in ("new", "update", "end")
    ]


def test_folder_that_can_no_longer_be_written_is_told_and_so_is_what_happened(film: str, config: Config, tmp_path: Path) -> None:
    async def run() -> list[str]:
        agent = Agent(film, config=replace(config, evidence=tmp_path / "proof"), pace="fast", watches=[ALWAYS])
        (tmp_path / "proof").rmdir()
        (tmp_path / "proof").write_text("in the way")
        events = agent.events()
        async with asyncio.timeout(30.0), agent:
            return [event.kind async for event in events if event.kind in ("watch", "error")]

    assert asyncio.run(run()) == ["error", "watch", "error", "watch", "watch"]


def test_folder_that_cannot_be_used_is_told_at_once(film: str, config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DeviceError, match=r"file: cannot be used \(File exists\); give a folder of your own"):
        Agent(film, config=replace(config, evidence=tmp_path / "file"))


def test_oldest_evidence_goes_first_and_other_files_stay(tmp_path: Path) -> None:
    clip = Clip(0.0, sound=np.zeros(0, np.float32), pictures=((0.0, b"0" * 400_000),))
    (tmp_path / "mine.jpg").write_bytes(b"0" * 2_000_000)
    archive, names = Archive(tmp_path, keep_days=1.0, keep_mb=1.0), [ulid(now(k).at, "ring") for k in range(4)]
    for name in names:
        archive.snapshot(name, clip)
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(["mine", *names[1:]])


def test_settings_name_watches(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('evidence = "proof"\n[watches.red]\nquestion = "a red circle appears"\non = 0.8\n')
    config = load(path)
    assert config.watches == (Watch("red", "a red circle appears", on=0.8),)
    assert config.evidence == tmp_path / "proof"
    for text, complaint in {
        "[watches.red]\non = 0.8\n": "a question",
        '[watches.red]\nquestion = "x"\nonn = 1\n': "unknown key 'onn'",
        '[watches.red]\nquestion = "x"\non = "high"\n': "write a number",
        "watches = 3\n": "tables such as",
    }.items():
        path.write_text(text)
        with pytest.raises(ConfigError, match=complaint):
            load(path)
