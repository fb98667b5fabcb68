"""ISQA of AVEB: the questions of another set are spoken to its pictures, by a voice that training never hears."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from favor_stream.aveb.sets.files import Files
from favor_stream.aveb.sets.item import Item
from favor_stream.session import SPOKEN

Reader = Callable[[Files], Iterator[Item]]


def aloud(read: Reader) -> Reader:
    """The same set, asked aloud."""

    def spoken(files: Files) -> Iterator[Item]:
        for item in read(files):
            yield replace(item, media=replace(item.media, said=item.question), question=SPOKEN)

    return spoken
