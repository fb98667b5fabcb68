"""The tokenizer: byte-level BPE, so that it can read and write anything, learned from the world's own words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<pad>", "<s>", "</s>", "USER:", "<Img>", "</Img>", "\nASSISTANT:"]  # ids 0, 1, 2, ...


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A tokenizer of at most `vocabulary` entries; answers are written with a leading space, as they stand in a prompt."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((f" {text}" for text in texts), trainer)
    return tokenizer


def extended(tokenizer: Tokenizer, texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """The same, with a token for each further word of these texts, as long as there is room for the pieces of it.

    What it wrote as one token before it still does: new merges come after all others.
    """
    known = json.loads(tokenizer.to_str())
    ids, merges = known["model"]["vocab"], known["model"]["merges"]
    for word in sorted({f" {word}" for text in texts for word in re.findall("[a-z]+", text)}):
        pieces = Tokenizer.from_str(json.dumps(known)).encode(word).tokens
        if len(ids) + len(pieces) - 1 > vocabulary:
            break
        whole = pieces[0]
        for piece in pieces[1:]:
            merges.append([whole, piece])
            whole += piece
            ids.setdefault(whole, len(ids))
    return Tokenizer.from_str(json.dumps(known))
