"""Times in a question: «what was said between 14:00 and 14:05?» asks «what was said?» of five minutes.

It knows clocks and words; it knows no memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from favor_stream.errors import ConfigError

HALF = r"\s?(?:[ap]m|[ap]\.m\.?)"
CLOCK = rf"(?:\d{{1,2}}:\d{{2}}(?::\d{{2}})?(?:{HALF})?|\d{{1,2}}{HALF})"  # a bare number is no time: it may count things
NAMED = {"midnight": "0:00", "breakfast": "8:00", "noon": "12:00", "lunch": "12:00", "dinner": "18:00"}
TIME = rf"(?:{CLOCK}|{'|'.join(NAMED)})"
UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
UNIT = rf"({'|'.join(UNITS)})s?"
TEENS = ["eleven", "twelve", "thirteen", "fourteen", "fifteen"]
ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty"]
NUMBERS: dict[str, float] = {"a": 1, "an": 1, "half": 0.5, "half a": 0.5, "half an": 0.5}
NUMBERS |= {word: number for number, word in enumerate([*ONES, "ten", *TEENS], 1)}
NUMBERS |= {word: 10 * number for number, word in enumerate(TENS, 2)}
NUMBERS |= {f"{ten} {one}": NUMBERS[ten] + NUMBERS[one] for ten in TENS for one in ONES}
WORDS = "|".join(word.replace(" ", r"[\s-]+") for word in sorted(NUMBERS, key=len, reverse=True))
AMOUNT = rf"(\d+(?:\.\d+)?|{WORDS})\s+"
DAY = timedelta(days=1)
LEAST_AROUND_S = 5.0  # that «ten seconds ago» reaches before and behind that moment
LONGEST_S = 1e9  # of which anybody can be asked
AROUND = 0.1  # or this share of how long ago it was


@dataclass(frozen=True, slots=True)
class Span:
    """A time that is asked about; both with a time zone. `begin` None: as far back as can be asked about at once."""

    begin: datetime | None
    end: datetime


def split(question: str, now: datetime) -> tuple[str, Span | None]:
    """The question without the time that it names, and that time; the question itself and None where it names none."""
    for pattern, read in FORMS:
        if found := pattern.search(question):
            span = read(found, now)
            rest = " ".join((question[: found.start()] + question[found.end() :]).split())
            return re.sub(r"\s+([?.!,])", r"\1", rest).strip(" ,"), span
    return question, None


def moment(text: str, now: datetime) -> datetime:
    """The last time, at or before `now`, that the clock showed this. ConfigError for what no clock shows."""
    shown = re.sub(r"[\s.]", "", NAMED.get(text.lower(), text.lower()))
    clock, half = shown.rstrip("apm"), shown[-2:] if shown.endswith("m") else ""
    hour, minute, second = (int(part) for part in f"{clock}:0:0".split(":")[:3])
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0) if hour <= 12 else 24  # which no clock shows
    try:
        at = datetime.combine(now.date(), time(hour, minute, second), now.tzinfo)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no time of day; write it as 14:05 or 2:05 pm") from error
    return at if at <= now else at - DAY


def _between(found: re.Match[str], now: datetime) -> Span:
    end = moment(found[2], now)
    return Span(moment(found[1], end), end)


def _before(found: re.Match[str], now: datetime) -> Span:
    return Span(None, moment(found[1], now))


def _since(found: re.Match[str], now: datetime) -> Span:
    return Span(moment(found[1], now), now)


def _at(found: re.Match[str], now: datetime) -> Span:
    """As exactly as it is said: a minute, or with seconds, a window of them."""
    is_yesterday = found[1] or found[3]
    at = moment(found[2], now.replace(hour=0, minute=0, second=0, microsecond=0) if is_yesterday else now)
    lasts_s = LEAST_AROUND_S if found[2].count(":") == 2 else UNITS["minute"]
    return Span(at, min(now, at + timedelta(seconds=lasts_s)))


def _last(found: re.Match[str], now: datetime) -> Span:
    return Span(now - timedelta(seconds=_seconds(found)), now)


def _ago(found: re.Match[str], now: datetime) -> Span:
    ago_s = _seconds(found)
    around = timedelta(seconds=max(LEAST_AROUND_S, AROUND * ago_s))
    at = now - timedelta(seconds=ago_s)
    return Span(at - around, min(now, at + around))


def _seconds(found: re.Match[str]) -> float:
    amount = re.sub(r"[\s-]+", " ", (found[1] or "one").strip().lower())
    seconds = (NUMBERS.get(amount) or float(amount)) * UNITS[found[2].lower()]
    if seconds > LONGEST_S:
        raise ConfigError(f"{found[0][:40]!r} is too long ago; ask about the last days")
    return seconds


def _form(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.]){words}(?!\w)", re.IGNORECASE)


FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], datetime], Span]], ...] = (
    (_form(rf"between\s+({TIME})\s+and\s+({TIME})"), _between),
    (_form(rf"from\s+({TIME})\s+(?:to|until|till)\s+({TIME})"), _between),
    (_form(rf"(?:before|until)\s+({TIME})"), _before),
    (_form(rf"(?:after|since)\s+({TIME})"), _since),
    (_form(rf"(yesterday\s+)?at\s+({TIME})(\s+yesterday)?"), _at),
    (_form(rf"(?:in|during|over|within)\s+the\s+(?:last|past)\s+(?:{AMOUNT})?{UNIT}"), _last),
    (_form(rf"(?:about\s+)?{AMOUNT}{UNIT}\s+ago"), _ago),
)
