"""Several sessions on one model: what they have due at one time is read in one pass, so that the weights are read once for all.

It knows sessions and what they plan; it knows neither cameras nor how a pass is done.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from favor_stream.passes import carry_out
from favor_stream.records import Slice
from favor_stream.session import Session


class Crowd:
    """Sessions, by their number, that see and answer together. One thread only."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        """Raises ValueError for none, and for sessions that do not share their passes."""
        if len({id(session.passes) for session in sessions}) != 1:
            raise ValueError("sessions of a crowd share one model: expected some, made with the same passes; give them passes=")
        self.sessions, self._passes = list(sessions), sessions[0].passes

    def see(self, pieces: Mapping[int, Slice]) -> None:
        """Each of these sessions perceives its next slice; the windows that close are read together."""
        for number, piece in pieces.items():
            self.sessions[number].perceive(piece)
        for _ in carry_out(self._passes, [self.sessions[number].reading() for number in pieces]):
            pass

    def ask(self, questions: Mapping[int, str]) -> Generator[tuple[int, str], None, None]:
        """Each of these sessions answers its question; yields whose piece it is, and the piece.

        Closing the generator early stops all answers. ConfigError at once for an impossible question.
        """
        numbers = list(questions)
        said = carry_out(self._passes, [self.sessions[number].answering(questions[number]) for number in numbers])
        return ((numbers[place], piece) for place, piece in said)
