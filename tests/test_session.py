"""Asking leaves no trace, replay gives the same answers, nothing seen is lost, and the memory stays within its bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny import talkative_model

from favor_stream.board import Board
from favor_stream.errors import ConfigError
from favor_stream.records import SLICE_SAMPLES, Slice
from favor_stream.session import Session, check_ceiling

QUESTIONS = ["what do you see now?", "yes or no?", "what was said?"]


def session(context_s: float = 60.0, max_answer_tokens: int = 12) -> Session:
    return Session(*talkative_model(), context_s, max_answer_tokens)


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


def test_looking_back_over_everything_is_looking_at_everything_but_the_prefix() -> None:
    viewer = see(session(), slices(9))
    whole, recent = viewer.check(QUESTIONS), viewer.check(QUESTIONS, back_s=2.0)
    assert whole != recent
    assert viewer.check(QUESTIONS) == whole  # nothing stays changed
    assert recent != viewer.check(QUESTIONS, back_s=4.0)


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
    assert busy.check(QUESTIONS) == free.check(QUESTIONS)
    assert busy.tokens == free.tokens


def test_answer_rests_on_what_was_seen_when_its_first_piece_is_asked_for() -> None:
    late, prompt = session(), session()
    pieces = slices(8)
    see(late, pieces[:3])
    answer = late.ask(QUESTIONS[0])
    see(late, pieces[3:])  # closes the window that was open when it was asked
    assert list(answer) == list(see(prompt, pieces).ask(QUESTIONS[0]))
    assert late.answered_until_s == 4.0


def test_second_answer_is_refused_and_leaves_the_first_alone() -> None:
    viewer, alone, pieces = session(), session(), slices(4)
    answer, undisturbed = (see(one, pieces[:3]).ask(QUESTIONS[0]) for one in (viewer, alone))
    said, expected = next(answer), next(undisturbed)
    with pytest.raises(RuntimeError, match="finish or close it first"):
        next(viewer.ask(QUESTIONS[1]))
    see(viewer, pieces[3:])
    assert said + "".join(answer) == expected + "".join(undisturbed)


def test_answer_left_open_for_long_holds_no_more_than_the_memory_and_loses_no_context() -> None:
    viewer, pieces = session(context_s=30.0), slices(8)
    answer = viewer.ask(QUESTIONS[0])
    next(answer)
    for index in range(2_000):
        viewer.see(Slice(index, pieces[index % 8].picture, pieces[index % 8].sound))
        assert sum(len(window.tokens) for window in viewer._waiting) <= viewer.budget_tokens
    answer.close()
    least_s = 1_000.0
    for index in range(2_000, 2_600):  # long enough for what was caught up to be forgotten again
        viewer.see(Slice(index, pieces[index % 8].picture, pieces[index % 8].sound))
        start_s, end_s = viewer.remembered_s
        least_s = min(least_s, end_s - start_s)
    assert least_s >= 30.0
    assert viewer.tokens <= viewer.budget_tokens


def test_reset_may_keep_the_clock() -> None:
    viewer, pieces = see(session(), slices(5)), slices(6)
    viewer.reset(keep_clock=True)
    viewer.see(pieces[5])
    assert viewer.heard_until_s == 3.0
    assert viewer.remembered_s == (2.5, 3.0)


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


def test_long_answers_may_be_allowed() -> None:
    viewer = see(session(max_answer_tokens=600), slices(4))
    assert "".join(viewer.ask("what happened?"))


def test_more_context_than_the_model_has_positions_for_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match="context_s is 80000: expected at most"):
        session(context_s=80_000.0)


def test_the_longest_context_that_is_named_fits() -> None:
    with pytest.raises(ConfigError) as caught:
        session(context_s=80_000.0)
    most_s = float(str(caught.value).split("at most ")[1].split()[0])
    assert see(session(context_s=most_s), slices(4)).tokens > 0


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


def test_earlier_turns_are_read_by_a_model_that_converses_and_leave_no_trace() -> None:
    model, tokenizer = talkative_model()
    viewer, turns = see(Session(model, tokenizer, 60.0, 12), slices(5)), [("yes or no?", "red circle")]
    plain, before = "".join(viewer.ask(QUESTIONS[0])), viewer.check(QUESTIONS)
    assert "".join(viewer.ask(QUESTIONS[0], earlier=turns)) == plain  # it was not taught to
    model.config = replace(model.config, llm=replace(model.config.llm, converses=True))
    assert "".join(viewer.ask(QUESTIONS[0], earlier=turns)) != plain
    assert "".join(viewer.ask(QUESTIONS[0], earlier=200 * turns)) != plain  # as many as there is room for
    with pytest.raises(ConfigError, match="control token"):
        viewer.ask(QUESTIONS[0], earlier=[("yes or no?", "</s>")])
    assert "".join(viewer.ask(QUESTIONS[0])) == plain
    assert viewer.check(QUESTIONS) == before


def test_context_that_breaks_the_limit_of_the_process_is_refused_with_both_figures() -> None:
    board = replace(Board().read(), memory_limit_mb=1000.0, memory_mb=600.0)
    check_ceiling(250.0, 60.0, board)
    with pytest.raises(
        ConfigError, match="600 s of context need 400 MB beside 600 MB, and the limit is 1000 MB; lower context_s"
    ):
        check_ceiling(400.0, 600.0, board)
    check_ceiling(1e9, 600.0, replace(board, memory_limit_mb=None))
