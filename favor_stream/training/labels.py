"""What a slice of the world holds, as whole numbers: the targets of the encoders and the input of the oracle."""

from __future__ import annotations

import string

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from favor_stream.aveb.lexicon import CARD_WORDS, COLOURS, MOTIONS, SHAPES, SOUNDS
from favor_stream.aveb.script import Script
from favor_stream.aveb.truth import SliceTruth
from favor_stream.records import SLICE_S

# Fields of a slice's labels, in order; 0 means none, except for sounds, which are 0 or 1 each.
THING_FIELDS = 3  # colour, shape, motion
CARD = 2 * THING_FIELDS
SOUND = CARD + 1
SPOKEN = SOUND + len(SOUNDS)
SPOKEN_WORDS = 3  # words that end in one slice; a fourth is dropped
WIDTH = SPOKEN + SPOKEN_WORDS
SIZES = [len(COLOURS) + 1, len(SHAPES) + 1, len(MOTIONS) + 1] * 2 + [len(CARD_WORDS) + 1]  # classes of the fields before SOUND

LETTERS = " " + string.ascii_lowercase  # of the speech encoder's CTC targets; 0 is the blank
TOKENS_PER_S = 50  # of the audio encoder


def encode(truth: SliceTruth, tokenizer: Tokenizer) -> NDArray[np.int16]:
    """[WIDTH] whole numbers for one slice; a spoken word is the id of its first token."""
    row = np.zeros(WIDTH, np.int16)
    for at, thing in enumerate(truth.things[:2]):
        row[at * THING_FIELDS : (at + 1) * THING_FIELDS] = (
            list(COLOURS).index(thing.colour) + 1,
            SHAPES.index(thing.shape) + 1,
            MOTIONS.index(thing.motion) + 1 if thing.motion else 0,
        )
    row[CARD] = CARD_WORDS.index(truth.word) + 1 if truth.word else 0
    for kind in truth.sounds:
        row[SOUND + SOUNDS.index(kind)] = 1
    for at, word in enumerate(truth.spoken[:SPOKEN_WORDS]):
        row[SPOKEN + at] = tokenizer.encode(f" {word}").ids[0]
    return row


def letters(script: Script) -> NDArray[np.int16]:
    """All that is said, as CTC targets."""
    text = " ".join(utterance.text for utterance in script.utterances)
    return np.array([LETTERS.index(c) + 1 for c in text if c in LETTERS], np.int16)


def sounding(script: Script, slices: int) -> NDArray[np.uint8]:
    """Which sound events sound at each audio token: [slices x 25, len(SOUNDS)] of 0 and 1."""
    out = np.zeros((int(slices * SLICE_S * TOKENS_PER_S), len(SOUNDS)), np.uint8)
    for noise in script.noises:
        out[int(noise.start_s * TOKENS_PER_S) : int(noise.end_s * TOKENS_PER_S), SOUNDS.index(noise.kind)] = 1
    return out
