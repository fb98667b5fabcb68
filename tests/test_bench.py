"""The benchmark's figures are figures; what they are depends on the machine and is not tested."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_model

from favor_stream.bench import limits, live, memory, on_device, page, parts, rivals, together
from favor_stream.bench.__main__ import report
from favor_stream.bench.rows import Row, table
from favor_stream.bench.subject import Subject, check_memory, configured, random
from favor_stream.capture import open_source
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.model import weights
from favor_stream.model.config import PRESETS
from favor_stream.model.steps import Step
from favor_stream.ring import Ring


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("tiny")
    weights.save(folder, *tiny_model(), {})
    return configured(Config(weights=folder))


def test_endless_stream_is_measured_by_the_minute(subject: Subject) -> None:
    rows = memory.endless(replace(subject, config=replace(subject.config, context_s=30.0)), minutes=2)
    assert [row.unit for row in rows] == ["x", "ms", "MiB", "MiB", ""]
    assert rows[0].value > 0


def test_first_token_is_compared_with_reading_again(subject: Subject) -> None:
    rows = memory.first_token(subject, minutes=(1,))
    assert all(row.value > 0 for row in rows)


def test_chain_loop_and_capture_are_measured(subject: Subject) -> None:
    rows = [*live.whole_chain(subject, 4), *live.loop_lag(subject.config, 1), *live.capture_share(2)]
    assert [row.goal for row in rows] == ["<= 0.2", "<= 20", ""]
    assert all(row.value > 0 for row in rows)
    assert table(rows).count("\n") == len(rows) + 1


def test_context_of_each_length_is_still_remembered_when_it_is_asked(subject: Subject) -> None:
    rows = memory.first_token(replace(subject, config=replace(subject.config, context_s=5.0)), minutes=(1, 2))
    held = [row.value for row in rows if row.name.startswith("context held")]
    assert held == pytest.approx([1, 2], abs=0.05)  # whatever the agent's own memory


def test_many_watches_are_compared_with_one(subject: Subject) -> None:
    rows = memory.watching(subject, (2, 32), minutes=1)
    assert [row.goal for row in rows] == ["", "", "<= 2"]
    assert all(row.value > 0 for row in rows)


def test_telling_is_measured_on_what_really_happened(subject: Subject) -> None:
    told, age = live.telling(subject.config, 4)
    assert told.value >= 2
    assert 0.5 < age.value < 60


def test_table_is_aligned_and_says_what_was_reached() -> None:
    rows = [
        Row("a", 0.1234, "x", "<= 1", True),
        Row("tokens", 13_301, "", "", None),
        Row("b", 2, "ms", "<= 1", False),
    ]
    lines = table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["0.123 x", "13301", "2 ms"]
    assert [line.split("|")[4].strip() for line in lines[2:]] == ["reached", "", "missed"]


def test_film_has_sound_and_pictures(tmp_path: Path) -> None:
    ring = Ring(pace="lossless")
    with open_source(str(live.film(tmp_path, 1, 25, (64, 48))), ring, pictures_per_s=25.0):
        heard = [float(np.abs(piece.sound).max()) for piece in ring]
    assert ring.counts.pictures_used == 25
    assert min(heard[:2]) > 0.1


def test_parts_are_timed_on_each_engine_against_the_limits_of_the_machine(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(limits.SIDE, "cpu", 64)
    monkeypatch.setitem(limits.COPIED_BYTES, "cpu", 2**20)
    told = parts.by_engine(subject)
    assert [row.unit for row in told[:3]] == ["GB/s", "GFLOP/s", "GFLOP/s"]
    assert all(row.value > 0 for row in told)
    assert sum(row.name.startswith("audio, torch fp32 (") for row in told) == 1
    assert told[-1].goal == ">= 2"


def test_cost_counts_every_product_and_every_byte() -> None:
    class Doubling(Step):
        inputs, outputs = ("x",), ("y",)

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3, 5))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (x @ self.weight,)

    assert parts.cost(Doubling(), {"x": torch.ones(2, 3)}) == (2 * 2 * 3 * 5, 4 * (15 + 6 + 10))


def test_decoding_goes_on_until_its_last_token(subject: Subject) -> None:
    rate, share, *rounded = parts.decoding(subject, context=64, tokens=8)
    assert rate.value > 0
    assert 0 < share.value < 1
    assert [row.name.split()[3] for row in rounded] == ["int8", "fp8"]
    assert all(row.value > 0 for row in rounded)


def test_streams_at_once_are_counted(subject: Subject) -> None:
    (row,) = together.streams(subject, seconds=1.0, most=2)
    assert row.value in (0, 1, 2)


def test_all_that_needs_no_film_runs_on_a_model_of_few_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a report of a GPU does at the paper's sizes, whose model has 4,096 positions and is not shipped."""
    monkeypatch.setitem(limits.SIDE, "cpu", 64)
    monkeypatch.setitem(limits.COPIED_BYTES, "cpu", 2**20)
    short = replace(PRESETS["tiny"], llm=replace(PRESETS["tiny"].llm, vocabulary=1024, positions=1600, look_back=None))
    monkeypatch.setitem(PRESETS, "tiny", short)
    measured = on_device(random(Config(max_answer_tokens=8, engine="torch"), "tiny"), quick=True, stream_minutes=2)
    rows = list(chain.from_iterable(measured))
    assert all(row.value > 0 for row in rows if not row.name.startswith("resident memory"))
    assert not any(row.goal in ("<= 15", ">= 130") for row in rows)  # those of another model on another device


