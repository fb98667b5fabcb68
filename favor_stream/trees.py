"""Questions woven into trees of tokens, so that what some of them begin with is read once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field


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


def trees(lists: Iterable[Sequence[int]], room: int) -> Iterator[Tree]:
    """The lists in their order, in as few trees as have room for them."""
    tree = Tree()
    for tokens in lists:
        if tree.ends and len(tree.tokens) + len(tokens) - len(tree.shared(tokens)) > room:
            yield tree
            tree = Tree()
        tree.add(tokens)
    if tree.ends:
        yield tree
