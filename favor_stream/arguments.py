"""The arguments of each verb of the command line, and what may be written there. It knows no verb but by its name."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from favor_stream.config import DEVICES, ENGINES
from favor_stream.errors import ConfigError
from favor_stream.version import __version__

if TYPE_CHECKING:
    _Verbs = argparse._SubParsersAction["_Parser"]  # argparse gives what add_subparsers returns no public name

EMBEDDED = "embedded"
MOST_DIGITS = 18  # of a number: what 64 bits hold
SOURCES = "a film, recording or ROS 2 bag, an address (rtsp://...), camera, camera:1, microphone, microphone:NAME, lavfi:GRAPH"


class _Parser(argparse.ArgumentParser):
    """Mistakes come out as ConfigError, in one line and without the usage text."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """What it parses has the name of a verb, `verb`, and its arguments; a mistake is a ConfigError."""
    whole = _Parser(
        prog="favor-stream",
        description="Watches and listens to a stream, remembers it, and answers at any moment.",
        epilog="example: favor-stream ask film.mp4 'what was said?'\nEach verb has a --help with an example of its own.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"favor-stream {__version__}")
    whole.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of settings, given before the verb")
    verbs = whole.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True)
    _add_asking(verbs)
    _add_measuring(verbs)
    _add_making(verbs)
    return whole


def _add_asking(verbs: _Verbs) -> None:
    _added(verbs, "demo", "play a short film and ask three questions about it", "favor-stream demo")

    ask = _added(verbs, "ask", "play a source to its end, then answer", "favor-stream ask film.mp4 'what was said?' --at 12.5")
    ask.add_argument("source", metavar="SOURCE", help=SOURCES)
    ask.add_argument("question", metavar="QUESTION", nargs="+", help="one or several, asked of one memory")
    ask.add_argument("--at", type=_seconds, default=math.inf, metavar="SECONDS", help="answer as of this time of the stream")
    ask.add_argument("--realtime", action="store_true", help="play a film at its own speed, not as fast as possible")
    _add_json(ask, "one object per line: question, text, heard_until_s, first_token_s, total_s")

    live = _added(verbs, "live", "watch a stream and ask at any time", "favor-stream live camera microphone")
    live.add_argument("source", metavar="SOURCE", nargs="+", help=SOURCES)
    _add_watching(live)
    live.add_argument(
        "--mqtt", metavar="URL", help=f"publish to a broker: mqtt://HOST, mqtts://HOST, or {EMBEDDED}: one of its own"
    )
    live.add_argument("--metrics", type=_count, metavar="PORT", help="serve figures to Prometheus at this port of this machine")
    live.add_argument("--svg", type=Path, metavar="FILE", help="write the last view to this file")
    _add_json(live, "one object per line for each event and each answer, and no view")
    _add_keeping(live)

    serve = _added(verbs, "serve", "serve a page in the browser to watch and ask in", "favor-stream serve camera microphone")
    serve.add_argument("source", metavar="SOURCE", nargs="*", help=f"{SOURCES}; none: what the browser's own camera brings")
    serve.add_argument("--demo", action="store_true", help="the film of favor-stream demo, in place of a source")
    serve.add_argument("--no-journal", action="store_true", help="keep no journal: the past cannot be asked about")
    serve.add_argument("--tls-certificate", type=Path, metavar="FILE", help="serve https:// with this certificate (PEM)")
    serve.add_argument("--tls-key", type=Path, metavar="FILE", help="and its key")
    _add_watching(serve)
    serve.add_argument("--host", default="127.0.0.1", help="(%(default)s: this machine alone)")
    serve.add_argument("--port", type=_count, default=8321, metavar="PORT", help="(%(default)s)")

    _add_robot(verbs)

    replay = _added(
        verbs, "replay", "print what happens in a recording, as JSON", "favor-stream replay drive.mcap --watch 'a bell sounds'"
    )
    replay.add_argument("source", metavar="SOURCE", nargs="+", help="a bag (timed by its own stamps), or a film (by its replay)")
    _add_watching(replay)
    _add_keeping(replay)

    events = _added(verbs, "events", "print what agents publish to a broker", "favor-stream events --mqtt mqtt://localhost")
    events.add_argument("--mqtt", metavar="URL", help="the broker (mqtt://localhost, or that of --config)")
    _add_json(events, "whole payloads, one per line")

    broker = _added(verbs, "mqtt", "remove a device from a broker", "favor-stream mqtt remove --mqtt mqtt://localhost")
    broker.add_argument("what", choices=("remove",), help="forget all that the device of --config left on its broker")
    broker.add_argument("--mqtt", metavar="URL", help="the broker (mqtt://localhost, or that of --config)")


def _add_robot(verbs: _Verbs) -> None:
    robot = _added(verbs, "robot", "run as a node of ROS 2", "favor-stream robot --pictures /camera/image_raw --sound /audio")
    robot.add_argument("source", metavar="SOURCE", nargs="*", help=f"{SOURCES}; besides the topics")
    robot.add_argument("--pictures", metavar="TOPIC", help="of sensor_msgs Image, or CompressedImage if it ends in compressed")
    robot.add_argument("--sound", metavar="TOPIC", help="of either package that is called audio_common_msgs")
    robot.add_argument("--wire", choices=("auto", "zenoh", "dds", "rclpy"), help="(auto: rclpy where there is ROS, else zenoh)")
    robot.add_argument("--router", metavar="ADDRESS", help="zenoh's (tcp/localhost:7447)")
    robot.add_argument("--distro", choices=("jazzy", "humble"), help="of the nodes on zenoh (jazzy, and all later ones)")
    robot.add_argument("--name", dest="node", help="of the node (favor)")
    robot.add_argument("--namespace", metavar="NAME", help="(/)")
    robot.add_argument("--remap", action="append", default=[], metavar="A:=B", help="another name for a topic or service")
    robot.add_argument("--sim-time", dest="use_sim_time", action="store_true", default=None, help="take the time from /clock")
    robot.add_argument(
        "--managed", dest="is_managed", action="store_true", default=None, help="wait to be configured and activated"
    )
    robot.add_argument("--annotated", action="store_true", default=None, help="publish pictures with what is perceived on them")
    _add_watching(robot)
    _add_keeping(robot)


def _add_keeping(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--record", type=Path, metavar="FILE", help="record all of it as MCAP, for Foxglove and replay")
    verb.add_argument("--rerun", metavar="WHERE", help="show all of it in Rerun: spawn, FILE.rrd or a viewer's address")


def _add_watching(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--watch", action="append", default=[], metavar="TEXT", help="send an event when this happens: 'a bell sounds'"
    )
    verb.add_argument("--voice", action="store_true", help="answer spoken questions")
    verb.add_argument("--evidence", type=Path, metavar="DIR", help="keep a snapshot and a clip of what watches saw")


def _add_measuring(verbs: _Verbs) -> None:
    evaluate = _added(
        verbs,
        "eval",
        "ask about films never trained on, and print the scores",
        "favor-stream eval --tasks speech,films --limit 50",
    )
    evaluate.add_argument(
        "--tasks", metavar="A,B", help="only these tasks; `watches`: N minutes of watching; `memory`: N films asked about later"
    )
    evaluate.add_argument("--limit", type=_count, default=100, metavar="N", help="clips, or minutes (%(default)s)")
    evaluate.add_argument("--seed", type=_number, default=0, metavar="N", help="another seed, other films (%(default)s)")
    evaluate.add_argument(
        "--beside", type=Path, nargs="+", default=[], metavar="DIR", help="other weights, or engines such as torch"
    )
    evaluate.add_argument(
        "--html", type=Path, metavar="FILE", help="also write a page with confusions and films of the worst cases"
    )
    evaluate.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="processes, each with one thread (1, with all threads)"
    )
    evaluate.add_argument("--set", metavar="NAME", help="a published data set instead, such as librispeech, in --folder")
    evaluate.add_argument("--folder", type=Path, metavar="DIR", help="the data set as it was published, unpacked")
    _add_json(evaluate)

    watch = _added(verbs, "watch", "measure hits and false alarms of watches", "favor-stream watch calibrate --minutes 30")
    watch.add_argument("what", choices=("calibrate",), help="for many thresholds")
    watch.add_argument("--minutes", type=_count, default=30, metavar="N", help="of films never trained on (%(default)s)")
    watch.add_argument("--seed", type=_number, default=0, metavar="N", help="(%(default)s)")
    watch.add_argument("--film", metavar="SOURCE", help="one of your own instead, with the watches of --config")
    watch.add_argument("--truth", type=Path, metavar="FILE", help='JSON of when each was there: {"door": [[3.5, 6.0]]}')
    watch.add_argument("--plot", type=Path, metavar="FILE", help="draw them into this file")

    bench = _added(verbs, "bench", "measure what a second of stream and an answer cost here", "favor-stream bench --quick")
    bench.add_argument("--quick", action="store_true", help="shorter streams, rougher figures")
    bench.add_argument("--watches", type=_counts, default=(), metavar="1,8,32", help="only the cost of so many, against one")
    bench.add_argument("--device", choices=DEVICES, help="(that of --config)")
    bench.add_argument("--preset", metavar="P", help="with --random: another size, for speed alone")
    bench.add_argument("--random", action="store_true", help="random weights")
    bench.add_argument("--html", type=Path, metavar="FILE", help="also write a page with pictures")
    _add_json(bench)

    tune = _added(verbs, "tune", "find the fastest engine for each part of the model here", "favor-stream tune --explain")
    tune.add_argument("--only", metavar="A,B", help=f"only these engines: {', '.join(ENGINES[1:])}")
    tune.add_argument("--size", type=_size, default=(640, 480), metavar="WxH", help="of the camera's pictures (640x480)")
    tune.add_argument("--explain", action="store_true", help="print everything that was tried")

    doctor = _added(verbs, "doctor", "list what this machine has and what it lacks", "favor-stream doctor --json")
    _add_json(doctor)


def _add_budget(verb: argparse.ArgumentParser) -> None:
    told = "other numbers of clips or steps: language=800,join=0"
    verb.add_argument("--budget", type=_budget, default={}, metavar="A=N,B=N", help=told)


def _add_making(verbs: _Verbs) -> None:
    train = _added(
        verbs,
        "train",
        "train weights, from nothing or further; resumes where it stopped",
        "favor-stream train --preset smoke --out w",
    )
    train.add_argument("--preset", choices=("nano", "smoke"), default="nano", help="smoke: a small model, in minutes")
    train.add_argument("--out", type=Path, default=Path("favor-nano"), metavar="DIR", help="the weights folder (%(default)s)")
    train.add_argument("--seed", type=_number, default=0, metavar="N", help="(%(default)s)")
    train.add_argument("--start", type=Path, metavar="DIR", help="train these weights further, instead of new ones")
    _add_budget(train)
    train.add_argument("--recipe", type=Path, metavar="FILE", help="several such runs and means of them, with seeds and budgets")

    average = _added(
        verbs,
        "average",
        "average weights that were trained one from another",
        "favor-stream average before further --out weights",
    )
    average.add_argument(
        "weights", type=Path, nargs="+", metavar="DIR", help="of one line of training; the last gives the encoders"
    )
    average.add_argument("--with-qformer", action="store_true", help="average their Q-Formers too; all have the same encoders")
    average.add_argument("--out", type=Path, required=True, metavar="DIR", help="the weights folder")

    ablate = _added(
        verbs,
        "ablate",
        "measure what each of FAVOR's ideas is worth",
        "favor-stream ablate --variants full,without-causal --seeds 0,1",
    )
    ablate.add_argument("--variants", type=_names, default=(), metavar="A,B", help="only these (all)")
    ablate.add_argument("--seeds", type=_numbers, default=(0,), metavar="0,1", help="each variant once with each (0)")
    ablate.add_argument("--preset", choices=("nano", "smoke"), default="nano", help="smoke: minutes, to see that it works")
    ablate.add_argument("--clips", type=_count, metavar="N", help="of each setting, that each is asked about (100; smoke: 1)")
    _add_budget(ablate)
    ablate.add_argument("--start", type=Path, metavar="DIR", help="weights that all begin with (the shipped ones)")
    ablate.add_argument("--out", type=Path, default=Path("ablations"), metavar="DIR", help="where they are kept (%(default)s)")

    world = _added(
        verbs, "world", "write a film of the generated world, with its ground truth", "favor-stream world --seed 7 --out clip.mp4"
    )
    world.add_argument("--seed", type=_number, required=True, metavar="N", help="equal seeds make equal films")
    world.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the film; its ground truth is written beside it as .json"
    )
    world.add_argument("--seconds", type=_seconds, default=20.0, metavar="S", help="(%(default)s)")
    world.add_argument(
        "--setting", default="film", metavar="NAME", help="of what is asked about: film, picture, source, ... (film)"
    )


def _added(verbs: _Verbs, name: str, purpose: str, example: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_json(parser: argparse.ArgumentParser, what: str = "print JSON") -> None:
    parser.add_argument("--json", action="store_true", help=what)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return seconds


def _count(text: str) -> int:
    if _number(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    """Besides one, which all are compared with."""
    return tuple(count for each in text.split(",") if (count := _count(each)) > 1)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 640x480")
    return int(width), int(height)


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0, of {MOST_DIGITS} digits at most")
    return int(text)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_number(each) for each in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _budget(text: str) -> dict[str, int]:
    """Numbers by what they are of."""
    parts = (each.partition("=") for each in text.split(","))
    return {name.strip(): _number(number.strip()) for name, _, number in parts}
