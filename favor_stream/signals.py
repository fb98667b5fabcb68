"""How much moves and how loud it is: what needs no model to be noticed."""

from __future__ import annotations

import numpy as np

from favor_stream.records import Picture, Slice

GRID = 32  # cells along the longer side, whose mean brightness is compared
NOTICED = 8.0  # of 255, by which a cell's brightness has changed


class Signals:
    """Looks at slice after slice; it remembers one small picture."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self.motion = self.loudness = 0.0

    def see(self, piece: Slice) -> None:
        """`motion` is then the share of the picture that changed since the last one, 0.0 without two; `loudness` the effective
        value of the slice's sound, 0..1.
        """
        self.loudness = float(np.sqrt(np.mean(np.square(piece.sound, dtype=np.float64))))
        now = None if piece.picture is None else coarse(piece.picture)
        before, self._before = self._before, now
        self.motion = 0.0
        if now is not None and before is not None and now.shape == before.shape:
            self.motion = float(np.mean(np.abs(now - before) > NOTICED))


def coarse(picture: Picture) -> np.ndarray:
    """Mean brightness of square cells, as many as fit."""
    cell = max(1, max(picture.shape[:2]) // GRID)
    rows, columns = (size // cell for size in picture.shape[:2])
    cells = picture[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell, -1)
    return np.asarray(cells.mean((1, 3, 4)))
