"""How well watches work: an endless stream of held-out clips, through the session that the live agent uses.

A happening is hit when its watch tells it within a second of its beginning. What a watch tells of nothing is a false alarm; they
are counted for each watch and hour, and apart where nothing at all happens.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from favor_stream.aveb import world
from favor_stream.aveb.evaluation import FIRST_SEED, film
from favor_stream.aveb.lexicon import COLOURS, SHAPES, SOUNDS
from favor_stream.aveb.script import Script
from favor_stream.config import Config
from favor_stream.errors import DeviceError
from favor_stream.records import SLICE_S, Watch
from favor_stream.session import load_session
from favor_stream.watches import BACK_S, Now, Watching

TASK = "watches"  # as `eval --tasks` calls it
CLIP_S = 60.0
EMPTY_EVERY = 4  # of so many clips one is an empty room
THINGS = [(colour, shape) for n, colour in enumerate(COLOURS) for m, shape in enumerate(SHAPES) if (n + m) % 4 == 0]
WITHIN_S = 1.0  # of its beginning
ONS, HOLDS_S = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99), (0.5, 1.0)  # settings that are compared
NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # what is replayed happens at no time of the world
BEFORE_S = 1.0  # that may pass between what is told and its end, for it to be told truly


@dataclass(frozen=True, slots=True)
class Span:
    """When something was really there, in seconds of the stream."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Observed:
    """A stream as the watches saw it."""

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


def watches() -> list[Watch]:
    """Things and sounds, in words that training asks with; nothing is hidden by a cooldown."""
    seen = [Watch(f"{colour}_{shape}", f"a {colour} {shape} appears", cooldown_s=0.0) for colour, shape in THINGS]
    return seen + [Watch(sound, f"a {sound} sounds", cooldown_s=0.0) for sound in SOUNDS]


def scripts(minutes: int, seed: int) -> Iterator[Script]:
    for number in range(minutes):
        script = world.draw(FIRST_SEED + seed * 1_000_003 + number, CLIP_S, "held_out", density=0.5)
        is_empty = number % EMPTY_EVERY == EMPTY_EVERY - 1
        yield replace(script, things=(), cards=(), noises=(), utterances=()) if is_empty else script


def spans(script: Script, start_s: float) -> dict[str, list[Span]]:
    """When each watched thing was there, by the watch's name."""
    out: dict[str, list[Span]] = {}
    for thing in script.things:
        out.setdefault(f"{thing.colour}_{thing.shape}", []).append(Span(start_s + thing.start_s, start_s + thing.end_s))
    for noise in script.noises:
        out.setdefault(noise.kind, []).append(Span(start_s + noise.start_s, start_s + noise.end_s))
    return out


def observe(config: Config, minutes: int, seed: int) -> Observed:
    """See `minutes` of stream and note how likely each watch was after each slice."""
    session, questions, chances = load_session(config), [watch.asked for watch in watches()], []
    true: dict[str, list[Span]] = {watch.name: [] for watch in watches()}
    empty: list[Span] = []
    for script in scripts(minutes, seed):
        start_s = session.heard_until_s
        for name, there in spans(script, start_s).items():
            true.get(name, []).extend(there)
        empty += [] if script.things or script.noises else [Span(start_s + BEFORE_S, start_s + CLIP_S)]
        for piece in film(script):
            session.see(replace(piece, index=round(session.heard_until_s / SLICE_S)))
            chances.append(session.check(questions, BACK_S))
        print(f"\rminute {round(session.heard_until_s / 60)}/{minutes}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return Observed(chances, true, empty)


def judged(observed: Observed, **settings: float) -> Score:
    """What watches with these settings would have told, against what was true."""
    told: dict[str, list[float]] = {}
    for number, watch in enumerate(watches()):
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


def run(config: Config, minutes: int, seed: int, json_out: bool) -> None:
    """Print how well watches as they are set by default do."""
    found = judged(observe(config, minutes, seed))
    if json_out:
        print(json.dumps({"seed": seed, **asdict(found)}))
        return
    rows = [
        ("happenings told within 1 s", f"{found.hit:.1%} of {found.happenings}", ">= 95%", found.hit >= 0.95),
        ("happenings told at all", f"{found.told:.1%}", "", None),
        ("median delay", f"{found.delay_s:.2f} s", "", None),
        ("false alarms, a watch and hour", f"{found.false_per_hour:.2f}", "<= 1", found.false_per_hour <= 1),
        ("the same, where nothing happens", f"{found.false_per_empty_hour:.2f}", "<= 1", found.false_per_empty_hour <= 1),
    ]
    print(f"| {found.watches} watches over {found.minutes:.0f} minutes | | goal | |\n|---|--:|--:|---|")
    verdict = {True: "reached", False: "missed", None: ""}
    print("\n".join(f"| {what} | {value} | {goal} | {verdict[is_reached]} |" for what, value, goal, is_reached in rows))


def calibrate(config: Config, minutes: int, seed: int, picture: Path | None) -> int:
    """Print hits against false alarms for many settings of one and the same stream, and draw them."""
    observed = observe(config, minutes, seed)
    print("| on | hold_s | told within 1 s | told at all | false alarms, a watch and hour |\n|--:|--:|--:|--:|--:|")
    curves: dict[float, list[Score]] = {}
    for hold_s in HOLDS_S:
        for on in ONS:
            found = judged(observed, on=on, off=min(on, 0.4), hold_s=hold_s)
            curves.setdefault(hold_s, []).append(found)
            print(f"| {on:g} | {hold_s:g} | {found.hit:.1%} | {found.told:.1%} | {found.false_per_hour:.2f} |")
    if picture:
        draw(curves, picture)
    return 0


def draw(curves: dict[float, list[Score]], picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(5, 4))
    for hold_s, found in curves.items():
        axis.plot([each.false_per_hour for each in found], [each.told for each in found], "o-", label=f"hold_s = {hold_s:g}")
    axis.set(xlabel="false alarms, a watch and hour", ylabel="share of happenings told", ylim=(0, 1.02))
    axis.legend()
    figure.tight_layout()
    try:
        figure.savefig(picture, dpi=90)
    except (OSError, ValueError) as error:
        raise DeviceError(f"{picture}: cannot be written ({error}); give a file such as watches.png") from error
    pyplot.close(figure)
