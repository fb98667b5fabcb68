"""Each part of the model on each engine, beside what this machine allows; and the parts in a row, as the agent runs them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from favor_stream.bench.limits import Limits, limits, settle, usual
from favor_stream.bench.rows import Row, at_least, note
from favor_stream.bench.subject import Subject
from favor_stream.cache import Room
from favor_stream.encoder import TorchEncoder
from favor_stream.graphs import Choice
from favor_stream.llm import Llm
from favor_stream.model.rounded import KINDS, round_linears
from favor_stream.model.steps import State, Step
from favor_stream.sample import SIZE, sample
from favor_stream.session import QUESTION_TOKENS
from favor_stream.tune import Trial, candidates, fastest, graph_feeds, trials
from favor_stream.words import Prompt

ENCODERS = ("vision", "audio")
ENDLESS = Prompt(eos="<s>")  # an answer's end that is never said


def ceilings(found: Limits) -> list[Row]:
    rows = [Row("copying, bytes read and written", found.bytes_per_s / 1e9, "GB/s", "", None)]
    for dtype, rate in found.flop_per_s.items():
        rows.append(Row(f"products of matrices, {str(dtype).removeprefix('torch.')}", rate / 1e9, "GFLOP/s", "", None))
    return rows


def by_engine(subject: Subject) -> list[Row]:
    """Every graph on every engine that is here, in turns; the share is of the least time that the machine allows."""
    note("bench: each part on each engine")
    graphs, found = subject.graphs, limits(subject.device)
    done = trials(graphs, graphs.names, [choice for choice in candidates(subject.device) if choice.engine != "compile"])
    rows = ceilings(found)
    for name in graphs.names:
        mine = [trial for trial in done if trial.graph == name and trial.spent_s]
        flop, moved = cost(graphs.part(name), list(graph_feeds(graphs, name, SIZE))[-1])
        least_s = found.least_s(flop, moved)
        rows.append(Row(f"{name}, the limit for {flop / 1e9:.2g} GFLOP and {moved / 1e6:.2g} MB", least_s * 1000, "ms", "", None))
        rows += [row(trial, least_s) for trial in mine]
    return [*rows, encoders(subject, done)]


def row(trial: Trial, least_s: float) -> Row:
    share = least_s * 1000 / trial.milliseconds
    return Row(f"{trial.graph}, {trial.choice} ({share:.0%} of the limit)", trial.milliseconds, "ms", "", None)


def encoders(subject: Subject, done: Sequence[Trial]) -> Row:
    """Both encoders by what was fastest, for pictures of the usual size, against torch."""
    fitting = f"vision@{SIZE[0]}x{SIZE[1]}"
    names = [fitting if name == "vision" and fitting in subject.graphs.names else name for name in ENCODERS]
    of = {name: [trial for trial in done if trial.graph == name] for name in names}
    plain = sum(trial.milliseconds for name in names for trial in of[name] if trial.choice == Choice())
    ratio = plain / sum(fastest(of[name]).milliseconds for name in names)
    return at_least("encoders, torch fp32 / fastest engine", ratio, "x", 3 if subject.device == "cuda" else 2)


def speak(llm: Llm, tokens: int) -> None:
    for _ in llm.generate("what happened?", max_tokens=tokens):
        pass


@torch.inference_mode()
def cost(step: Step, given: State) -> tuple[int, int]:
    """Floating-point operations of one step, and the bytes that it must touch: weights, inputs, outputs."""
    with FlopCounterMode(display=False) as counter:  # which follows gradients where there are any
        outputs = step.requires_grad_(False)(*(given[name] for name in step.inputs))
    touched = [*step.parameters(), *given.values(), *outputs]
    return counter.get_total_flops(), sum(tensor.nbytes for tensor in touched)


def perceiving(subject: Subject) -> list[Row]:
    """A slice through the whole encoder, as configured and in torch, a window each in turns.

    Not slice by slice: torch's threads spin for a while after its work, and would take the time of whichever engine comes next.
    """
    note("bench: perceiving")
    ways = {"torch": TorchEncoder(subject.model), "as configured": subject.encoder()}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    pieces, size = list(sample(120)), subject.model.config.fusion.slices_per_window
    for start in range(0, len(pieces), size):
        for name, encoder in ways.items():
            for piece in pieces[start : start + size]:
                assert piece.picture is not None
                started_s = time.perf_counter()
                encoder.step(torch.from_numpy(piece.picture), torch.from_numpy(piece.sound))
                settle(subject.device)
                spent[name].append(time.perf_counter() - started_s)
    plain_s, configured_s = (median(each[20:]) for each in spent.values())
    return [
        Row("perceiving a slice of 640x480, torch", plain_s * 1000, "ms", "", None),
        Row("perceiving a slice of 640x480, as tuned", configured_s * 1000, "ms", "", None),
        Row("perceiving, torch / as tuned", plain_s / configured_s, "x", "", None),
    ]


def decoding(subject: Subject, context: int = 4096, tokens: int = 64) -> list[Row]:
    """Tokens a second of an answer that does not end, against reading the weights and what is remembered once for each."""
    note("bench: decoding")
    model, branch = subject.model, QUESTION_TOKENS + tokens
    budget = min(context + QUESTION_TOKENS, model.config.llm.positions - branch)
    held = Room(budget, budget - 1, branch)
    context = min(context, budget - QUESTION_TOKENS // 2)
    stored = subject.llm(held, ENDLESS)
    rate = tokens_per_s(stored, context, tokens)
    c, moved = model.config.llm, sum(each.nbytes for each in (*model.llm.parameters(), *model.llm.buffers()))
    moved += 2 * c.layers * stored.tokens * c.width * model.llm.dtype.itemsize
    rows = [
        at_least(f"decoding at {stored.tokens} tokens of context", rate, "tokens/s", 130, subject.is_goal),
        Row(
            "decoding, share of what the copying of weights and memory allows",
            rate * moved / limits(model.device.type).bytes_per_s,
            "",
            "",
            None,
        ),
    ]
    for kind in KINDS:
        rounded = deepcopy(model.llm)
        round_linears(rounded.model, kind)
        llm = Llm(rounded, subject.tokenizer, ENDLESS, held, c.look_back)
        rows.append(Row(f"decoding, weights in {kind} / as stored", tokens_per_s(llm, context, tokens) / rate, "x", "", None))
    return rows


def tokens_per_s(llm: Llm, context: int, tokens: int) -> float:
    """Of an answer at so much context, its first token left out."""
    device, width = llm.model.device, llm.model.config.hidden_size
    while llm.tokens < context:
        llm.append(torch.randn(QUESTION_TOKENS // 2, width, device=device), 0.0, 0.0)
    one_s, all_s = (usual(partial(speak, llm, length), device.type, 3) for length in (1, tokens))
    return (tokens - 1) / (all_s - one_s)
