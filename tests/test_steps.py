"""The steps of fixed sizes compute what the model's own growing steps do; pictures are made smaller as torch makes them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from test_model import FUSIONS, assert_close, recording
from tiny import tiny_model

from favor_stream.encoder import GraphEncoder, TorchEncoder
from favor_stream.errors import EngineError
from favor_stream.graphs import torch_engine
from favor_stream.model.config import AudioConfig
from favor_stream.model.favor import Favor
from favor_stream.model.feeds import feeds, stepped
from favor_stream.model.paper import RollingWhisper
from favor_stream.model.resize import BICUBIC, BILINEAR, Kernel, resize
from favor_stream.model.steps import WhisperStep, WindowStep, lowered, steps
from favor_stream.records import SLICE_SAMPLES
from favor_stream.sample import sample

FIXED = sorted(kind for kind in FUSIONS if kind != "looking ahead, as released")


def by_parts(model: Favor) -> GraphEncoder:
    return GraphEncoder(model, {name: torch_engine(step) for name, step in steps(model).items()})


@pytest.mark.parametrize("kind", FIXED)
def test_steps_of_fixed_sizes_give_what_the_model_gives_at_every_moment(kind: str) -> None:
    model, _ = tiny_model(fusion=FUSIONS[kind])
    own, other = TorchEncoder(model), by_parts(model)
    pictures, sound = recording(11)
    for k in range(11):
        shown = None if k == 5 else pictures[0, k]
        heard = sound[0, k * SLICE_SAMPLES : (k + 1) * SLICE_SAMPLES]
        assert_close(other.step(shown, heard), own.step(shown, heard))
        assert_close(other.read_out(), own.read_out())
        assert other.slices == own.slices


def test_reset_forgets_the_stream() -> None:
    encoder = by_parts(tiny_model()[0])
    pictures, sound = recording(3)
    first = encoder.step(pictures[0, 0], sound[0, :SLICE_SAMPLES])
    encoder.step(pictures[0, 1], sound[0, SLICE_SAMPLES : 2 * SLICE_SAMPLES])
    encoder.reset()
    assert encoder.slices == 0
    assert_close(encoder.step(pictures[0, 0], sound[0, :SLICE_SAMPLES]), first)


@torch.inference_mode()
def test_streams_that_began_at_different_times_share_a_batch() -> None:
    """Each row has counts of its own: an old stream and a new one step together as each would alone."""
    parts = steps(tiny_model()[0])
    given = list(feeds(parts, "window", sample(7, size=(40, 24))))
    old, new = given[6], given[0]
    together, states = stepped(parts["window"], {name: torch.cat([old[name], new[name]]) for name in old})
    for row, alone in enumerate((old, new)):
        tokens, state = stepped(parts["window"], alone)
        assert_close(together["tokens"][row : row + 1], tokens["tokens"])
        assert states["slices"][row] == state["slices"][0]


@torch.inference_mode()
@pytest.mark.parametrize("slices", [2, 62])
def test_whisper_step_is_whisper_over_the_last_30_seconds(slices: int) -> None:
    torch.manual_seed(0)
    whisper = RollingWhisper(AudioConfig(kind="whisper", width=16, layers=1, heads=2, mels=16)).eval()
    step, state = WhisperStep(whisper), WhisperStep(whisper).start()
    sound = torch.randn(1, slices * SLICE_SAMPLES, generator=torch.Generator().manual_seed(1))
    for at, piece in enumerate(torch.split(sound, SLICE_SAMPLES, 1)):
        told, state = stepped(step, {"sound": piece, **state})
        if at in (0, slices - 1):
            assert_close(told["heard"], whisper.encode(sound[:, : (at + 1) * SLICE_SAMPLES][:, -60 * SLICE_SAMPLES :]))


@pytest.mark.parametrize(("kernel", "mode"), [(BILINEAR, "bilinear"), (BICUBIC, "bicubic")])
@pytest.mark.parametrize("size", [(480, 640), (97, 131), (20, 30), (64, 64)])
def test_pictures_are_made_smaller_and_larger_as_torch_makes_them(kernel: Kernel, mode: str, size: tuple[int, int]) -> None:
    pictures = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(pictures.permute(0, 3, 1, 2).float(), (64, 64), mode=mode, antialias=True)
    torch.testing.assert_close(resize(pictures, 64, kernel).permute(0, 3, 1, 2), wanted, atol=1e-3, rtol=1e-5)


@torch.inference_mode()
def test_a_lowered_step_is_near_and_leaves_the_model_as_it_was() -> None:
    model, _ = tiny_model()
    step = steps(model)["audio"]
    given = list(feeds(steps(model), "audio", sample(3, size=(40, 24))))[-1]
    exact, rounded = step(*given.values())[0], lowered(step, torch.bfloat16)(*given.values())[0]
    assert 0 < (exact - rounded).norm() / exact.norm() < 0.05
    assert rounded.dtype == model.projection.dtype == torch.float32


def test_a_window_that_looks_ahead_is_refused_in_one_line() -> None:
    model, _ = tiny_model(fusion=FUSIONS["looking ahead, as released"])
    with pytest.raises(EngineError, match="mask_direction is 'future'.*run this model on torch"):
        WindowStep(model.fusion)
