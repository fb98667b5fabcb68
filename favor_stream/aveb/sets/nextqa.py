"""NExT-QA, multiple choice: test.csv has five options a0..a4, and map_vid_vidorID.json the film of each video in VidOR."""

from __future__ import annotations

from collections.abc import Iterator

from favor_stream.aveb.sets.files import FILMS, Files, endings
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.lists import members, rows

LETTERS = ("A", "B", "C", "D", "E")
OPTIONS = ("a0", "a1", "a2", "a3", "a4")


def read(files: Files) -> Iterator[Item]:
    films = members(files.listing("map_vid_vidorID.json"))
    for row in rows(files.listing("test.csv"), ("video", "question", "answer", "qid", *OPTIONS)):
        video, right = row.text("video"), row.whole_number("answer", len(LETTERS) - 1)
        told = " ".join(f"({letter}) {row.text(option)}" for letter, option in zip(LETTERS, OPTIONS, strict=True))
        question = f"{row.text('question').rstrip('?')}? {told} answer with the letter of the right one"
        media = Media(film=files.wanted(*endings((films.text(video), video), FILMS)))
        yield Item(f"{video}_{row.text('qid')}", media, question, (LETTERS[right],), LETTERS)
