"""What was shown is in the recording: it is written to a file and read back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import number_of, numbered

from favor_stream.clip import picture_of, snapshot_jpeg
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.records import RATE, Answer, Event, Perceived, Phase, Watch, WatchEvent
from favor_stream.ring import Clip

pytest.importorskip("rerun", reason="rerun is not installed (pip install --editable '.[rerun]')")
chunk = pytest.importorskip("rerun.chunk", reason="this rerun cannot read recordings back by chunks")

from favor_stream.rerun_view import MOST_WAITING, REMEMBERED, RerunView  # noqa: E402 - it imports rerun

VIEWER = Path(sys.executable).with_name("rerun")
WAIT_S = 30.0
JPEGS = [snapshot_jpeg(numbered(number), 95) for number in range(10)]
Row = tuple[float, Any]  # seconds of the timeline, and what is there


def clip(start_s: float, seconds: float, level: float = 0.5) -> Clip:
    """Four pictures a second, numbered from the session's start, and a constant sound."""
    numbers = range(round(start_s * 4), round((start_s + seconds) * 4))
    pictures = tuple((number / 4, JPEGS[number % 10]) for number in numbers)
    return Clip(start_s, np.full(round(seconds * RATE), level, np.float32), pictures)


def happening(phase: Phase, time_s: float, confidence: float = 0.9) -> WatchEvent:
    watch = Watch("door", "the door opens", severity="alert")
    return WatchEvent(
        kind="watch", time_s=time_s, text="a door is open", id="01J", watch=watch, phase=phase, confidence=confidence,
        started_s=1.0, captured_at=datetime.now(UTC),
    )  # fmt: skip


