"""TextVQA 0.5.1: TextVQA_0.5.1_val.json has ten answers to each question; the pictures lie in train_images/."""

from __future__ import annotations

from collections.abc import Iterator

from favor_stream.aveb.sets.files import Files
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.lists import listed


def read(files: Files) -> Iterator[Item]:
    for entry in listed(files.listing("TextVQA_0.5.1_val.json"), "data"):
        picture = entry.text("image_id")
        media = Media(picture=files.wanted(f"train_images/{picture}.jpg"))
        yield Item(picture, media, entry.text("question"), entry.texts("answers"))
