"""How well watches work: an endless stream of held-out clips, or a film of one's own, through the session of the live agent."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from favor_stream.aveb import world
from favor_stream.aveb.alarms import BEFORE_S, Observed, Score, Span, judged
from favor_stream.aveb.evaluation import FIRST_SEED
from favor_stream.aveb.lexicon import COLOURS, SHAPES, SOUNDS
from favor_stream.aveb.script import Script
from favor_stream.aveb.staged import Scene
from favor_stream.capture import open_source
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.records import SLICE_S, Slice, Watch
from favor_stream.ring import Ring
from favor_stream.session import Session, load_session
from favor_stream.sheet import VERDICTS
from favor_stream.watches import BACK_S

TASK = "watches"  # as `eval --tasks` calls it
CLIP_S = 60.0
EMPTY_EVERY = 4  # of so many clips one is an empty room
THINGS = [(colour, shape) for n, colour in enumerate(COLOURS) for m, shape in enumerate(SHAPES) if (n + m) % 4 == 0]
ONS, HOLDS_S = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99), (0.5, 1.0)  # settings that are compared


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


@dataclass(slots=True)
class Observer:
    """Sees a stream and notes how likely each watch was after each slice."""

    session: Session
    watches: list[Watch]
    chances: list[list[float]] = field(default_factory=list)

    def see(self, pieces: Iterable[Slice]) -> None:
        questions = [watch.asked for watch in self.watches]
        for piece in pieces:
            self.session.see(replace(piece, index=round(self.session.heard_until_s / SLICE_S)))
            self.chances.append(self.session.check(questions, BACK_S))


def observe(config: Config, minutes: int, seed: int) -> Observed:
    """The generated world, clip after clip."""
    observer = Observer(load_session(config), watches())
    true: dict[str, list[Span]] = {watch.name: [] for watch in observer.watches}
    empty: list[Span] = []
    for script in scripts(minutes, seed):
        start_s = observer.session.heard_until_s
        for name, there in spans(script, start_s).items():
            true.get(name, []).extend(there)
        empty += [] if script.things or script.noises else [Span(start_s + BEFORE_S, start_s + CLIP_S)]
        observer.see(Scene(script).played())
        print(f"\rminute {round(observer.session.heard_until_s / 60)}/{minutes}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return Observed(observer.watches, observer.chances, true, empty)


def observe_film(config: Config, source: str, truth: Path) -> Observed:
    """A film of one's own, with the watches of the settings. Raises ConfigError, DeviceError."""
    watched = [watch for watch in config.watches if watch.by == "model"]
    if not watched:
        raise ConfigError("no watch of the settings asks the model; give --config FILE with a table such as [watches.door]")
    true = read_truth(truth, watched)
    observer = Observer(load_session(config), watched)
    ring = Ring(config.keep_s, config.picture_hold_s, config.lag_s, "lossless")
    with open_source(source, ring, lambda _: None, config.pictures_per_s):
        observer.see(ring)
    return Observed(watched, observer.chances, true, [])


def read_truth(path: Path, watched: list[Watch]) -> dict[str, list[Span]]:
    """When each watched thing was there, from JSON such as {"door": [[3.5, 6.0]]}; what is not named never was."""
    try:
        told = {
            name: [Span(float(start_s), float(end_s)) for start_s, end_s in there]
            for name, there in json.loads(path.read_text()).items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f'{path}: cannot be read ({error}); write JSON such as {{"door": [[3.5, 6.0]]}}, in seconds') from error
    if unknown := told.keys() - {watch.name for watch in watched}:
        raise ConfigError(f"{path}: no watch is called {min(unknown)!r}; expected some of: {', '.join(w.name for w in watched)}")
    return {watch.name: told.get(watch.name, []) for watch in watched}


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
    print("\n".join(f"| {what} | {value} | {goal} | {VERDICTS[is_reached]} |" for what, value, goal, is_reached in rows))


def calibrate(observed: Observed, picture: Path | None) -> None:
    """Print hits against false alarms for many settings of one and the same stream, and draw them."""
    print("| on | hold_s | told within 1 s | told at all | false alarms, a watch and hour |\n|--:|--:|--:|--:|--:|")
    curves: dict[float, list[Score]] = {}
    for hold_s in HOLDS_S:
        for on in ONS:
            found = judged(observed, on=on, off=min(on, 0.4), hold_s=hold_s)
            curves.setdefault(hold_s, []).append(found)
            print(f"| {on:g} | {hold_s:g} | {found.hit:.1%} | {found.told:.1%} | {found.false_per_hour:.2f} |")
    if picture:
        draw(curves, picture)


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
