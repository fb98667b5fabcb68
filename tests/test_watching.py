"""The score of watches: what counts as hit, late and false."""

from __future__ import annotations

import json

import pytest

from favor_stream.__main__ import main
from favor_stream.aveb.watching import Span, score, scripts, spans, watches
from favor_stream.watches import Watches

TRUE = {"bell": [Span(10.0, 12.0), Span(20.0, 21.0)], "siren": []}


def test_told_in_time_late_and_of_nothing() -> None:
    found = score(TRUE, {"bell": [10.5, 21.5, 30.0], "siren": [55.0]}, empty=[Span(50.0, 60.0)], stream_s=3600.0)
    assert (found.happenings, found.hit, found.told, found.delay_s) == (2, 0.5, 1.0, 1.0)
    assert found.false_per_hour == 1.0  # two, of two watches
    assert found.false_per_empty_hour == pytest.approx(3600 / 10 / 2)


def test_nothing_told_is_nothing_hit_and_no_alarm() -> None:
    found = score(TRUE, {"bell": [], "siren": []}, empty=[], stream_s=60.0)
    assert (found.hit, found.told, found.false_per_hour) == (0.0, 0.0, 0.0)


def test_one_telling_is_not_two_hits() -> None:
    near = {"bell": [Span(10.0, 11.0), Span(11.5, 12.5)]}
    assert score(near, {"bell": [10.5]}, empty=[], stream_s=60.0).told == 0.5


def test_stream_holds_what_is_watched_and_empty_rooms() -> None:
    drawn = list(scripts(4, seed=1))
    assert not spans(drawn[3], 0.0)
    names = {name for script in drawn for name in spans(script, 0.0)}
    assert names & {watching.watch.name for watching in Watches(watches()).all}


@pytest.mark.slow
def test_shipped_model_watches_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--tasks", "watches", "--limit", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["minutes"] == 1.0
    assert told["watches"] == 20
    assert told["happenings"] > 0
