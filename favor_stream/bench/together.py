"""What several viewers of one model gain by reading in one pass what each would read in its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import median

import torch

from favor_stream.bench.limits import settle
from favor_stream.bench.parts import ENDLESS
from favor_stream.bench.rows import Row, note
from favor_stream.bench.subject import Subject
from favor_stream.llm import Llm
from favor_stream.passes import Plan, alone, carry_out
from favor_stream.session import room

VIEWERS, WINDOWS, TOKENS = 8, 12, 16  # a minute of memory, and the length of an answer


def joined(subject: Subject) -> list[Row]:
    """Windows and answers of eight viewers, in joined passes and one viewer after the other, in turns."""
    note(f"bench: {VIEWERS} viewers of one model")
    viewers = [subject.llm(room(subject.model, 300.0), ENDLESS) for _ in range(VIEWERS)]
    windows = [window(subject) for _ in viewers]
    for _ in range(WINDOWS):
        timed(viewers, reading(viewers, windows), together=True)
    rows = []
    for name, plans in (("windows read", reading), ("answers written", answering)):
        spent: dict[bool, list[float]] = {True: [], False: []}
        for together in islice(in_turns(), 14):
            marks = [llm.mark() for llm in viewers]
            spent[together].append(timed(viewers, plans(viewers, windows), together=together))
            for llm, mark in zip(viewers, marks, strict=True):
                llm.rewind(mark)
        one_by_one, at_once = (median(spent[way][2:]) for way in (False, True))
        rows.append(Row(f"{name} for {VIEWERS} viewers at once", at_once * 1000, "ms", "", None))
        rows.append(Row(f"{name} for {VIEWERS} viewers, one by one / at once", one_by_one / at_once, "x", "", None))
    return rows


def in_turns() -> Iterator[bool]:
    while True:
        yield True
        yield False


def window(subject: Subject) -> torch.Tensor:
    config = subject.model.config
    return torch.randn(config.fusion.tokens_per_window, config.llm.width, device=subject.model.device)


def reading(viewers: Sequence[Llm], windows: Sequence[torch.Tensor]) -> list[Plan]:
    return [llm.appending(each, 0.0, 5.0) for llm, each in zip(viewers, windows, strict=True)]


def answering(viewers: Sequence[Llm], windows: Sequence[torch.Tensor]) -> list[Plan]:
    return [llm.answering("what happened?", each[: len(each) // 2], TOKENS) for llm, each in zip(viewers, windows, strict=True)]


def timed(viewers: Sequence[Llm], plans: Sequence[Plan], *, together: bool) -> float:
    """Seconds until all of them are carried out."""
    passes = viewers[0].passes
    started_s = time.perf_counter()
    for carried in [carry_out(passes, plans)] if together else [alone(passes, plan) for plan in plans]:
        for _ in carried:
            pass
    settle(passes.model.device.type)
    return time.perf_counter() - started_s
