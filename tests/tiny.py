"""A FAVOR with random weights and a byte-level tokenizer, small enough to make in a test."""

from __future__ import annotations

import dataclasses

import torch
from tokenizers import Tokenizer

from favor_stream.model.config import PRESETS, FusionConfig
from favor_stream.model.favor import Favor
from favor_stream.training.tokens import train_tokenizer


def tiny_model(seed: int = 0, fusion: FusionConfig | None = None) -> tuple[Favor, Tokenizer]:
    """A random model of the `tiny` preset, with another fusion if given, and a tokenizer that can write anything."""
    torch.manual_seed(seed)
    config = PRESETS["tiny"]
    if fusion is not None:
        config = dataclasses.replace(config, fusion=fusion)
    tokenizer = train_tokenizer(["what do you see now? red circle", "yes", "no"], config.llm.vocabulary)
    return Favor(config).eval(), tokenizer
