"""The whole recipe in one command: data, the stages, a weights folder with its manifest and learning curves.

A run that was killed goes on where it was; data that is there already is not made again.
"""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from favor_stream.aveb.questions import corpus
from favor_stream.errors import ConfigError
from favor_stream.model import weights
from favor_stream.model.attention import attend_at_any_length
from favor_stream.model.config import PRESETS, ModelConfig
from favor_stream.model.favor import Favor
from favor_stream.training import bank, fusion, hearing, language, sight
from favor_stream.training.ahead import beside
from favor_stream.training.budget import budgeted
from favor_stream.training.curriculum import CURRICULA, Curriculum
from favor_stream.training.loop import Run, Stage, cores, processor
from favor_stream.training.oracle import Oracle
from favor_stream.training.provenance import provenance
from favor_stream.training.tokens import extended, train_tokenizer

Sorts = list[list[fusion.Encoded]]  # clips of things with a name, of some without, and of speech alone
HEADS_ALONE = 0.2  # of the steps of an encoder that is taught further: its heads are new, and would spoil it
ORACLE = "oracle.safetensors"  # beside the weights, for those who teach them further
SPEECH_SLICES = 16  # of a clip of speech alone
LOSSES, MOST_CURVES = {"loss", "ctc", "copy", "reading", "away"}, 12  # where there are more, only their mean has a name
WORDS = 2000  # texts, in which every word of the world comes
ODD = 0.7  # of the things in odd clips
SPOKEN_SHARES = (("film", 0.6), ("slides", 0.25), ("naming", 0.15))
# How much happens in a training clip, from and to, against the world's own pace. Where it is always as much, it is told by the
# clip's length, and not by what happened.
DENSITIES, SPEECH_DENSITIES = (0.7, 2.5), (4.0, 7.0)


def run(
    preset: str,
    out: Path,
    seed: int = 0,
    start: Path | None = None,
    other: Mapping[str, int] | None = None,
) -> int:
    """Train `preset` into the weights folder `out`; work in progress is kept in `out`/work.

    From the weights `start` it goes further. `other` numbers of clips or steps take the place of the budget's own, by its names;
    an encoder with none stays as it is.
    """
    prepare()
    curriculum, work = CURRICULA[preset], out / "work"
    budget = budgeted(curriculum.budget.further() if start else curriculum.budget, other or {})
    before = weights.read_manifest(start) if start else {}
    begin(work, {"preset": preset, "seed": seed, "start": before.get("sha256"), "budget": repr(budget)})
    with processor():
        learning = taught(replace(curriculum, budget=budget), work, seed, start)
    facts = {"preset": preset, "seed": seed, "budget": repr(budget)}
    if start:
        facts["start"] = {name: fact for name, fact in before.items() if name != "config"}
    finish(learning, out, facts)
    return 0


def taught(curriculum: Curriculum, work: Path, seed: int, start: Path | None) -> Run:
    """All stages, one after another; on a GPU language is taught beside the senses."""
    learning, is_new = begun(curriculum, work, seed, start), start is None
    with beside(spoken, curriculum, work, seed, start):
        sorts = teach_senses(learning, curriculum, seed, is_new)
    teach_language(learning, curriculum, is_new)
    fusion.distil(learning.of("distil"), curriculum.stage("distil", is_new), sorts)
    joint, joining = learning.of("join"), curriculum.stage("join", is_new)
    fusion.join(joint, joining, sorts[0], sorts[1:], lessons(joint, joining, curriculum.rehearsal))
    return learning


def begun(curriculum: Curriculum, work: Path, seed: int, start: Path | None) -> Run:
    """What learns, before it has."""
    torch.manual_seed(seed)
    model, tokenizer = further_model(start, seed) if start else new_model(PRESETS[curriculum.model], seed)
    rng, oracle = np.random.default_rng(seed), oracle_of(model.config, tokenizer, start)
    return Run(model, oracle, tokenizer, work, rng, curriculum.budget.batch)


def spoken(curriculum: Curriculum, work: Path, seed: int, start: Path | None) -> None:
    """The stage that needs no films, alone: it is kept in `work`, and only loaded when its turn comes."""
    prepare()
    with processor():
        teach_language(begun(curriculum, work, seed, start), curriculum, is_new=start is None)


def begin(work: Path, recipe: dict[str, Any]) -> None:
    """Make the folder of work in progress, which belongs to one recipe.

    Raises ConfigError where it was begun with another, and where there are weights that it did not make.
    """
    path = work / "recipe.json"
    if not path.exists():
        weights.refuse_to_replace(work.parent)
    work.mkdir(parents=True, exist_ok=True)
    begun = json.loads(path.read_text()) if path.exists() else recipe
    if begun != recipe:
        raise ConfigError(f"{work} was begun with {begun}: expected {recipe}; choose another folder")
    path.write_text(json.dumps(recipe))


def new_model(config: ModelConfig, seed: int) -> tuple[Favor, Tokenizer]:
    model = Favor(config)
    # Llama's own 0.02 is lost beside the memory's tokens; questions then take long to find anything in it.
    nn.init.normal_(model.llm.model.embed_tokens.weight, std=0.1)
    vocabulary = model.config.llm.vocabulary
    return model, extended(train_tokenizer(corpus(10 * WORDS, seed), vocabulary), corpus(WORDS, seed), vocabulary)


