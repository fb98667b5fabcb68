"""What this machine can do at most: bytes copied a second, and products of matrices in each precision."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

COPIED_BYTES = {"cpu": 2**28, "cuda": 2**32}  # far more than any cache
MOST_S = 5.0  # for one figure: some processors multiply bfloat16 a hundred times slower than float32
SIDE = {"cpu": 1536, "cuda": 8192}  # of the matrices
DTYPES = {"cpu": (torch.float32, torch.bfloat16), "cuda": (torch.float32, torch.float16, torch.bfloat16)}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one device."""

    bytes_per_s: float  # read and written
    flop_per_s: dict[torch.dtype, float]

    def least_s(self, flop: float, moved_bytes: float) -> float:
        """No engine takes less: the quickest arithmetic that there is, and every byte moved once."""
        return max(flop / max(self.flop_per_s.values()), moved_bytes / self.bytes_per_s)


@torch.inference_mode()
def limits(device: str) -> Limits:
    source = torch.ones(COPIED_BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    copied_s = quickest(lambda: target.copy_(source), device)
    rates = {}
    for dtype in DTYPES[device]:
        side = SIDE[device]
        one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        rates[dtype] = 2 * side**3 / quickest(lambda one=one, other=other: one @ other, device)  # type: ignore[misc]
    return Limits(2 * source.nbytes / copied_s, rates)


def quickest(work: Callable[[], object], device: str, times: int = 9) -> float:
    """Seconds of the quickest run: a limit is what the machine can do when nothing else is on."""
    return min(seconds(work, device, times))


def usual(work: Callable[[], object], device: str, times: int = 9) -> float:
    """Seconds of the run in the middle."""
    return median(seconds(work, device, times))


def seconds(work: Callable[[], object], device: str, times: int) -> list[float]:
    """Of so many runs, or of fewer where they would take longer than MOST_S."""
    spent_s = list[float]()
    while len(spent_s) <= times and (len(spent_s) < 2 or sum(spent_s) < MOST_S):
        started_s = time.perf_counter()
        work()
        settle(device)
        spent_s.append(time.perf_counter() - started_s)
    return spent_s[1:]  # the first warms up


def settle(device: str) -> None:
    """Wait for what was queued: a GPU's work is done after the call that asks for it."""
    if device == "cuda":
        torch.cuda.synchronize()
