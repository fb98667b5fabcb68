"""VGG-SS: vggss.json names the class of each clip of VGGSound, which is a film, or a frame and a sound as its authors cut it."""

from __future__ import annotations

from collections.abc import Iterator

from favor_stream.aveb.sets.files import FILMS, Files, endings
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.lists import listed

QUESTION = "what is the source of the sound?"


def read(files: Files) -> Iterator[Item]:
    for entry in listed(files.listing("vggss.json")):
        clip = entry.text("file")
        yield Item(clip, _media(files, clip), QUESTION, (entry.text("class"),))


def _media(files: Files, clip: str) -> Media:
    picture, sound = files.there(f"frames/{clip}.jpg"), files.there(f"audio/{clip}.wav")
    if picture and sound and not files.there(*endings((clip,), FILMS)):
        return Media(picture=picture, sound=sound)
    return Media(film=files.wanted(*endings((clip,), FILMS)))
