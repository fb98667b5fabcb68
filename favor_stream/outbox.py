"""Messages that must not be lost, in SQLite: kept until the broker has them, in order, the oldest dropped beyond a bound.

It knows nothing of brokers. Its methods may wait for the disk: call them from a thread.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from favor_stream.errors import DeviceError

TABLE = (
    "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL)"
)


@dataclass(frozen=True, slots=True)
class Message:
    number: int  # rising, also over restarts
    topic: str
    payload: bytes


class Outbox:
    """A queue on disk for one process. Any thread. Raises DeviceError where the file cannot be used.

    A crash of the process loses nothing that was put in; a power cut may lose the last moments (SQLite's WAL, not synced at
    each message).
    """

    def __init__(self, path: Path, most: int = 100_000) -> None:
        self.dropped = 0  # that were the oldest when more than `most` were waiting
        self._done = 0  # number of the last that is done: its row stays for a while where the disk takes nothing any more
        self._path, self._most, self._lock = path, most, threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._store.execute("PRAGMA journal_mode=WAL")
            self._store.execute("PRAGMA synchronous=NORMAL")
            self._store.execute(TABLE)
            self._waiting = int(self._store.execute("SELECT count(*) FROM messages").fetchone()[0])
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    def __len__(self) -> int:
        return self._waiting

    @property
    def losses(self) -> str:
        """What there is to say of messages that were dropped; nothing, mostly."""
        return f"; {self.dropped} of the oldest messages were dropped meanwhile" if self.dropped else ""

    def put(self, topic: str, payload: bytes) -> None:
        with self._lock:
            try:
                self._store.execute("INSERT INTO messages (topic, payload) VALUES (?, ?)", (topic, payload))
                self._waiting += 1
                if self._waiting > self._most:
                    self._store.execute("DELETE FROM messages WHERE number = (SELECT min(number) FROM messages)")
                    self._waiting, self.dropped = self._waiting - 1, self.dropped + 1
            except sqlite3.Error as error:
                raise self._unusable(error) from error

    def first(self) -> Message | None:
        """The oldest message; it stays until it is `done`."""
        oldest = "SELECT number, topic, payload FROM messages WHERE number > ? ORDER BY number LIMIT 1"
        with self._lock:
            try:
                row = self._store.execute(oldest, (self._done,)).fetchone()
            except sqlite3.Error as error:
                raise self._unusable(error) from error
        return Message(*row) if row else None

    def done(self, message: Message) -> None:
        """The broker has it. On a full disk its row stays until a later one is done, or the next run tells it again."""
        with self._lock, suppress(sqlite3.Error):
            self._done = message.number
            self._waiting -= self._store.execute("DELETE FROM messages WHERE number <= ?", (self._done,)).rowcount

    def close(self) -> None:
        self._store.close()

    def _unusable(self, error: Exception) -> DeviceError:
        return DeviceError(f"{self._path}: the outbox cannot be used ({error}); free some space or name another folder")
