"""When somebody has finished speaking, as far as loudness tells, and whether it was a question. It knows no model."""

from __future__ import annotations

from collections import deque

from favor_stream.records import SLICE_S

FLOOR_S = 10.0  # whose quietest slice is the room's own noise
ABOVE_FLOOR = 3.0  # times as loud as the room is somebody speaking
LEAST_LOUD = 0.01  # effective value, below which nobody speaks in the stillest room
QUIET_SLICES = 2  # after which an utterance has ended: a pause between words is shorter
ASKING = frozenset(
    ("what", "how", "did", "which", "when", "where", "who", "why", "is", "are", "was", "were", "do", "does", "can")
)


class Utterances:
    """Follows the loudness of slice after slice; it remembers ten seconds of it."""

    def __init__(self) -> None:
        self._heard: deque[float] = deque(maxlen=int(FLOOR_S / SLICE_S))
        self._is_speaking, self._quiet = False, 0

    def step(self, loudness: float) -> bool:
        """Whether an utterance has just ended; a noise that ends looks the same."""
        self._heard.append(loudness)
        is_loud = loudness > max(LEAST_LOUD, ABOVE_FLOOR * min(self._heard))
        self._quiet = 0 if is_loud else self._quiet + 1
        has_ended = self._is_speaking and self._quiet == QUIET_SLICES
        self._is_speaking = is_loud or (self._is_speaking and not has_ended)
        return has_ended


def is_question(said: str) -> bool:
    return said.partition(" ")[0].lower() in ASKING
