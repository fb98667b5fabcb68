"""When somebody has finished speaking, and whether it was a question. It knows no model."""

from __future__ import annotations

QUIET_SLICES = 2  # after which an utterance has ended: a pause between words is shorter
ASKING = frozenset(
    ("what", "how", "did", "which", "when", "where", "who", "why", "is", "are", "was", "were", "do", "does", "can")
)


class Utterances:
    """Follows how much of each slice is spoken."""

    def __init__(self) -> None:
        self._is_speaking, self._quiet, self._last = False, 0, ""
        self.is_waiting = False  # an utterance has ended and nobody has looked at it

    def step(self, spoken: float) -> bool:
        """Whether an utterance has just ended."""
        self._quiet = 0 if spoken else self._quiet + 1
        has_ended = self._is_speaking and self._quiet == QUIET_SLICES
        self._is_speaking = bool(spoken) or (self._is_speaking and not has_ended)
        self.is_waiting |= has_ended
        return has_ended

    def is_new_question(self, said: str) -> bool:
        """Whether what was said last is to be answered: a question is answered once, until something else is said."""
        is_new, self._last, self.is_waiting = is_question(said) and said != self._last, said, False
        return is_new


def is_question(said: str) -> bool:
    return said.partition(" ")[0].lower() in ASKING
