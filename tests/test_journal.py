"""The journal: what was put in is found bit for bit, whatever happens to the process; bounded; clear about a disk that fails."""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from favor_stream.agent import Agent
from favor_stream.config import Config
from favor_stream.errors import DeviceError
from favor_stream.journal import TRIM_EVERY, Journal, Window

WEIGHTS = "the weights"
BYTES, HOUR_S = 10**9, 3600.0
WINDOW_BYTES = 5 * 8 * 4


def window(number: int, lasts_s: float = 2.0) -> Window:
    """Number k covers `lasts_s` seconds from k times that."""
    tokens = np.random.default_rng(number).standard_normal((5, 8)).astype(np.float32)
    return Window(tokens, 1e9 + number * lasts_s, 1e9 + (number + 1) * lasts_s)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "porch.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = Journal(path, WEIGHTS, BYTES, HOUR_S)
    yield made
    made.close()


def numbers(found: list[Window]) -> list[int]:
    return [round((each.begun_at - 1e9) / 2) for each in found]


def is_same(ours: Window, theirs: Window) -> bool:
    times = (ours.begun_at, ours.ended_at) == (theirs.begun_at, theirs.ended_at)
    return times and ours.tokens.shape == theirs.tokens.shape and ours.tokens.tobytes() == theirs.tokens.tobytes()


def test_what_was_put_in_is_found_bit_for_bit_after_a_restart_too(path: Path) -> None:
    written, first = [window(number) for number in range(5)], Journal(path, WEIGHTS, BYTES, HOUR_S)
    for each in written:
        first.put(each)
    live = first.last(5)
    first.close()
    second = Journal(path, WEIGHTS, BYTES, HOUR_S)
    for found in (live, second.last(5), second.between(0.0, 2e9)):
        assert all(is_same(ours, theirs) for ours, theirs in zip(found, written, strict=True))
    second.close()


@given(st.lists(st.floats(width=32), min_size=3, max_size=3))
def test_any_number_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    kept = Journal(tmp_path_factory.mktemp("any") / "a.sqlite", WEIGHTS, BYTES, HOUR_S)
    kept.put(Window(np.array([values], np.float32), 1.0, 2.0))
    assert kept.last(1)[0].tokens.tobytes() == np.array([values], np.float32).tobytes()
    kept.close()


def test_a_time_finds_the_windows_of_which_a_part_lies_in_it(journal: Journal) -> None:
    for number in range(10):
        journal.put(window(number))
    assert numbers(journal.between(1e9 + 4, 1e9 + 8)) == [2, 3]  # ends do not count
    assert numbers(journal.between(1e9 + 3.9, 1e9 + 8.1)) == [1, 2, 3, 4]
    assert numbers(journal.between(1e9 + 5, 1e9 + 5)) == [2]
    assert journal.between(1e9 + 20, 1e9 + 30) == []
    assert numbers(journal.between(1e9, 1e9 + 20, most=3)) == [0, 1, 2]


def test_the_last_ones_come_oldest_first_and_may_be_of_before_a_time(journal: Journal) -> None:
    for number in range(10):
        journal.put(window(number))
    assert numbers(journal.last(3)) == [7, 8, 9]
    assert numbers(journal.last(3, before=1e9 + 9)) == [2, 3, 4]
    assert numbers(journal.last(99, since=1e9 + 16)) == [8, 9]
    assert journal.reach == (1e9, 1e9 + 20)


def test_nothing_is_found_in_an_empty_one(journal: Journal) -> None:
    assert (journal.last(3), journal.between(0.0, 2e9), journal.reach) == ([], [], None)


