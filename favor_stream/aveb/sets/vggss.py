"""VGG-SS: vggss.json names the class of each clip of VGGSound, which is a film, or a frame and a sound as its authors cut it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from favor_stream.aveb.sets.files import FILMS, Files, endings
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.lists import listed

QUESTION = "what is the source of the sound?"
MATCHING = "do the sound and the picture belong together?"
SEED = 0


def read(files: Files) -> Iterator[Item]:
    for entry in listed(files.listing("vggss.json")):
        clip = entry.text("file")
        yield Item(clip, _media(files, clip), QUESTION, (entry.text("class"),))


def matching(files: Files) -> Iterator[Item]:
    """Each clip with its own sound or, of about half of them, with that of a clip of another class."""
    clips, rng = list(read(files)), np.random.default_rng(SEED)
    for clip in clips:
        media = clip.media
        others = [] if rng.random() < 0.5 else [other.media for other in clips if other.answers != clip.answers]
        if others:
            other = others[int(rng.integers(len(others)))]
            media = replace(media, sound=other.sound or other.film)
        yield Item(clip.name, media, MATCHING, ("no" if others else "yes",))


def _media(files: Files, clip: str) -> Media:
    picture, sound = files.there(f"frames/{clip}.jpg"), files.there(f"audio/{clip}.wav")
    if picture and sound and not files.there(*endings((clip,), FILMS)):
        return Media(picture=picture, sound=sound)
    return Media(film=files.wanted(*endings((clip,), FILMS)))
