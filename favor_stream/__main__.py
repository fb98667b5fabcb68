"""The command line. It reads arguments, calls one verb and turns mistakes into one line; each verb imports what it needs."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from favor_stream import __version__
from favor_stream.config import DEVICES, ENGINES, SHIPPED, Config, load
from favor_stream.errors import ConfigError, DeviceError, FavorError
from favor_stream.outlets import Broker, Page, Robot
from favor_stream.records import Answer, Event, Watch, name_of

if TYPE_CHECKING:
    from favor_stream.capture import Source
    from favor_stream.chronicle import Keep
    from favor_stream.ring import Ring
    from favor_stream.session import Session

    _Verbs = argparse._SubParsersAction["_Parser"]  # argparse gives what add_subparsers returns no public name

EXIT_MISTAKE, EXIT_INTERRUPTED = 2, 130
WORLD_FPS = 8.0
EMBEDDED = "embedded"
EXTRAS: dict[str, set[str | None]] = {
    "train": {"espeakng_loader", "jiwer", "matplotlib"},
    "mqtt": {"aiomqtt", "amqtt"},
    "webhook": {"httpx2"},
    "metrics": {"prometheus_client"},
    "voice": {"silero_vad", "onnxruntime"},
    "web": {"fastapi", "starlette", "pydantic", "uvicorn", "websockets", "prometheus_client"},
    "webrtc": {"aiortc"},
    "ros": {"rosbags", "ruamel", "ruamel.yaml", "mcap", "zstandard", "zenoh", "cyclonedds"},
    "rerun": {"rerun"},
}
SOURCES = "a film, recording or ROS 2 bag, an address (rtsp://...), camera, camera:1, microphone, microphone:NAME, lavfi:GRAPH"
Verb = Callable[[argparse.Namespace, Config], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb. Returns its exit code; 2 for a mistake of the user, told in one line; 130 after Ctrl-C."""
    try:
        try:
            return _called(argv)
        finally:
            sys.stdout.flush()  # here, where a closed pipe can still be told from a failure
    except FavorError as error:
        return _mistake(str(error))
    except ModuleNotFoundError as error:
        extra = next((extra for extra, packages in EXTRAS.items() if error.name in packages), None)
        if extra is None:
            raise
        return _mistake(f"{error.name} is not installed; this needs it: pip install --editable '.[{extra}]'")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes at its end
        return 0


