"""Flickr30k: flickr30k-images/ and the split of Karpathy and Fei-Fei, dataset_flickr30k.json, with its 1000 test pictures."""

from __future__ import annotations

from collections.abc import Iterator

from favor_stream.aveb.sets.files import Files
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.lists import listed

QUESTION = "write a short description about this image"


def read(files: Files) -> Iterator[Item]:
    for entry in listed(files.listing("dataset_flickr30k.json"), "images"):
        if entry.text("split") == "test":
            name = entry.text("filename")
            captions = tuple(sentence.text("raw") for sentence in entry.entries("sentences"))
            yield Item(name, Media(picture=files.wanted(name)), QUESTION, captions)
