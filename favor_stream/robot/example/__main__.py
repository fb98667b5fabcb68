"""Runs the robot for half a minute: python -m favor_stream.robot.example [stop | sign]"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import av
import numpy as np

from favor_stream.agent import Agent
from favor_stream.background import in_background
from favor_stream.capture.inlet import Inlet
from favor_stream.config import Config
from favor_stream.errors import Stale
from favor_stream.records import RATE
from favor_stream.robot.example.arena import Arena, heard_from
from favor_stream.robot.example.driver import WATCHES, Driver

TURN_S = 0.02  # of the control loop
BLOCK = RATE // 10  # samples that a microphone brings at once
PICTURE_S = 0.25
STALE_S = 2.0  # older than this, nothing is done on it
STOP_S, END_S = 14.0, 30.0


def run(
    arena: Arena, driver: Driver, config: Config, seconds: float, told: Callable[[float], None] = lambda time_s: None
) -> list[float]:
    """One turn after another in real time, until it has stopped; returns how long each asking of the agent took, in seconds."""
    eye, ears = Inlet("camera", sound=False), Inlet("microphones", pictures=False)
    asked_s, blocks, pictures, stereo = list[float](), 0, 0, np.zeros((BLOCK, 2), np.float32)
    with in_background(Agent(eye, ears, config=config, watches=WATCHES, perceive_every=1)) as agent:
        begun_s = time.monotonic()
        while (time_s := time.monotonic() - begun_s) < seconds and not driver.why_stopped:
            if time_s >= (blocks + 1) * BLOCK / RATE:
                stereo, blocks = arena.sound(blocks * BLOCK / RATE, BLOCK), blocks + 1
                ears.put_sound(stereo.mean(1), begun_s + blocks * BLOCK / RATE)
            if time_s >= pictures * PICTURE_S:
                eye.put_picture(av.VideoFrame.from_ndarray(arena.picture(time_s), "rgb24"), begun_s + time_s)
                pictures += 1
            before_s = time.perf_counter()
            try:
                seen = agent.latest(STALE_S)
            except Stale:
                seen = None
            asked_s.append(time.perf_counter() - before_s)
            arena.robot.drive(*driver.wheels(seen, heard_from(stereo)))
            arena.robot.move(TURN_S)
            told(time_s)
            time.sleep(TURN_S)
    return asked_s


def main(how: str = "stop") -> int:
    arena, driver = Arena(), Driver()
    arena.stop_s, arena.sign_s = (STOP_S, np.inf) if how == "stop" else (np.inf, STOP_S)
    next_s = 0.0

    def tell(time_s: float) -> None:
        nonlocal next_s
        if time_s >= next_s:
            robot, next_s = arena.robot, next_s + 1.0
            print(
                f"{time_s:5.1f} s  bell {np.degrees(arena.bearing):+4.0f} deg  at ({robot.x_m:+.2f}, {robot.y_m:+.2f}) m",
                flush=True,
            )

    asked_s = run(arena, driver, Config(), END_S, tell)
    print(f"stopped by {driver.why_stopped or 'nothing'}; asking the agent took {1e6 * np.percentile(asked_s, 99):.0f} us (p99)")
    return 0 if driver.why_stopped else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
