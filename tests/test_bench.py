"""The benchmark's figures are figures; what they are depends on the machine and is not tested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_model

from favor_stream import bench
from favor_stream.capture import open_source
from favor_stream.config import Config
from favor_stream.model import weights
from favor_stream.ring import Ring


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    weights.save(folder, *tiny_model(), {})
    return Config(weights=folder)


def test_endless_stream_is_measured_by_the_minute(config: Config) -> None:
    rows = bench.endless(replace(config, context_s=30.0), minutes=2)
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


def test_context_of_each_length_is_still_remembered_when_it_is_asked(config: Config) -> None:
    rows = bench.first_token(replace(config, context_s=5.0), minutes=(1, 2))
    held = [row.value for row in rows if row.name.startswith("context held")]
    assert held == pytest.approx([1, 2], abs=0.05)  # whatever the agent's own memory


def test_many_watches_are_compared_with_one(config: Config) -> None:
    rows = bench.watching(config, (2, 32), minutes=1)
    assert [row.goal for row in rows] == ["", "", "<= 2"]
    assert all(row.value > 0 for row in rows)


def test_telling_is_measured_on_what_really_happened(config: Config) -> None:
    told, age = bench.telling(config, 4)
    assert told.value >= 2
    assert 0.5 < age.value < 60


def test_table_is_aligned_and_says_what_was_reached() -> None:
    rows = [
        bench.Row("a", 0.1234, "x", "<= 1", True),
        bench.Row("tokens", 13_301, "", "", None),
        bench.Row("b", 2, "ms", "<= 1", False),
    ]
    lines = bench.table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["0.123 x", "13301", "2 ms"]
    assert [line.split("|")[4].strip() for line in lines[2:]] == ["reached", "", "missed"]


def test_film_has_sound_and_pictures(tmp_path: Path) -> None:
    ring = Ring(pace="lossless")
    with open_source(str(bench.film(tmp_path, 1, 25, (64, 48))), ring, pictures_per_s=25.0):
        heard = [float(np.abs(piece.sound).max()) for piece in ring]
    assert ring.counts.pictures_used == 25
    assert min(heard[:2]) > 0.1
