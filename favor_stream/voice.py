"""When somebody has finished speaking, and whether it was a question. It knows no model."""

from __future__ import annotations

QUIET_SLICES = 2  # after which an utterance has ended: a pause between words is shorter
ASKING = frozenset(
    ("what", "how", "did", "which", "when", "where", "who", "why", "is", "are", "was", "were", "do", "does", "can")
)


class Utterances:
    """Follows how much of each slice is spoken."""

    def __init__(self) -> None:
        self._is_speaking, self._quiet = False, 0

    def step(self, spoken: float) -> bool:
        """Whether an utterance has just ended."""
        self._quiet = 0 if spoken else self._quiet + 1
        has_ended = self._is_speaking and self._quiet == QUIET_SLICES
        self._is_speaking = bool(spoken) or (self._is_speaking and not has_ended)
        return has_ended


def is_question(said: str) -> bool:
    return said.partition(" ")[0].lower() in ASKING
