"""What other processes do while a GPU computes: draw batches, which it would wait for, and a whole stage."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing import get_context, parent_process
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from favor_stream.errors import EngineError
from favor_stream.training.loop import cores, processor

Batch = TypeVar("Batch")
DRAWERS = 8  # processes beside a GPU: a batch of lessons takes one core 0.4 s, and eight such 0.05 s


class Ahead(Generic[Batch]):
    """Batches by the number of their step.

    `draw` makes one of arrays, and of the step's number alone: it is the same whenever and wherever that is done.
    """

    def __init__(self, draw: Callable[[int], Batch]) -> None:
        self._draw = draw
        self._next: int | None = None
        self._coming: Iterator[Batch] = iter(())

    def __getitem__(self, at: int) -> Batch:
        if processor().type != "cuda":
            return self._draw(at)
        if at != self._next:
            self._coming = coming(self._draw, at)
        self._next = at + 1
        return next(self._coming)


def coming(draw: Callable[[int], Batch], start: int) -> Iterator[Batch]:
    """The batches from a step on, without end. The processes end with the iterator."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # each forked process would tell that it does without
    loader = DataLoader(
        Drawing(draw),
        batch_size=None,
        sampler=count(start),
        num_workers=min(DRAWERS, cores()),
        collate_fn=shared,
        multiprocessing_context="fork",  # what is drawn from is large, and need not be sent
    )
    with torch.random.fork_rng():  # a loader draws a seed for its processes, which have no use for one
        return iter(loader)


class Drawing(Dataset[Batch]):
    def __init__(self, draw: Callable[[int], Batch]) -> None:
        self._draw = draw

    def __getitem__(self, at: int) -> Batch:
        return self._draw(at)


def shared(batch: Any) -> Any:
    """The arrays of a tuple as tensors, handed over in shared memory: through a pipe speech takes longer than a step."""
    if not isinstance(batch, tuple):
        return batch
    return tuple(torch.from_numpy(each) if isinstance(each, np.ndarray) else each for each in batch)


def placed(arrays: Iterable[NDArray[Any] | Tensor]) -> Iterator[Tensor]:
    """The same as tensors where the run computes."""
    return map(torch.as_tensor, arrays)


@contextmanager
def beside(work: Callable[..., object], *given: Any) -> Iterator[None]:
    """Do `work` in a process of its own meanwhile, where a GPU has room for both; elsewhere it is left to whoever needs it.

    Raises EngineError if that process failed; it ends with this one.
    """
    if processor().type != "cuda":
        yield
        return
    process = get_context("spawn").Process(target=alone, args=(work, *given))
    process.start()
    try:
        yield
        process.join()
    finally:
        process.terminate()
    if process.exitcode:
        raise EngineError(f"{work.__qualname__} failed beside this: see what it wrote above")


def alone(work: Callable[..., object], *given: Any) -> None:
    """In the other process."""
    threading.Thread(target=ends_with_parent, daemon=True).start()
    work(*given)


def ends_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
