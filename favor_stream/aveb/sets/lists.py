"""List files: JSON, CSV and lines of words. A broken one is told with the line or the key where it is broken."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from favor_stream.errors import ConfigError

AGAIN = "download it again"


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of a JSON file, or a row of a CSV file."""

    values: Mapping[str, Any]
    place: str  # where it stands, for complaints

    def text(self, key: str) -> str:
        """Raises ConfigError where there is no such text."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise ConfigError(f"{self.place}: has {value!r} as {key!r}, expected a text; {AGAIN}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Raises ConfigError where there is no list of texts, or an empty one."""
        values = self.values.get(key)
        if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
            raise ConfigError(f"{self.place}: has {str(values)[:40]} as {key!r}, expected a list of texts; {AGAIN}")
        return tuple(values)

    def whole_number(self, key: str, most: int) -> int:
        """Raises ConfigError where there is none from 0 to `most`."""
        value = self.text(key)
        if not value.isdecimal() or int(value) > most:
            raise ConfigError(f"{self.place}: has {value!r} as {key!r}, expected a number from 0 to {most}; {AGAIN}")
        return int(value)

    def entries(self, key: str) -> list[Entry]:
        """Raises ConfigError where there is no list of objects."""
        return _entries(self.values.get(key), f"{self.place}: {key}")


def listed(path: Path, key: str | None = None) -> list[Entry]:
    """The objects of a JSON file that is a list, or of the list at a key of it."""
    whole = _json(path)
    return _entries(whole, str(path)) if key is None else _entry(whole, str(path)).entries(key)


def named(path: Path) -> dict[str, Entry]:
    """The objects of a JSON file by their keys."""
    return {key: _entry(value, f"{path}: {key!r}") for key, value in _entry(_json(path), str(path)).values.items()}


def members(path: Path) -> Entry:
    """A JSON file that is one object."""
    return _entry(_json(path), str(path))


def rows(path: Path, columns: Sequence[str]) -> Iterator[Entry]:
    """The rows of a CSV file whose first line names its columns."""
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        if lacking := set(columns) - set(reader.fieldnames or ()):
            raise ConfigError(f"{path} line 1: names no column {min(lacking)!r}, expected {','.join(columns)}; {AGAIN}")
        for row in reader:
            if None in row or None in row.values():  # a row that is too long, or too short
                names = ",".join(reader.fieldnames or ())
                raise ConfigError(f"{path} line {reader.line_num}: has not the columns {names}; {AGAIN}")
            yield Entry(row, f"{path} line {reader.line_num}")
    except csv.Error as error:  # in the row after the last good one
        raise ConfigError(f"{path} line {reader.line_num + 1}: is no CSV ({error}); {AGAIN}") from error


def lines(path: Path, words: int) -> Iterator[tuple[str, list[str]]]:
    """The place of each line and its first `words` words, of which the last is the rest of the line."""
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        parts = line.split(maxsplit=words - 1)
        if len(parts) < words:
            raise ConfigError(f"{path} line {number}: has {len(parts)} words, expected at least {words}; {AGAIN}")
        yield f"{path} line {number}", parts


def _entries(values: object, place: str) -> list[Entry]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{place}: is {str(values)[:40]}, expected a list of objects; {AGAIN}")
    return [_entry(value, f"{place}[{index}]") for index, value in enumerate(values)]


def _entry(value: object, place: str) -> Entry:
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: is {str(value)[:40]}, expected an object; {AGAIN}")
    return Entry(value, place)


def _json(path: Path) -> object:
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise ConfigError(f"{path}: is no JSON ({error}); {AGAIN}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected a list of the set") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no text in UTF-8 (byte {error.start}); {AGAIN}") from error
