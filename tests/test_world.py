"""The generated world: the same from the same seed, held-out splits apart, truth and answers as a person would give them."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from real import require

from favor_stream.aveb import facts, kinds, questions, truth, world
from favor_stream.aveb.lexicon import COLOURS, HELD_OUT_PAIRS, SHAPES
from favor_stream.aveb.picture import HELD_OUT_BACKGROUNDS, HELD_OUT_FONTS, picture, rgb
from favor_stream.aveb.scenes import REMEMBERED, TOGETHER
from favor_stream.aveb.script import Camera, Card, Noise, Room, Script, Split, Thing, Utterance, Word
from favor_stream.aveb.speech import HELD_OUT_VOICES
from favor_stream.aveb.view import view
from favor_stream.session import NOW, SAID_LAST, SPOKEN

BUSY = 0  # the seed of a script to which every kind of question can be put


def thing(colour: str, shape: str, start_s: float, end_s: float, motion: str = "still", speed: float = 0.0) -> Thing:
    return Thing(colour, shape, start_s, end_s, 0.3, 0.5, 0.18, motion, speed, 0, 0.0)


SCRIPT = Script(
    seed=1,
    duration_s=8.0,
    background=3,
    background_kind="plain",
    camera=Camera(1.0, 0.0, 0.0, 0),
    room=Room(-60.0, 0.5, 0.0),
    things=(thing("red", "circle", 1.0, 3.0, "right", 0.15), thing("blue", "square", 4.0, 7.0)),
    cards=(Card("exit", 2.0, 4.0, 0.5, 0.88, 0.12, 0, 0.0, True),),
    noises=(Noise("bell", 1.5, 2.5, 0.5, 0), Noise("siren", 4.5, 5.5, 0.5, 1), Noise("bell", 6.5, 7.5, 0.5, 2)),
    utterances=(Utterance("turn left", 3.0, 3.9, "en-us", 150, 50, 0.5, (Word("turn", 3.0, 3.45), Word("left", 3.45, 3.9))),),
)


def answer(kind: str, until_s: float = 8.0, **words: str) -> str:
    """The answer to the question of a kind that has these words in it."""
    v = view(SCRIPT, until_s, "training")
    for seed in range(200):
        question = questions.ask(kind, v, np.random.default_rng(seed))
        if question and all(word in question.text for word in words.values()):
            return question.answer
    raise AssertionError(f"{kind} was never asked with {words}")


def test_same_seed_gives_the_same_script_and_another_seed_another() -> None:
    first, again, other = (world.draw(seed, 20.0, "training", timed=world.guessed) for seed in (5, 5, 6))
    assert first == again != other
    np.testing.assert_array_equal(picture(first, 3.0), picture(again, 3.0))


def test_same_seed_in_another_split_is_another_script() -> None:
    splits: tuple[Split, ...] = ("training", "held_out", "symbolic")
    scripts = [world.draw(5, 16.0, split, timed=world.guessed) for split in splits]
    assert len({(s.camera, s.room) for s in scripts}) == 3
    assert len({s.background for s in scripts}) == 3


def test_spoken_script_is_deterministic_too() -> None:
    pytest.importorskip("espeakng_loader")
    assert world.draw(5, 12.0, "held_out") == world.draw(5, 12.0, "held_out")


def test_training_never_shows_what_is_held_out() -> None:
    for seed in range(150):
        script = world.draw(seed, 16.0, "training", timed=world.guessed)
        assert not {(t.colour, t.shape) for t in script.things} & HELD_OUT_PAIRS
        assert not {c.font for c in script.cards} & set(HELD_OUT_FONTS)
        assert not {u.voice for u in script.utterances} & set(HELD_OUT_VOICES)
        assert script.background_kind not in HELD_OUT_BACKGROUNDS


def test_odd_things_lack_one_name_and_are_no_held_out_pair_in_disguise() -> None:
    scripts = [world.draw(seed, 16.0, "training", 3.0, world.guessed, odd=1.0) for seed in range(60)]
    things = [t for s in scripts for t in s.things]
    assert len(things) > 100
    for t in things:
        assert (t.colour in COLOURS) != (t.shape in SHAPES)
        nearest = min(COLOURS, key=lambda name: math.dist(COLOURS[name], rgb(t.colour)))
        assert (nearest, t.shape) not in HELD_OUT_PAIRS
    assert picture(scripts[0], things[0].start_s + 0.1).shape == (120, 160, 3)


def test_symbolic_scripts_are_of_every_pair() -> None:
    scripts = [world.draw(seed, 16.0, "symbolic", 3.0, world.guessed) for seed in range(120)]
    assert {(t.colour, t.shape) for s in scripts for t in s.things} == set(world.PAIRS)


ASKED_OF_FILMS = [kind for kind in REMEMBERED + TOGETHER if "{" in kinds.KINDS[kind].wordings[0]]


@pytest.mark.parametrize("kind", ASKED_OF_FILMS)
def test_an_exercise_gives_after_its_own_words_each_answer_that_the_question_would_get(kind: str) -> None:
    v = view(world.draw(BUSY, 16.0, "training", 2.0, world.guessed), 16.0, "training")
    exercise = questions.exercise(kind, v, np.random.default_rng(0))
    assert exercise
    told = exercise.answer.split(" . ")
    for seed in range(200):
        words, answer = kinds.KINDS[kind].ask(v, np.random.default_rng(seed)) or ({}, "")
        key = " ".join(words.values())
        assert all(part == f"{key} {answer}" for part in told if key and part.startswith(f"{key} "))
    assert "..." in exercise.text
    assert "{" not in exercise.text


def test_held_out_shows_held_out_pairs_often_and_only_unseen_voices_and_fonts() -> None:
    scripts = [world.draw(seed, 16.0, "held_out", timed=world.guessed) for seed in range(60)]
    pairs = [(t.colour, t.shape) in HELD_OUT_PAIRS for s in scripts for t in s.things]
    assert 0.25 < np.mean(pairs) < 0.75
    assert {u.voice for s in scripts for u in s.utterances} <= set(HELD_OUT_VOICES)
    assert {c.font for s in scripts for c in s.cards} <= set(HELD_OUT_FONTS)
    assert {s.background_kind for s in scripts} <= set(HELD_OUT_BACKGROUNDS)


@pytest.mark.parametrize(
    "camera",
    [Camera(0.75, 0.0, 0.0, 0), Camera(1.0, 9.0, 0.0, 0), Camera(1.0, 0.0, 0.8, 0), Camera(1.0, 0.0, 0.0, 50)],
    ids=["exposure", "noise", "blur", "codec"],
)
def test_camera_changes_the_picture_and_leaves_the_scene(camera: Camera) -> None:
    clean, seen = (picture(replace(SCRIPT, camera=c), 5.0).astype(float) for c in (SCRIPT.camera, camera))
    assert np.abs(seen - clean).mean() > 0.1
    assert np.corrcoef(seen.ravel(), clean.ravel())[0, 1] > 0.9


def test_textures_differ() -> None:
    plain, striped, shaded = (
        picture(replace(SCRIPT, things=(replace(SCRIPT.things[1], texture=texture),)), 5.0).astype(float) for texture in range(3)
    )
    for one, other in ((plain, striped), (plain, shaded), (striped, shaded)):
        assert np.abs(one - other).max() > 20


def test_a_card_s_word_is_drawn_where_the_card_is() -> None:
    shown, other, none = (
        picture(replace(SCRIPT, cards=cards), 3.0).astype(int)
        for cards in (SCRIPT.cards, (replace(SCRIPT.cards[0], word="fire"),), ())
    )
    assert np.abs(shown - none)[90:].max() > 50  # it lies at the bottom
    assert np.abs(shown - none)[:80].max() == 0
    assert np.abs(shown - other)[90:].max() > 50


@pytest.mark.parametrize(("motion", "axis", "sign"), [("left", 1, -1), ("right", 1, 1), ("up", 0, -1), ("down", 0, 1)])
def test_a_thing_moves_the_way_that_is_said(motion: str, axis: int, sign: int) -> None:
    script = replace(SCRIPT, things=(replace(SCRIPT.things[0], x=0.5, motion=motion),), cards=())
    empty = picture(replace(script, things=()), 1.0).astype(int)
    early, late = (
        np.argwhere(np.abs(picture(script, at_s).astype(int) - empty).max(-1) > 40).mean(0)[axis] for at_s in (1.0, 2.0)
    )
    assert sign * (late - early) > 5


def test_things_stay_in_the_picture() -> None:
    for seed in range(60):
        for t in world.draw(seed, 16.0, "training", timed=world.guessed).things:
            from favor_stream.aveb.picture import place

            assert all(0.05 <= v <= 0.95 for v in place(t, t.end_s)), t


def test_truth_of_a_slice() -> None:
    slices = truth.slices(SCRIPT)
    assert len(slices) == 16
    assert slices[1].things == ()
    assert slices[2].things == (truth.SeenThing("red", "circle", None, "large", "middle"),)  # motion takes two pictures
    assert slices[3] == truth.SliceTruth(
        (truth.SeenThing("red", "circle", "right", "large", "middle"),), None, ("bell",), ("bell",), ()
    )
    assert slices[4].word == "exit"
    assert slices[7].spoken == ("turn", "left")  # "left" ends at 3.9 s and counts 80 ms later
    assert slices[10].things == (
        truth.SeenThing("blue", "square", None, "large", "left"),
    )  # a window's first slice has nothing to compare with


@pytest.mark.parametrize(
    ("kind", "until_s", "words", "expected"),
    [
        ("now_see", 2.5, {}, "red circle moving right, word exit"),
        ("now_see", 1.0, {}, "nothing"),
        ("now_hear", 2.0, {}, "bell"),
        ("said", 8.0, {}, "turn left"),
        ("said", 2.0, {}, "nothing"),
        ("sounds", 8.0, {}, "bell, siren, bell"),
        ("story", 8.0, {}, "red circle, bell, word exit, blue square, siren, bell"),
        ("colour", 8.0, {"shape": "square"}, "blue"),
        ("shape", 8.0, {"colour": "red"}, "circle"),
        ("word", 8.0, {}, "exit"),
        ("first", 8.0, {}, "red circle"),
        ("last", 8.0, {}, "blue square"),
        ("last", 3.5, {}, "red circle"),
        ("after", 8.0, {"thing": "red circle"}, "blue square"),
        ("before", 8.0, {"thing": "red circle"}, "nothing"),
        ("seen_during", 8.0, {"sound": "siren"}, "blue square"),
        ("heard_during", 3.5, {"thing": "red circle"}, "bell"),
        ("count_things", 8.0, {}, "one red circle, two blue square? two"),
        ("count_sound", 8.0, {"sound": "bell"}, "two"),
        ("count_sound", 8.0, {"sound": "horn"}, "none"),
        ("saw", 8.0, {"thing": "red circle"}, "yes"),
        ("heard", 8.0, {"sound": "siren"}, "yes"),
        ("heard", 8.0, {"sound": "hiss"}, "no"),
        ("sees", 2.5, {"thing": "red circle"}, "yes"),
        ("sees", 8.0, {"thing": "red circle"}, "no"),
        ("hears", 2.0, {"sound": "bell"}, "yes"),
        ("hears", 3.5, {"sound": "bell"}, "no"),
        ("cross_order", 8.0, {"sound": "siren", "thing": "red circle"}, "no"),
        ("spoken", 8.0, {}, "no question"),
    ],
)
def test_answers_are_what_a_person_would_say(kind: str, until_s: float, words: dict[str, str], expected: str) -> None:
    assert answer(kind, until_s, **words) == expected


@pytest.mark.parametrize(
    ("spoken", "expected"),
    [
        ("what colour is the square", "blue"),
        ("what shape is the red one", "circle"),
        ("what did you hear", "bell"),
        ("what came first", "red circle"),
        ("how many things did you see", "two"),
        ("what word is shown", "exit"),
        ("did you hear a horn", "no"),
    ],
)
def test_spoken_questions_have_answers(spoken: str, expected: str) -> None:
    assert facts.reply(view(SCRIPT, 8.0, "training"), spoken) == expected


def test_answer_to_a_spoken_question_repeats_it() -> None:
    asked = replace(view(SCRIPT, 8.0, "training"), utterances=("what word is shown", "turn left"))
    assert facts.spoken(asked, np.random.default_rng(0)) == ({}, "what word is shown? exit")


def test_yes_and_no_are_about_as_often_right() -> None:
    rng, counts = np.random.default_rng(0), Counter[str]()
    for seed in range(300):
        v = view(world.draw(seed, 16.0, "training", timed=world.guessed), 16.0, "training")
        for kind in ("saw", "heard", "sound_order", "cross_order"):
            if question := questions.ask(kind, v, rng):
                counts[question.answer] += 1
    assert 0.35 < counts["yes"] / counts.total() < 0.65
    assert set(counts) == {"yes", "no"}


def test_training_never_names_a_held_out_pair() -> None:
    rng = np.random.default_rng(0)
    for seed in range(200):
        script = world.draw(seed, 16.0, "training", timed=world.guessed)
        for question in questions.every(script, 16.0, rng, "training"):
            assert not any(f"{c} {s}" in question.text for c, s in HELD_OUT_PAIRS)


def test_post_hides_some_of_every_thing_and_never_most() -> None:
    """So that what is behind it can still be told."""
    plain = replace(SCRIPT.camera, jpeg=0)
    drawn = [world.draw(seed, 16.0, "training", timed=world.guessed) for seed in range(100)]
    scripts = [replace(script, camera=plain, cards=()) for script in drawn if script.posts]
    assert 15 < len(scripts) < 50
    hidden = [share_hidden(script, t) for script in scripts for t in script.things]
    assert np.mean([share > 0.05 for share in hidden]) > 0.1
    assert max(hidden) < 0.6


def share_hidden(script: Script, thing: Thing) -> float:
    """Of the points that a thing alone covers, as it comes."""
    alone, nothing = replace(script, things=(thing,), posts=()), replace(script, things=(), posts=())
    behind = replace(alone, posts=script.posts)
    seen, empty, occluded = (picture(each, thing.start_s).astype(int) for each in (alone, nothing, behind))
    covered = abs(seen - empty).max(2) > 0
    return float((abs(occluded - seen)[covered].max(1) > 0).mean())


def test_thing_is_drawn_where_it_is_in_its_colour() -> None:
    image = picture(SCRIPT, 1.0, 160, 120)
    assert image.shape == (120, 160, 3)
    assert np.abs(image[60, 48].astype(int) - COLOURS["red"]).max() < 12
    assert np.abs(picture(SCRIPT, 0.5)[60, 48].astype(int) - COLOURS["red"]).max() > 40


def test_question_in_a_hurry_lacks_words_but_never_what_it_is_about() -> None:
    rng = np.random.default_rng(0)
    asked = [(name, wording) for name, kind in kinds.KINDS.items() for wording in kind.wordings] * 20
    wordings, hurried = [wording for _, wording in asked], [questions.hastily(*each, rng) for each in asked]
    assert all(re.findall(r"{\w+}", text) == re.findall(r"{\w+}", whole) for text, whole in zip(hurried, wordings, strict=True))
    assert 0.6 < sum(len(text.split()) for text in hurried) / sum(len(whole.split()) for whole in wordings) < 0.9
    assert not set(hurried) & questions.TESTED
    assert all(hurried)
    meant = {(text, kind) for text, (kind, _) in zip(hurried, asked, strict=True)}
    kinds_of = Counter(text for text, _ in meant)
    assert not [text for text, count in kinds_of.items() if count > 1]  # else two answers to one question are taught


def test_the_agent_asks_for_what_it_perceives_in_words_it_was_trained_with() -> None:
    known = {wording for kind in kinds.KINDS.values() for wording in kind.wordings}
    assert {*NOW, SAID_LAST, SPOKEN} <= known


def test_speech_is_there_where_it_is_required() -> None:
    try:
        import espeakng_loader  # noqa: F401
    except ImportError:
        require(False, "espeakng-loader")
