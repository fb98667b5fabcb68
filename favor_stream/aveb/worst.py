"""The answers that went most wrong, and the films of their scenes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from favor_stream.aveb.metrics import METRICS
from favor_stream.aveb.staged import Scene
from favor_stream.clip import write_film
from favor_stream.records import SLICE_S

if TYPE_CHECKING:
    from favor_stream.aveb.answering import Reply

WORST = 20  # cases of a task that are shown
ERRORS_COUNTED = ("WER",)  # metrics whose first number is of what is wrong
DARK = np.zeros((120, 160, 3), np.uint8)  # stands for the pictures of a scene that has none
FILM = re.compile(r"[0-9a-f]{16}\.mp4")


def wrong(metric: str, replies: Sequence[Reply]) -> list[Reply]:
    """Those that are wrong: first by the share of an answer that is, then by how much; as asked where these are equal."""
    losses = [loss(metric, reply) for reply in replies]
    order = sorted(range(len(replies)), key=lambda at: losses[at], reverse=True)
    return [replies[at] for at in order if losses[at] > (0, 0)]


def loss(metric: str, reply: Reply) -> tuple[float, float]:
    """The share that is wrong, and how many answers, words or events that is."""
    counted, of = METRICS[metric](reply.question.answer, reply.full)
    missed = counted if metric in ERRORS_COUNTED else of - counted
    return missed / max(1.0, of), missed


def film_name(scene: Scene) -> str:
    """Equal scenes have equal names, in every page."""
    return hashlib.sha256(repr(scene).encode()).hexdigest()[:16] + ".mp4"


def write_films(folder: Path, scenes: Iterable[Scene], undo: ExitStack) -> None:
    """Each scene as a film of what the model was given; `undo` takes away those that were not there before.

    Raises DeviceError or OSError where they cannot be written.
    """
    for scene in scenes:
        path = folder / film_name(scene)
        if not path.exists():
            undo.callback(path.unlink, missing_ok=True)
        slices = list(scene.played())
        pictures = (DARK if piece.picture is None else piece.picture for piece in slices)
        write_film(path, pictures, 1 / SLICE_S, np.concatenate([piece.sound for piece in slices]))


def drop_others(folder: Path, scenes: Iterable[Scene]) -> None:
    """Takes away the films that an earlier page had left, and nothing else."""
    names = {film_name(scene) for scene in scenes}
    for path in folder.glob("*.mp4"):
        if FILM.fullmatch(path.name) and path.name not in names:
            with suppress(OSError):
                path.unlink()
