"""Asking leaves no trace, replay gives the same answers, nothing seen is lost, and the memory stays within its bound."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import talkative_model

from favor_stream.errors import ConfigError
from favor_stream.records import SLICE_SAMPLES, Slice
from favor_stream.session import Session

QUESTIONS = ["what do you see now?", "yes or no?", "what was said?"]


def session(context_s: float = 60.0) -> Session:
    return Session(*talkative_model(), context_s, max_answer_tokens=12)


def slices(count: int, seed: int = 0) -> list[Slice]:
    rng = np.random.default_rng(seed)
    return [
        Slice(k, rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), rng.standard_normal(SLICE_SAMPLES).astype(np.float32) * 0.1)
        for k in range(count)
    ]


def see(viewer: Session, pieces: list[Slice]) -> Session:
    for piece in pieces:
        viewer.see(piece)
    return viewer


def answers(viewer: Session) -> list[str]:
    return ["".join(viewer.ask(question)) for question in QUESTIONS]


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_replay_gives_the_same_answers(count: int) -> None:
    first, second = (see(session(), slices(count)) for _ in range(2))
    assert answers(first) == answers(second)
    assert first.check(QUESTIONS) == second.check(QUESTIONS)


def test_what_was_seen_matters() -> None:
    assert see(session(), slices(4)).check(QUESTIONS) != see(session(), slices(4, seed=1)).check(QUESTIONS)


def test_asking_leaves_no_trace() -> None:
    asked, silent = session(), session()
    for piece in slices(9):
        asked.see(piece)
        silent.see(piece)
        answers(asked)
    assert asked.tokens == silent.tokens
    assert asked.check(QUESTIONS) == silent.check(QUESTIONS)


def test_open_window_is_read_at_any_time() -> None:
    viewer, pieces = session(), slices(6)
    see(viewer, pieces[:5])  # one slice into the second window
    before = viewer.check(QUESTIONS)
    viewer.see(pieces[5])
    assert viewer.check(QUESTIONS) != before


def test_slices_seen_during_an_answer_are_remembered_after_it() -> None:
    busy, free = session(), session()
    pieces = slices(8)
    see(busy, pieces[:3])
    answer = busy.ask(QUESTIONS[0])
    next(answer)
    held = busy.tokens
    see(busy, pieces[3:])
    assert busy.tokens == held  # an answer is being written behind them
    answer.close()
    see(free, pieces)
    assert busy.tokens == free.tokens
    np.testing.assert_allclose(busy.check(QUESTIONS), free.check(QUESTIONS), atol=1e-5)


def test_memory_is_bounded_and_holds_the_context() -> None:
    viewer = session(context_s=120.0)
    most = 0
    for piece in slices(4) * 300:
        viewer.see(Slice(int(viewer.heard_until_s * 2), piece.picture, piece.sound))
        most = max(most, viewer.tokens)
    start_s, end_s = viewer.remembered_s
    assert most <= viewer.budget_tokens
    assert end_s == viewer.heard_until_s == 600.0
    assert start_s > 0
    assert end_s - start_s >= 120.0


def test_kept_dialogue_stays_and_reset_forgets_everything() -> None:
    viewer = see(session(), slices(4))
    tokens = viewer.tokens
    "".join(viewer.ask(QUESTIONS[0], keep=True))
    assert viewer.tokens > tokens
    viewer.reset()
    assert viewer.heard_until_s == 0
    assert see(viewer, slices(4)).tokens == tokens


def test_missing_picture_is_seen_as_nothing() -> None:
    viewer = session()
    viewer.see(Slice(0, None, np.zeros(SLICE_SAMPLES, np.float32)))
    assert viewer.heard_until_s == 0.5


def test_slice_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="slice 1 came, slice 0 was due"):
        session().see(slices(2)[1])


@pytest.mark.parametrize("question", ["", "   ", "why? " * 20_000])
def test_impossible_question_is_refused_at_once_and_leaves_the_memory_alone(question: str) -> None:
    viewer = see(session(), slices(2))
    before = viewer.check(QUESTIONS)
    with pytest.raises(ConfigError):
        viewer.ask(question)
    assert viewer.check(QUESTIONS) == before
