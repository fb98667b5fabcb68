"""Processes that share work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


def processes(workers: int, prepare: Callable[..., object] | None = None, *given: Any) -> ProcessPoolExecutor:
    """Workers that are not forked from this process, whose other threads may hold a lock at that moment.

    Each does `prepare(*given)` before its work.
    """
    return ProcessPoolExecutor(workers, get_context("forkserver"), prepare, given)
