"""What lies in the folder of a data set. A file is found by its name, wherever below the folder it was unpacked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from favor_stream.errors import ConfigError

FILMS, SOUNDS = (".mp4", ".mkv", ".webm", ".avi"), (".wav", ".flac", ".mp3", ".m4a", ".ogg")


class Files:
    """`advice` ends each complaint: it says where the set comes from. Raises ConfigError for a folder with nothing in it."""

    def __init__(self, folder: Path, advice: str) -> None:
        self.folder, self.advice = folder.absolute(), advice
        self.lists: list[Path] = []  # that were read
        self.missing: dict[Path, None] = {}  # what was wanted and is not there, in the order in which it was wanted
        self._places: dict[str, list[str]] = {}  # of each name; texts, for a set may have a million files
        if not self.folder.is_dir():
            raise ConfigError(f"{self.folder}: there is no such folder; {advice}")
        for place, _, names in os.walk(self.folder, followlinks=True):  # pictures are often on another disk
            for name in names:
                self._places.setdefault(name, []).append(place)
        if not self._places:
            raise ConfigError(f"{self.folder}: is empty; {advice}")

    def listing(self, name: str) -> Path:
        """The list file of this name, with the folder that the name may bring along. Raises ConfigError where there is none."""
        path = next((path for path in self._called(name) if path.match(name)), None)
        if path is None:
            raise ConfigError(f"{self.folder}: there is no {name} in it; {self.advice}")
        self.lists.append(path)
        return path

    def ending(self, end: str) -> list[Path]:
        """All files whose names end so, sorted."""
        return sorted(path for name in self._places if name.endswith(end) for path in self._called(name))

    def there(self, *names: str) -> Path | None:
        """The first of these that is there and not empty; a folder in a name only decides between equal names."""
        found = (path for name in names for path in self._called(name) if path.stat().st_size)
        return next(found, None)

    def wanted(self, *names: str) -> Path:
        """The same, but what is not there is noted as missing, under the first of the names."""
        path = self.there(*names)
        if path is None:
            path = self.folder / names[0]
            self.missing[path] = None
        return path

    def _called(self, name: str) -> Iterator[Path]:
        """The best first: with the name's own folder, then nearest to the top."""
        last = Path(name).name
        paths = [Path(place, last) for place in self._places.get(last, ())]
        yield from sorted(paths, key=lambda path: (not path.match(name), len(path.parts), path))


def endings(stems: Sequence[str], ends: Sequence[str]) -> list[str]:
    """Names to look for: each stem with each end."""
    return [f"{stem}{end}" for stem in stems for end in ends]
