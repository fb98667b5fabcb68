"""The command line. It reads arguments, calls one verb and turns mistakes into one line; each verb imports what it needs."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

from favor_stream.arguments import EMBEDDED, parser
from favor_stream.config import SHIPPED, Config, load
from favor_stream.errors import ConfigError, DeviceError, FavorError
from favor_stream.outlets import Broker, Page, Robot
from favor_stream.records import Watch, name_of

if TYPE_CHECKING:
    from pathlib import Path

    from favor_stream.chronicle import Keep

EXIT_MISTAKE, EXIT_INTERRUPTED = 2, 130
WORLD_FPS, LONGEST_FILM_S = 8.0, 7200.0  # of a film that is made, whose sound is held in memory
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
    arguments = parser().parse_args(argv)
    config = load(arguments.config)
    logging.basicConfig(level=config.log_level.upper(), format="favor-stream: %(message)s")
    return VERBS[arguments.verb](arguments, config)


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

    fields = ("wire", "router", "distro", "namespace", "node", "pictures", "sound", "use_sim_time", "is_managed", "annotated")
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
    from favor_stream.aveb import evaluation, remembering, watching

    if (arguments.set is None) != (arguments.folder is None):
        raise ConfigError(
            "--set and --folder belong together: the name of a real set, and where it was unpacked; give both or none"
        )
    if arguments.set:
        if arguments.tasks or arguments.beside or arguments.html or arguments.workers > 1:
            flags = "--tasks, --beside, --html and --workers"
            raise ConfigError(f"{flags} are of generated films; a real set (--set) is asked without them")
        from favor_stream.aveb.sets.run import run

        return run(config, arguments.set, arguments.folder, arguments.limit, arguments.json)
    tasks = arguments.tasks.split(",") if arguments.tasks else None
    alone = {watching.TASK: watching.run, remembering.TASK: remembering.run}  # with a table of their own
    if arguments.workers > 1 and alone.keys() & set(tasks or ()):
        raise ConfigError("watches and memory are asked of one long stream: expected --workers 1")
    asked = [task for task in tasks if task not in alone] if tasks else None
    if asked is None or asked:
        given = arguments.limit, arguments.seed, arguments.json, arguments.beside, arguments.html, arguments.workers
        evaluation.run(config, asked, *given)
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

    from favor_stream.training import recipe, train

    if arguments.recipe and (arguments.seed or arguments.budget):
        raise ConfigError("--recipe with --seed or --budget: a recipe has its own; leave them out")
    if config.threads:
        torch.set_num_threads(config.threads)
    try:
        if arguments.recipe:
            return recipe.run(arguments.recipe, arguments.out, arguments.preset, arguments.start)
        return train.run(arguments.preset, arguments.out, arguments.seed, arguments.start, arguments.budget)
    except OSError as error:
        raise _unwritten(error, arguments.out) from error


def _average(arguments: argparse.Namespace, config: Config) -> int:
    from favor_stream.training import average

    try:
        return average.run(arguments.weights, arguments.out, arguments.with_qformer)
    except OSError as error:
        raise _unwritten(error, arguments.out) from error


def _ablate(arguments: argparse.Namespace, config: Config) -> int:
    import torch

    from favor_stream.training import ablations
    from favor_stream.training.variants import VARIANTS

    if config.threads:
        torch.set_num_threads(config.threads)
    try:
        variants = arguments.variants or tuple(VARIANTS)
        start, given = arguments.start or SHIPPED, (arguments.preset, arguments.budget, arguments.clips)
        return ablations.run(arguments.out, start, variants, arguments.seeds, *given)
    except OSError as error:
        raise _unwritten(error, arguments.out) from error


def _unwritten(error: OSError, folder: Path) -> DeviceError:
    return DeviceError(
        f"{error.filename or folder}: cannot be written ({error.strerror or error}); free some space or choose another"
        " folder; the same command goes on where it stopped"
    )


def _world(arguments: argparse.Namespace, config: Config) -> int:
    """Films a clip with voices, fonts and pairs of colour and shape that training never shows."""
    from favor_stream.aveb import scenes, truth
    from favor_stream.aveb.picture import picture
    from favor_stream.aveb.soundtrack import soundtrack
    from favor_stream.clip import write_film

    if arguments.out.suffix in ("", ".json"):
        raise ConfigError(
            f"{arguments.out}: expected the name of a film; the truth is written beside it; give one such as clip.mp4"
        )
    path = arguments.out.with_suffix(".json")
    if arguments.seconds > LONGEST_FILM_S:
        raise ConfigError(f"a film of {arguments.seconds:g} s; expected {LONGEST_FILM_S:g} s at most; make several")
    if arguments.setting not in scenes.SETTINGS:
        raise ConfigError(f"there is no setting {arguments.setting!r}; expected one of: {', '.join(scenes.SETTINGS)}")
    script = scenes.draw(arguments.setting, scenes.Wish(arguments.seed, arguments.seconds, "held_out")).script
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
    from favor_stream import ask

    return ask.run(arguments.source, arguments.question, config, arguments.at, arguments.realtime, arguments.json)


VERBS: dict[str, Verb] = {
    "demo": _demo,
    "ask": _ask,
    "live": _live,
    "serve": _serve,
    "robot": _robot,
    "replay": _replay,
    "events": _events,
    "mqtt": _mqtt,
    "ablate": _ablate,
    "eval": _eval,
    "watch": _watch,
    "bench": _bench,
    "tune": _tune,
    "doctor": _doctor,
    "train": _train,
    "average": _average,
    "world": _world,
}


if __name__ == "__main__":
    sys.exit(main())
