"""The outbox: in order, over restarts, bounded, and clear about a disk that does not work."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from favor_stream.errors import DeviceError
from favor_stream.outbox import Outbox


def drained(outbox: Outbox) -> list[bytes]:
    out = []
    while message := outbox.first():
        out.append(message.payload)
        outbox.done(message)
    return out


@contextmanager
def full_disk(file: Path) -> Iterator[None]:
    """Inside, this file grows no more, nor does one that is larger."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_messages_leave_in_their_order_when_they_are_done_and_not_before(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    for number in range(5):
        outbox.put("event", b"%d" % number)
    first = outbox.first()
    assert first == outbox.first()
    assert len(outbox) == 5
    assert drained(outbox) == [b"0", b"1", b"2", b"3", b"4"]
    assert len(outbox) == 0


def test_oldest_is_dropped_beyond_the_bound_and_counted(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", most=3)
    assert outbox.losses == ""
    for number in range(5):
        outbox.put("event", b"%d" % number)
    assert (outbox.dropped, drained(outbox)) == (2, [b"2", b"3", b"4"])
    assert "2 of the oldest messages were dropped" in outbox.losses


def test_what_was_put_in_survives_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    code = f"""
import os, signal
from pathlib import Path
from favor_stream.outbox import Outbox
outbox = Outbox(Path({str(path)!r}))
for number in range(100):
    outbox.put("event", b"%d" % number)
os.kill(os.getpid(), signal.{signal.SIGKILL.name})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert drained(Outbox(path)) == [b"%d" % number for number in range(100)]


def test_a_hundred_thousand_messages_leave_memory_as_it_was(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", most=1_000)
    process, payload, held = psutil.Process(os.getpid()), b"x" * 500, []
    for number in range(100_000):
        outbox.put("event", payload)
        if number % 2:
            message = outbox.first()
            assert message
            outbox.done(message)
        if number in (20_000, 99_999):
            held.append(process.memory_info().rss)
    assert len(outbox) == 999
    assert held[1] - held[0] < 4_000_000
    assert (tmp_path / "outbox.sqlite").stat().st_size < 4_000_000


def test_what_waits_leaves_once_from_a_full_disk_too(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    for number in range(3):
        outbox.put("event", b"%d" % number)
    with full_disk(tmp_path / "outbox.sqlite-wal"):
        with pytest.raises(DeviceError, match="free some space"):
            outbox.put("event", b"no room")
        assert drained(outbox) == [b"0", b"1", b"2"]
    outbox.put("event", b"3")
    assert drained(outbox) == [b"3"]
    assert len(outbox) == 0
    with sqlite3.connect(tmp_path / "outbox.sqlite") as store:
        assert store.execute("SELECT count(*) FROM messages").fetchone() == (0,)


@pytest.mark.parametrize("content", [None, b"this is no database" * 100])
def test_unusable_file_is_one_clear_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "outbox.sqlite"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(DeviceError, match=r"outbox cannot be used .*; free some space or name another folder"):
        Outbox(path)
