"""Every variant runs streamed as it does whole, is taught as the session will read it, and is compared in one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from favor_stream.aveb.questions import corpus
from favor_stream.aveb.tasks import TASKS
from favor_stream.config import SHIPPED
from favor_stream.errors import ConfigError, WeightsError
from favor_stream.model import weights
from favor_stream.model.config import PRESETS, ModelConfig
from favor_stream.model.favor import Favor
from favor_stream.records import SLICE_SAMPLES
from favor_stream.training import ablations, bank, fusion, labels, language, train
from favor_stream.training.ablations import Outcome
from favor_stream.training.curriculum import NANO, SMOKE
from favor_stream.training.loop import Run
from favor_stream.training.oracle import QUERIES, WINDOW_QUERIES, shown
from favor_stream.training.tokens import train_tokenizer
from favor_stream.training.variants import VARIANTS, WHOLE, ShownOracle

TINY = replace(PRESETS["tiny"], fusion=replace(PRESETS["tiny"].fusion, queries=(WINDOW_QUERIES, QUERIES)))


def tiny(variant: str) -> Favor:
    torch.manual_seed(0)
    return Favor(VARIANTS[variant].of(TINY)).eval()


def recording(slices: int, seed: int = 0, each: tuple[int, ...] = ()) -> tuple[torch.Tensor, torch.Tensor]:
    """Of two streams; `each` has the number of a slice's pictures, where there are several."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (2, slices, *each, 12, 16, 3), dtype=torch.uint8, generator=generator)
    return pictures, torch.randn(2, slices * SLICE_SAMPLES, generator=generator) * 0.1


def recording_for(variant: str, slices: int) -> tuple[torch.Tensor, torch.Tensor]:
    return recording(slices, each=(VARIANTS[variant].pictures,) if VARIANTS[variant].pictures > 1 else ())


def streamed(model: Favor, pictures: torch.Tensor, sound: torch.Tensor) -> list[torch.Tensor]:
    """After each slice all tokens so far, the open window's read-out last."""
    state, tokens, told = model.start(len(sound)), list[torch.Tensor](), []
    for k in range(pictures.shape[1]):
        new, state = model.step(pictures[:, k], sound[:, k * SLICE_SAMPLES : (k + 1) * SLICE_SAMPLES], state)
        tokens.append(new)
        told.append(torch.cat([*tokens, model.read_out(state)], 1))
    return told


def encoded(model: Favor, pictures: torch.Tensor, sound: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    slices = pictures.shape[1]
    with torch.no_grad():
        seen = model.see(pictures.flatten(0, 1), 2 * slices)
        return seen.view(2, slices, *seen.shape[1:]), model.audio(sound).unflatten(1, (slices, -1))


def assert_close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=3e-5, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_streamed_equals_whole_at_every_moment_for_every_variant(variant: str) -> None:
    model = tiny(variant)
    pictures, sound = recording_for(variant, 9)
    for k, told in enumerate(streamed(model, pictures, sound), 1):
        assert_close(told, model.perceive(pictures[:, :k], sound[:, : k * SLICE_SAMPLES]))
        assert told.std() > 0


@pytest.mark.parametrize("variant", ["window-20", "whole-clip"])
def test_streamed_equals_whole_beyond_the_first_long_window(variant: str) -> None:
    model = tiny(variant)
    pictures, sound = recording(WHOLE + 3)
    assert_close(streamed(model, pictures, sound)[-1], model.perceive(pictures, sound))


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_lays_every_variant_s_memory_out_as_the_session_does(variant: str) -> None:
    model = tiny(variant)
    pictures, sound = recording_for(variant, 11)
    with torch.inference_mode():
        perceived = fusion.perceive(model.fusion, *encoded(model, pictures, sound))
    memory = language.remember(*perceived, model.config.fusion.slices_per_window)
    assert_close(memory, model.perceive(pictures, sound))


@pytest.mark.parametrize("variant", VARIANTS)
def test_oracle_writes_as_many_tokens_as_the_variant(variant: str) -> None:
    model, oracle = tiny(variant), oracle_of(VARIANTS[variant].of(TINY))
    size = model.config.fusion.slices_per_window
    rows = torch.zeros(2, 11, labels.WIDTH, dtype=torch.long)
    words = torch.randn(TINY.llm.vocabulary, TINY.llm.width)
    memory = language.remember(*oracle.memory(rows, words), size)
    assert memory.shape == model.perceive(*recording_for(variant, 11)).shape
    slices, (window, *_) = oracle.memory(rows[:, :size], words)
    assert oracle.copy_loss(slices, window, rows[:, : min(size, 11)], words).item() == pytest.approx(0.0, abs=1e-9)


def oracle_of(config: ModelConfig) -> ShownOracle:
    torch.manual_seed(0)
    return ShownOracle(config, train_tokenizer(corpus(300, 0), config.llm.vocabulary))


def test_shipped_weights_are_the_full_model_s_as_before() -> None:
    config = weights.config_of(weights.read_manifest(SHIPPED)["config"], SHIPPED)
    assert VARIANTS["full"].of(config) == config
    with torch.device("meta"):
        names = {name for name in Favor(config).state_dict() if name != "llm.lm_head.weight"}
    with safe_open(SHIPPED / weights.TENSORS, "pt") as tensors:
        assert names == set(tensors.keys())


def test_every_variant_differs_from_the_full_model_in_one_thing() -> None:
    full = PRESETS["favor-nano"]
    differing = [variant for name, variant in VARIANTS.items() if name != "full"]
    assert all(variant.of(full) != full or variant.diversity == 0.0 for variant in differing)
    assert VARIANTS["without-diversity"].of(full) == full
    assert len({repr(variant.of(full)) for variant in VARIANTS.values()}) == len(VARIANTS) - 1


def test_a_whole_clip_is_one_of_training_s_clips() -> None:
    assert NANO.slices == WHOLE


def test_slices_wait_for_their_window_where_they_look_ahead() -> None:
    model = tiny("mask-future")
    pictures, sound = recording(4)
    other, _ = recording(4, seed=1)
    state, given = model.start(2), []
    for k in range(4):
        new, state = model.step(pictures[:, k], sound[:, k * SLICE_SAMPLES : (k + 1) * SLICE_SAMPLES], state)
        given.append(new.shape[1])
    assert given == [0, 0, 0, model.config.fusion.tokens_per_window]
    pictures_after = torch.cat([pictures[:, :3], other[:, 3:]], 1)
    for variant, looks_ahead in {"mask-future": True, "full": False}.items():
        model = tiny(variant)
        first, changed = (model.perceive(p, sound)[:, :QUERIES] for p in (pictures, pictures_after))
        assert bool((first - changed).abs().max() > 1e-4) == looks_ahead


def test_separate_queries_know_one_sense_each() -> None:
    model = tiny("separate")
    pictures, sound = recording(4)
    seen, heard = encoded(model, pictures, sound)
    one, other = (model.fusion.qformer(model.fusion.pair(seen, h)) for h in (heard, heard.flip(1)))
    for resolution in one:
        is_changed = (one[resolution] - other[resolution]).abs().flatten(0, -2).amax(0) > 1e-5
        half = len(is_changed) // 2
        assert not is_changed[:half].any()
        assert is_changed[half:].all()


def test_separate_is_about_as_large_as_joint() -> None:
    with torch.device("meta"):
        joint, separate = (
            sum(p.numel() for p in Favor(VARIANTS[name].of(PRESETS["favor-nano"])).fusion.parameters())
            for name in ("full", "separate")
        )
    assert separate == pytest.approx(joint, rel=0.03)


def test_two_unpaired_qformers_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="joint and synchronised are both false"):
        replace(TINY.fusion, joint=False, synchronised=False)


