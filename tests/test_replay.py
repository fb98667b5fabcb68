"""A recording that is replayed tells the same twice, to the byte; what an agent goes through is kept, and can be replayed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bags import BEGAN_NS, folder, mcap, mixed, talk, view
from mcap.reader import make_reader

from favor_stream import replay
from favor_stream.__main__ import main
from favor_stream.agent import Agent
from favor_stream.chronicle import Chronicle
from favor_stream.config import Config
from favor_stream.errors import DeviceError
from favor_stream.recording import Recording
from favor_stream.records import Answer, Event, Watch
from favor_stream.ring import Clip

SECONDS = 6.0


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """One stream as a file and as a folder."""
    root, said = tmp_path_factory.mktemp("bags"), mixed(talk(SECONDS), view(SECONDS))
    return [str(mcap(root / "bag.mcap", said)), str(folder(root / "folder", said))]


@pytest.fixture
def watchful(config: Config) -> Config:
    """Something that begins to hold, and ends with the stream."""
    return replace(
        config, watches=(Watch("loud", "it is loud", by="loudness", on=0.01, off=0.001), Watch("any", "x", on=1e-9, off=1e-10))
    )


def replayed(bag: str, config: Config, capsys: pytest.CaptureFixture[str]) -> str:
    assert replay.run([bag], config) == 0
    return capsys.readouterr().out.replace(bag, "BAG")


def test_replay_tells_the_same_twice_and_the_same_of_either_storage(
    bags: list[str], watchful: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    first = replayed(bags[0], watchful, capsys)
    assert {"new", "end"} <= {json.loads(line).get("phase") for line in first.splitlines()}
    assert first == replayed(bags[0], watchful, capsys) == replayed(bags[1], watchful, capsys)


def test_times_are_the_recording_s_own(bags: list[str], watchful: Config, capsys: pytest.CaptureFixture[str]) -> None:
    told = [json.loads(line) for line in replayed(bags[0], watchful, capsys).splitlines()]
    began_at = datetime.fromtimestamp(BEGAN_NS / 1e9, UTC)
    captured = [datetime.fromisoformat(each["t_captured"]) for each in told if "t_captured" in each]
    assert captured
    assert all(0 <= (at - began_at).total_seconds() <= SECONDS + 0.5 for at in captured)
    assert told[-2]["text"] == "every source has ended"
    assert told[-1]["text"].startswith("BAG: ended")


def test_replay_is_recorded_and_the_record_replays_the_same(
    bags: list[str], watchful: Config, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kept = tmp_path / "kept.mcap"
    replay.run([bags[0]], watchful, [lambda began_ns: Recording(kept, began_ns)])
    first = capsys.readouterr().out.splitlines()
    again = replayed(str(kept), watchful, capsys).splitlines()
    phases = [[json.loads(line).get("phase") for line in lines if "phase" in line] for lines in (first, again)]
    assert phases[0] == phases[1] != []


def test_what_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["replay", str(tmp_path / "none.mcap")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_record_that_is_there_already_is_refused_at_once(
    bags: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "kept.mcap").write_bytes(b"precious")
    assert main(["replay", bags[0], "--record", str(tmp_path / "kept.mcap")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "kept.mcap").read_bytes() == b"precious"


# The chronicle.


@dataclass
class Shelf:
    """Keeps what it is handed."""

    clips: list[Clip] = field(default_factory=list)
    levels: list[Mapping[str, Sequence[tuple[float, float]]]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    is_closed: bool = False

    def add_clip(self, clip: Clip) -> None:
        self.clips.append(clip)

    def add_levels(self, levels: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        self.levels.append(levels)

    def add_event(self, event: Event) -> None:
        self.events.append(event)

    def add_answer(self, answer: Answer) -> None:
        self.answers.append(answer)

    def close(self) -> None:
        self.is_closed = True


def kept(bag: str, config: Config, keep: Any, question: str = "") -> list[Event]:
    """The agent's own events."""

    async def run() -> list[Event]:
        agent = Agent(bag, config=config, pace="fast")
        events, chronicle = agent.events(), Chronicle(agent, keep)
        async with agent:
            keeping = asyncio.create_task(chronicle.run())
            if question:
                await agent.answer(question)
            told = [event async for event in events]
            await keeping
        return told

    return asyncio.run(run())


def test_everything_is_handed_over(bags: list[str], watchful: Config) -> None:
    shelf = Shelf()
    told = kept(bags[0], watchful, lambda began_ns: shelf, "what do you see now?")
    assert shelf.events == told
    assert [answer.question for answer in shelf.answers] == ["what do you see now?"]
    assert shelf.clips[-1].start_s + len(shelf.clips[-1].sound) / 16_000 >= SECONDS - 0.5
    assert shelf.levels[-1]["any"][-1][0] == SECONDS
    assert shelf.is_closed


def test_stream_begins_when_its_recording_began(bags: list[str], config: Config) -> None:
    began = list[int]()

    def keep(began_ns: int) -> Shelf:
        began.append(began_ns)
        return Shelf()

    kept(bags[0], config, keep)
    assert abs(began[0] - BEGAN_NS) < 1000  # a datetime has microseconds


def test_keeper_that_fails_is_told_of_once_and_perceiving_goes_on(bags: list[str], config: Config) -> None:
    class Full(Shelf):
        def add_clip(self, clip: Clip) -> None:
            raise DeviceError("the disk is full")

    told = kept(bags[0], config, lambda began_ns: Full())
    assert [event.text for event in told if event.kind == "error"] in (["the disk is full; nothing more is kept"], [])
    assert told[-1].text == "every source has ended"


def test_recording_holds_what_was_asked_and_how_likely_watches_were(bags: list[str], watchful: Config, tmp_path: Path) -> None:
    path = tmp_path / "kept.mcap"
    kept(bags[0], watchful, lambda began_ns: Recording(path, began_ns), "what do you see now?")
    with open(path, "rb") as file:
        topics = [channel.topic for _, channel, _ in make_reader(file).iter_messages()]
    assert topics.count("/favor/answer") == 1
    assert topics.count("/favor/chances") == 2 * SECONDS
    assert {"/favor/picture/compressed", "/favor/sound", "/favor/events"} <= set(topics)
