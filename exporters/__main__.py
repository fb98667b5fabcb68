"""favor-export: every graph of a preset, as ONNX files or as TensorRT plans, each compared with torch before it is kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from engines.engine import EngineError, ToleranceError
from engines.manifest import Manifest
from favor_stream.errors import ConfigError, FavorError
from favor_stream.graphs import graphs_folder
from favor_stream.model.config import PRESETS
from favor_stream.sample import SIZE

EXIT_MISTAKE = 2
PRECISIONS = {"onnx": ("fp32", "fp16", "int8"), "trt": ("fp32", "fp16", "bf16", "int8", "fp8")}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns its exit code; 2 for a mistake of the user, told in one line."""
    try:
        return run(parser().parse_args(argv))
    except (FavorError, EngineError) as error:
        print(f"favor-export: {' '.join(str(error).split())}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"favor-export: {error.name} is not installed; pip install --editable '.[export,onnx]'", file=sys.stderr)
    except OSError as error:
        reason = f"{error.filename} cannot be written ({error.strerror}); free some space or choose another folder with --out"
        print(f"favor-export: {reason}", file=sys.stderr)
    return EXIT_MISTAKE


def run(arguments: argparse.Namespace) -> int:
    """Exports graph after graph. What is out of tolerance is not kept, told, and makes the exit code 2."""
    from exporters.export import export
    from exporters.parts import graphs
    from exporters.score import score
    from exporters.source import random, trained

    if arguments.score and (arguments.random or arguments.to != "onnx" or arguments.batch != 1):
        raise ConfigError(
            "--score asks a trained model through ONNX graphs of one stream; give it without --random, --to, --batch"
        )
    if others := set(arguments.precision) - set(PRECISIONS[arguments.to]):
        raise ConfigError(f"no processor's engine reads {min(others)} from a file; expected fp32, fp16 or int8, or give --to trt")
    source = random(arguments.preset, arguments.layers) if arguments.random else trained(arguments.preset, arguments.weights)
    folder = arguments.out or graphs_folder(source.weights)
    print(HEAD)
    refused: list[str] = []
    for graph in graphs(source.model, arguments.batch, arguments.size):
        for precision in arguments.precision:
            try:
                manifest = export(source, graph, precision, folder, arguments.to, arguments.steps)
            except ToleranceError as error:
                refused.append(str(error))
            else:
                print(row(manifest), flush=True)
    print(f"wrote {folder}")
    for precision in arguments.precision if arguments.score else ():
        found = score(source, arguments.weights, folder, precision, arguments.score)
        print(f"{precision}: {found['exported']:.1%} of {found['questions']:.0f} questions right, torch {found['torch']:.1%}")
    if refused:
        raise EngineError("; ".join(refused))
    return 0


HEAD = """\
| graph | precision | steps | max error | mean error | cosine | error / size | tolerance |
|---|---|--:|--:|--:|--:|--:|--:|"""


def row(m: Manifest) -> str:
    if not m.steps:
        return f"| {m.graph} | {m.precision} | 0 | not compared: there is no GPU here | | | | {m.tolerance:g} |"
    figures = f"{m.error_max:.1e} | {m.error_mean:.1e} | {m.cosine:.7f} | {m.relative:.1e} | {m.tolerance:g}"
    return f"| {m.graph} | {m.precision} | {m.steps} | {figures} |"


class Parser(argparse.ArgumentParser):
    """Mistakes come out in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see favor-export --help")


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="favor-export",
        description="Writes every graph of a preset as a file for an engine, compared with torch over a stream of steps.",
        epilog="example: favor-export --preset favor-nano --to onnx",
    )
    made.add_argument("--preset", default="favor-nano", choices=sorted(PRESETS), help="(%(default)s)")
    made.add_argument(
        "--to", default="onnx", choices=("onnx", "trt"), help="trt: plans for this GPU, by TensorRT or TensorRT-RTX"
    )
    made.add_argument(
        "--precision",
        type=precisions,
        default=("fp32",),
        metavar="A,B",
        help=f"of {', '.join(PRECISIONS['onnx'])}; with --to trt bf16 and fp8 too (fp32)",
    )
    made.add_argument(
        "--size", type=size, default=SIZE, metavar="WxH", help="besides, a faster graph for pictures of this size alone (640x480)"
    )
    made.add_argument("--batch", type=batch, default=1, metavar="N", help="streams at once, or any (%(default)s)")
    made.add_argument("--weights", type=Path, metavar="DIR", help="a weights folder; else the shipped one")
    made.add_argument("--random", action="store_true", help="random weights, for speed alone")
    made.add_argument("--layers", type=int, metavar="N", help="with --random: no more layers than that in each encoder")
    made.add_argument("--steps", type=int, default=500, metavar="N", help="of a stream, compared with torch (%(default)s)")
    made.add_argument("--score", type=int, default=0, metavar="N", help="then answer the questions of N held-out films too")
    made.add_argument("--out", type=Path, metavar="DIR", help="the folder (in ~/.cache/favor_stream, by the weights)")
    return made


def precisions(text: str) -> tuple[str, ...]:
    if unknown := [each for each in text.split(",") if each not in PRECISIONS["trt"]]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(PRECISIONS['trt'])}")
    return tuple(text.split(","))


def size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 640x480")
    return int(width), int(height)


def batch(text: str) -> int | None:
    if text != "any" and not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of streams, nor the word any")
    return None if text == "any" else int(text)


if __name__ == "__main__":
    sys.exit(main())