@pytest.mark.parametrize(("variant", "is_seen"), [("full", True), ("fps-1", False)])
def test_every_second_slice_has_no_picture_at_one_per_second(variant: str, is_seen: bool) -> None:
    model = tiny(variant)
    pictures, sound = recording(4)
    other = pictures.clone()
    other[:, 1::2] = 255 - other[:, 1::2]
    assert torch.equal(model.perceive(pictures, sound), model.perceive(other, sound)) == (not is_seen)
    other[:, 0] = 255 - other[:, 0]
    assert not torch.equal(model.perceive(pictures, sound), model.perceive(other, sound))


def test_windows_show_no_motion_in_their_first_slice() -> None:
    rows = torch.ones(1, 6, labels.WIDTH, dtype=torch.long)
    told = shown(rows, 2)
    hidden = torch.tensor([labels.MOTION, labels.THING_FIELDS + labels.MOTION])
    assert told[0, ::2, hidden].eq(0).all()
    told[0, ::2, hidden[:, None]] = 1
    assert torch.equal(told, rows)


def test_diversity_is_worth_what_the_variant_says() -> None:
    run = Run(tiny("full"), oracle_of(TINY), train_tokenizer(["yes"], 300), Path(), np.random.default_rng(0))
    seen, heard = encoded(run.model, *recording(4))
    rows = torch.zeros(2, 4, labels.WIDTH, dtype=torch.long)
    with torch.inference_mode():
        without, some, more = (fusion.copied(run, seen, heard, rows, weight)[0].item() for weight in (0.0, 1.0, 2.0))
    assert more - some == pytest.approx(some - without, abs=1e-4)
    assert some != pytest.approx(without, abs=1e-4)


def test_clips_shorter_than_a_window_are_copied_beside_longer_ones() -> None:
    run = Run(tiny("window-20"), oracle_of(VARIANTS["window-20"].of(TINY)), train_tokenizer(["yes"], 300), Path(), full_windows())
    vision, audio = TINY.vision, TINY.audio
    sorts = []
    for slices, pictures in ((WHOLE, 1), (16, 0)):
        rows = np.zeros((3, slices, labels.WIDTH), np.int16)
        clips = bank.Clips(np.zeros((pictures, 1), np.uint8), np.zeros(0, np.int16), rows, [], [])
        seen, heard = torch.zeros(3, slices, vision.tokens, vision.width), torch.randn(3, slices, audio.tokens, audio.width)
        sorts.append([fusion.Encoded(clips, seen, heard)])
    loss, figures = fusion.copying(run, sorts, 2)
    assert loss.isfinite()
    assert figures["copy"] > 0