def test_joined_passes_are_measured_beside_single_ones(subject: Subject) -> None:
    told = together.joined(subject)
    assert [row.unit for row in told] == ["ms", "x", "ms", "x"]
    assert all(row.value > 0 for row in told)


def test_films_at_once_are_counted(subject: Subject) -> None:
    (row,) = live.many_streams(subject, seconds=2, most=2)
    assert row.value in (0, 1, 2)
    assert row.goal == ">= 8"


def test_rivals_do_the_same_work(subject: Subject) -> None:
    told = rivals.rivals(subject, seconds=1, minutes=1)
    assert [row.goal for row in told] == ["", "", "", ">= 50"]
    assert all(row.value > 0 for row in told)


def test_page_holds_every_figure_and_its_picture(tmp_path: Path) -> None:
    page.write(
        tmp_path / "bench.html",
        [Row("audio, torch fp32 (3% of the limit)", 2.0, "ms", "", None), Row("<b>", 1, "x", ">= 2", False)],
    )
    text = (tmp_path / "bench.html").read_text()
    assert "audio, torch fp32" in text
    assert "&lt;b&gt;" in text
    assert "missed" in text
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_page_that_cannot_be_written_is_told() -> None:
    with pytest.raises(DeviceError, match="cannot be written"):
        page.write(Path("/proc/bench.html"), [])


def test_random_weights_of_another_preset_are_measured_without_films(capsys: pytest.CaptureFixture[str]) -> None:
    subject = random(Config(max_answer_tokens=8), "tiny")
    assert subject.model.llm.config.num_hidden_layers == 2
    assert subject.holds(1)
    assert not subject.holds(10_000)
    assert all(row.value > 0 for row in memory.first_token(subject, (1,)))


def test_preset_that_does_not_fit_the_memory_says_how_much_it_needs() -> None:
    with pytest.raises(DeviceError, match=r"favor-13b needs 1000000 GB of memory on cpu, \d+ GB are free; take --preset \S+$"):
        check_memory("favor-13b", "cpu", 10**15, torch.float32)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_report_of_a_gpu_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="torch finds no CUDA here; run this on a machine with an NVIDIA GPU"):
        report(tmp_path, "tiny")


def test_report_of_no_minutes_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="minutes is 0; write 1 or more"):
        report(tmp_path, "tiny", minutes=0)


@pytest.mark.gpu
def test_report_of_this_gpu_is_written(tmp_path: Path) -> None:
    assert report(tmp_path, "favor-nano", minutes=2) == 0
    assert len(list(tmp_path.iterdir())) == 3
