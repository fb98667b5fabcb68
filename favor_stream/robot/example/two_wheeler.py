"""A robot with two driven wheels, as it moves. It knows nothing of what it is driven by."""

from __future__ import annotations

import math
from dataclasses import dataclass

BASE_M = 0.3  # between the wheels
MOST_M_S = 0.5  # of a wheel


@dataclass(slots=True)
class TwoWheeler:
    """Where it is, where it looks, and how fast its wheels turn."""

    x_m: float = 0.0
    y_m: float = 0.0
    heading: float = 0.0  # radians from the x axis, to the left
    left_m_s: float = 0.0
    right_m_s: float = 0.0

    def drive(self, left_m_s: float, right_m_s: float) -> None:
        self.left_m_s, self.right_m_s = (max(-MOST_M_S, min(MOST_M_S, speed)) for speed in (left_m_s, right_m_s))

    def move(self, seconds: float) -> None:
        ahead_m = (self.left_m_s + self.right_m_s) / 2 * seconds
        self.heading += (self.right_m_s - self.left_m_s) / BASE_M * seconds
        self.x_m += ahead_m * math.cos(self.heading)
        self.y_m += ahead_m * math.sin(self.heading)

    def bearing(self, x_m: float, y_m: float) -> float:
        """Of a place, in radians to the left of where it looks, -pi..pi."""
        return math.remainder(math.atan2(y_m - self.y_m, x_m - self.x_m) - self.heading, math.tau)
