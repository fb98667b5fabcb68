"""Streamed equals whole, more input never changes what was given, and the paper's sizes come out as in the paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_model

from favor_stream.errors import ConfigError
from favor_stream.model.attention import attend
from favor_stream.model.audio import AudioEncoder
from favor_stream.model.config import PRESETS, AudioConfig, FusionConfig, VisionConfig
from favor_stream.model.favor import Favor
from favor_stream.model.lora import add_lora, merge_lora
from favor_stream.model.paper import EvaVision, RollingWhisper
from favor_stream.model.qformer import CausalQFormer, diversity_loss
from favor_stream.model.sync import synchronise
from favor_stream.model.vision import VisionEncoder
from favor_stream.records import SLICE_SAMPLES

FUSIONS = {
    "window and slice": FusionConfig(8, 16, 2, 2, 2, 32, 4, (4, 1), (3, 2)),
    "window only": FusionConfig(8, 16, 2, 2, 2, 32, 4, (4,), (3,)),
    "slice only": FusionConfig(8, 16, 2, 2, 2, 32, 4, (1,), (2,)),
    "window of one slice": FusionConfig(8, 16, 2, 2, 2, 32, 1, (1,), (2,)),
    "looking ahead, as released": FusionConfig(8, 16, 2, 2, 2, 32, 4, (4,), (3,), mask_direction="future"),
    "no causal module": FusionConfig(8, 16, 2, 2, 2, 32, 4, (4, 1), (3, 2), causal=False),
    "not synchronised": FusionConfig(8, 16, 2, 2, 2, 32, 4, (4, 1), (3, 2), synchronised=False),
}


def assert_close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def stream(model: Favor, pictures: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
    """All LLM tokens of a recording fed slice by slice, the open window's read-out last."""
    state, tokens = model.start(len(sound)), []
    for k in range(pictures.shape[1]):
        new, state = model.step(pictures[:, k], sound[:, k * SLICE_SAMPLES : (k + 1) * SLICE_SAMPLES], state)
        tokens.append(new)
    return torch.cat([*tokens, model.read_out(state)], 1)


def recording(slices: int, batch: int = 1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (batch, slices, 24, 40, 3), dtype=torch.uint8, generator=generator)
    return pictures, torch.randn(batch, slices * SLICE_SAMPLES, generator=generator) * 0.1


def grids(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return VisionEncoder(PRESETS["tiny"].vision).eval().grids(pictures)


def test_form_is_blind_to_which_colour_an_edge_has() -> None:
    pictures = recording(1)[0][0]
    form, colour = grids(pictures)
    form_of_other, colour_of_other = grids(pictures.flip(-1))  # red for blue
    assert_close(form, form_of_other)
    assert (colour - colour_of_other).abs().max() > 0.001


def test_colour_is_blind_to_form() -> None:
    pictures = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8)
    rows = torch.arange(32).unflatten(0, (-1, 2, 4)).flip(1).flatten()  # four rows of a cell change places with the next four
    form, colour = grids(pictures)
    form_of_other, colour_of_other = grids(pictures[:, rows])
    assert_close(colour, colour_of_other)
    assert (form - form_of_other).abs().max() > 0.001


@pytest.mark.parametrize("slices", [1, 2, 3, 4, 5, 7, 8, 11])
@pytest.mark.parametrize("kind", FUSIONS)
def test_streamed_equals_whole(kind: str, slices: int) -> None:
    model, _ = tiny_model(fusion=FUSIONS[kind])
    pictures, sound = recording(slices, batch=2)
    whole = model.perceive(pictures, sound)
    assert_close(stream(model, pictures, sound), whole)
    assert whole.std() > 0


@pytest.mark.gpu
@pytest.mark.parametrize("kind", FUSIONS)
def test_streamed_equals_whole_on_the_gpu(kind: str) -> None:
    model, _ = tiny_model(fusion=FUSIONS[kind])
    pictures, sound = recording(11, batch=2)
    expected = model.perceive(pictures, sound)
    model, pictures, sound = model.to("cuda"), pictures.to("cuda"), sound.to("cuda")
    whole = model.perceive(pictures, sound)
    for found in (stream(model, pictures, sound), expected.to("cuda")):  # which there rounds its convolutions to TF32
        assert (found - whole).norm() < 0.003 * whole.norm()


@settings(max_examples=20)
@given(st.sampled_from(sorted(FUSIONS)), st.lists(st.booleans(), min_size=1, max_size=11))
def test_streamed_equals_whole_at_every_moment_it_is_read(kind: str, read: list[bool]) -> None:
    model, _ = tiny_model(fusion=FUSIONS[kind])
    pictures, sound = recording(len(read))
    state, tokens = model.start(), []
    for k, is_read in enumerate(read):
        new, state = model.step(pictures[:, k], sound[:, k * SLICE_SAMPLES : (k + 1) * SLICE_SAMPLES], state)
        tokens.append(new)
        if is_read:
            whole = model.perceive(pictures[:, : k + 1], sound[:, : (k + 1) * SLICE_SAMPLES])
            assert_close(torch.cat([*tokens, model.read_out(state)], 1), whole)


