"""Scenes hold what their questions ask for, the same from the same seed; answers are those that a person would give."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from favor_stream.aveb import belonging, facts, questions, scenes, world
from favor_stream.aveb.scenes import SETTINGS, Wish
from favor_stream.aveb.script import Split
from favor_stream.aveb.soundtrack import soundtrack
from favor_stream.aveb.staged import Scene
from favor_stream.aveb.truth import LARGE, side, size
from favor_stream.aveb.view import View, view

LASTS_S = 16.0


def drawn(name: str, seed: int, split: Split = "training", snr_db: float | None = None) -> Scene:
    return scenes.draw(name, Wish(seed, LASTS_S, split, world.guessed, 1.5, snr_db=snr_db))


def views(name: str, count: int = 120) -> list[View]:
    return [view(drawn(name, seed).script, LASTS_S, "training") for seed in range(count)]


@pytest.mark.parametrize("name", SETTINGS)
def test_same_seed_gives_the_same_scene_in_which_something_can_be_asked(name: str) -> None:
    assert drawn(name, 5) == drawn(name, 5) != drawn(name, 6)
    for seed in range(30):
        for until_s in (4.0, 9.5, LASTS_S):
            v = view(drawn(name, seed).script, until_s, "training")
            assert questions.draw(v, np.random.default_rng(seed), 0.5, SETTINGS[name].kinds).answer


@pytest.mark.parametrize("name", SETTINGS)
def test_scenes_of_training_show_no_held_out_pair(name: str) -> None:
    for seed in range(40):
        assert {(t.colour, t.shape) for t in drawn(name, seed).script.things} <= set(world.TRAINING_PAIRS)


def test_things_of_a_recurring_film_come_again_one_of_a_kind_at_a_time() -> None:
    things = [drawn("recurring", seed).script.things for seed in range(60)]
    assert {len({(t.colour, t.shape) for t in each}) for each in things} == {0, 1, 2}
    assert max(map(len, things)) > 4
    for each in things:
        for one, other in itertools.combinations(each, 2):
            assert one.end_s <= other.start_s or (one.colour, one.shape) != (other.colour, other.shape)


def test_pictures_stand_still_and_tell_size_side_and_what_is_beside_what() -> None:
    answers: dict[str, Counter[str]] = {kind: Counter() for kind in ("size", "side", "beside", "how_many")}
    for seed, v in enumerate(views("picture")):
        assert all(t.motion == "still" and t.start_s == 0 and t.end_s == LASTS_S for t in v.things)
        for kind, counter in answers.items():
            if question := questions.ask(kind, v, np.random.default_rng(seed)):
                counter[question.answer] += 1
    assert set(answers["size"]) == {"small", "large"}
    assert set(answers["side"]) == {"left", "middle", "right"}
    assert set(answers["how_many"]) == {"none", "one", "two"}
    assert answers["beside"]["nothing"] < answers["beside"].total()


def test_left_of_one_thing_is_the_other() -> None:
    v = next(v for v in views("picture") if len(v.now.things) == 2)
    left, right = v.now.things
    for seed in range(40):
        question = questions.ask("beside", v, np.random.default_rng(seed))
        assert question
        is_right_thing = f"the {right.shape}" in question.text or f"{right.colour} {right.shape}" in question.text
        if "left of" in question.text and is_right_thing and right.shape != left.shape:
            assert question.answer == f"{left.colour} {left.shape}"


def test_no_thing_is_nearly_large_and_sides_are_thirds() -> None:
    radii = [t.size for seed in range(60) for t in drawn("film", seed).script.things]
    assert min(abs(radius - LARGE) for radius in radii) > 0.01
    assert [side(x) for x in (-0.1, 0.1, 0.34, 0.65, 0.7, 1.2)] == ["left", "left", "middle", "middle", "right", "right"]
    assert {size(t) for seed in range(60) for t in drawn("film", seed).script.things} == {"small", "large"}


def test_caption_tells_everything_that_is_in_view() -> None:
    v = next(v for v in views("picture") if len(v.now.things) == 2 and v.now.word)
    question = questions.ask("caption", v, np.random.default_rng(0))
    assert question
    parts = question.answer.split(", ")
    assert parts[-1] == f"word {v.now.word}"
    assert parts[0].split()[1:3] == [v.now.things[0].colour, v.now.things[0].shape]


def test_thing_that_comes_and_goes_with_a_sound_is_its_source() -> None:
    fits = Counter[str]()
    for seed, v in enumerate(views("source")):
        asked = belonging.fits_in_time(v, np.random.default_rng(seed))
        if asked is None:
            continue
        fits[asked[1]] += 1
        found = belonging.source_of(v, v.noises[0].kind)
        assert (found is not None) == (asked[1] == "yes")
        if found:
            mine = [(t.start_s, t.end_s) for t in v.things if facts.name(t) == found]
            assert mine == [(n.start_s, n.end_s) for n in v.noises]
    assert 0.35 < fits["yes"] / fits.total() < 0.75


def test_film_as_the_world_draws_it_has_no_source_of_a_sound() -> None:
    for seed, v in enumerate(views("film")):
        assert belonging.source(v, np.random.default_rng(seed)) is None
        assert belonging.fits_in_time(v, np.random.default_rng(seed)) is None
        assert belonging.fits_in_words(v, np.random.default_rng(seed)) is None


def test_what_is_named_is_in_view_half_of_the_time_and_else_often_nearly() -> None:
    fits, nearly = Counter[str](), 0
    for seed, v in enumerate(views("naming", 200)):
        asked = belonging.fits_in_words(v, np.random.default_rng(seed))
        assert asked
        repeated, _, answer = asked[1].partition("? ")
        assert repeated == v.utterances[-1]
        fits[answer] += 1
        said = set(v.utterances[-1].split()[1:])
        nearly += answer == "no" and any(said & {t.colour, t.shape} for t in v.now.things)
    assert 0.35 < fits["yes"] / fits.total() < 0.65
    assert nearly > 0.7 * fits["no"]


def test_film_that_is_over_early_leaves_a_quiet_room() -> None:
    counts = set()
    for seed in range(60):
        film, over = (drawn(name, seed).script for name in ("film", "over"))
        assert set(over.things) <= set(film.things)
        assert set(over.noises) <= set(film.noises)
        parts = (over.things, over.cards, over.noises, over.utterances)
        assert all(each.end_s <= scenes.OVER[1] * LASTS_S for part in parts for each in part)
        counts.add(len(over.things))
    assert len(counts) > 3


def test_sound_just_before_a_thing_comes_is_why_and_a_later_one_is_not() -> None:
    whys = Counter[bool]()
    for seed, v in enumerate(views("causes")):
        for thing in v.things:
            noise = facts.cause(thing, v)
            whys[noise is not None] += 1
            assert noise is None or -1.0 <= noise.end_s - thing.start_s <= 0.0
        asked = questions.ask("why", v, np.random.default_rng(seed))
        assert asked is None or asked.answer == "nothing" or asked.answer.split()[1] in v.heard_kinds
    assert whys[True] > 40
    assert whys[False] > 40


def test_seconds_are_counted_back_from_now() -> None:
    v = view(drawn("film", 3).script, LASTS_S, "training")
    assert facts.seconds_ago(v, LASTS_S - 3.2) == "three"
    assert facts.seconds_ago(v, LASTS_S - 0.2) is None  # it is still there, or nearly
    assert facts.seconds_ago(v, LASTS_S - 12.0) is None


@pytest.mark.parametrize("snr_db", [10.0, 0.0, -5.0])
def test_slides_are_read_aloud_while_they_are_shown_in_as_much_noise_as_is_asked(snr_db: float) -> None:
    pytest.importorskip("espeakng_loader")
    scene = scenes.draw("slides", Wish(7, 6.0, "held_out", snr_db=snr_db))
    assert [card.word for card in scene.script.cards] == [said.text for said in scene.script.utterances]
    for card, said in zip(scene.script.cards, scene.script.utterances, strict=True):
        assert card.start_s <= said.start_s < card.end_s
    noise = soundtrack(scene.script)[: round(0.4 * 16_000)]  # before the first word
    noise_db = 10 * math.log10(float(np.mean(noise**2)))
    assert scenes.loudness_db(scene.script.utterances) - noise_db == pytest.approx(snr_db, abs=1.5)


def test_nobody_knows_beforehand_how_many_slides_there_are() -> None:
    slides = [drawn("slides", seed) for seed in range(60)]
    assert {len(scene.script.cards) for scene in slides if scene.is_seen} == {4, 5, 6, 7, 8}
    assert {len(scene.script.utterances) for scene in slides} == {4, 5, 6, 7, 8}


@pytest.mark.parametrize(("split", "least", "most"), [("training", 15, 45), ("symbolic", 15, 45), ("held_out", 0, 0)])
def test_words_are_read_aloud_without_slides_in_training_alone(split: Split, least: int, most: int) -> None:
    unseen = [scene for seed in range(100) if not (scene := drawn("slides", seed, split)).is_seen]
    assert least <= len(unseen) <= most
    assert all(scene.script.utterances and not scene.script.cards for scene in unseen)


def test_question_asked_aloud_is_about_the_picture() -> None:
    for seed in range(60):
        v = view(drawn("asked_aloud", seed).script, LASTS_S, "training")
        question = questions.ask("spoken", v, np.random.default_rng(seed))
        assert question
        assert question.answer.startswith(("what", "how", "did"))


def test_dialogue_goes_on_about_what_was_spoken_of_last() -> None:
    turns = 0
    for seed, v in enumerate(views("film")):
        for question in questions.follow_ups(v, np.random.default_rng(seed)):
            turns += 1
            assert question.earlier
            assert "it" in question.text.rstrip("?").split()
    assert turns > 100


def test_answer_to_what_came_after_it_follows_the_thing_of_the_turn_before() -> None:
    for seed, v in enumerate(views("film", 60)):
        for question in questions.follow_ups(v, np.random.default_rng(seed)):
            asked, told = question.earlier[-1]
            names = [facts.name(thing) for thing in v.things]
            if "came after it" in question.text and told in names and question.answer != "nothing":
                assert question.answer == names[names.index(told) + 1]


def test_who_has_forgotten_the_beginning_is_asked_about_the_rest() -> None:
    script = drawn("film", 4).script
    whole, rest = view(script, LASTS_S, "training"), view(script, LASTS_S, "training", since_s=5.0)
    assert rest.things == tuple(t for t in whole.things if t.end_s > 5.25)
    assert set(rest.noises) < set(whole.noises) or rest.noises == whole.noises
    assert " ".join(whole.utterances).endswith(" ".join(rest.utterances))
