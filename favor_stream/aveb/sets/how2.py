"""How2 300h dev5: `segments` says where in which film each utterance is (Kaldi's form), and text.id.en what it is."""

from __future__ import annotations

from collections.abc import Iterator

from favor_stream.aveb.sets.files import FILMS, Files, endings
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.lists import AGAIN, lines
from favor_stream.errors import ConfigError

QUESTION = "write down what was said"


def read(files: Files) -> Iterator[Item]:
    told = (line.strip().partition(" ") for _, (line,) in lines(files.listing("dev5/text.id.en"), words=1))
    spoken = {utterance: text for utterance, _, text in told}  # without a text, nothing was said
    for place, (utterance, video, start, end) in lines(files.listing("dev5/segments"), words=4):
        if utterance not in spoken:
            raise ConfigError(f"{place}: text.id.en has no {utterance!r}, expected what is said there; {AGAIN}")
        try:
            start_s, end_s = float(start), float(end)
        except ValueError as error:
            raise ConfigError(f"{place}: goes from {start!r} to {end!r}, expected seconds; {AGAIN}") from error
        media = Media(film=files.wanted(*endings((video,), FILMS)), start_s=start_s, end_s=end_s)
        yield Item(utterance, media, QUESTION, (spoken[utterance],))