def full_windows() -> np.random.Generator:
    """Its first number asks for a full window."""
    return next(np.random.default_rng(seed) for seed in range(9) if np.random.default_rng(seed).random() < 0.6)


def outcome(variant: str, seed: int, speech: float) -> Outcome:
    return Outcome(variant, seed, 10.8, 2_840_000, {"speech": speech})


def test_table_tells_the_mean_and_the_spread_over_seeds() -> None:
    given = [outcome("full", 0, 0.10), outcome("full", 1, 0.20), outcome("separate", 0, 0.5)]
    lines = ablations.table(given).splitlines()
    assert lines[0] == "| task | metric | full, 2 seeds | separate, 1 seed |"
    assert lines[2] == "| tokens per second |  | 10.8 | 10.8 |"
    assert lines[-1] == "| speech | WER | 15.0% (10.0% .. 20.0%) | 50.0% |"
    assert "story" not in ablations.table(given)


def test_films_are_told_by_kinds_of_question_too() -> None:
    given = Outcome("full", 0, 10.8, 2_840_000, {"films": 0.9, "films: motion": 0.5, "dialogues": 0.8})
    names = [line.split(" | ")[0] for line in ablations.table([given]).splitlines()[4:]]
    assert names == ["| films", "| films: motion", "| dialogues"]


def test_unknown_variant_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown variants \['fps-8'\]: expected some of full, without-causal"):
        ablations.run(tmp_path / "out", tmp_path, ["full", "fps-8"], [0], "smoke")
    assert not (tmp_path / "out").exists()


LEAST = {"clips": 2, "odd": 1, "speech": 2, "language": 1, "distil": 1, "join": 1}


def begin(folder: Path) -> Path:
    """Small weights to begin with, and their oracle."""
    torch.manual_seed(0)
    llm, whole = replace(TINY.llm, vocabulary=1024), replace(TINY.fusion, slices_per_window=10, resolutions=(10, 1))
    model = Favor(replace(TINY, fusion=whole, llm=llm)).eval()
    tokenizer = train_tokenizer(corpus(10 * train.WORDS, 0), llm.vocabulary)
    weights.save(folder, model, tokenizer, {})
    weights.write(ShownOracle(model.config, tokenizer), folder / train.ORACLE)
    return folder


def test_encoders_of_variants_stay_as_they_are() -> None:
    budget = ablations.budget_of("nano")
    assert (budget.sight, budget.hearing) == (0, 0)
    assert 0 < budget.join < budget.distil < budget.language


def test_every_stage_has_batches_of_the_budget_s_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, batches = begin(tmp_path / "start"), list[int]()
    for module, stage in ((language, "speak"), (fusion, "distil"), (fusion, "join")):
        monkeypatch.setattr(module, stage, lambda learning, *_: batches.append(learning.batch))
    budget = replace(SMOKE.budget, language=0, join=0, batch=3)  # there are no lessons to draw for no steps
    course = ablations.Course(start, tmp_path, replace(SMOKE, budget=budget), [[]])
    ablations.teach(course, "full", 0, tmp_path / "out")
    assert batches == [3, 3, 3]


@pytest.mark.slow
def test_variants_are_taught_asked_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("espeakng_loader")
    monkeypatch.setattr(ablations, "TASKS", [task for task in TASKS if task.name in ("captions", "pictures")])
    start, out = begin(tmp_path / "start"), tmp_path / "out"

    def told(variants: Sequence[str], seeds: Sequence[int]) -> str:
        assert ablations.run(out, start, variants, seeds, "smoke", LEAST) == 0
        return capsys.readouterr().out

    assert "| task | metric | window-1, 1 seed | separate, 1 seed | fps-4, 1 seed |" in told(
        ["window-1", "separate", "fps-4"], [0]
    )
    assert [next(bank.shards(films)).pictures.shape[2] for films in (out / "work/clips", out / "work/2-pictures/clips")] == [1, 2]
    model, _ = weights.load(out / "window-1-0")
    assert model.config.fusion.resolutions == (1,)
    hearing = zip(model.audio.parameters(), weights.load(start)[0].audio.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in hearing)
    kept = json.loads((out / "separate-0" / ablations.OUTCOME).read_text())
    assert kept["scores"].keys() == {"captions", "pictures"}
    assert kept["tokens_per_s"] == pytest.approx(10.8)
    again = told(["separate", "window-1", "separate"], [0])
    assert "join" not in again
    assert "| task | metric | separate, 1 seed | window-1, 1 seed |" in again
    with pytest.raises(ConfigError, match="was begun with"):
        ablations.run(out, start, ["full"], [0], "nano")
    with pytest.raises(ConfigError, match="was begun with"):
        ablations.run(out, start, ["full"], [0], "smoke", LEAST | {"join": 3})
    (start / train.ORACLE).unlink()
    with pytest.raises(WeightsError, match=f"{train.ORACLE} cannot be read"):
        ablations.run(out, start, ["full"], [0], "smoke", LEAST)
