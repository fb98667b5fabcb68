from __future__ import annotations

import json
import re

import pytest
from tiny import talkative_model

from favor_stream.aveb import evaluation, rewinding, world
from favor_stream.aveb.evaluation import TASKS, Reply, event_matches, exact, film, row, table, word_errors
from favor_stream.aveb.kinds import KINDS
from favor_stream.aveb.lexicon import HELD_OUT_PAIRS
from favor_stream.aveb.questions import Question
from favor_stream.config import Config
from favor_stream.session import Session


def reply(kind: str, wanted: str, full: str, recent: str = "", *beside: str) -> Reply:
    return Reply(Question(kind, "?", wanted), full, recent, beside)


def test_word_errors_count_what_is_wrong_missing_and_too_much() -> None:
    assert word_errors("open the door", "open the door") == (0, 3)
    assert word_errors("open the door . stop now", "open a door") == (3, 5)
    assert word_errors("nothing", "") == (1, 1)


def test_event_matches_make_f1() -> None:
    assert event_matches("bell, bell, siren", "bell, siren, horn") == (4, 6)
    assert exact("yes", "yes") == (1, 1)


def test_row_compares_with_chance_and_recent_window_and_knows_its_goal() -> None:
    given = [
        reply("colour", "red", "red", "blue", "green"),
        reply("shape", "ring", "ring", "ring", "ring"),
        reply("first", "x", "y", "", ""),
    ]
    task = next(t for t in TASKS if t.name == "colour and shape")
    made = row(task, given, {"colour": "red", "shape": "star"})
    assert made is not None
    assert (made.questions, made.score, made.chance, made.recent, made.reached) == (2, 1.0, 0.5, 0.5, True)
    assert made.beside == (0.5,)
    assert "| 50.0% | 50.0% | 50.0% | >= 95% | reached |" in table([made], ["without-causal"])
    assert row(TASKS[0], given, {}) is None


def test_repeating_what_was_asked_aloud_counts_neither_way() -> None:
    assert evaluation.exact("what colour is the ring? red", "what colour is the wing? red") == (1.0, 1.0)
    assert evaluation.exact("what colour is the ring? red", "what colour is the ring? blue") == (0.0, 1.0)


def test_less_error_is_better_for_speech() -> None:
    made = row(TASKS[0], [reply("said", "go back", "go back")], {})
    assert made is not None
    assert made.reached


def test_every_kind_of_question_is_in_one_task() -> None:
    kinds = [kind for task in TASKS for kind in task.kinds]
    assert sorted(kinds) == sorted(KINDS)


def test_chance_is_the_commonest_answer() -> None:
    common = evaluation.commonest({"heard", "spoken"}, count=40)
    assert common["heard"] in ("yes", "no")
    assert common["spoken"] in ("nothing", "no", "yes")  # only clips with a spoken question are counted, as in the score


def test_a_script_becomes_slices_and_the_session_answers_each_question() -> None:
    script = world.draw(3, 3.0, "held_out")
    slices = list(film(script))
    assert [s.index for s in slices] == list(range(6))
    session = Session(*talkative_model(), max_answer_tokens=4)
    asked = [Question("colour", "what colour was the star?", "red")] * 2
    first, second = evaluation.answer(session, slices, asked)
    assert first == second
    assert evaluation.answer(session, slices, asked[:1]) == [first]


def test_more_clips_are_drawn_for_spoken_questions_alone() -> None:
    given = list(evaluation.clips(2, 1, {"spoken", "word"}))
    assert [q.kind for _, asked in given[:2] for q in asked].count("word") == 2
    assert all([q.kind for q in asked] == ["spoken"] for _, asked in given[2:])
    assert sum(q.kind == "spoken" for _, asked in given for q in asked) == 2
    assert len(list(evaluation.clips(2, 1, {"word"}))) == 2


def test_colours_and_shapes_are_asked_of_unseen_pairs_alone() -> None:
    given = [q for _, asked in evaluation.clips(12, 1, {"colour", "shape"}) for q in asked]
    assert len(given) > 6
    for question in given:
        words = {*re.findall(r"\w+", question.text), question.answer}
        assert any(words >= set(pair) for pair in HELD_OUT_PAIRS), question


@pytest.mark.parametrize("name", [task.name for task in TASKS])
def test_goals_are_shares(name: str) -> None:
    assert 0 < next(t for t in TASKS if t.name == name).goal <= 1


def test_what_is_asked_again_later_is_answered_alike(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    rewinding.run(config, 2, 0, json_out=True)
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["task"] for row in rows}.isdisjoint(rewinding.NOW)
    assert sum(row["questions"] for row in rows) > 10
    assert {row["alike"] for row in rows} == {1.0}