def further_model(start: Path, seed: int) -> tuple[Favor, Tokenizer]:
    """The weights that are there; words that their tokenizer writes in pieces become tokens."""
    model, tokenizer = weights.load(start)
    model.config = replace(model.config, llm=replace(model.config.llm, converses=True))
    return model, extended(tokenizer, corpus(WORDS, seed), model.config.llm.vocabulary)


def oracle_of(config: ModelConfig, tokenizer: Tokenizer, start: Path | None) -> Oracle:
    """The oracle that the weights `start` were taught by, or a new one."""
    oracle = Oracle(config, tokenizer)
    if start:
        weights.read(oracle, start / ORACLE)
    return oracle


def teach_senses(learning: Run, curriculum: Curriculum, seed: int, is_new: bool) -> Sorts:
    """Make the data, teach both encoders, gently where they are not new, and encode all clips with them."""
    folders, seed = [learning.folder / name for name in ("clips", "odd", "speech")], 10_000_000 * seed
    budget, slices, pictures = curriculum.budget, curriculum.slices, learning.model.config.fusion.pictures
    plans = (
        bank.Plan(budget.clips, slices, seed + 1_000_000, DENSITIES, pictures, shares=bank.SHARES),
        bank.Plan(budget.odd, slices, seed + 3_000_000, DENSITIES, pictures, odd=ODD),
        bank.Plan(budget.speech, SPEECH_SLICES, seed + 5_000_000, SPEECH_DENSITIES, pictures=0, shares=SPOKEN_SHARES),
    )
    for folder, plan in zip(folders, plans, strict=True):
        bank.make_clips(folder, plan, learning.tokenizer, cores())
    clips, odd, speech = (list(bank.shards(folder)) for folder in folders)
    for name, teach, data in (("sight", sight.see, clips + odd), ("hearing", hearing.hear, speech)):
        stage = curriculum.stage(name, is_new)
        if stage.steps:
            teach(learning.of(name), stage, data, 0 if is_new else math.ceil(HEADS_ALONE * stage.steps))
    learning.model.eval()
    return [fusion.encode(learning.model, sort, folder) for sort, folder in zip((clips, odd, speech), folders, strict=True)]


def teach_language(learning: Run, curriculum: Curriculum, is_new: bool) -> None:
    """Teach the language model on the oracle's tokens, and the oracle with it."""
    learning, speaking = learning.of("language"), curriculum.stage("language", is_new)
    chosen = curriculum.lessons if is_new else curriculum.further
    language.speak(learning, speaking, lessons(learning, speaking, chosen))


def finish(learning: Run, folder: Path, facts: dict[str, Any]) -> None:
    """Write the weights folder and its learning curves."""
    curves = learning.folder / "curves.jsonl"
    weights.save(folder, learning.model.eval(), learning.tokenizer, {**facts, **provenance(curves)})
    weights.write(learning.oracle, folder / ORACLE)
    plot(curves, folder / "curves.png")
    print(f"wrote {folder}")


def lessons(learning: Run, stage: Stage, syllabus: tuple[bank.Lesson, ...]) -> language.Lessons:
    """The steps of a stage, shared out among these lessons."""
    whole = sum(lesson.share for lesson in syllabus)
    return language.Lessons(learning, [(math.ceil(stage.steps * lesson.share / whole), lesson) for lesson in syllabus])


def prepare() -> None:
    """What a process that trains needs once."""
    attend_at_any_length()
    keep_memory()


def keep_memory() -> None:
    """Let freed memory stay with the process (glibc): a training step frees and takes hundreds of megabytes."""
    trim_threshold, top_pad, most_mapped = -1, -2, -4  # of mallopt(3)
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 400_000_000)
        mallopt(most_mapped, 0)


def plot(curves: Path, picture: Path) -> None:
    """Learning curves of every stage as a PNG: losses above, shares of what is right below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = [json.loads(line) for line in curves.read_text().splitlines()]
    names = list(dict.fromkeys(line["stage"] for line in lines))
    figure, axes = pyplot.subplots(2, len(names), figsize=(3.2 * len(names), 5), squeeze=False)
    for (above, below), name in zip(axes.T, names, strict=True):
        rows = [line for line in lines if line["stage"] == name]
        keys = sorted({key for row in rows for key in row} - {"stage", "step", "seconds"})
        for key in keys:
            many = len(keys) > MOST_CURVES and key not in LOSSES and key != "all"
            axis, style = above if key in LOSSES else below, {"color": "0.8"} if many else {"label": key, "zorder": 3}
            axis.plot([r["step"] for r in rows if key in r], [r[key] for r in rows if key in r], linewidth=1, **style)
        above.set(title=name, yscale="log")
        below.set(xlabel="step", ylim=(0, 1.02))
        above.legend(fontsize=6)
        below.legend(fontsize=6, loc="lower right")
    figure.tight_layout()
    figure.savefig(picture, dpi=90)
    pyplot.close(figure)
