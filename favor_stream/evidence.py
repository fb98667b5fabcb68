"""A folder of snapshots and clips that show what happened. It is bounded by age and by size: the oldest goes first.

It knows nothing of streams; what it did not write itself it leaves alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path

from favor_stream.clip import write_clip
from favor_stream.errors import DeviceError
from favor_stream.records import Evidence
from favor_stream.ring import Clip

DAY_S = 86_400.0
OURS = re.compile(r"[0-9A-Z]{26}\.(jpg|mp4)")  # named by what happened, so by its time


class Archive:
    """Writes evidence into `folder`, and takes away what is older than `keep_days` or more than `keep_mb` in all.

    Raises DeviceError where the folder cannot be written.
    """

    def __init__(self, folder: Path, keep_days: float, keep_mb: float) -> None:
        self._folder, self._keep_s, self._keep_bytes = folder, keep_days * DAY_S, keep_mb * 1e6
        self._room()  # what cannot be used is told at once, not by the first event

    def snapshot(self, name: str, clip: Clip) -> Evidence | None:
        """The newest picture as JPEG; None where there is none."""
        if not clip.pictures:
            return None
        path = self._room() / f"{name}.jpg"
        try:
            path.with_suffix(".part").write_bytes(clip.pictures[-1][1])
            path.with_suffix(".part").replace(path)
        except OSError as error:
            raise DeviceError(
                f"{path}: cannot be written ({error.strerror}); free some space or choose another folder"
            ) from error
        return shown(path)

    def film(self, name: str, clip: Clip) -> Evidence | None:
        """Pictures and sound as MP4; None where there are none."""
        if not clip.pictures and not len(clip.sound):
            return None
        path = self._room() / f"{name}.mp4"
        write_clip(path, clip)
        return shown(path)

    def _room(self) -> Path:
        """The folder, with room in it for one more."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            files = sorted(path for path in self._folder.iterdir() if OURS.fullmatch(path.name))
            sizes = {path: path.stat() for path in files}
            held_bytes = sum(size.st_size for size in sizes.values())
            for path, size in sizes.items():
                if held_bytes <= self._keep_bytes and size.st_mtime >= time.time() - self._keep_s:
                    break
                path.unlink(missing_ok=True)
                held_bytes -= size.st_size
        except OSError as error:
            raise DeviceError(f"{self._folder}: cannot be used ({error.strerror}); give a folder of your own") from error
        return self._folder


def shown(path: Path) -> Evidence:
    with path.open("rb") as file:
        return Evidence(os.fspath(path), hashlib.file_digest(file, "sha256").hexdigest())
