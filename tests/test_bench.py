"""The benchmark's figures are figures; what they are depends on the machine and is not tested."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_model

from favor_stream import bench
from favor_stream.config import Config
from favor_stream.model import weights
from favor_stream.session import Session


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    weights.save(folder, *tiny_model(), {})
    return Config(weights=folder)


def test_endless_stream_is_measured_by_the_minute() -> None:
    rows = bench.endless(Session(*tiny_model(), context_s=30.0), minutes=2)
    assert [row.unit for row in rows] == ["x", "ms", "MiB", ""]
    assert rows[0].value > 0


def test_first_token_is_compared_with_reading_again(config: Config) -> None:
    rows = bench.first_token(config, minutes=(1,))
    assert all(row.value > 0 for row in rows)


def test_chain_loop_and_capture_are_measured(config: Config) -> None:
    rows = [*bench.whole_chain(config, 4), *bench.loop_lag(config, 1), *bench.capture_share(2)]
    assert [row.goal for row in rows] == ["<= 0.2", "<= 20", ""]
    assert all(row.value > 0 for row in rows)
    assert bench.table(rows).count("\n") == len(rows) + 1


def test_film_has_sound_and_pictures(tmp_path: Path) -> None:
    assert bench.film(tmp_path, 1, 25, (64, 48)).stat().st_size > 0
