"""GQA test-dev, balanced: testdev_balanced_questions.json has the questions by their ids; the pictures lie in images/."""

from __future__ import annotations

from collections.abc import Iterator

from favor_stream.aveb.sets.files import Files
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.lists import named


def read(files: Files) -> Iterator[Item]:
    for name, entry in named(files.listing("testdev_balanced_questions.json")).items():
        media = Media(picture=files.wanted(f"images/{entry.text('imageId')}.jpg"))
        yield Item(name, media, entry.text("question"), (entry.text("answer"),))
