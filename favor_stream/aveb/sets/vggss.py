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
        others = [other for other in clips if other.answers != clip.answers]
        is_own = rng.random() < 0.5 or not others
        other = clip if is_own else others[int(rng.integers(len(others)))]
        media = clip.media if is_own else replace(clip.media, sound=other.media.sound or other.media.film)
        yield Item(clip.name, media, MATCHING, ("yes" if is_own else "no",))


def _media(files: Files, clip: str) -> Media:
    picture, sound = files.there(f"frames/{clip}.jpg"), files.there(f"audio/{clip}.wav")
    if picture and sound and not files.there(*endings((clip,), FILMS)):
        return Media(picture=picture, sound=sound)
    return Media(film=files.wanted(*endings((clip,), FILMS)))
