from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tiny import talkative_model

from favor_stream.aveb import evaluation, remembering, world
from favor_stream.aveb.answering import Reply, answer, answering, here
from favor_stream.aveb.evaluation import row, rows_of, table
from favor_stream.aveb.kinds import KINDS
from favor_stream.aveb.lexicon import HELD_OUT_PAIRS
from favor_stream.aveb.metrics import attribute_matches, event_matches, exact, nearly, word_errors
from favor_stream.aveb.questions import FOLLOW_UP, Question
from favor_stream.aveb.staged import Scene
from favor_stream.aveb.tasks import TASKS, Task
from favor_stream.config import Config
from favor_stream.errors import ConfigError
from favor_stream.records import Slice
from favor_stream.session import Session

SCENE = Scene(world.draw(3, 3.0, "held_out", timed=world.guessed))
COLOURS = Task("colours", (("picture", ("colour", "shape")),), "accuracy", 0.5)
CAPTIONS = Task("captions", (("picture", ("caption",)),), "attributes", 0.95)
SPEECH = Task("speech", (("speech", ("said",)),), "WER", 0.03)


def reply(kind: str, wanted: str, full: str, recent: str = "", *beside: str) -> Reply:
    return Reply(Question(kind, "?", wanted), full, recent, SCENE, beside)


def task(name: str) -> Task:
    return next(each for each in TASKS if each.name == name)


def test_word_errors_count_what_is_wrong_missing_and_too_much() -> None:
    assert word_errors("open the door", "open the door") == (0, 3)
    assert word_errors("open the door . stop now", "open a door") == (3, 5)
    assert word_errors("nothing", "") == (1, 1)


def test_event_matches_make_f1() -> None:
    assert event_matches("bell, bell, siren", "bell, siren, horn") == (4, 6)
    assert exact("yes", "yes") == (1, 1)


@pytest.mark.parametrize(
    ("said", "hits"),
    [
        ("small red ring left, word exit", 10),
        ("small blue ring left, word exit", 8),
        ("small red star left, word exit", 2),  # everything that is said of it is said of a star
        ("word exit", 2),
        ("", 0),
    ],
)
def test_attributes_belong_to_the_shape_that_they_are_told_of(said: str, hits: float) -> None:
    assert attribute_matches("small red ring left, word exit", said)[0] == hits


@pytest.mark.parametrize(("said", "hit"), [("three", 1), ("four", 1), ("two", 1), ("five", 0), ("soon", 0)])
def test_seconds_may_be_off_by_one(said: str, hit: float) -> None:
    assert nearly("three", said) == (hit, 1)


def test_row_compares_with_chance_and_recent_window_and_knows_its_goal() -> None:
    given = [reply("colour", "red", "red", "blue", "green"), reply("shape", "ring", "ring", "ring", "ring")]
    made = row(COLOURS, given, {"colour": "red", "shape": "star"})
    assert made is not None
    assert (made.questions, made.score, made.chance, made.recent, made.reached) == (2, 1.0, 0.5, 0.5, True)
    assert made.beside == (0.5,)
    assert "| 50.0% | 50.0% | 50.0% | >= 50.0% | reached |" in table([made], ["without-causal"])
    assert row(COLOURS, [], {}) is None


def test_repeating_what_was_asked_aloud_counts_neither_way() -> None:
    assert exact("what colour is the ring? red", "what colour is the wing? red") == (1.0, 1.0)
    assert exact("what colour is the ring? red", "what colour is the ring? blue") == (0.0, 1.0)


def test_less_error_is_better_for_speech() -> None:
    made = row(SPEECH, [reply("said", "go back", "go back")], {})
    assert made is not None
    assert made.reached


def test_pictures_have_to_halve_the_errors_of_hearing_alone() -> None:
    seen = [(task("speech at 0 dB"), [reply("said", "exit stop", "exit stop"), reply("said", "exit stop", "exit")])]
    alone = [(task("speech at 0 dB by ear"), [reply("said", "exit stop", "exit")] * 2)]
    (made, _), (other, _) = rows_of(seen + alone), rows_of(alone + [(seen[0][0], alone[0][1])])
    assert (made.score, made.goal, made.reached) == (0.25, 0.25, True)
    assert other.goal is None
    assert rows_of(alone + [(seen[0][0], alone[0][1])])[1].reached is False


def test_every_kind_of_question_is_in_a_task_of_a_setting_that_training_asks_it_in() -> None:
    from favor_stream.aveb.scenes import SETTINGS

    assert {kind for each in TASKS for kind in each.kinds} == {*KINDS, FOLLOW_UP}
    for each in TASKS:
        for setting, kinds in each.asked:
            assert set(kinds) - {FOLLOW_UP} <= set(SETTINGS[setting].kinds), each.name


def test_all_eleven_tasks_of_aveb_are_there() -> None:
    wanted = {"ASR", "AAC", "IC", "OCR", "VQA", "video QA", "AVSR", "AVSD", "ISQA", "AVSSD", "AVM"}
    assert {each.aveb for each in TASKS} - {""} == wanted


