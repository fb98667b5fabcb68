"""Several sessions together against each for itself."""

from __future__ import annotations

import pytest
from tiny import talkative_model

from favor_stream.crowd import Crowd
from favor_stream.errors import ConfigError
from favor_stream.sample import sample
from favor_stream.session import Session

QUESTION = "what do you see now?"
MODEL = talkative_model()


def sessions(count: int) -> list[Session]:
    first = Session(*MODEL, max_answer_tokens=8)
    return [first, *(Session(*MODEL, max_answer_tokens=8, passes=first.passes) for _ in range(count - 1))]


def test_crowd_sees_and_answers_as_its_sessions_would_alone() -> None:
    crowd, alone = Crowd(sessions(3)), [Session(*MODEL, max_answer_tokens=8) for _ in range(3)]
    streams = [list(sample(25, size=size)) for size in ((40, 24), (80, 60), (32, 32))]
    for pieces in zip(*streams, strict=True):
        crowd.see(dict(enumerate(pieces)))
        for session, piece in zip(alone, pieces, strict=True):
            session.see(piece)
    expected = ["".join(session.ask(QUESTION)) for session in alone]
    answers = dict.fromkeys(range(3), "")
    for number, piece in crowd.ask(dict.fromkeys(range(3), QUESTION)):
        answers[number] += piece
    assert list(answers.values()) == expected
    assert all(text and text == text.lstrip() for text in expected)
    assert [session.remembered_s for session in crowd.sessions] == [session.remembered_s for session in alone]


def test_some_may_be_asked_while_others_see() -> None:
    crowd = Crowd(sessions(2))
    for piece in sample(10, size=(40, 24)):
        crowd.see({0: piece, 1: piece})
    answer = crowd.ask({1: QUESTION})
    assert next(answer)[0] == 1
    for piece in sample(10, first=10, size=(40, 24)):
        crowd.see({0: piece, 1: piece})
    assert [session.tokens for session in crowd.sessions] != [crowd.sessions[0].tokens] * 2  # what was seen waits
    answer.close()
    assert [session.tokens for session in crowd.sessions] == [crowd.sessions[0].tokens] * 2


def test_question_that_cannot_be_asked_is_refused_at_once_and_nobody_answers() -> None:
    crowd = Crowd(sessions(2))
    with pytest.raises(ConfigError, match="blank"):
        crowd.ask({0: QUESTION, 1: " "})
    assert list(crowd.ask({})) == []


@pytest.mark.parametrize("strangers", [[], [Session(*MODEL), Session(*MODEL)]])
def test_strangers_are_no_crowd(strangers: list[Session]) -> None:
    with pytest.raises(ValueError, match="share one model"):
        Crowd(strangers)
