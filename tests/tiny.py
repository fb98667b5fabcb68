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


def talkative_model() -> tuple[Favor, Tokenizer]:
    """A tiny model with weights so large that what is read makes a difference to what is said; only known words are said."""
    model, tokenizer = tiny_model()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.llm.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3)
        model.llm.lm_head.weight[tokenizer.get_vocab_size() :] = 0.0
    return model, tokenizer
