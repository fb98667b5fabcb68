"""What holds for every test: nothing from the model hub, one hypothesis profile, what the markers `gpu` and `device` mean."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

from favor_stream.config import Config

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported: weights come from the tree or not at all
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads and a forked child warn each other

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported: beside each other, two threads each are slower than one

# What `favor-stream tune` found on this machine has no say in tests.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="favor-cache-")
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="favor-state-")  # and tests write nothing down for it

REAL_PARTS_REQUIRED = os.environ.get("FAVOR_REQUIRE_REAL") == "1"

hypothesis.settings.register_profile("favor", deadline=None)  # a busy machine is slow, not wrong
hypothesis.settings.load_profile("favor")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch  # here: most runs of a single file need no torch

        if not torch.cuda.is_available():
            pytest.skip("needs an NVIDIA GPU, and torch finds none")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where real parts must be there, a `device` test that skips is a failure that says what is missing."""
    report = yield
    required = REAL_PARTS_REQUIRED and item.get_closest_marker("device")
    if required and report.skipped and isinstance(report.longrepr, tuple):  # an expected failure holds its traceback here
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr[2]} (FAVOR_REQUIRE_REAL=1 says that it must be there)"
    return report


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Settings that name a tiny random model."""
    from tiny import talkative_model  # here, with torch

    from favor_stream.model import weights

    folder = tmp_path_factory.mktemp("tiny")
    weights.save(folder, *talkative_model(), {})
    return Config(weights=folder, max_answer_tokens=8)


@pytest.fixture(scope="session")
def exported_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a tiny random model and, in `graphs`, its graphs for one stream, with one for pictures of 40x24."""
    from tiny import tiny_model  # here, with torch

    from exporters.__main__ import main
    from favor_stream.model import weights

    folder = tmp_path_factory.mktemp("exported")
    weights.save(folder, *tiny_model(), {})
    flags = ["--preset", "tiny", "--weights", str(folder), "--out", str(folder / "graphs"), "--steps", "6", "--size", "40x24"]
    assert main(flags) == 0
    return folder
