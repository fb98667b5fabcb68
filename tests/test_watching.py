"""The score of watches: what counts as hit, late and false."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from media import numbered_film

from favor_stream.__main__ import main
from favor_stream.aveb import watching
from favor_stream.aveb.alarms import Observed, Span, score
from favor_stream.aveb.watching import scripts, spans, watches
from favor_stream.config import Config
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


def test_higher_thresholds_tell_less(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A made-up stream: the first watch is sure while it holds, the second now and then half sure of nothing."""
    names = [watch.name for watch in watches()]
    sure = [[0.0] * len(names) for _ in range(240)]
    for k in range(20, 30):
        sure[k][0] = 0.97
    for k in range(100, 200, 10):
        sure[k][1] = 0.65
    true = {name: [Span(10.0, 15.0)] if name == names[0] else [] for name in names}
    monkeypatch.setattr(watching, "observe", lambda *_: Observed(watches(), sure, true, []))
    assert main(["watch", "calibrate", "--plot", str(tmp_path / "curve.png")]) == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    found = {(float(row[0]), float(row[1])): (row[2].strip(), float(row[4])) for row in rows}
    assert found[0.6, 0.5][1] > 0 == found[0.7, 0.5][1] == found[0.6, 1.0][1]
    assert found[0.95, 0.5][0] == found[0.6, 0.5][0] == "100.0%"
    assert found[0.98, 0.5][0] == "0.0%"
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_film_of_ones_own_is_calibrated_with_its_truth(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film, truth, settings = tmp_path / "film.mp4", tmp_path / "truth.json", tmp_path / "agent.toml"
    numbered_film(film, seconds=3.0)
    settings.write_text(f'weights = "{config.weights}"\n[watches.always]\nquestion = "anything happens"\n')
    truth.write_text('{"always": [[0.0, 3.0]]}')
    command = ["--config", str(settings), "watch", "calibrate", "--film", str(film)]
    assert main([*command, "--truth", str(truth)]) == 0
    assert "| told within 1 s |" in capsys.readouterr().out
    for text, complaint in {
        "[": "cannot be read",
        '{"never": []}': "no watch is called 'never'",
        '{"always": 3}': "write JSON",
    }.items():
        truth.write_text(text)
        assert main([*command, "--truth", str(truth)]) == 2
        assert complaint in capsys.readouterr().err
    assert main(command) == 2
    assert "belong together" in capsys.readouterr().err


@pytest.mark.slow
def test_shipped_model_watches_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--tasks", "watches", "--limit", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["minutes"] == 1.0
    assert told["watches"] == 20
    assert told["happenings"] > 0
