"""What a slice of the world holds, as whole numbers: the targets of the encoders and the input of the oracle."""

from __future__ import annotations

import string
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from favor_stream.aveb.lexicon import CARD_WORDS, COLOURS, MOTIONS, SHAPES, SIDES, SIZES, SOUNDS
from favor_stream.aveb.script import Script
from favor_stream.aveb.truth import SPOKEN_WORDS, SliceTruth, in_view, picture_s
from favor_stream.records import SLICE_S

UNNAMED = -100  # a colour or shape that has no name: cross-entropy passes over it

# Fields of a slice's labels, in order; 0 means none. A sound is 1 while it sounds and 2 in the slice where it begins.
THING_FIELDS = 5  # colour, shape, motion, size, side
MOTION, SIZE = 2, 3
CARD = 2 * THING_FIELDS
SOUND = CARD + 1
SPOKEN = SOUND + len(SOUNDS)
WIDTH = SPOKEN + SPOKEN_WORDS
NAMES = [list(names) for names in (COLOURS, SHAPES, MOTIONS, SIZES, SIDES) * 2 + (CARD_WORDS,)]  # of the fields before SOUND
CLASSES = [len(names) + 1 for names in NAMES]

CELL_SIZES = (len(COLOURS) + 1, len(SHAPES) + 1, len(CARD_WORDS) + 1)  # classes of a cell's colour, shape and word

LETTERS = " " + string.ascii_lowercase  # of the speech encoder's CTC targets; 0 is the blank
ASPECT = 4 / 3  # of the world's pictures
TOKENS_PER_S = 50  # of the audio encoder


def encode(truth: SliceTruth, tokenizer: Tokenizer) -> NDArray[np.int16]:
    """[WIDTH] whole numbers for one slice; a spoken word is the id of its first token."""
    row = np.zeros(WIDTH, np.int16)
    for at, thing in enumerate(truth.things[:2]):
        row[at * THING_FIELDS : (at + 1) * THING_FIELDS] = (
            number(thing.colour, COLOURS),
            number(thing.shape, SHAPES),
            MOTIONS.index(thing.motion) + 1 if thing.motion else 0,
            SIZES.index(thing.size) + 1,
            SIDES.index(thing.side) + 1,
        )
    row[CARD] = CARD_WORDS.index(truth.word) + 1 if truth.word else 0
    for kind in truth.sounds:
        row[SOUND + SOUNDS.index(kind)] = 1 + (kind in truth.began)
    for at, word in enumerate(truth.spoken):
        row[SPOKEN + at] = tokenizer.encode(f" {word}").ids[0]
    return row


def number(name: str, names: Collection[str]) -> int:
    """From 1; UNNAMED where it is none of the names."""
    return list(names).index(name) + 1 if name in names else UNNAMED


def places(script: Script, k: int) -> NDArray[np.float32]:
    """Where the left and the right thing of slice `k` are: [2, 2] x and y in 0..1 of the picture, NaN where there is none."""
    out = np.full((2, 2), np.nan, np.float32)
    for at, (_, where) in enumerate(in_view(script, picture_s(k))[:2]):
        out[at] = where
    return out


def cells(script: Script, k: int, side: int) -> NDArray[np.int16]:
    """What covers each cell of a `side` x `side` grid over the picture of slice `k`: [3, side x side] colour, shape, word."""
    at_s = picture_s(k)
    centre = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centre, centre)
    out = np.zeros((3, side, side), np.int16)
    for thing, (left, top) in in_view(script, at_s):
        near = np.hypot((x - left) * ASPECT, y - top) < thing.size
        out[:2, near] = [[number(thing.colour, COLOURS)], [number(thing.shape, SHAPES)]]
    for card in script.cards:
        if card.start_s <= at_s < card.end_s:
            near = (abs(x - card.x) < 0.2) & (abs(y - card.y) < max(card.height, 0.6 / side))
            out[2, near] = CARD_WORDS.index(card.word) + 1
    return out.reshape(3, -1)


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
