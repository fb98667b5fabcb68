"""What a data set consists of: something that is perceived, a question about it and the answers that people gave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from favor_stream.records import Turn


@dataclass(frozen=True, slots=True)
class Media:
    """What is perceived: a film, a recording or a picture alone, or a film or a picture along with a sound."""

    film: Path | None = None  # with its own sound, where it has some and no other is given
    picture: Path | None = None  # a still one, shown as long as its sound lasts
    sound: Path | None = None  # a recording, or the sound of a film
    said: str = ""  # spoken in place of a `sound`
    start_s: float = 0.0  # of the film, from where it is shown
    end_s: float = math.inf

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.film, self.picture, self.sound) if path)


@dataclass(frozen=True, slots=True)
class Item:
    name: str  # as the set calls it
    media: Media
    question: str
    answers: tuple[str, ...]  # any of them is right, or as right as the metric says
    choices: tuple[str, ...] = ()  # one of these is said and nothing else; empty: anything
    earlier: tuple[Turn, ...] = ()  # of the dialogue that the question belongs to, as people held it