@pytest.mark.parametrize("kind", FUSIONS)
def test_streams_in_one_batch_equal_each_alone(kind: str) -> None:
    model, _ = tiny_model(fusion=FUSIONS[kind])
    pictures, sound = recording(6, batch=3)
    alone = [stream(model, pictures[n : n + 1], sound[n : n + 1]) for n in range(3)]
    assert_close(stream(model, pictures, sound), torch.cat(alone))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_sound_in_any_chunking_gives_the_same_tokens(chunks: list[int]) -> None:
    torch.manual_seed(0)
    encoder = AudioEncoder(AudioConfig(width=16, layers=2, heads=2, mels=16, left_slices=2)).eval()
    sound = torch.randn(1, sum(chunks) * SLICE_SAMPLES) * 0.1
    state, tokens, at = encoder.start(), [], 0
    for chunk in chunks:
        new, state = encoder.step(sound[:, at : at + chunk * SLICE_SAMPLES], state)
        tokens.append(new)
        at += chunk * SLICE_SAMPLES
    assert_close(torch.cat(tokens, 1), encoder(sound))


@pytest.mark.parametrize("kind", FUSIONS)
def test_more_input_never_changes_what_was_given(kind: str) -> None:
    model, _ = tiny_model(fusion=FUSIONS[kind])
    pictures, sound = recording(8)
    other, noise = recording(8, seed=1)
    short = model.perceive(pictures[:, :4], sound[:, : 4 * SLICE_SAMPLES])
    pictures[:, 4:], sound[:, 4 * SLICE_SAMPLES :] = other[:, 4:], noise[:, 4 * SLICE_SAMPLES :]
    assert_close(model.perceive(pictures, sound)[:, : short.shape[1]], short)


@pytest.mark.parametrize("cut", range(1, 8))
def test_more_input_never_changes_an_open_window_s_slices(cut: int) -> None:
    model, _ = tiny_model()
    c = model.config.fusion
    pictures, sound = recording(8)
    other, noise = recording(8, seed=1)
    final = cut * c.queries_of(1) + cut // c.slices_per_window * c.queries_of(c.slices_per_window)
    short = model.perceive(pictures[:, :cut], sound[:, : cut * SLICE_SAMPLES])[:, :final]
    pictures[:, cut:], sound[:, cut * SLICE_SAMPLES :] = other[:, cut:], noise[:, cut * SLICE_SAMPLES :]
    assert_close(model.perceive(pictures, sound)[:, :final], short)


@pytest.mark.parametrize("direction", ["past", "future"])
def test_mask_is_block_triangular_and_governs_what_a_slice_sees(direction: str) -> None:
    config = FusionConfig(8, 16, 2, 2, 2, 32, 3, (3,), (2,), mask_direction=direction, tokens=2)  # type: ignore[arg-type]
    torch.manual_seed(0)
    former = CausalQFormer(config).eval()
    expected = torch.ones(3, 3).tril() if direction == "past" else torch.ones(3, 3).triu()
    assert former.mask(3).equal(torch.kron(expected, torch.ones(2, 2)).bool())
    x = torch.randn(1, 6, config.pair_width)
    changed = x.clone()
    changed[:, 4:] += 1  # the last slice
    before, after = (former.look(former.stack[0], v, former.mask(3))[0][:, :, :2] for v in (x, changed))
    assert before.allclose(after) == (direction == "past")


def test_state_stays_small_however_long_the_stream() -> None:
    model, _ = tiny_model()
    pictures, sound = recording(1)
    state, sizes = model.start(), []
    for _ in range(17):
        _, state = model.step(pictures[:, 0], sound, state)
        audio = state.audio
        sizes.append(sum(t.numel() for t in [*audio.keys, *audio.conv]) + sum(k.numel() for k, _ in state.window.read))  # type: ignore[union-attr]
    assert sizes[4:8] == sizes[12:16]


def test_missing_picture_counts_as_zeros() -> None:
    model, _ = tiny_model()
    _, sound = recording(1)
    tokens, _ = model.step(None, sound, model.start())
    assert tokens.isfinite().all()
    assert tokens.shape[1] == 2


