"""Which engine runs each part of the model the fastest on this machine, and still right. The agent uses what is found here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.progress import Progress

from engines.engine import Engine
from engines.parity import parity
from engines.stream import Stream
from favor_stream.config import SHIPPED, Config
from favor_stream.encoder import choices_file
from favor_stream.errors import ConfigError, EngineError
from favor_stream.graphs import ENGINES, TOLERANCE, Choice, Graphs, graphs_folder, torch_engine
from favor_stream.model import weights
from favor_stream.model.feeds import feeds
from favor_stream.model.steps import State, steps
from favor_stream.sample import SIZE, sample
from favor_stream.session import load_model

STEPS = 24  # compared with torch, two windows and a bit
ROUNDS, WARM = 24, 3  # runs in turn, so that a busy moment meets all engines
AS_FAST = 1.08  # times the fastest: less is noise
ALL = 0  # threads: as many as there are cores
CPU_ENGINES = {
    "torch": ("fp32", "bf16"),
    "compile": ("fp32",),
    "onnxruntime": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
}
GPU_ENGINES = {
    "torch": ("fp32", "fp16", "bf16"),
    "cuda": ("fp32", "fp16"),
    "ort-tensorrt": ("fp32", "fp16"),
    "tensorrt": ("fp32", "fp16", "bf16", "int8", "fp8"),
}


@dataclass(slots=True)
class Trial:
    """One way to run one graph."""

    graph: str
    choice: Choice
    error: float = 0.0  # of the worst step, against the size of what torch gives
    refusal: str = ""  # why it cannot be had, or why it is not taken
    spent_s: list[float] = field(default_factory=list)

    @property
    def milliseconds(self) -> float:
        return median(self.spent_s) * 1000 if self.spent_s else float("nan")


@dataclass(frozen=True, slots=True)
class Ready:
    """What can be timed."""

    trial: Trial
    engine: Engine
    given: State


def run(config: Config, only: Sequence[str], size: tuple[int, int], explain: bool) -> int:
    """Tries every engine and writes down the fastest; `only` some engines, `size` of the pictures where a graph takes any."""
    model, _ = load_model(config)
    sha256 = weights.read_manifest(config.weights or SHIPPED)["sha256"]
    if unknown := set(only) - set(ENGINES):
        raise ConfigError(f"no engine {min(unknown)!r}; write some of {', '.join(ENGINES)}")
    graphs = Graphs(steps(model), sha256, config.graphs or graphs_folder(sha256))
    if not any(graphs.folder.glob("*.onnx")):
        raise EngineError(f"no graphs in {graphs.folder}; make them: favor-export --preset {model.config.name} --to onnx")
    choices = [choice for choice in candidates(model.device.type, only) if graphs.holds(choice)]
    if not choices:
        raise EngineError(f"nothing for {', '.join(only)} in {graphs.folder}; export it (favor-export) or leave --only out")
    done = trials(graphs, graphs.names, choices, size)
    chosen = {name: fastest([each for each in done if each.graph == name]) for name in graphs.names}
    path = choices_file(sha256)
    write(path, chosen)
    print(
        table(done, chosen)
        if explain
        else "\n".join(f"{name}: {trial.choice}, {trial.milliseconds:.2f} ms" for name, trial in chosen.items())
    )
    print(f"wrote {path}")
    return 0


def candidates(device: str, only: Sequence[str] = ()) -> list[Choice]:
    """Every engine, precision and number of threads that may be had on such a device."""
    engines = GPU_ENGINES if device == "cuda" else CPU_ENGINES
    threads = {"onnxruntime": (1, ALL), "openvino": (1, ALL)} if (os.cpu_count() or 1) > 1 else {}
    made = [Choice(name, *how) for name, precisions in engines.items() for how in product(precisions, threads.get(name, (ALL,)))]
    return [choice for choice in made if not only or choice.engine in only]


def trials(graphs: Graphs, names: Sequence[str], choices: Sequence[Choice], size: tuple[int, int] = SIZE) -> list[Trial]:
    """Every graph by every choice: first whether it is right, then how long it takes, in turns.

    One run follows that of another graph, as along a stream: what a processor's caches hold, and which threads are awake, is
    then as it will be.
    """
    done, ready = [], list[Ready]()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("tuning", total=len(names) * len(choices) + ROUNDS)
        for name in names:
            given = list(graph_feeds(graphs, name, size))
            for choice in choices:
                progress.update(bar, advance=1, description=f"{name}: {choice}")
                done.append(trial := Trial(name, choice))
                with suppress(EngineError):
                    ready.append(Ready(trial, opened(graphs, trial, given), given[-1]))
        ready.sort(key=lambda each: choices.index(each.trial.choice))
        for number in range(WARM + ROUNDS):
            progress.update(bar, advance=1, description="timing")
            for each in ready:
                spent_s = timed(each.engine, each.given)
                each.trial.spent_s += [spent_s] if number >= WARM else []
    return done


def graph_feeds(graphs: Graphs, name: str, size: tuple[int, int]) -> Iterator[State]:
    """What the graph is given along a stream."""
    part, _, fitting = name.partition("@")
    if fitting:
        width, height = map(int, fitting.split("x"))
        size = width, height
    return feeds(graphs.parts, part, sample(STEPS, size=size))


def opened(graphs: Graphs, trial: Trial, given: Sequence[State]) -> Engine:
    """The engine, once it was compared with torch. EngineError, also told in the trial, where it cannot be had or is wrong."""
    step = graphs.part(trial.graph)
    try:
        engine = graphs.open(trial.graph, trial.choice)
        start = step.start()
        stateless = ({name: tensor for name, tensor in each.items() if name not in start} for each in given)
        trial.error = parity(Stream(torch_engine(step), start), Stream(engine, start), stateless).relative
        if not trial.error <= TOLERANCE[trial.choice.precision]:
            raise EngineError(f"off by {trial.error:.2g}")
    except EngineError as error:
        trial.refusal = str(error)
        raise
    return engine


def timed(engine: Engine, given: State) -> float:
    """Seconds of a run."""
    started_s = time.perf_counter()
    outputs = engine.run(given)
    if next(iter(outputs.values())).is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started_s


def fastest(tried: Sequence[Trial]) -> Trial:
    """Of those that are about as fast, the most exact. Raises EngineError where nothing could be run."""
    right = [trial for trial in tried if trial.spent_s]
    if not right:
        raise EngineError(f"{tried[0].graph} runs on none of these engines ({tried[0].refusal}); leave --only out")
    least_ms = min(trial.milliseconds for trial in right)
    return min((trial for trial in right if trial.milliseconds <= least_ms * AS_FAST), key=lambda trial: trial.error)


def write(path: Path, chosen: Mapping[str, Trial]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({name: asdict(trial.choice) for name, trial in chosen.items()}, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def table(done: Sequence[Trial], chosen: Mapping[str, Trial]) -> str:
    """Markdown: every trial with its time against torch's."""
    lines = ["| graph | engine | ms | of torch | error / size | |", "|---|---|--:|--:|--:|---|"]
    for trial in done:
        torch_ms = next(
            (each.milliseconds for each in done if (each.graph, each.choice) == (trial.graph, Choice())), float("nan")
        )
        verdict = "chosen" if chosen[trial.graph] is trial else trial.refusal
        figures = (
            f"{trial.milliseconds:.2f} | {trial.milliseconds / torch_ms:.2f} | {trial.error:.1e}" if trial.spent_s else "| |"
        )
        lines.append(f"| {trial.graph} | {trial.choice} | {figures} | {verdict} |")
    return "\n".join(lines)
