"""SpokenCOCO: SpokenCOCO_val.json has spoken captions of each picture of MS COCO's val2014/; here pairs that match, or do not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from favor_stream.aveb.sets.files import Files
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.lists import listed

QUESTION = "are the audio and the image about the same thing?"
SEED = 0


def read(files: Files) -> Iterator[Item]:
    """Each picture once, with a caption of its own or, of about half of them, of another picture."""
    entries = listed(files.listing("SpokenCOCO_val.json"), "data")
    rng = np.random.default_rng(SEED)
    for index, entry in enumerate(entries):
        step = int(rng.integers(1, len(entries))) if len(entries) > 1 and rng.random() < 0.5 else 0
        captions = entries[(index + step) % len(entries)].entries("captions")
        caption = captions[int(rng.integers(len(captions)))]
        picture = entry.text("image")
        media = Media(picture=files.wanted(picture), sound=files.wanted(caption.text("wav")))
        yield Item(picture, media, QUESTION, ("no" if step else "yes",))