def test_synchronised_token_pairs_picture_and_sound_and_pads_the_shorter() -> None:
    pictures, sounds = torch.ones(1, 2, 32, 3), torch.full((1, 2, 25, 3), 2.0)
    pairs = synchronise(pictures, sounds, 32)
    assert pairs.shape == (1, 2, 32, 6)
    assert pairs[0, 0, 24].tolist() == [1, 1, 1, 2, 2, 2]
    assert pairs[0, 0, 25].tolist() == [1, 1, 1, 0, 0, 0]
    assert synchronise(pictures, sounds, 32, paired=False).shape == (1, 2, 64, 3)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_attention_of_what_learns_is_torch_s(dtype: torch.dtype, most: float, masked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 2, n, 8, generator=generator).to(dtype).requires_grad_() for n in (5, 7, 7))
    mask = torch.ones(5, 7, dtype=torch.bool).tril(2) if masked else None
    ours = attend(query, key, value, mask)
    torch_s = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    weight = torch.randn(ours.shape, generator=generator).to(dtype)
    learned, expected = (torch.autograd.grad(out, (query, key, value), weight) for out in (ours, torch_s))
    for one, other in zip((ours, *learned), (torch_s, *expected), strict=True):
        torch.testing.assert_close(one, other, atol=most, rtol=most)


def test_diversity_loss_is_one_for_equal_and_zero_for_orthogonal_queries() -> None:
    assert diversity_loss(torch.ones(2, 4, 8)).item() == pytest.approx(1.0)
    assert diversity_loss(torch.eye(4)[None]).item() == pytest.approx(0.0)


def test_lora_starts_as_the_frozen_model_and_merges_into_it() -> None:
    model, _ = tiny_model()
    llm = model.llm
    ids = torch.arange(6)[None]
    before = llm(ids).logits
    add_lora(llm, rank=4)
    assert_close(llm(ids).logits, before)
    trained = [name for name, p in llm.named_parameters() if p.requires_grad]
    assert trained
    assert all(".down." in name or ".up." in name for name in trained)
    for name, parameter in llm.named_parameters():
        if ".up." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted = llm(ids).logits
    assert not adapted.allclose(before)
    torch.testing.assert_close(merge_lora(llm)(ids).logits, adapted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "lora", "width"), [("favor-7b", 33_554_432, 4096), ("favor-13b", 52_428_800, 5120)])
def test_paper_presets_have_the_papers_sizes(name: str, lora: int, width: int) -> None:
    with torch.device("meta"):
        model = Favor(PRESETS[name])
    assert sum(p.numel() for p in model.llm.parameters() if p.requires_grad) == lora
    assert sum(p.numel() for p in model.audio.parameters()) == pytest.approx(637e6, rel=0.01)  # Whisper-large-v2's encoder
    former = model.fusion.qformer
    assert former.queries[0].shape == (32, 768)
    assert former.place.shape == (320, 1536)
    assert len(former.layers) == 2
    assert model.fusion.to_llm[0].weight.shape == (width, 768)
    layer = former.stack[0]
    assert layer.cross.key.weight.shape == (768, 1536)
    assert layer.causal is not None
    assert layer.causal.query.weight.shape == (1536, 1536)


def test_unknown_kind_of_encoder_is_refused_in_one_line() -> None:
    config = replace(PRESETS["tiny"], audio=replace(PRESETS["tiny"].audio, kind="horn"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no encoder of kind 'horn'; expected one of blockwise, whisper"):
        Favor(config)


def test_nano_fits_its_budget() -> None:
    with torch.device("meta"):
        model = Favor(PRESETS["favor-nano"])
    assert sum(p.numel() for p in model.parameters()) <= 20_000_000


def test_paper_encoders_have_the_interfaces_of_ours() -> None:
    torch.manual_seed(0)
    whisper = RollingWhisper(AudioConfig(kind="whisper", width=32, layers=1, heads=2)).eval()
    sound = torch.randn(1, 2 * SLICE_SAMPLES)
    with torch.inference_mode():
        first, state = whisper.step(sound[:, :SLICE_SAMPLES], whisper.start())
        second, _ = whisper.step(sound[:, SLICE_SAMPLES:], state)
        assert_close(torch.cat([first, second], 1), whisper(sound))
        small = VisionConfig(
            kind="eva",
            image=28,
            width=24,
            layers=2,
            heads=2,
            tokens=4,
            patch_width=32,
            patch_layers=1,
            patch_heads=2,
            patch_mlp=32,
        )
        assert EvaVision(small).eval()(torch.zeros(2, 9, 7, 3, dtype=torch.uint8)).shape == (2, 4, 24)
    assert first.shape == (1, 25, 32)


@pytest.mark.parametrize(
    "wrong",
    [{"resolutions": (3,), "queries": (2,)}, {"resolutions": (10, 1), "queries": (2,)}],
)
def test_impossible_fusion_is_refused_in_one_line(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        FusionConfig(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
