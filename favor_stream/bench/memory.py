"""What a session's memory costs: a slice after an hour, a first token, many watches. Needs no film and no device library."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers.models.llama.modeling_llama import rotate_half

from favor_stream.aveb.lexicon import COLOURS, SHAPES, a
from favor_stream.bench.rows import Row, at_most, note
from favor_stream.bench.subject import Subject
from favor_stream.model.favor import Favor
from favor_stream.records import SLICE_S, Slice
from favor_stream.sample import sample
from favor_stream.session import QUESTION_TOKENS, Session, room
from favor_stream.watches import BACK_S
from favor_stream.words import Prompt

SMALL = (160, 120)  # pictures whose making costs next to nothing
QUESTION = "what do you see now?"
WATCHED = [
    f"{before} {a(colour)} {shape}{after}?"
    for before, after in (("is there", " now"), ("do you see", " now"), ("", " appears"))
    for shape in SHAPES
    for colour in COLOURS
]
SLICES_PER_MINUTE = int(60 / SLICE_S)
ROUNDS = 41  # in which watches are timed: so many that a machine that is busy at times does not decide
STATM = Path("/proc/self/statm")  # the second number is what is resident, in pages


def warmed(session: Session) -> Session:
    """The session, empty, after the costs that only a first pass has."""
    for piece in sample(SLICES_PER_MINUTE, size=SMALL):
        session.see(piece)
    timed_first(session)
    session.reset()
    return session


def resident_mib() -> float:
    """Resident memory of this process; NaN where there is no /proc to tell."""
    if not STATM.exists():
        return math.nan
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def endless(subject: Subject, minutes: int) -> list[Row]:
    """Cost of the last minute against a first minute, when the memory is still empty, and growth over the second half.

    The two minutes are streamed slice by slice in turn, so that a machine that is busy at times is busy for both. The first half
    does not count for growth: the system hands out the cache's pages as they are first written to.
    """
    note(f"bench: streaming {minutes} minutes as fast as they go")
    session, fresh = (warmed(subject.session(subject.config.context_s)) for _ in range(2))
    early: list[float] = []
    late, sizes = [], []
    slices = minutes * SLICES_PER_MINUTE
    for piece in sample(slices, size=SMALL):
        if piece.index >= slices - SLICES_PER_MINUTE:
            early.append(timed_see(fresh, replace(piece, index=len(early))))
            late.append(timed_see(session, piece))
        else:
            session.see(piece)
        if (piece.index + 1) % SLICES_PER_MINUTE == 0:
            sizes.append(resident_mib())
    ratio = sum(late) / sum(early)
    windows = np.reshape(late, (-1, subject.model.config.fusion.slices_per_window)).sum(1)  # each holds one append
    second_s = float(np.median(windows)) / (subject.model.config.fusion.slices_per_window * SLICE_S)
    growth = sizes[-1] - sizes[len(sizes) // 2]
    rows = [
        at_most(f"append, last minute of {minutes} / first minute", ratio, "x", 1.05),
        at_most("append, a second of stream, in the last minute", second_s * 1000, "ms", 20, subject.is_goal),
        Row(f"resident memory, minute {minutes} - minute {len(sizes) // 2 + 1}", growth, "MiB", "<= 8 (flat)", growth <= 8),
        Row(f"resident memory, minute {minutes}", sizes[-1], "MiB", "", None),
        Row("tokens in the cache at the end", session.tokens, "", "", None),
    ]
    return [row for row in rows if not math.isnan(row.value)]


def first_token(subject: Subject, minutes: tuple[int, ...]) -> list[Row]:
    """Time to the first token with the kept cache against reading as long a context again, interleaved."""
    # Not to the first letter: random weights say many tokens that are none.
    subject = replace(subject, config=replace(subject.config, max_answer_tokens=1))
    session = warmed(subject.session(max(minutes) * 60.0))  # all of them are still remembered
    rows = []
    for wanted in minutes:
        note(f"bench: first token at {wanted} minutes of context")
        have = int(session.heard_until_s / SLICE_S)
        # Into the middle of a window, so that the question has half of one to bring along.
        for piece in sample(wanted * SLICES_PER_MINUTE + 5 - have, have, SMALL):
            session.see(piece)
        held_s = session.remembered_s[1] - session.remembered_s[0]
        warm, again, turned = [], [], []
        for _ in range(5):
            warm.append(timed_first(session))
            again.append(timed_reading(subject, session) + warm[-1])
            turned.append(timed_rotation(subject.model, session.tokens) + warm[-1])
        rows += [
            at_most(f"first token at {wanted} min, warm", median(warm) * 1000, "ms", 15, subject.is_goal),
            Row(f"first token at {wanted} min, read again / warm", median(again) / median(warm), "x", "", None),
            Row(f"first token at {wanted} min, were keys kept unrotated / warm", median(turned) / median(warm), "x", "", None),
            Row(f"context held at {wanted} min", held_s / 60, "min", f">= {wanted}", held_s >= wanted * 60),
        ]
    return rows


def watching(subject: Subject, counts: tuple[int, ...], minutes: int) -> list[Row]:
    """Time of all watches after a slice, against that of one, in a memory of some minutes; interleaved."""
    note(f"bench: watches at {minutes} minutes of context")
    session = warmed(subject.session(minutes * 60.0))
    for piece in sample(minutes * SLICES_PER_MINUTE + 5, size=SMALL):
        session.see(piece)
    spent: dict[int, list[float]] = {count: [] for count in (1, *counts)}
    for _ in range(ROUNDS):
        for count, times in spent.items():
            started_s = time.perf_counter()
            session.check(WATCHED[:count], BACK_S)
            times.append(time.perf_counter() - started_s)
    one_s = median(spent.pop(1))
    rows = [Row(f"one watch at {minutes} min, a slice", one_s * 1000, "ms", "", None)]
    for count, times in spent.items():
        goal, is_reached = ("<= 2", median(times) <= 2 * one_s) if count == 32 else ("", None)
        rows.append(Row(f"{count} watches / one", median(times) / one_s, "x", goal, is_reached))
    return rows


def timed_see(session: Session, piece: Slice) -> float:
    started_s = time.perf_counter()
    session.see(piece)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started_s


def timed_first(session: Session) -> float:
    started_s = time.perf_counter()
    answer = session.ask(QUESTION)
    next(answer, None)
    spent_s = time.perf_counter() - started_s
    answer.close()
    return spent_s


def timed_reading(subject: Subject, session: Session) -> float:
    """Seconds to read a context as long as the session's into an empty cache."""
    model = subject.model
    llm = subject.llm(room(model, session.remembered_s[1] - session.remembered_s[0]), Prompt())
    context = torch.randn(session.tokens - llm.tokens, model.config.llm.width, device=model.device)
    started_s = time.perf_counter()
    for at in range(0, len(context), QUESTION_TOKENS):
        llm.append(context[at : at + QUESTION_TOKENS], 0.0, 0.0)
    return time.perf_counter() - started_s


@torch.inference_mode()
def timed_rotation(model: Favor, tokens: int) -> float:
    """Seconds to rotate so many keys of every layer: what each pass would pay, were they kept unrotated for exact positions."""
    c = model.llm.config
    heads = c.num_key_value_heads or c.num_attention_heads
    keys = torch.randn(c.num_hidden_layers, heads, tokens, c.hidden_size // c.num_attention_heads, device=model.device)
    started_s = time.perf_counter()
    cosine, sine = model.llm.model.rotary_emb(keys, torch.arange(tokens, device=model.device)[None])
    for layer in keys:
        layer * cosine + rotate_half(layer) * sine  # type: ignore[no-untyped-call]
    return time.perf_counter() - started_s
