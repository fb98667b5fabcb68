"""The example's robot: how it moves, what it hears from where, what it does about it, and all of that with the shipped model."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from favor_stream.config import Config
from favor_stream.records import Perceived, Perception
from favor_stream.robot.example.__main__ import END_S, STOP_S, run
from favor_stream.robot.example.arena import Arena, heard_from
from favor_stream.robot.example.driver import STILL, Driver
from favor_stream.robot.example.two_wheeler import MOST_M_S, TwoWheeler

NOTHING = Perception(1.0, 0.0, datetime.now(UTC), {}, frozenset(), None)
BELL = replace(NOTHING, holding=frozenset({"bell"}))


def said(words: str) -> Perception:
    return replace(NOTHING, perceived=Perceived("perceived", 1.0, "", said=words))


def test_wheels_that_turn_alike_go_ahead_and_wheels_that_do_not_turn_it() -> None:
    robot = TwoWheeler()
    robot.drive(0.2, 0.2)
    robot.move(2.0)
    assert (robot.x_m, robot.y_m, robot.heading) == pytest.approx((0.4, 0.0, 0.0))
    robot.drive(-0.1, 0.1)
    robot.move(1.0)
    assert robot.heading > 0
    assert robot.bearing(0.4, 5.0) == pytest.approx(math.pi / 2 - robot.heading)


def test_no_wheel_turns_faster_than_it_can() -> None:
    robot = TwoWheeler()
    robot.drive(-9.0, 9.0)
    assert (robot.left_m_s, robot.right_m_s) == (-MOST_M_S, MOST_M_S)


@pytest.mark.parametrize("degrees", [-70, -30, 0, 10, 60])
def test_two_microphones_tell_where_the_bell_is(degrees: int) -> None:
    angle = math.radians(degrees)
    arena = Arena(bell_m=(3 * math.cos(angle), 3 * math.sin(angle)))
    told = heard_from(arena.sound(0.5, 1600))
    assert told == pytest.approx(angle, abs=0.15)


def test_a_quiet_room_tells_nothing() -> None:
    assert heard_from(Arena(bell_m=(1.0, 1.0)).sound(2.5, 1600)) is None


def test_bell_to_the_left_turns_it_to_the_left_and_bell_ahead_lets_it_go() -> None:
    left, right = Driver().wheels(BELL, 1.0)
    assert left < right
    left, right = Driver().wheels(BELL, 0.01)
    assert left == right > 0


def test_what_is_heard_without_a_bell_moves_nothing() -> None:
    assert Driver().wheels(NOTHING, 1.0) == STILL


def test_nothing_is_done_on_what_is_stale() -> None:
    driver = Driver(bearing=1.0)
    assert driver.wheels(None, 1.0) == STILL
    assert not driver.why_stopped


@pytest.mark.parametrize("told", [replace(BELL, holding=frozenset({"bell", "red_square"})), said("please stop now")])
def test_it_stops_for_good_when_it_is_told_to(told: Perception) -> None:
    driver = Driver()
    assert driver.wheels(told, 1.0) == STILL
    assert driver.why_stopped
    assert driver.wheels(BELL, 1.0) == STILL


def test_other_words_do_not_stop_it() -> None:
    driver = Driver()
    driver.wheels(said("do not go to the stopper"), None)
    assert not driver.why_stopped


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize(("how", "why"), [("stop_s", "the word stop"), ("sign_s", "a red square")])
def test_with_the_shipped_model_it_turns_to_the_bell_and_stops_when_told(how: str, why: str) -> None:
    pytest.importorskip("espeakng_loader")
    arena, driver = Arena(), Driver()
    setattr(arena, how, STOP_S)
    begun = arena.bearing
    run(arena, driver, Config(), 2 * END_S)
    assert driver.why_stopped == why
    assert abs(arena.bearing) < abs(begun) / 2
    moved_m = math.hypot(arena.robot.x_m, arena.robot.y_m)
    assert moved_m > 0
    arena.robot.move(1.0)
    assert math.hypot(arena.robot.x_m, arena.robot.y_m) == pytest.approx(moved_m)
    assert np.isfinite(arena.robot.heading)
