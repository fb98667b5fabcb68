"""What rounding costs in answers: the evaluation's questions, answered in torch and through the exported graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engines import manifest
from exporters.source import Source
from favor_stream.aveb import evaluation
from favor_stream.aveb.answering import here
from favor_stream.aveb.metrics import exact
from favor_stream.aveb.tasks import TASKS
from favor_stream.encoder import GraphEncoder
from favor_stream.graphs import Choice, Graphs
from favor_stream.model import weights
from favor_stream.model.steps import steps
from favor_stream.session import Session

SEED = 1
ASKED = [task for task in TASKS if task.name in ("films", "pictures", "story", "speech")]


def score(source: Source, weights_folder: Path | None, folder: Path, precision: str, clips: int) -> dict[str, float]:
    """The share of questions on held-out clips that are answered to the word; into the manifest of each graph too.

    A part that has no graph of this precision runs in fp32.
    """
    model, tokenizer = weights.load(weights_folder)
    graphs = Graphs(steps(model), source.weights, folder)
    used = {name: precision if graphs.file(name, precision).exists() else "fp32" for name in graphs.parts}
    engines = {name: graphs.open(name, Choice("onnxruntime", each)) for name, each in used.items()}
    other = Session(model, tokenizer, encoder=GraphEncoder(model, engines))
    answered = here([Session(model, tokenizer), other], with_recent=False)
    told = [reply for _, replies in evaluation.measured(answered, ASKED, clips, SEED) for reply in replies]
    right = [(exact(each.question.answer, text)[0] for text in (each.full, *each.beside)) for each in told]
    plain, exported = (sum(column) / len(told) for column in zip(*right, strict=True))
    found = {"clips": float(clips), "questions": float(len(told)), "torch": plain, "exported": exported}
    for name, each in used.items():
        path = graphs.file(name, each)
        if each == precision:
            replace(manifest.read(path, source.weights), score=found).write(path)
    return found