@pytest.mark.parametrize("name", [each.name for each in TASKS])
def test_every_task_asks_in_words_that_training_never_uses(name: str) -> None:
    training = {wording for kind in KINDS.values() for wording in kind.wordings}
    asked = [question for _, questions in evaluation.clips(task(name), 12, 1) for question in questions]
    assert asked
    assert not {question.text for question in asked} & training
    assert all("{" not in question.text for question in asked)


def test_chance_is_the_commonest_answer() -> None:
    assert evaluation.commonest(task("matching"), count=40)["fits_in_words"] in ("yes", "no")
    assert set(evaluation.commonest(task("spoken questions"), count=20)) == {"spoken"}


def test_session_answers_each_question_of_a_scene() -> None:
    slices = list(SCENE.played())
    assert [s.index for s in slices] == list(range(6))
    session = Session(*talkative_model(), max_answer_tokens=4)
    asked = [Question("colour", "what colour was the star?", "red")] * 2
    first, second = answer(session, slices, asked)
    assert first == second
    assert answer(session, slices, asked[:1]) == [first]


def test_scene_that_two_tasks_ask_about_is_played_once_and_each_has_its_own_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    session, tasks = Session(*talkative_model(), max_answer_tokens=4), [COLOURS, CAPTIONS]
    alone = [evaluation.measured(here([session]), [each], 3, 1)[0] for each in tasks]
    play, played = Scene.played, list[Scene]()

    def count(scene: Scene, pictures: int) -> Iterator[Slice]:
        played.append(scene)
        return play(scene, pictures)

    monkeypatch.setattr(Scene, "played", count)
    assert evaluation.measured(here([session]), tasks, 3, 1) == alone
    assert len(played) == len(set(played)) == 3


def test_workers_say_what_one_process_says_in_the_same_order(config: Config) -> None:
    same = replace(config, engine="torch", threads=1)
    said = []
    for workers in (1, 2):
        with answering([same, same], workers) as answered:
            said.append(evaluation.measured(answered, [COLOURS, SPEECH], 2, 1))
    assert said[0] == said[1]
    assert all(reply.full and reply.beside == (reply.full,) for _, given in said[0] for reply in given)


def test_follow_ups_are_asked_behind_what_was_said_before() -> None:
    model, tokenizer = talkative_model()
    model.config = replace(model.config, llm=replace(model.config.llm, converses=True))
    session = Session(model, tokenizer, max_answer_tokens=8)
    slices = list(SCENE.played())
    asked = [
        Question(FOLLOW_UP, "and what came after it?", "red", earlier=((f"what came {n}?", "a ring"),)) for n in ("first", "last")
    ]
    assert len(set(answer(session, slices, asked))) == 2


def test_colours_and_shapes_are_asked_of_unseen_pairs_alone() -> None:
    given = [q for _, asked in evaluation.clips(COLOURS, 20, 1) for q in asked]
    assert len(given) > 6
    for question in given:
        words = {*re.findall(r"\w+", question.text), question.answer}
        assert any(words >= set(pair) for pair in HELD_OUT_PAIRS), question


def test_now_is_asked_at_any_half_second() -> None:
    lasts_s = [scene.script.duration_s for scene, _ in evaluation.clips(task("now"), 12, 1)]
    assert len(set(lasts_s)) > 4
    assert min(lasts_s) >= evaluation.LEAST_S


def test_task_that_refers_to_another_brings_it_along_and_an_unknown_one_is_told() -> None:
    assert [each.name for each in evaluation.chosen(["speech at 0 dB"])] == ["speech at 0 dB", "speech at 0 dB by ear"]
    with pytest.raises(ConfigError, match=r"unknown tasks \['colour'\]; write some of: speech, "):
        evaluation.chosen(["colour"])


@pytest.mark.parametrize("name", [each.name for each in TASKS if each.goal is not None])
def test_goals_are_shares(name: str) -> None:
    assert 0 < (task(name).goal or 0) <= 1


def test_what_is_asked_again_later_is_answered_alike(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    remembering.run(config, 5, 0, json_out=True)
    told = json.loads(capsys.readouterr().out)
    assert [row["since_s"] for row in told["rows"]] == [0.0, 60.0]
    assert sum(row["questions"] for row in told["rows"]) > 10
    assert {row["alike"] for row in told["rows"]} == {1.0}
    assert told["before_told"] == 1.0


def test_scene_comes_out_of_the_ring_as_it_was_played_in() -> None:
    from favor_stream.aveb.picture import picture
    from favor_stream.aveb.soundtrack import soundtrack
    from favor_stream.aveb.truth import picture_s, pictures_s

    sound = soundtrack(SCENE.script)
    for piece in SCENE.played():
        assert piece.picture is not None
        assert np.array_equal(piece.picture, picture(SCENE.script, picture_s(piece.index)))
        assert np.array_equal(piece.sound, sound[piece.index * 8000 : (piece.index + 1) * 8000])
    for piece in SCENE.played(2):
        first, last = pictures_s(piece.index, 2)
        assert (first, last) == (piece.start_s, picture_s(piece.index))
        assert np.array_equal(np.array(piece.shown(2)), [picture(SCENE.script, at_s) for at_s in (first, last)])
    assert all(piece.picture is None for piece in replace(SCENE, is_seen=False).played())
    assert not any(piece.sound.any() for piece in replace(SCENE, is_heard=False).played())
