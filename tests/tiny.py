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


def talkative_model(pictures: int = 1) -> tuple[Favor, Tokenizer]:
    """A tiny model with weights so large that what is read makes a difference to what is said.

    Only letters are said, and it never ends by itself: what is said at any moment is as long as it may be, and not empty.
    It looks at so many pictures of each slice.
    """
    model, tokenizer = tiny_model(fusion=dataclasses.replace(PRESETS["tiny"].fusion, pictures=pictures))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.llm.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3)
        for token in range(len(model.llm.lm_head.weight)):
            text = tokenizer.decode([token]).strip()  # nothing for control tokens, and for those that the tokenizer lacks
            if not (text and text.isascii()):
                model.llm.lm_head.weight[token] = 0.0
    return model, tokenizer
