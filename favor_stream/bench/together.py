"""What several viewers of one model gain by reading in one pass what each would read in its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from statistics import median

import torch

from favor_stream.bench.limits import settle
from favor_stream.bench.parts import ENDLESS
from favor_stream.bench.rows import Row, at_least, note
from favor_stream.bench.subject import Subject
from favor_stream.crowd import Crowd
from favor_stream.llm import Llm
from favor_stream.passes import Plan, alone, carry_out
from favor_stream.records import SLICE_S
from favor_stream.sample import sample
from favor_stream.session import Session, room

VIEWERS, WINDOWS, TOKENS = 8, 12, 16  # windows remembered, and the length of an answer
MEMORY_S = 60.0


def joined(subject: Subject) -> list[Row]:
    """Windows and answers of eight viewers, in joined passes and one viewer after the other, in turns."""
    note(f"bench: {VIEWERS} viewers of one model")
    viewers = [subject.llm(room(subject.model, MEMORY_S), ENDLESS) for _ in range(VIEWERS)]
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


def streams(subject: Subject, seconds: float, most: int = 64) -> list[Row]:
    """How many streams of 640x480, each with a state and a full memory of its own, are seen in less time than they last."""
    note(f"bench: {seconds:g} s of more and more streams")
    pieces = list(sample(int(seconds / SLICE_S)))
    sessions, held, factor = list[Session](), 0, 0.0
    while len(sessions) < most:
        try:
            sessions += [filled(subject) for _ in range(max(1, len(sessions)))]
        except torch.OutOfMemoryError:
            break
        crowd, started_s = Crowd(sessions), time.perf_counter()
        for piece in pieces:
            crowd.see({n: replace(piece, index=round(each.heard_until_s / SLICE_S)) for n, each in enumerate(sessions)})
        settle(subject.device)
        reached = (time.perf_counter() - started_s) / seconds
        if reached >= 1:
            break
        held, factor = len(sessions), reached
    return [at_least(f"streams at once, real-time factor {factor:.2f}", held, "", 24, subject.is_goal)]


def filled(subject: Subject) -> Session:
    """A session whose memory is full, of windows that nobody has seen."""
    session = subject.session(subject.config.context_s)
    while session.tokens < session.budget_tokens - subject.model.config.fusion.tokens_per_window:
        session._llm.append(window(subject), 0.0, 0.0)
    return session


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
