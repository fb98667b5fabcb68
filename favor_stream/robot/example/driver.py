"""What the robot does about what the agent perceives: a rule for each turn of a control loop. It knows no agent and no room."""

from __future__ import annotations

from dataclasses import dataclass

from favor_stream.records import Perception, Watch

WATCHES = (Watch("bell", "a bell sounds", cooldown_s=0.0), Watch("red_square", "a red square appears", cooldown_s=0.0))
AHEAD = 0.15  # radians; what is less far to a side is ahead
TURN, GO_M_S = 0.12, 0.1  # wheel speed for a radian to the side; speed ahead
STILL = 0.0, 0.0


@dataclass(slots=True)
class Driver:
    """Turns towards a bell and goes there; stops for good where a red square is seen or somebody says stop."""

    why_stopped: str = ""
    bearing: float | None = None  # of the bell when it was heard last, radians to the left

    def wheels(self, seen: Perception | None, heard_from: float | None) -> tuple[float, float]:
        """Speeds of the left and the right wheel in m/s. `seen` None: nothing is known any more, so nothing is done."""
        if seen is not None:
            self.why_stopped = self.why_stopped or reason_to_stop(seen)
        if seen is None or self.why_stopped:
            return STILL
        if "bell" in seen.holding and heard_from is not None:
            self.bearing = heard_from
        elif "bell" not in seen.holding:
            self.bearing = None
        if self.bearing is None:
            return STILL
        turn = TURN * self.bearing if abs(self.bearing) > AHEAD else 0.0
        ahead = GO_M_S if abs(self.bearing) <= AHEAD else 0.0
        return ahead - turn, ahead + turn


def reason_to_stop(seen: Perception) -> str:
    if "red_square" in seen.holding:
        return "a red square"
    return "the word stop" if seen.perceived and "stop" in seen.perceived.said.split() else ""
