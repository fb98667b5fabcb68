"""What this machine has for the agent and what it lacks: packages, devices, engines, weights, and where to get the rest.

It looks and reports; it changes nothing, and a part that cannot be looked at is a finding like any other.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from favor_stream.board import Board
from favor_stream.config import SHIPPED, Config
from favor_stream.errors import FavorError

FILM = SHIPPED / "demo.mp4"
LISTING_S = 10.0  # a sound library may hang with its server
INSTALL = "install favor_stream again: make install, or pip install --editable ."
NEEDED = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "av")
USEFUL = {  # package: what it is for
    "rich": "the live view in a terminal",
    "opencv-python-headless": "cameras that FFmpeg cannot open, and the generated world",
    "sounddevice": "microphones",
    "espeakng-loader": "training (pip install --editable '.[train]')",
    "aiomqtt": "MQTT brokers (pip install --editable '.[mqtt]')",
    "httpx2": "webhooks (pip install --editable '.[webhook]')",
    "prometheus_client": "a page of figures (pip install --editable '.[metrics]')",
    "fastapi": "the page of favor-stream serve (pip install --editable '.[web]')",
    "silero_vad": "spoken questions (pip install --editable '.[voice]')",
    "rosbags": "robots, and bags of ROS 2 (pip install --editable '.[ros]')",
    "rerun-sdk": "the Rerun viewer (pip install --editable '.[rerun]')",
    "llguidance": "answers that fill a JSON schema (pip install --editable '.[schema]')",
}
ENGINES = {"onnxruntime": "onnx", "tensorrt": "tensorrt"}  # package: the extra that brings it
LIST_MICROPHONES = """
import sounddevice
for device in sounddevice.query_devices():
    if device["max_input_channels"]:
        print(device["name"])
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the machine."""

    part: str
    present: bool
    found: str  # a version, names, or what is wrong
    advice: str = ""  # how to get it, when it is not there
    needed: bool = False  # the demo cannot run without it


def examine(config: Config) -> list[Finding]:
    """Looks at everything; takes some seconds, most of them for loading torch."""
    findings = [*_system(), *_packages()]
    if all(finding.present for finding in findings if finding.needed):
        findings += [*_engines(), _codecs(), _weights(config.weights), _film()]
    return [*findings, _cameras(), _microphones()]


def run(config: Config, json_out: bool) -> int:
    """Prints the findings; 0 when the demo can run, 1 when something that it needs is missing."""
    findings = examine(config)
    can_run = all(finding.present for finding in findings if finding.needed)
    if json_out:
        print(json.dumps({"can_run_demo": can_run, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        print(*(_line(finding) for finding in findings), sep="\n")
        print("\nThe demo can run: favor-stream demo" if can_run else "\nThe demo cannot run: mend the lines marked MISSING.")
    return 0 if can_run else 1


def _line(finding: Finding) -> str:
    mark = "ok" if finding.present else "MISSING" if finding.needed else "-"
    advice = f"; {finding.advice}" if finding.advice and not finding.present else ""
    return f"{mark:8} {finding.part:24} {finding.found}{advice}"


def _system() -> Iterator[Finding]:
    yield Finding("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}", needed=True)
    yield Finding("processor cores", True, str(os.cpu_count()))
    board = Board().read()
    if board.memory_limit_mb:
        yield Finding("memory", True, f"{board.memory_limit_mb:.0f} MB for this process")
    if board.model:
        yield Finding("board", True, board.model)
    if board.hottest_c is not None:
        yield Finding("heat", True, f"{board.hottest_c:.0f} degrees ({board.hottest_zone})")
    if board.throttled:
        slowed = f"slowed down: {', '.join(board.throttled)}"
        yield Finding("full speed", False, slowed, "cool it, or give it a stronger power supply")


def _packages() -> Iterator[Finding]:
    for name in NEEDED:
        yield _imported(_package(name, INSTALL, needed=True))
    for name, purpose in USEFUL.items():
        yield _package(name, f"for {purpose}", needed=False)


def _package(name: str, advice: str, needed: bool) -> Finding:
    try:
        return Finding(name, True, version(name), needed=needed)
    except PackageNotFoundError:
        return Finding(name, False, "not installed", advice, needed)


def _imported(finding: Finding) -> Finding:
    """The same, but a package that is there and breaks when it is imported is as good as missing."""
    if finding.present:
        try:
            import_module(finding.part)
        except Exception as error:  # whatever a broken package raises
            return replace(finding, present=False, found=f"{finding.found} cannot be imported ({error})")
    return finding


def _engines() -> Iterator[Finding]:
    import torch

    yield Finding("torch threads", True, str(torch.get_num_threads()))
    if torch.cuda.is_available():
        yield Finding("cuda", True, f"{torch.version.cuda} on {torch.cuda.get_device_name()}")
    else:
        yield Finding("cuda", False, "no GPU that this torch can use", "the processor is enough for favor-nano")
    for name, extra in ENGINES.items():
        yield _imported(_package(name, f"for exported graphs: pip install --editable '.[{extra}]'", needed=False))


def _codecs() -> Finding:
    import av

    lacking = sorted({"h264", "aac", "mjpeg"} - av.codecs_available)
    found = f"without {', '.join(lacking)}" if lacking else "H.264, AAC and JPEG"
    return Finding("codecs", not lacking, found, "install another build of av", needed=True)


def _weights(folder: Path | None) -> Finding:
    from favor_stream.model.weights import load

    try:
        model, _ = load(folder)
    except FavorError as error:
        return Finding("weights", False, str(error), needed=True)
    parameters = sum(tensor.numel() for tensor in model.parameters())
    return Finding("weights", True, f"{model.config.name}, {parameters / 1e6:.1f} M parameters, hash as written", needed=True)


def _film() -> Finding:
    there = FILM.is_file() and FILM.with_suffix(".json").is_file()
    return Finding(
        "demo film", there, str(FILM) if there else f"no {FILM.name} in {FILM.parent}", "fetch the folder again", needed=True
    )


def _cameras() -> Finding:
    if sys.platform != "linux":
        return Finding("cameras", True, "not listed on this platform; try favor-stream live camera:0")
    nodes = sorted(Path("/dev").glob("video*"))
    closed = [str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        return Finding("cameras", False, f"no permission for {', '.join(closed)}", "add yourself to the group video")
    return Finding("cameras", bool(nodes), ", ".join(map(str, nodes)) or "none", "plug one in, or use a film or an address")


def _microphones() -> Finding:
    """Asked for in another process, which can be ended when the sound server hangs."""
    command = [sys.executable, "-c", LIST_MICROPHONES]
    advice = "plug one in, start the sound server, or install PortAudio (libportaudio2)"
    try:
        listing = subprocess.run(command, capture_output=True, text=True, timeout=LISTING_S, check=False)
    except subprocess.TimeoutExpired:
        return Finding("microphones", False, "the sound server does not answer", advice)
    if listing.returncode:
        return Finding("microphones", False, (listing.stderr.strip().splitlines() or ["the sound library gave up"])[-1], advice)
    names = ", ".join(listing.stdout.splitlines())
    return Finding("microphones", bool(names), names or "none", advice)