def _called(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    config = load(arguments.config)
    logging.basicConfig(level=config.log_level.upper(), format="favor-stream: %(message)s")
    verb: Verb = arguments.verb
    return verb(arguments, config)


def _mistake(text: str) -> int:
    print(f"favor-stream: {' '.join(text.split())}", file=sys.stderr)
    return EXIT_MISTAKE


# The verbs


def _demo(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream import demo

    return demo.run(config)


def _live(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream import live

    given = replace(
        _watched(arguments, config),
        mqtt=Broker(arguments.mqtt) if arguments.mqtt not in (None, EMBEDDED) else config.mqtt,
        metrics=Page(port=arguments.metrics) if arguments.metrics else config.metrics,
    )
    return live.run(arguments.source, given, arguments.svg, arguments.mqtt == EMBEDDED, arguments.json, _keeps(arguments))


def _serve(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream.web import serve

    if arguments.demo and arguments.source:
        raise ConfigError("a source and --demo: expected one of the two; leave the other out")
    if bool(arguments.tls_certificate) != bool(arguments.tls_key):
        raise ConfigError("--tls-certificate and --tls-key belong together; give both or none")
    sources = [str(SHIPPED / "demo.mp4")] if arguments.demo else arguments.source
    tls = serve.Tls(arguments.tls_certificate, arguments.tls_key) if arguments.tls_key else None
    given = replace(_watched(arguments, config), journal=config.journal and not arguments.no_journal)
    return serve.run(sources, given, arguments.host, arguments.port, tls)


def _robot(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream.robot import run

    fields = ("wire", "router", "namespace", "node", "pictures", "sound", "use_sim_time", "is_managed", "annotated")
    given = {field: getattr(arguments, field) for field in fields if getattr(arguments, field) is not None}
    if arguments.remap:
        given["remap"] = ", ".join(arguments.remap)
    robot = replace(config.robot or Robot(), **given)
    return run.run(arguments.source, robot, _watched(arguments, config), _keeps(arguments))


def _replay(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream import replay

    return replay.run(arguments.source, _watched(arguments, config), _keeps(arguments))


def _keeps(arguments: argparse.Namespace) -> list[Keep]:
    """Who is handed the whole stream."""
    keeps: list[Keep] = []
    if arguments.record:
        from favor_stream.recording import Recording

        if arguments.record.exists():  # told now rather than when the model is loaded
            raise DeviceError(f"{arguments.record}: is there already; give a recording a name of its own")
        keeps.append(partial(Recording, arguments.record))
    if arguments.rerun:
        from favor_stream.rerun_view import RerunView

        keeps.append(lambda began_ns: RerunView("favor-stream", arguments.rerun))
    return keeps


def _watched(arguments: argparse.Namespace, config: Config) -> Config:
    """The settings with what both kinds of watching may be told by flags."""
    watches = [Watch(name_of(text), text) for text in arguments.watch]
    return replace(
        config,
        watches=(*config.watches, *watches),
        voice=arguments.voice or config.voice,
        evidence=arguments.evidence or config.evidence,
    )


def _events(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream import following

    broker = Broker(arguments.mqtt) if arguments.mqtt else config.mqtt or Broker()
    return following.run(broker, arguments.json)


def _mqtt(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream import following

    return following.remove(Broker(arguments.mqtt) if arguments.mqtt else config.mqtt or Broker())


def _eval(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream.aveb import evaluation, rewinding, watching

    tasks = arguments.tasks.split(",") if arguments.tasks else None
    alone = {watching.TASK: watching.run, rewinding.TASK: rewinding.run}  # with a table of their own
    asked = [task for task in tasks if task not in alone] if tasks else None
    if asked is None or asked:
        evaluation.run(config, asked, arguments.limit, arguments.seed, arguments.json, arguments.beside)
    for task in tasks or ():
        if task in alone:
            alone[task](config, arguments.limit, arguments.seed, arguments.json)
    return 0


def _watch(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream.aveb import watching

    if (arguments.film is None) != (arguments.truth is None):
        raise ConfigError("--film and --truth belong together: a film, and when what is watched was there; give both or none")
    if arguments.film:
        observed = watching.observe_film(config, arguments.film, arguments.truth)
    else:
        observed = watching.observe(config, arguments.minutes, arguments.seed)
    watching.calibrate(observed, arguments.plot)
    return 0


def _bench(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream import bench
    from favor_stream.model.config import PRESETS

    preset = arguments.preset
    if arguments.random != (preset is not None) or (preset and preset not in PRESETS):
        raise ConfigError(f"--preset and --random belong together: one of {', '.join(PRESETS)} with random weights")
    given = replace(config, device=arguments.device or config.device)
    return bench.run(given, arguments.quick, arguments.json, arguments.watches, arguments.html, preset)


def _tune(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream import tune

    return tune.run(config, arguments.only.split(",") if arguments.only else (), arguments.size, arguments.explain)


def _train(arguments: argparse.Namespace, config: Config) -> int:
    import torch

    from favor_stream.training import train

    if config.threads:
        torch.set_num_threads(config.threads)
    try:
        return train.run(arguments.preset, arguments.out, arguments.seed, arguments.without, arguments.start)
    except OSError as error:
        raise DeviceError(
            f"{error.filename or arguments.out}: cannot be written ({error.strerror or error}); free some space or choose another"
            " folder; the same command goes on where it stopped"
        ) from error


def _world(arguments: argparse.Namespace, config: Config) -> int:
    """Films a clip with voices, fonts and pairs of colour and shape that training never shows."""
    from favor_stream.aveb import truth, world
    from favor_stream.aveb.picture import picture
    from favor_stream.aveb.soundtrack import soundtrack
    from favor_stream.clip import write_film

    if arguments.out.suffix in ("", ".json"):
        raise ConfigError(
            f"{arguments.out}: expected the name of a film; the truth is written beside it; give one such as clip.mp4"
        )
    path = arguments.out.with_suffix(".json")
    script = world.draw(arguments.seed, arguments.seconds, "held_out")
    pictures = (picture(script, index / WORLD_FPS) for index in range(math.ceil(arguments.seconds * WORLD_FPS)))
    write_film(arguments.out, pictures, WORLD_FPS, soundtrack(script))
    told = {"script": asdict(script), "slices": [asdict(one) for one in truth.slices(script)]}
    try:
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DeviceError(f"{path}: cannot be written ({error.strerror}); free some space or choose another folder") from error
    print(f"wrote {arguments.out} and {path}")
    return 0


def _doctor(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream import doctor

    return doctor.run(config, arguments.json)


def _ask(arguments: argparse.Namespace, config: Config) -> int:
    """Sees the source to its end or to --at, then answers every question on a branch of that one memory.

    A Session fed straight from a ring, without an Agent: nothing happens at the same time here, so there is no loop to keep free.
    """
    from favor_stream.session import load_session

    session = load_session(config)
    for question in arguments.question:
        session.ask(question).close()  # refused now rather than after the film
    _perceive(session, arguments.source, config, arguments.at, arguments.realtime)
    streams = len(arguments.question) == 1 and sys.stdout.isatty() and not arguments.json
    for question in arguments.question:
        answer = _answered(session, question, streams)
        if arguments.json:
            print(json.dumps(asdict(answer)), flush=True)
        elif streams:
            print()
        else:
            print(answer.text if len(arguments.question) == 1 else f"{question}\n  {answer.text}", flush=True)
    return 0


def _perceive(session: Session, name: str, config: Config, at_s: float, realtime: bool) -> None:
    """Lets the session see slice after slice; DeviceError when there was none."""
    ring, source = _opened(name, config, at_s, realtime)
    with source:
        for piece in takewhile(lambda piece: piece.end_s <= at_s, ring):
            session.see(piece)
    if session.heard_until_s <= 0:
        raise DeviceError(f"{name}: nothing was seen or heard until then; a film or recording of half a second or more is needed")


def _opened(name: str, config: Config, at_s: float, realtime: bool) -> tuple[Ring, Source]:
    """A ring and the source that will fill it: a file as fast as it is seen, unless `realtime`; a device at its own pace."""
    from favor_stream.capture import LiveSource, open_source
    from favor_stream.ring import Ring

    ring = Ring(config.keep_s, config.picture_hold_s, config.lag_s, "live" if realtime else "lossless")
    source = open_source(name, ring, partial(_tell_losses, ring), config.pictures_per_s)
    if source.is_endless and at_s == math.inf:
        raise ConfigError(f"{name} may have no end; say when to answer with --at SECONDS, or use favor-stream live")
    if isinstance(source, LiveSource) and not realtime:
        return _opened(name, config, at_s, realtime=True)
    return ring, source


def _tell_losses(ring: Ring, event: Event) -> None:
    """What was lost goes to standard error; a device that is not there at all ends the reading."""
    from favor_stream.capture import AGAIN

    if event.kind == "lost" and ring.elapsed_s == 0:
        ring.fail(DeviceError(event.text.removesuffix(AGAIN)))
    elif event.is_news:
        print(f"favor-stream: {event.text}", file=sys.stderr)


def _answered(session: Session, question: str, streams: bool) -> Answer:
    """The answer with its times; `streams`: printed while it is written."""
    begun_s = time.monotonic()
    first_s, pieces = None, []
    for piece in session.ask(question):
        first_s = time.monotonic() if first_s is None else first_s
        pieces.append(piece)
        if streams:
            print(piece, end="", flush=True)
    ended_s = time.monotonic()
    first_token_s = (first_s or ended_s) - begun_s
    return Answer(question, "".join(pieces).strip(), session.heard_until_s, first_token_s, ended_s - begun_s)


# The arguments


class _Parser(argparse.ArgumentParser):
    """Mistakes come out as ConfigError, in one line and without the usage text."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="favor-stream",
        description="Watches and listens to a stream, remembers it, and answers at any moment.",
        epilog="example: favor-stream ask film.mp4 'what was said?'\nEach verb has a --help with an example of its own.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"favor-stream {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of settings, given before the verb")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_asking(verbs)
    _add_measuring(verbs)
    _add_making(verbs)
    return parser


def _add_asking(verbs: _Verbs) -> None:
    _added(verbs, "demo", _demo, "a film is watched and asked about", "favor-stream demo")

    ask = _added(
        verbs, "ask", _ask, "see a source to its end, then answer", "favor-stream ask film.mp4 'what was said?' --at 12.5"
    )
    ask.add_argument("source", metavar="SOURCE", help=SOURCES)
    ask.add_argument("question", metavar="QUESTION", nargs="+", help="several are asked of one memory")
    ask.add_argument("--at", type=_seconds, default=math.inf, metavar="SECONDS", help="answer at this time of the stream")
    ask.add_argument("--realtime", action="store_true", help="see a film at its own speed, not as fast as possible")
    _add_json(ask, "one object a line: question, text, heard_until_s, first_token_s, total_s")

    live = _added(verbs, "live", _live, "watch a stream and ask at any time", "favor-stream live camera microphone")
    live.add_argument("source", metavar="SOURCE", nargs="+", help=SOURCES)
    _add_watching(live)
    live.add_argument(
        "--mqtt", metavar="URL", help=f"tell a broker too: mqtt://HOST, mqtts://HOST, or {EMBEDDED}: one of its own"
    )
    live.add_argument("--metrics", type=_count, metavar="PORT", help="serve figures to Prometheus at this port of this machine")
    live.add_argument("--svg", type=Path, metavar="FILE", help="when it ends, write the view to this file")
    _add_json(live, "one object a line for each event and each answer, and no view")
    _add_keeping(live)

    serve = _added(verbs, "serve", _serve, "a page in the browser to watch and ask in", "favor-stream serve camera microphone")
    serve.add_argument("source", metavar="SOURCE", nargs="*", help=f"{SOURCES}; none: what the browser's own camera brings")
    serve.add_argument("--demo", action="store_true", help="the film of favor-stream demo, in place of a source")
    serve.add_argument("--no-journal", action="store_true", help="write down nothing: the past cannot be asked about")
    serve.add_argument("--tls-certificate", type=Path, metavar="FILE", help="serve https:// with this certificate (PEM)")
    serve.add_argument("--tls-key", type=Path, metavar="FILE", help="and its key")
    _add_watching(serve)
    serve.add_argument("--host", default="127.0.0.1", help="(%(default)s: this machine alone)")
    serve.add_argument("--port", type=_count, default=8321, metavar="PORT", help="(%(default)s)")

    _add_robot(verbs)

    replay = _added(
        verbs, "replay", _replay, "what happens in a recording, as JSON", "favor-stream replay drive.mcap --watch 'a bell sounds'"
    )
    replay.add_argument(
        "source", metavar="SOURCE", nargs="+", help="a bag (of its own times), or a film (of the times of its replay)"
    )
    _add_watching(replay)
    _add_keeping(replay)

    events = _added(verbs, "events", _events, "print what agents tell a broker", "favor-stream events --mqtt mqtt://localhost")
    events.add_argument("--mqtt", metavar="URL", help="the broker (mqtt://localhost, or that of --config)")
    _add_json(events, "whole payloads, one a line")

    broker = _added(verbs, "mqtt", _mqtt, "take a device off a broker", "favor-stream mqtt remove --mqtt mqtt://localhost")
    broker.add_argument("what", choices=("remove",), help="forget all that the device of --config left on its broker")
    broker.add_argument("--mqtt", metavar="URL", help="the broker (mqtt://localhost, or that of --config)")


def _add_robot(verbs: _Verbs) -> None:
    robot = _added(
        verbs, "robot", _robot, "a node among those of ROS 2", "favor-stream robot --pictures /camera/image_raw --sound /audio"
    )
    robot.add_argument("source", metavar="SOURCE", nargs="*", help=f"{SOURCES}; besides what comes by topics")
    robot.add_argument("--pictures", metavar="TOPIC", help="of sensor_msgs Image, or CompressedImage if it ends in compressed")
    robot.add_argument("--sound", metavar="TOPIC", help="of either package that is called audio_common_msgs")
    robot.add_argument("--wire", choices=("auto", "zenoh", "dds", "rclpy"), help="(auto: rclpy where there is ROS, else zenoh)")
    robot.add_argument("--router", metavar="ADDRESS", help="zenoh's (tcp/localhost:7447)")
    robot.add_argument("--name", dest="node", help="of the node (favor)")
    robot.add_argument("--namespace", metavar="NAME", help="(/)")
    robot.add_argument("--remap", action="append", default=[], metavar="A:=B", help="another name for a topic or service")
    robot.add_argument("--sim-time", dest="use_sim_time", action="store_true", default=None, help="time is what /clock tells")
    robot.add_argument(
        "--managed", dest="is_managed", action="store_true", default=None, help="wait to be configured and activated"
    )
    robot.add_argument("--annotated", action="store_true", default=None, help="publish pictures with what is perceived on them")
    _add_watching(robot)
    _add_keeping(robot)


def _add_keeping(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--record", type=Path, metavar="FILE", help="keep all of it as MCAP, for Foxglove and to replay")
    verb.add_argument("--rerun", metavar="WHERE", help="show it in Rerun: spawn, FILE.rrd or a viewer's address")


def _add_watching(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--watch", action="append", default=[], metavar="TEXT", help="tell when this happens: 'a bell sounds'")
    verb.add_argument("--voice", action="store_true", help="answer questions that are spoken")
    verb.add_argument("--evidence", type=Path, metavar="DIR", help="keep a snapshot and a clip of what watches saw")


def _add_measuring(verbs: _Verbs) -> None:
    evaluate = _added(
        verbs, "eval", _eval, "questions on films never trained on", "favor-stream eval --tasks speech,order --limit 50"
    )
    evaluate.add_argument(
        "--tasks", metavar="A,B", help="only these tasks; `watches`: N minutes of watching; `rewind`: N films asked about later"
    )
    evaluate.add_argument("--limit", type=_count, default=200, metavar="N", help="films, or minutes (%(default)s)")
    evaluate.add_argument("--seed", type=_number, default=0, metavar="N", help="another seed, other films (%(default)s)")
    evaluate.add_argument(
        "--beside", type=Path, nargs="+", default=[], metavar="DIR", help="other weights, or engines such as torch"
    )
    _add_json(evaluate)

    watch = _added(verbs, "watch", _watch, "how watches should be set", "favor-stream watch calibrate --minutes 30")
    watch.add_argument("what", choices=("calibrate",), help="hits against false alarms, for many thresholds")
    watch.add_argument("--minutes", type=_count, default=30, metavar="N", help="of films never trained on (%(default)s)")
    watch.add_argument("--seed", type=_number, default=0, metavar="N", help="(%(default)s)")
    watch.add_argument("--film", metavar="SOURCE", help="one of your own instead, with the watches of --config")
    watch.add_argument("--truth", type=Path, metavar="FILE", help='JSON of when each was there: {"door": [[3.5, 6.0]]}')
    watch.add_argument("--plot", type=Path, metavar="FILE", help="draw them into this file")

    bench = _added(verbs, "bench", _bench, "what a second of stream and an answer cost here", "favor-stream bench --quick")
    bench.add_argument("--quick", action="store_true", help="shorter streams, rougher figures")
    bench.add_argument("--watches", type=_counts, default=(), metavar="1,8,32", help="only what so many cost, against one")
    bench.add_argument("--device", choices=DEVICES, help="(that of --config)")
    bench.add_argument("--preset", metavar="P", help="with --random: another size, for speed alone")
    bench.add_argument("--random", action="store_true", help="random weights")
    bench.add_argument("--html", type=Path, metavar="FILE", help="a page with pictures too")
    _add_json(bench)

    tune = _added(verbs, "tune", _tune, "find the fastest engine for each part of the model here", "favor-stream tune --explain")
    tune.add_argument("--only", metavar="A,B", help=f"only these engines: {', '.join(ENGINES[1:])}")
    tune.add_argument("--size", type=_size, default=(640, 480), metavar="WxH", help="of the camera's pictures (640x480)")
    tune.add_argument("--explain", action="store_true", help="print everything that was tried")

    doctor = _added(verbs, "doctor", _doctor, "what this machine has and what it lacks", "favor-stream doctor --json")
    _add_json(doctor)


def _add_making(verbs: _Verbs) -> None:
    train = _added(
        verbs, "train", _train, "make the weights anew; goes on where it stopped", "favor-stream train --preset smoke --out w"
    )
    train.add_argument("--preset", choices=("nano", "smoke"), default="nano", help="smoke: minutes, to see that it works")
    train.add_argument("--out", type=Path, default=Path("favor-nano"), metavar="DIR", help="the weights folder (%(default)s)")
    train.add_argument("--seed", type=_number, default=0, metavar="N", help="(%(default)s)")
    train.add_argument("--start", type=Path, metavar="DIR", help="teach these weights further, instead of new ones")
    ideas = ("nothing", "causal", "synchronised")
    train.add_argument("--without", choices=ideas, help="ablation: leave one of FAVOR's ideas out; nothing: to compare with")

    world = _added(
        verbs, "world", _world, "film the generated world, with its truth", "favor-stream world --seed 7 --out clip.mp4"
    )
    world.add_argument("--seed", type=_number, required=True, metavar="N", help="equal seeds make equal films")
    world.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the film; its truth is written beside it as .json"
    )
    world.add_argument("--seconds", type=_seconds, default=20.0, metavar="S", help="(%(default)s)")


def _added(verbs: _Verbs, name: str, verb: Verb, purpose: str, example: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb=verb)
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
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
