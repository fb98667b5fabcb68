"""The page of an evaluation as a file, and in a folder beside it the films of what went most wrong."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from favor_stream.aveb import page
from favor_stream.aveb.tasks import Task
from favor_stream.aveb.worst import WORST, drop_others, write_films, wrong
from favor_stream.errors import DeviceError

if TYPE_CHECKING:
    from favor_stream.aveb.answering import Reply
    from favor_stream.aveb.evaluation import Row


def write(
    path: Path,
    rows: Sequence[Row],
    by_task: Mapping[str, tuple[Task, Sequence[Reply]]],
    command: str,
    seed: int,
    beside: Sequence[str] = (),
) -> None:
    """The page, and in `<stem>_films` beside it the films of the worst wrong replies of each task.

    `by_task` gives a task's replies by its name; `beside` are the names of the models whose scores stand in each row. Raises
    DeviceError where they cannot be written, and leaves nothing new behind then.
    """
    check(path)
    by_task = {name: (task, replies) for name, (task, replies) in by_task.items() if replies}
    cases = {name: wrong(task.metric, replies) for name, (task, replies) in by_task.items()}
    scenes = list(dict.fromkeys(reply.scene for each in cases.values() for reply in each[:WORST]))
    folder = path.with_name(f"{path.stem}_films")
    sections = [page.section(number, *by_task[name], cases[name], folder.name) for number, name in enumerate(by_task, 1)]
    text = page.document(rows, list(by_task), sections, command, seed, beside)
    print(f"eval: {len(scenes)} films are written into {folder}", file=sys.stderr, flush=True)
    try:
        with ExitStack() as undo:
            if scenes and not folder.is_dir():
                folder.mkdir()
                undo.callback(folder.rmdir)
            write_films(folder, scenes, undo)
            write_whole(path, text)
            undo.pop_all()
        drop_others(folder, scenes)
    except OSError as error:
        raise DeviceError(f"{error.filename or path}: cannot be written ({error.strerror}); choose another folder") from error


def check(path: Path) -> None:
    """Raises DeviceError where no page can be written: to be called before the hours that an evaluation takes."""
    if path.is_dir():
        raise DeviceError(f"{path}: is a folder; name the file that the page shall be")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise DeviceError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error


def write_whole(path: Path, text: str) -> None:
    """The file appears when it is whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(text.encode("utf-8", "replace"))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
