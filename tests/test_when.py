"""Times in questions: what is asked of which time, by this machine's clock; a question that names none stays as it is."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from favor_stream.aveb.kinds import KINDS
from favor_stream.aveb.lexicon import COLOURS, SHAPES, SOUNDS, a
from favor_stream.errors import ConfigError
from favor_stream.session import NOW, SPOKEN
from favor_stream.when import NAMED, Span, moment, split

ZONE = timezone(timedelta(hours=-7))
DAY = datetime(2026, 3, 14, tzinfo=ZONE)
NOON_30 = DAY + timedelta(hours=12, minutes=30)
EVENING = DAY + timedelta(hours=20, minutes=15, seconds=30)
NIGHT = DAY + timedelta(minutes=20)  # after midnight


def at(clock: str, days: int = 0) -> datetime:
    hour, minute, second = (int(part) for part in f"{clock}:0".split(":")[:3])
    return DAY + timedelta(days=days, hours=hour, minutes=minute, seconds=second)


def before(now: datetime, **spent: float) -> datetime:
    return now - timedelta(**spent)


@pytest.mark.parametrize(
    ("question", "now", "rest", "begin", "end"),
    [
        ("what was said between 14:00 and 14:05?", EVENING, "what was said?", at("14:00"), at("14:05")),
        ("Between 14:00 and 14:05, what was said?", EVENING, "what was said?", at("14:00"), at("14:05")),
        ("what was said from 2 pm to 2:05 pm?", EVENING, "what was said?", at("14:00"), at("14:05")),
        ("what was said from 14:00:10 until 14:00:40", EVENING, "what was said", at("14:00:10"), at("14:00:40")),
        ("between 23:50 and 0:10 who came?", NIGHT, "who came?", at("23:50", -1), at("0:10")),
        ("between 11pm and midnight who came?", NIGHT, "who came?", at("23:00", -1), at("0:00")),
        ("between 22:00 and 23:00 who came?", NIGHT, "who came?", at("22:00", -1), at("23:00", -1)),
        ("who came between breakfast and noon?", EVENING, "who came?", at("8:00"), at("12:00")),
        ("who came before lunch?", EVENING, "who came?", None, at("12:00")),
        ("who came until 9 am?", EVENING, "who came?", None, at("9:00")),
        ("who came before dinner?", NOON_30, "who came?", None, at("18:00", -1)),  # today's is still to come
        ("what happened since 19:00?", EVENING, "what happened?", at("19:00"), EVENING),
        ("what happened after Lunch?", EVENING, "what happened?", at("12:00"), EVENING),
        ("what happened since 23:00?", NIGHT, "what happened?", at("23:00", -1), NIGHT),
        ("who was there at 14:05?", EVENING, "who was there?", at("14:05"), at("14:06")),
        ("who was there at 2:05 pm?", EVENING, "who was there?", at("14:05"), at("14:06")),
        ("who was there at 2:05 p.m.?", EVENING, "who was there?", at("14:05"), at("14:06")),
        ("who was there at 2:05pm?", EVENING, "who was there?", at("14:05"), at("14:06")),
        ("who was there at 8PM, and why?", EVENING, "who was there, and why?", at("20:00"), at("20:01")),
        ("who was there at 8 a.m. and why?", EVENING, "who was there and why?", at("8:00"), at("8:01")),
        ("who was there at 12 am?", EVENING, "who was there?", at("0:00"), at("0:01")),
        ("who was there at 12:10 am?", EVENING, "who was there?", at("0:10"), at("0:11")),
        ("who was there at 12:10 pm?", EVENING, "who was there?", at("12:10"), at("12:11")),
        ("who was there at 14:05:20?", EVENING, "who was there?", at("14:05:20"), at("14:05:25")),
        ("who was there at 20:15?", EVENING, "who was there?", at("20:15"), EVENING),  # no later than now
        ("who was there at 20:16?", EVENING, "who was there?", at("20:16", -1), at("20:17", -1)),
        ("who was there yesterday at 14:05?", EVENING, "who was there?", at("14:05", -1), at("14:06", -1)),
        ("who was there at 22:00 yesterday?", EVENING, "who was there?", at("22:00", -1), at("22:01", -1)),
        ("who was there at noon?", EVENING, "who was there?", at("12:00"), at("12:01")),
        ("who was there at midnight?", EVENING, "who was there?", at("0:00"), at("0:01")),
        ("what was said in the last two minutes?", EVENING, "what was said?", before(EVENING, minutes=2), EVENING),
        ("what was said in the last minute?", EVENING, "what was said?", before(EVENING, minutes=1), EVENING),
        ("what was said during the past 90 seconds?", EVENING, "what was said?", before(EVENING, seconds=90), EVENING),
        ("within the last hour, who came?", EVENING, "who came?", before(EVENING, hours=1), EVENING),
        ("who came over the last half hour?", EVENING, "who came?", before(EVENING, minutes=30), EVENING),
        ("who came in the last twenty-five minutes?", EVENING, "who came?", before(EVENING, minutes=25), EVENING),
        ("who came in the last 25 minutes?", NIGHT, "who came?", at("23:55", -1), NIGHT),
        ("what was there a minute ago?", EVENING, "what was there?", before(EVENING, seconds=66), before(EVENING, seconds=54)),
        ("what was there 10 seconds ago?", EVENING, "what was there?", before(EVENING, seconds=15), before(EVENING, seconds=5)),
        ("what was there one second ago?", EVENING, "what was there?", before(EVENING, seconds=6), EVENING),
        (
            "what was there about an hour ago?",
            EVENING,
            "what was there?",
            before(EVENING, minutes=66),
            before(EVENING, minutes=54),
        ),
        ("half an hour ago, who came?", EVENING, "who came?", before(EVENING, minutes=33), before(EVENING, minutes=27)),
        ("who came 1.5 hours ago?", EVENING, "who came?", before(EVENING, minutes=99), before(EVENING, minutes=81)),
        ("who came forty minutes ago?", EVENING, "who came?", before(EVENING, minutes=44), before(EVENING, minutes=36)),
        ("who came twenty five minutes ago?", EVENING, "who came?", before(EVENING, minutes=27.5), before(EVENING, minutes=22.5)),
    ],
)
def test_time_is_taken_out_of_the_question(
    question: str, now: datetime, rest: str, begin: datetime | None, end: datetime
) -> None:
    found, span = split(question, now)
    assert (found, span) == (rest, Span(begin, end))
    assert span is not None
    assert span.end.utcoffset() == timedelta(hours=-7)


@pytest.mark.parametrize(
    "question",
    [
        "what do you see now?",
        "how many of the 12 things were red?",
        "what came before the bell?",
        "what happened after lunchtime?",
        "what is it that they look at?",
        "did 3 people come between 2 and 4?",
        "was the ratio 16:9?",
        "who came first, and who came last?",
        "what was the last minute of it like?",
        "how long ago was that?",
        "what was on the sign, 10 am or 11 am?",
        "does she wear format 12:00-style digits?",
        "since when is it there?",
        "what is on at the moment?",
        "was it seen at 14:055?",
        "",
    ],
)
def test_question_without_a_time_stays_as_it_is(question: str) -> None:
    assert split(question, EVENING) == (question, None)


def generated() -> list[str]:
    """Every wording of the generated world, with everything that may stand in it."""
    asked = set[str](NOW) | {SPOKEN}
    for kind in KINDS.values():
        for wording in kind.wordings + kind.tested:
            for colour, shape, sound in product(COLOURS, SHAPES, SOUNDS):
                thing = f"{colour} {shape}"
                words = {
                    "side": "left",
                    "thing": thing,
                    "a_thing": a(thing),
                    "sound": sound,
                    "a_sound": a(sound),
                    "other": SOUNDS[0],
                }
                asked.add(wording.format(colour=colour, shape=shape, **words))
    return sorted(asked)


def test_no_question_of_the_generated_world_is_taken_for_a_time() -> None:
    asked = generated()
    assert len(asked) > 500
    assert not [question for question in asked if split(question, EVENING) != (question, None)]


@pytest.mark.parametrize("clock", ["24:00", "25:10", "14:60", "14:05:61", "99 pm", "13:00 am"])
def test_time_that_no_clock_shows_is_one_clear_error(clock: str) -> None:
    with pytest.raises(ConfigError, match=f"'{re.escape(clock)}' is no time of day; write it as 14:05 or 2:05 pm"):
        split(f"who was there at {clock}?", EVENING)


@given(st.times(), st.datetimes(datetime(2000, 1, 2), datetime(2100, 1, 1)))
def test_any_time_of_day_is_the_last_one_at_or_before_now(clock: object, now: datetime) -> None:
    now = now.replace(tzinfo=ZONE)
    for text in (f"{clock:%H:%M:%S}", f"{clock:%I:%M:%S %p}".lower(), f"{clock:%I:%M:%S%p}"):
        found = moment(text, now)
        assert f"{found:%H:%M:%S}" == f"{clock:%H:%M:%S}"
        assert timedelta(0) <= now - found < timedelta(days=1)


@given(st.text())
def test_any_text_has_its_time_or_a_clear_error(text: str) -> None:
    try:
        rest, span = split(text, EVENING)
    except ConfigError:
        return
    assert span is not None or rest == text


@pytest.mark.parametrize("name", NAMED)
def test_named_times_are_times_of_the_day(name: str) -> None:
    assert moment(name.upper(), EVENING).date() == EVENING.date()


@pytest.mark.parametrize("amount", ["9" * 400, "99999999999", "1" * 5000])
def test_time_too_long_ago_to_be_one_is_one_clear_error(amount: str) -> None:
    for question in (f"who came {amount} hours ago?", f"who came in the last {amount} hours?"):
        with pytest.raises(ConfigError, match="is too long ago"):
            split(question, EVENING)
