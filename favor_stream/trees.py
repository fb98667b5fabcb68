"""Questions woven into trees of tokens, so that what some of them begin with is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

KNOWN_TREES = 64  # that are kept: watches ask the same after every slice, beside so many tokens of an open window


@dataclass(frozen=True, slots=True)
class Tree:
    """Lists of tokens woven into one: what begins alike is there once."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)  # of each token; -1: it begins a list
    ends: list[int] = field(default_factory=list)  # where each list ends
    _places: dict[tuple[int, int], int] = field(default_factory=dict)  # of a token behind its parent

    def shared(self, tokens: Sequence[int]) -> list[int]:
        """Where the first of these tokens lie, as far as they are there already."""
        places = list[int]()
        for token in tokens:
            place = self._places.get((places[-1] if places else -1, token))
            if place is None:
                break
            places.append(place)
        return places

    def add(self, tokens: Sequence[int]) -> None:
        places = self.shared(tokens)
        at = places[-1] if places else -1
        for token in tokens[len(places) :]:
            self._places[at, token] = len(self.tokens)
            self.parents.append(at)
            at = len(self.tokens)
            self.tokens.append(token)
        self.ends.append(at)


@lru_cache(KNOWN_TREES)
def trees(lists: tuple[tuple[int, ...], ...], room: int) -> tuple[Tree, ...]:
    """The lists in their order, in as few trees as have room for them. Who asks the same is given the same: only to be read."""
    woven = [Tree()]
    for tokens in lists:
        if woven[-1].ends and len(woven[-1].tokens) + len(tokens) - len(woven[-1].shared(tokens)) > room:
            woven.append(Tree())
        woven[-1].add(tokens)
    return tuple(woven) if lists else ()
