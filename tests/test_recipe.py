"""Recipes of training: read whole before anything is made, followed step by step, gone on with where they stopped."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from favor_stream.errors import ConfigError
from favor_stream.model import weights
from favor_stream.training import average, recipe, train
from favor_stream.training.budget import budgeted
from favor_stream.training.curriculum import NANO

SHIPPED = Path(weights.__file__).parents[1] / "models" / "favor-nano" / "recipe.toml"
LEAST = "{ clips = 1, odd = 1, speech = 2, sight = 1, hearing = 1, language = 1, distil = 1, join = 1 }"
RECIPE = f"""
[first]
budget = {LEAST}
[second]
seed = 2
budget = {LEAST}
[both]
mean = ["first", "second"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_recipe_of_the_shipped_weights_is_what_their_manifest_tells() -> None:
    runs = [step for step in recipe.read(SHIPPED) if not step.mean]
    facts = weights.read_manifest(SHIPPED.parent)
    for step in reversed(runs):
        asked = repr(budgeted(NANO.budget, step.budget)).replace(", batch=1)", ")")
        if "revision" in facts:  # earlier ones told their budgets less exactly
            told = re.sub(r"samples=\d+, |, batch=1(?=\))", "", facts["budget"])  # those had memories that came again
            assert (step.seed, asked) == (facts["seed"], told), step.name
        facts = facts.get("start", {})
    assert not facts


def test_recipe_is_followed_and_gone_on_with_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    path, out, means = written(tmp_path, RECIPE), tmp_path / "out", average.run
    monkeypatch.setattr(average, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        recipe.run(path, out, "smoke")
    monkeypatch.setattr(average, "run", means)
    monkeypatch.setattr(train, "run", lambda *_: pytest.fail("a finished step was made again"))
    assert recipe.run(path, out, "smoke") == 0
    assert sorted(each.name for each in (out / "steps").iterdir()) == ["both", "first", "second"]
    assert [each.name for each in (out / "work").iterdir()] == ["recipe.json"]
    assert not list(out.glob("steps/*/work"))
    first, second, both = (weights.read_manifest(folder) for folder in (out / "steps" / "first", out / "steps" / "second", out))
    assert both["averaged"]["sha256"] == [first["sha256"], second["sha256"]]
    assert both["start"]["sha256"] == first["sha256"]
    assert weights.load(out)[0].config == weights.load(out / "steps" / "first")[0].config
    with pytest.raises(ConfigError, match="was begun with"):
        recipe.run(written(tmp_path, RECIPE + "[more]\nseed = 3\n"), out, "smoke")


def test_weights_that_are_there_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / weights.MANIFEST).write_text("{}")
    path = written(tmp_path, RECIPE)
    for start in (partial(train.run, "smoke"), partial(recipe.run, path, preset="smoke")):
        with pytest.raises(ConfigError, match="holds weights already: expected a folder without"):
            start(out=tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [weights.MANIFEST, "recipe.toml"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no step found"),
        ("seed = 3", r"\[seed\]: expected a table"),
        ('["../up"]\nseed = 3', "whose name is of letters and digits"),
        ("[first]\nsede = 3", "unknown key 'sede'; did you mean 'seed'"),
        ('[first]\nseed = "3"', "seed is '3'; expected a whole number"),
        ("[first]\nbudget = { flips = 3 }", "a budget knows no 'flips'"),
        ("[first]\nbudget = { clips = -3 }", "clips is -3 in the budget"),
        ("[first]\nbudget = { clips = true }", "clips is True in the budget"),
        ('[first]\nstart = "second"\n[second]\nseed = 1', "no step 'second' before it"),
        ('[first]\nseed = 1\n[both]\nmean = ["first"]', "a mean of 1; expected two steps or more"),
        ('[first]\nseed = 1\n[both]\nmean = ["first", {}]', "no step {} before it; expected some of: first"),
        ('[first]\nseed = 1\n[both]\nmean = ["first", "first"]\nseed = 1', "unknown key 'seed'"),
        ("[first", "is not TOML"),
    ],
)
def test_recipe_that_cannot_be_followed_is_one_line_and_makes_nothing(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        recipe.run(written(tmp_path, text), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