def test_killed_in_the_middle_of_putting_it_has_lost_nothing_that_was_put(path: Path) -> None:
    code = f"""
from pathlib import Path
import numpy as np
from favor_stream.journal import Journal, Window
journal = Journal(Path({str(path)!r}), {WEIGHTS!r}, 10**9, 3600.0)
for number in range(10**6):
    tokens = np.random.default_rng(number).standard_normal((5, 8)).astype(np.float32)
    journal.put(Window(tokens, 1e9 + number * 2, 1e9 + (number + 1) * 2))
    print(number, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    told = [int(child.stdout.readline()) for _ in range(300)]
    child.send_signal(signal.SIGKILL)
    told += [int(line) for line in child.stdout.read().splitlines() if line]
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    left = Journal(path, WEIGHTS, BYTES, HOUR_S)
    found = left.last(10**6)
    assert numbers(found)[: len(told)] == told
    assert len(found) - len(told) in (0, 1)  # put, and killed before it was told
    assert all(is_same(each, window(number)) for number, each in enumerate(found))
    left.close()


def test_beyond_its_bytes_exactly_the_oldest_are_dropped(path: Path) -> None:
    bounded = Journal(path, WEIGHTS, 10 * WINDOW_BYTES, HOUR_S)
    for number in range(2 * TRIM_EVERY):
        bounded.put(window(number))
    assert numbers(bounded.last(999)) == list(range(2 * TRIM_EVERY - 10, 2 * TRIM_EVERY))
    bounded.close()


def test_what_ended_too_long_before_the_newest_is_dropped(path: Path) -> None:
    bounded = Journal(path, WEIGHTS, BYTES, most_s=30.0)
    for number in range(TRIM_EVERY):
        bounded.put(window(number))
    assert bounded.reach == (1e9 + 2 * TRIM_EVERY - 32, 1e9 + 2 * TRIM_EVERY)
    bounded.close()


def test_bounds_that_were_lowered_hold_from_its_opening_on(path: Path, journal: Journal) -> None:
    for number in range(20):
        journal.put(window(number))
    journal.close()
    lower = Journal(path, WEIGHTS, 5 * WINDOW_BYTES, HOUR_S)
    assert numbers(lower.last(99)) == [15, 16, 17, 18, 19]
    lower.close()


def test_its_file_grows_no_further_than_its_bound(path: Path) -> None:
    bounded = Journal(path, WEIGHTS, 100_000, HOUR_S)
    tokens = np.zeros((5, 512), np.float32)  # 10 kB
    for number in range(2_000):
        bounded.put(Window(tokens, number, number + 1))
    bounded.close()
    assert path.stat().st_size < 100_000 + 2 * TRIM_EVERY * tokens.nbytes


def test_windows_of_other_weights_are_gone(path: Path, journal: Journal) -> None:
    journal.put(window(0))
    journal.close()
    other = Journal(path, "other weights", BYTES, HOUR_S)
    assert other.reach is None
    other.put(window(1))
    other.close()
    again = Journal(path, "other weights", BYTES, HOUR_S)
    assert numbers(again.last(9)) == [1]
    again.close()


def test_second_journal_on_one_file_is_one_clear_error_and_the_first_goes_on(path: Path, journal: Journal) -> None:
    with pytest.raises(DeviceError, match=r"porch.sqlite: the journal cannot be used \(database is locked\)") as caught:
        Journal(path, WEIGHTS, BYTES, HOUR_S)
    assert "\n" not in str(caught.value)
    journal.put(window(0))
    assert numbers(journal.last(9)) == [0]


def test_second_process_on_one_file_is_one_clear_error(path: Path, journal: Journal) -> None:
    journal.put(window(0))
    code = f"""
from pathlib import Path
from favor_stream.journal import DeviceError, Journal
try:
    Journal(Path({str(path)!r}), {WEIGHTS!r}, 10**9, 3600.0)
except DeviceError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "the journal cannot be used (database is locked)" in told
    assert told.count("\n") == 1
    journal.put(window(1))
    assert numbers(journal.last(9)) == [0, 1]


@pytest.mark.parametrize("content", [None, b"this is no database" * 100])
def test_file_that_is_no_journal_is_one_clear_error(path: Path, content: bytes | None) -> None:
    path.parent.mkdir()
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(DeviceError, match=r"journal cannot be used .*; free some space, or set journal = false"):
        Journal(path, WEIGHTS, BYTES, HOUR_S)


