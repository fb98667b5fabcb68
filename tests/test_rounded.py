"""Layers in eight bits: how near they are, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_llm import llama, window
from test_passes import streamed, taped
from torch import nn

from favor_stream.config import LLM_WEIGHTS, Config
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.model.rounded import KINDS, RoundedLinear, round_linears
from favor_stream.passes import Passes
from favor_stream.session import SPARE, check_memory, load_model, load_session


@pytest.mark.parametrize(("kind", "error"), [("int8", 0.01), ("fp8", 0.05)])
@pytest.mark.parametrize("rows", [1, 7, 40])
def test_rounded_product_is_near(kind: str, error: float, rows: int) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(256, 96, bias=False), torch.randn(1, rows, 256)
    exact, near = linear(x), RoundedLinear(linear, kind)(x)
    assert near.shape == exact.shape
    assert (near - exact).norm() / exact.norm() < error


@pytest.mark.parametrize("kind", KINDS)
def test_rounded_model_reads_and_is_replayed(kind: str) -> None:
    model, parts = llama(), [window(0, 9), window(1, 1)]
    exact = streamed(Passes(model), *parts)
    round_linears(model.model, kind)
    near = streamed(Passes(model), *parts)
    assert 0 < (near - exact).norm() / exact.norm() < (0.1 if kind == "int8" else 0.5)
    assert torch.allclose(streamed(Passes(model, record=taped), *parts), near, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_stay_zeros(kind: str) -> None:
    assert not RoundedLinear(nn.Linear(32, 16, bias=False), kind)(torch.zeros(3, 32)).any()


@pytest.mark.parametrize("linear", [nn.Linear(32, 16), nn.Linear(24, 16, bias=False), nn.Linear(32, 8, bias=False)])
def test_layer_that_cannot_be_rounded_is_refused(linear: nn.Linear) -> None:
    with pytest.raises(ConfigError, match=r"llm_weights is 'int8'.*expected sizes that are multiples of 16"):
        RoundedLinear(linear, "int8")


@pytest.mark.parametrize("kind", KINDS)
def test_configured_model_is_rounded_and_smaller(kind: str, config: Config) -> None:
    assert set(KINDS) | {"stored"} == set(LLM_WEIGHTS)
    rounded, _ = load_model(replace(config, llm_weights=kind))
    stored, _ = load_model(config)
    sizes = [
        sum(each.nbytes for each in (*model.llm.model.layers.parameters(), *model.llm.model.layers.buffers()))
        for model in (rounded, stored)
    ]
    assert sizes[0] < 0.3 * sizes[1]  # of float32
    assert isinstance("".join(load_session(replace(config, llm_weights=kind)).ask("what do you see now?")), str)


def test_model_too_large_for_a_gpu_says_what_it_needs_and_what_fits(config: Config) -> None:
    model, _ = load_model(config)
    stored = sum(each.nbytes for each in (*model.parameters(), *model.buffers()))
    check_memory(model, free_bytes=2 * stored)
    with pytest.raises(DeviceError, match=r'GB and \d.* are free; set llm_weights = "int8"$'):
        check_memory(model, free_bytes=int(stored / SPARE) - 1000)
    with pytest.raises(DeviceError, match=r"are free; choose smaller weights or the CPU$"):
        check_memory(model, free_bytes=1000)
