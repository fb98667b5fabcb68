"""What needs no model of the world to be noticed: how much moves, whether the scene is another, how loud it is, who speaks."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from favor_stream.records import Picture, Slice, Sound

GRID = 32  # cells along the longer side, whose mean colour is compared
NOTICED = 8.0  # of 255, by which a cell has changed
BINS = 32  # of brightness, in each colour


class Hearing(Protocol):
    def share(self, sound: Sound) -> float: ...


class Signals:
    """Looks at slice after slice; it remembers one small picture. All values are 0..1, 0 where there is nothing to compare."""

    def __init__(self, speech: Hearing | None = None) -> None:
        """`speech` tells how much of a slice's sound is spoken; without it nothing is."""
        self._speech, self._before = speech, np.zeros(0)
        self.motion = self.scene = self.loudness = self.speech = 0.0

    @property
    def hears_speech(self) -> bool:
        return self._speech is not None

    def see(self, piece: Slice) -> None:
        """`motion` is then the share of the picture that changed since the last one, `scene` how far its light and colours have
        shifted, wherever they are (1: from black to white), `loudness` the effective value of the sound, `speech` the share of
        it that is spoken.
        """
        self.loudness = float(np.sqrt(np.mean(np.square(piece.sound, dtype=np.float64))))
        self.speech = self._speech.share(piece.sound) if self._speech else 0.0
        before, self._before = self._before, np.zeros(0) if piece.picture is None else coarse(piece.picture)
        self.motion = self.scene = 0.0
        if self._before.size and before.shape == self._before.shape:
            self.motion = float(np.mean((np.abs(self._before - before) > NOTICED).any(-1)))
            self.scene = float(np.mean(np.abs(darker(self._before) - darker(before))))


def coarse(picture: Picture) -> np.ndarray:
    """Mean colours [rows, columns, 3] of square cells, as many as fit."""
    cell = max(1, max(picture.shape[:2]) // GRID)
    rows, columns = (size // cell for size in picture.shape[:2])
    cells = picture[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell, -1)
    return np.asarray(cells.mean((1, 3)))


def darker(cells: np.ndarray) -> np.ndarray:
    """The share of cells below each brightness, for each colour: [3, BINS]. Its change is the way that light has gone."""
    below = cells[..., None] < np.linspace(0, 256, BINS, endpoint=False)
    return np.asarray(below.mean((0, 1)))
