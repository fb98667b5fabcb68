"""The figures as a page with pictures, in one file that needs no network."""

from __future__ import annotations

import base64
import html
import io
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from favor_stream.bench.rows import Row, figure
from favor_stream.errors import DeviceError
from favor_stream.sheet import STYLE, VERDICTS


def write(path: Path, rows: Sequence[Row]) -> None:
    """The page, and beside it the picture that is in it. Raises DeviceError where they cannot be written."""
    picture = engines(rows)
    lines = "".join(
        f"<tr><td>{html.escape(row.name)}<td>{figure(row.value)} {row.unit}<td>{html.escape(row.goal)}<td>{VERDICTS[row.reached]}"
        for row in rows
    )
    shown = (
        f'<img alt="time of each part by engine" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
        if picture
        else ""
    )
    page = (
        f"<!doctype html><meta charset=utf-8><title>favor-stream bench</title><style>{STYLE}</style><h1>favor-stream bench</h1>"
        f"<p>{datetime.now(UTC):%Y-%m-%d} · {html.escape(platform.machine())}</p>{shown}"
        f"<table><tr><th>what<th>value<th>goal<th></tr>{lines}</table>"
    )
    try:
        path.write_text(page, encoding="utf-8")
        if picture:
            path.with_suffix(".png").write_bytes(picture)
    except OSError as error:
        raise DeviceError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error


def engines(rows: Sequence[Row]) -> bytes:
    """A bar for each part on each engine, as PNG; empty where no part was timed."""
    from matplotlib.figure import Figure

    timed = [row for row in rows if "of the limit" in row.name]
    if not timed:
        return b""
    drawn = Figure(figsize=(8, 0.28 * len(timed) + 1), layout="constrained")
    axes = drawn.subplots()
    axes.barh([row.name for row in timed], [row.value for row in timed])
    axes.invert_yaxis()
    axes.set_xlabel("ms a slice")
    file = io.BytesIO()
    drawn.savefig(file, format="png", dpi=110)
    return file.getvalue()
