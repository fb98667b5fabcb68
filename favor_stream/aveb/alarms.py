"""Hits and false alarms of watches: what they tell of a stream, against when something was really there.

A happening is hit when its watch tells it within a second of its beginning. What a watch tells of nothing is a false alarm; they
are counted for each watch and hour, and apart where nothing at all happens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median

from favor_stream.records import SLICE_S, Watch
from favor_stream.watches import Now, Watching

WITHIN_S = 1.0  # of its beginning
BEFORE_S = 1.0  # that may pass between what is told and its end, for it to be told truly
NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # what is replayed happens at no time of the world


@dataclass(frozen=True, slots=True)
class Span:
    """When something was really there, in seconds of the stream."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Observed:
    """A stream as the watches saw it."""

    watches: list[Watch]
    chances: list[list[float]]  # of each slice, of each watch
    true: dict[str, list[Span]]  # by the watch's name
    empty: list[Span]  # stretches in which nothing at all happens


@dataclass(frozen=True, slots=True)
class Score:
    watches: int
    minutes: float
    happenings: int
    hit: float  # share told within WITHIN_S
    told: float  # share told at all
    delay_s: float  # median, of those told
    false_per_hour: float  # for each watch
    false_per_empty_hour: float


def judged(observed: Observed, **settings: float) -> Score:
    """What watches with these settings would have told, against what was true."""
    told: dict[str, list[float]] = {}
    for number, watch in enumerate(observed.watches):
        watching = Watching(replace(watch, **settings))  # type: ignore[arg-type]
        told[watch.name] = [
            event.time_s
            for k, chances in enumerate(observed.chances)
            for event in watching.step(chances[number], Now((k + 1) * SLICE_S, NEVER))
            if event.phase == "new"
        ]
    return score(observed.true, told, observed.empty, len(observed.chances) * SLICE_S)


def score(true: dict[str, list[Span]], told: dict[str, list[float]], empty: list[Span], stream_s: float) -> Score:
    """What was told, by the watch's name, against what was true."""
    delays = [delay(span, told[name]) for name, there in true.items() for span in there]
    heard = [each for each in delays if each is not None]
    false = [at_s for name, times in told.items() for at_s in times if not any(covers(span, at_s) for span in true[name])]
    in_empty = [at_s for at_s in false if any(span.start_s <= at_s <= span.end_s for span in empty)]
    empty_s = sum(span.end_s - span.start_s for span in empty)
    return Score(
        watches=len(told),
        minutes=stream_s / 60,
        happenings=len(delays),
        hit=sum(each <= WITHIN_S for each in heard) / max(1, len(delays)),
        told=len(heard) / max(1, len(delays)),
        delay_s=median(heard) if heard else float("nan"),
        false_per_hour=len(false) / len(told) / (stream_s / 3600),
        false_per_empty_hour=len(in_empty) / len(told) / (max(empty_s, 1) / 3600),
    )


def delay(span: Span, told: list[float]) -> float | None:
    return next((at_s - span.start_s for at_s in told if covers(span, at_s)), None)


def covers(span: Span, at_s: float) -> bool:
    return span.start_s <= at_s <= span.end_s + BEFORE_S