def rows(path: Path) -> dict[str, list[Row]]:
    """Of each entity, what was shown and when, in the order of the timeline; each row must have the timeline of the stream."""
    found = dict[str, list[Row]]()
    for piece in chunk.RrdReader(path).stream():
        table = piece.to_record_batch().to_pydict()
        if piece.entity_path.startswith("/__"):  # the recording's own properties
            continue
        (values,) = [table[name] for name in table if name.endswith((":blob", ":scalars", ":text"))]
        times_s = [each.total_seconds() for each in table["stream"]]
        found.setdefault(piece.entity_path, []).extend(zip(times_s, (value[0] for value in values), strict=True))
    return {path: sorted(each) for path, each in found.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shown.rrd"


@pytest.fixture
def view(path: Path) -> Iterator[RerunView]:
    with RerunView("robot", str(path), window_s=2.0) as made:
        yield made


def read(view: RerunView, path: Path) -> dict[str, list[Row]]:
    view.close()
    return rows(path)


def test_pictures_are_shown_at_their_times(view: RerunView, path: Path) -> None:
    view.add_clip(clip(1.0, 1.0))
    shown = read(view, path)["/picture"]
    assert [time_s for time_s, _ in shown] == [1.0, 1.25, 1.5, 1.75]
    assert [number_of(picture_of(bytes(jpeg))) for _, jpeg in shown] == [4, 5, 6, 7]


def test_clips_that_overlap_show_nothing_twice(view: RerunView, path: Path) -> None:
    for start_s in (0.0, 0.5, 0.5, 1.0):
        view.add_clip(clip(start_s, 1.0))
    shown = read(view, path)
    assert [time_s for time_s, _ in shown["/picture"]] == [k / 4 for k in range(8)]
    assert [time_s for time_s, _ in shown["/loudness"]] == pytest.approx([0.1 * (k + 1) for k in range(20)])


def test_loudness_is_the_sounds_effective_value(view: RerunView, path: Path) -> None:
    view.add_clip(clip(0.0, 0.5, level=0.25))
    view.add_clip(clip(0.5, 0.55, level=0.0))  # whose last twentieth is not whole yet
    assert [level for _, level in read(view, path)["/loudness"]] == pytest.approx([0.25] * 5 + [0.0] * 5)


def test_clip_that_begins_between_two_blocks_is_shown_from_the_next(view: RerunView, path: Path) -> None:
    view.add_clip(clip(10.05, 0.3))
    assert [time_s for time_s, _ in read(view, path)["/loudness"]] == pytest.approx([10.2, 10.3])


def test_end_of_each_window_is_shown_once(view: RerunView, path: Path) -> None:
    for start_s in (0.0, 2.5, 3.5, 5.0):
        view.add_clip(clip(start_s, 2.0))
    assert read(view, path)["/windows"] == [(2.0, 1.0), (4.0, 2.0), (6.0, 3.0)]


def test_chances_of_each_watch_are_shown_as_they_come(view: RerunView, path: Path) -> None:
    view.add_levels({"door": [(0.5, 0.1), (1.0, 0.2)], "bell": []})
    view.add_levels({"door": [(1.0, 0.2), (1.5, 0.9)], "bell": [(1.5, 0.3)]})
    shown = read(view, path)
    assert shown["/chances/door"] == [(0.5, 0.1), (1.0, 0.2), (1.5, 0.9)]
    assert shown["/chances/bell"] == [(1.5, 0.3)]


def test_what_is_perceived_is_shown_sense_by_sense(view: RerunView, path: Path) -> None:
    view.add_event(Perceived("perceived", 3.0, "all of it", sees="a red circle", hears="a bell"))
    shown = read(view, path)
    assert (shown["/perceived/sees"], shown["/perceived/hears"]) == ([(3.0, "a red circle")], [(3.0, "a bell")])
    assert "/perceived/said" not in shown


def test_each_phase_of_a_happening_is_shown_once(view: RerunView, path: Path) -> None:
    for event in (happening("new", 1.5), happening("new", 1.5), happening("end", 4.0, 0.95)):
        view.add_event(event)
    shown = read(view, path)
    assert shown["/events/watch/door"] == [(1.5, "door new: a door is open"), (4.0, "door end: a door is open")]
    assert shown["/told/door"] == [(1.5, 0.9), (4.0, 0.95)]


def test_losses_and_answers_are_shown(view: RerunView, path: Path) -> None:
    for _ in range(2):
        view.add_event(Event("lost", 2.0, "camera 0: its pictures ended", "camera 0"))
        view.add_answer(Answer("what do you see?", "a red circle", 2.5, 0.1, 0.2))
    shown = read(view, path)
    assert shown["/events/lost"] == [(2.0, "camera 0: its pictures ended")]
    assert shown["/answers"] == [(2.5, "what do you see? a red circle")]


def test_what_is_remembered_of_what_was_shown_is_bounded(view: RerunView) -> None:
    for number in range(REMEMBERED + 10):
        view.add_event(Event("found", float(number), "camera 0: is back", "camera 0"))
    assert len(view._shown) == REMEMBERED


class Stuck:
    """A recording whose viewer takes nothing until it is told to."""

    def __init__(self) -> None:
        self.free, self.taken = threading.Event(), list[str]()

    def send_columns(self, path: str, indexes: object, columns: object) -> None:
        self.free.wait(WAIT_S)
        self.taken.append(path)


def test_viewer_that_takes_nothing_holds_nobody_up_and_loses_the_oldest(view: RerunView, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Stuck()
    monkeypatch.setattr(view, "_stream", stuck)
    pieces = MOST_WAITING + 100
    for number in range(pieces):
        view.add_levels({f"watch_{number}": [(0.5, 0.1)]})
    assert view.dropped in (99, 100)  # the writer may hold one already
    stuck.free.set()
    give_up_s = time.monotonic() + WAIT_S
    while len(stuck.taken) + view.dropped < pieces and time.monotonic() < give_up_s:
        time.sleep(0.01)
    assert stuck.taken[-MOST_WAITING:] == [f"chances/watch_{number}" for number in range(100, pieces)]
    monkeypatch.undo()


def listening(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(not VIEWER.exists() or sys.platform == "win32", reason="the viewer's own program is not installed")
def test_viewer_at_an_address_gets_what_is_shown(path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(VIEWER), "--bind", "127.0.0.1", "--port", str(port), "--save", str(path)]
    nobody = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=nobody, stderr=nobody, start_new_session=True) as viewer:
        try:
            give_up_s = time.monotonic() + WAIT_S
            while not listening(port) and time.monotonic() < give_up_s:
                time.sleep(0.05)
            with RerunView("robot", f"rerun+http://127.0.0.1:{port}/proxy") as view:
                view.add_event(Event("found", 1.0, "camera 0: is back"))
            found = dict[str, list[Row]]()
            while "/events/found" not in found and time.monotonic() < give_up_s:
                with suppress(Exception), warnings.catch_warnings():  # a file that is being written, without an index
                    warnings.simplefilter("ignore")
                    found = rows(path)
        finally:
            # With who started it: where SIGINT is ignored, as in the background of a shell, neither would hear it.
            os.killpg(viewer.pid, signal.SIGKILL)
    assert found["/events/found"] == [(1.0, "camera 0: is back")]


@pytest.mark.parametrize("sink", ["", "window", "film.mp4", "http://localhost:9876"])
def test_sink_that_is_none_is_refused(sink: str) -> None:
    with pytest.raises(ConfigError, match=r"FILE\.rrd"):
        RerunView("robot", sink)


def test_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be shown to"):
        RerunView("robot", str(tmp_path / "none" / "shown.rrd"))


def test_address_that_is_none_is_told() -> None:
    with pytest.raises(DeviceError, match="cannot be shown to"):
        RerunView("robot", "rerun+http://")
