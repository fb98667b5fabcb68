"""How fast, how flat, how late and how far from this machine's limits: each figure beside its goal, ratios taken in one run.

Times come from the wall clock of a machine that may be busy, so what is promised is ratios and shares, not milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from favor_stream.bench.memory import endless, first_token, watching
from favor_stream.bench.page import write
from favor_stream.bench.parts import by_engine, decoding, perceiving
from favor_stream.bench.rows import Row, table
from favor_stream.bench.subject import Subject, configured, random
from favor_stream.bench.together import joined, streams
from favor_stream.config import Config


def run(
    config: Config,
    quick: bool,
    json_out: bool,
    watches: tuple[int, ...] = (),
    html: Path | None = None,
    random_preset: str | None = None,
) -> int:
    """Measure everything and print it, or so many `watches` against one; `quick` streams 4 minutes instead of an hour.

    With a preset of random weights, what needs no film; films are for the configured weights.
    """
    subject = random(config, random_preset) if random_preset else configured(config)
    if watches:
        rows = watching(subject, watches, minutes=1 if quick else 10)
    else:
        measured = chain.from_iterable(on_device(subject, quick))
        rows = [*measured, *([] if random_preset else with_films(subject, quick))]
    if html:
        write(html, rows)
    print(json.dumps([asdict(row) for row in rows]) if json_out else table(rows))
    return 0


def on_device(subject: Subject, quick: bool, stream_minutes: int | None = None) -> Iterator[list[Row]]:
    """What needs no film, one after the other: it runs on a machine with a GPU and nothing else."""
    minutes = tuple(each for each in ((1,) if quick else (1, 4, 16)) if subject.holds(each))
    yield by_engine(subject)
    yield perceiving(subject)
    yield decoding(subject)
    yield joined(subject)
    yield first_token(subject, minutes)
    yield watching(subject, (8, 32) if quick else (8, 32, 128), minutes=1 if quick else min(10, *minutes[-1:]))
    if subject.device == "cuda":  # elsewhere films are counted
        yield streams(subject, seconds=5.0 if quick else 20.0)
    yield endless(subject, minutes=stream_minutes or (4 if quick else 60))


def with_films(subject: Subject, quick: bool) -> list[Row]:
    from favor_stream.bench.live import capture_share, loop_lag, many_streams, telling, whole_chain
    from favor_stream.bench.rivals import rivals

    return [
        *whole_chain(subject, seconds=10 if quick else 60),
        *many_streams(subject, seconds=5 if quick else 10),
        *rivals(subject, seconds=5 if quick else 10, minutes=2 if quick else 36),
        *loop_lag(subject.config, seconds=5 if quick else 20),
        *telling(subject.config, seconds=10 if quick else 60),
        *capture_share(seconds=5 if quick else 20),
    ]
