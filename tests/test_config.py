"""Settings come from defaults, one file and flags, in that order; every mistake is one line that says what to write."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from favor_stream.config import Config, load
from favor_stream.errors import ConfigError


def written(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(path: Path | None = None, **flags: object) -> str:
    """The one line that `load` raises."""
    with pytest.raises(ConfigError) as caught:
        load(path, **flags)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_without_file_and_flags_the_defaults_hold() -> None:
    assert load() == Config()


def test_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path, 'device = "auto"\ncontext_s = 120.5\nthreads = 2\n')
    assert load(path) == Config(device="auto", context_s=120.5, threads=2)


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "keep_s = 30.0\nlag_s = 1.0\n")
    assert load(path, keep_s=20.0) == Config(keep_s=20.0, lag_s=1.0)


def test_flag_that_is_none_was_not_given(tmp_path: Path) -> None:
    path = written(tmp_path, "keep_s = 30.0\n")
    assert load(path, keep_s=None, device=None) == Config(keep_s=30.0)


def test_whole_number_is_a_number_of_seconds(tmp_path: Path) -> None:
    assert load(written(tmp_path, "context_s = 300\n")).context_s == 300


def test_relative_weights_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    assert load(written(tmp_path, 'weights = "mine"\n')).weights == tmp_path / "mine"
    assert load(written(tmp_path, 'weights = "/there/mine"\n')).weights == Path("/there/mine")


def test_home_of_nobody_is_no_folder(tmp_path: Path) -> None:
    assert "'~nosuch/mine'" in complaint(written(tmp_path, 'weights = "~nosuch/mine"\n'))


def test_relative_weights_of_a_flag_start_from_here(tmp_path: Path) -> None:
    path = written(tmp_path, 'weights = "mine"\n')
    assert load(path, weights="yours").weights == Path("yours")


def test_unknown_key_is_named_with_its_neighbour_and_the_known_ones(tmp_path: Path) -> None:
    line = complaint(written(tmp_path, "contxt_s = 60.0\n"))
    assert "agent.toml: unknown key 'contxt_s'; did you mean 'context_s'?" in line
    assert "Known keys: weights, device, engine, graphs, llm_weights, context_s" in line


def test_unknown_key_without_neighbour_suggests_none() -> None:
    line = complaint(zzz=1)
    assert "flags: unknown key 'zzz'; Known keys:" in line


@pytest.mark.parametrize(
    ("text", "found", "wanted"),
    [
        ('context_s = "long"', "context_s is 'long' (str)", "a number"),
        ("context_s = true", "context_s is True (bool)", "a number"),
        ("threads = 2.0", "threads is 2.0 (float)", "a whole number"),
        ("threads = false", "threads is False (bool)", "a whole number"),
        ("device = 1", "device is 1 (int)", "a text in quotes"),
        ("weights = []", "weights is [] (list)", "a folder in quotes"),
        ("[lag_s]\nsize = 1", "lag_s is {'size': 1} (dict)", "a number"),
    ],
)
def test_wrong_type_is_named(tmp_path: Path, text: str, found: str, wanted: str) -> None:
    assert f"agent.toml: {found}; write {wanted}" in complaint(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("context_s = 4.9", "context_s is 4.9; write a number from 5 to 86400"),
        ("context_s = inf", "context_s is inf; write"),
        ("keep_s = nan", "keep_s is nan; write"),
        (f"keep_s = {'9' * 400}", "write a number from 5 to 3600"),
        ("lag_s = -0.5", "lag_s is -0.5; write a number from 0 to 60"),
        ("picture_hold_s = -1", "picture_hold_s is -1; write"),
        ("pictures_per_s = 0", "pictures_per_s is 0; write a number from 0.1 to 60"),
        ("max_answer_tokens = 0", "max_answer_tokens is 0; write a number from 1 to 4096"),
        ("threads = -1", "threads is -1; write a number from 0 to 1024"),
        ("keep_s = 5.0\nlag_s = 6.0", "lag_s is 6.0, longer than keep_s (5.0); lower lag_s or raise keep_s"),
        ('device = "gpu"', "device is 'gpu'; write one of auto, cpu, cuda"),
        ('log_level = "loud"', "log_level is 'loud'; write one of debug, info, warning, error"),
    ],
)
def test_value_out_of_range_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(written(tmp_path, text))


def test_range_holds_for_a_config_made_in_code() -> None:
    with pytest.raises(ConfigError, match="context_s is 0; write"):
        Config(context_s=0)


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert "nowhere.toml: cannot be read (No such file or directory)" in complaint(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("content", [b"context_s 600", b"context_s = 1\ncontext_s = 2", b'device = "\xff"'])
def test_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "agent.toml"
    path.write_bytes(content)
    assert "agent.toml: is not TOML (" in complaint(path)


def test_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEVICE", "FAVOR_DEVICE", "FAVOR_WEIGHTS"):
        monkeypatch.setenv(name, "cuda")
    assert load() == Config()


def test_config_cannot_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().device = "cuda"  # type: ignore[misc]
