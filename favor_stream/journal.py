"""What was perceived, window by window, on disk: so that it outlives a restart, and any past time can be asked about.

It keeps the few tokens of each window and when it was, no picture and no sound. Bounded by size and by age, the oldest going
first. It knows neither models nor streams. Its methods may wait for the disk: call them from a thread.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from favor_stream.errors import DeviceError

TABLE = """CREATE TABLE IF NOT EXISTS windows (number INTEGER PRIMARY KEY AUTOINCREMENT,
begun_at REAL NOT NULL, ended_at REAL NOT NULL, width INTEGER NOT NULL, tokens BLOB NOT NULL)"""
BY_TIME = "CREATE INDEX IF NOT EXISTS by_time ON windows (ended_at)"
MADE_BY = "CREATE TABLE IF NOT EXISTS made_by (weights TEXT NOT NULL)"
EXCLUSIVE, LOG, SYNC = "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL"
OPENING = (EXCLUSIVE, LOG, SYNC, TABLE, BY_TIME, MADE_BY)
TRIM_EVERY = 64  # windows
LOCKED_S = 0.5  # to wait for another process that has the file


@dataclass(frozen=True, slots=True)
class Window:
    """One window as it was remembered. Times are seconds since 1970, UTC."""

    tokens: NDArray[np.float32]  # [N, D], as the language model reads them
    begun_at: float
    ended_at: float


class Journal:
    """The windows of one stream, for one process. Any thread. Raises DeviceError where the file cannot be used.

    A crash of the process loses nothing that was put in; a power cut may lose the last moments (SQLite's WAL, not synced at
    each window). Tokens mean something to the weights alone that made them: those of others are dropped when it is opened.
    """

    def __init__(self, path: Path, weights: str, most_bytes: int, most_s: float) -> None:
        """`weights` names those that make the tokens. `most_s`: windows that ended longer before the newest are dropped."""
        self._path, self._most_bytes, self._most_s, self._lock = path, most_bytes, most_s, threading.Lock()
        with self._used():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store = sqlite3.connect(path, timeout=LOCKED_S, isolation_level=None, check_same_thread=False)
            try:
                for statement in OPENING:
                    self._store.execute(statement)
                self._belong_to(weights)
                self._trim()
            except BaseException:
                self._store.close()
                raise

    def put(self, window: Window) -> None:
        row = (window.begun_at, window.ended_at, window.tokens.shape[1], window.tokens.astype("<f4").tobytes())
        with self._used():
            insert = "INSERT INTO windows (begun_at, ended_at, width, tokens) VALUES (?, ?, ?, ?)"
            if (self._store.execute(insert, row).lastrowid or 0) % TRIM_EVERY == 0:
                self._trim()

    def between(self, begun_at: float, ended_at: float, most: int = -1) -> list[Window]:
        """Those of which a part lies between, oldest first; -1: however many they are."""
        return self._found("ended_at > ? AND begun_at < ? ORDER BY number LIMIT ?", (begun_at, ended_at, most))

    def last(self, count: int, since: float = 0.0, before: float = math.inf) -> list[Window]:
        """The newest ones, at most so many, of those that ended after `since` and began before `before`; oldest first."""
        return self._found("ended_at > ? AND begun_at < ? ORDER BY number DESC LIMIT ?", (since, before, count))[::-1]

    @property
    def reach(self) -> tuple[float, float] | None:
        """From when to when it reaches; None with nothing in it."""
        with self._used():
            begun_at, ended_at = self._store.execute("SELECT min(begun_at), max(ended_at) FROM windows").fetchone()
        return None if begun_at is None else (begun_at, ended_at)

    def clear(self) -> None:
        """Nothing of it stays, in the file neither."""
        with self._used():
            self._clear()

    def close(self) -> None:
        with self._lock:
            self._store.close()

    def _belong_to(self, weights: str) -> None:
        row = self._store.execute("SELECT weights FROM made_by").fetchone()
        if row and row[0] == weights:
            return
        if row:
            self._clear()
        self._store.execute("DELETE FROM made_by")
        self._store.execute("INSERT INTO made_by VALUES (?)", (weights,))

    def _clear(self) -> None:
        for statement in ("DELETE FROM windows", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
            self._store.execute(statement)

    def _trim(self) -> None:
        """Drops what is too old, and of the rest the oldest until the others fit."""
        self._store.execute("DELETE FROM windows WHERE ended_at < (SELECT max(ended_at) FROM windows) - ?", (self._most_s,))
        held = "SELECT number, sum(length(tokens)) OVER (ORDER BY number DESC) AS newer FROM windows"
        self._store.execute(
            f"DELETE FROM windows WHERE number IN (SELECT number FROM ({held}) WHERE newer > ?)", (self._most_bytes,)
        )

    def _found(self, condition: str, values: tuple[float, ...]) -> list[Window]:
        with self._used():
            rows = self._store.execute(f"SELECT tokens, width, begun_at, ended_at FROM windows WHERE {condition}", values)
            return [Window(np.frombuffer(row[0], "<f4").reshape(-1, row[1]), row[2], row[3]) for row in rows.fetchall()]

    @contextmanager
    def _used(self) -> Iterator[None]:
        """By one thread at a time."""
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: bytes that are no window
                raise DeviceError(
                    f"{self._path}: the journal cannot be used ({error}); free some space, or set journal = false"
                ) from error
