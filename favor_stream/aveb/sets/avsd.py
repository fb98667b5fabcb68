"""AVSD of DSTC7: test_set4DSTC7-AVSD.json has a dialogue of each film, which is one of the test films of Charades."""

from __future__ import annotations

from collections.abc import Iterator

from favor_stream.aveb.sets.files import FILMS, Files, endings
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.lists import listed
from favor_stream.records import Turn

KEPT_SECRET = "__UNDISCLOSED__"  # the answer to a last question of the challenge


def read(files: Files) -> Iterator[Item]:
    for entry in listed(files.listing("test_set4DSTC7-AVSD.json"), "dialogs"):
        film = entry.text("image_id")
        media, earlier = Media(film=files.wanted(*endings((film,), FILMS))), list[Turn]()
        for number, turn in enumerate(entry.entries("dialog"), start=1):
            question, answer = turn.text("question"), turn.text("answer")
            if answer != KEPT_SECRET:
                yield Item(f"{film}_{number}", media, question, (answer,), earlier=tuple(earlier))
            earlier.append((question, answer))