def test_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file, where a folder should be")
    with pytest.raises(DeviceError, match="journal cannot be used"):
        Journal(tmp_path / "journal" / "porch.sqlite", WEIGHTS, BYTES, HOUR_S)


def test_damage_in_the_middle_of_the_file_is_one_clear_error(path: Path, journal: Journal) -> None:
    for number in range(500):
        journal.put(window(number))
    journal.close()
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(DeviceError, match="journal cannot be used"):
        Journal(path, WEIGHTS, BYTES, HOUR_S).last(500)


def test_closed_one_is_one_clear_error_wherever_it_is_used(journal: Journal) -> None:
    journal.close()
    for use in (lambda: journal.put(window(0)), lambda: journal.last(1), lambda: journal.reach, journal.clear):
        with pytest.raises(DeviceError, match="journal cannot be used"):
            use()


def test_cleared_one_holds_nothing_of_the_tokens_in_its_bytes(path: Path, journal: Journal) -> None:
    written = [window(number) for number in range(200)]
    for each in written:
        journal.put(each)
    rows = [row.tobytes() for each in written for row in each.tokens]
    assert any(row in _bytes(path) for row in rows)  # the search finds what is there
    journal.clear()
    assert not any(row in _bytes(path) for row in rows)
    assert journal.reach is None
    journal.put(window(7))
    assert numbers(journal.last(9)) == [7]


def test_windows_of_other_weights_leave_nothing_in_its_bytes(path: Path, journal: Journal) -> None:
    for number in range(100):
        journal.put(window(number))
    journal.close()
    other = Journal(path, "other weights", BYTES, HOUR_S)
    assert not any(row.tobytes() in _bytes(path) for number in range(100) for row in window(number).tokens)
    other.close()


def _bytes(path: Path) -> bytes:
    """Of the database and of all that lies beside it."""
    return b"".join(each.read_bytes() for each in sorted(path.parent.iterdir()))


def _limit_files(most_bytes: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write beyond the limit fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file grows beyond 40 kB."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    _limit_files(40_000)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_is_one_clear_error_and_what_was_put_in_stays(journal: Journal, full_disk: None) -> None:
    def fill() -> None:
        for number in range(10**6):
            journal.put(window(number))
            put.append(number)

    put: list[int] = []
    with pytest.raises(DeviceError, match="free some space") as caught:
        fill()
    assert "\n" not in str(caught.value)
    assert numbers(journal.last(10**6)) == put


def test_agent_with_a_full_disk_tells_it_once_and_goes_on_perceiving(config: Config, path: Path, full_disk: None) -> None:
    async def run() -> tuple[list[str], float, float]:
        film = "lavfi:testsrc=size=64x48:rate=4:duration=60"
        agent = Agent(film, config=config, pace="fast", perceive_every=0, journal=path)
        events = agent.events()
        async with asyncio.timeout(60), agent:
            await agent.ended()
            told = [event.text async for event in events if event.kind == "error"]
            return told, agent.heard_until_s, (await agent.answer("what do you see now?")).heard_until_s

    told, *heard_until_s = asyncio.run(run())
    assert heard_until_s == [60.0, 60.0]
    assert len(told) == 1
    assert told[0].endswith("free some space, or set journal = false; nothing more is written down")


def test_agent_with_an_unusable_journal_tells_it_once_and_goes_on_perceiving(config: Config, path: Path) -> None:
    path.mkdir(parents=True)

    async def run() -> tuple[list[str], float]:
        film = "lavfi:testsrc=size=64x48:rate=4:duration=4"
        agent = Agent(film, config=config, pace="fast", perceive_every=0, journal=path)
        events = agent.events()
        async with asyncio.timeout(60), agent:
            await agent.ended()
            return [event.text async for event in events if event.kind == "error"], agent.heard_until_s

    told, heard_until_s = asyncio.run(run())
    assert heard_until_s == 4.0
    assert len(told) == 1
    assert "the journal cannot be used" in told[0]
