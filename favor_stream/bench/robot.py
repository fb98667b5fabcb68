"""python -m favor_stream.bench.robot: an agent on a robot, its pictures 30 times a second as raw messages over Zenoh's loopback.

A process of its own publishes a room in which a red circle comes and goes, and notes when it hears of it; it shares nothing but
the wire. The extra `ros` installs what it needs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import psutil
import zenoh

from favor_stream.agent import Agent
from favor_stream.aveb import world
from favor_stream.aveb.picture import picture
from favor_stream.aveb.script import Thing
from favor_stream.bench.rows import Row, at_most, note, table
from favor_stream.config import SHIPPED, Config
from favor_stream.errors import Stale
from favor_stream.outlets import Robot
from favor_stream.records import Picture, Watch
from favor_stream.robot.node import Node
from favor_stream.robot.wire import Quality, open_wire
from favor_stream.ros.messages import decode, encode, header, make, type_hash

FPS, SHOWN_S, AWAY_S = 30.0, 3.0, 9.3  # so that it comes at any moment of a half second, and is not remembered by the watch
IMAGE, STRING, TOPIC = "sensor_msgs/msg/Image", "std_msgs/msg/String", "/camera/image_raw"
WATCH = Watch("circle", "a red circle appears", cooldown_s=0.0)
LOOP_S = 0.02  # a control loop of 50 Hz
SETTLED_S = 60.0  # before which memory may grow
LATE_S = 5.0  # a telling later than this is of something else


def run(config: Config, minutes: float) -> list[Row]:
    with routed() as router:
        return [started(), *asyncio.run(measured(config, router, minutes))]


def started() -> Row:
    """From nothing to an answer about the first half second of a film."""
    film, begun_s = str(SHIPPED / "demo.mp4"), time.monotonic()
    command = [sys.executable, "-m", "favor_stream", "ask", film, "what do you see now?", "--at", "0.5"]
    subprocess.run(command, check=True, capture_output=True)
    return Row("from the start of the process to its first answer", time.monotonic() - begun_s, "s", "", None)


@contextmanager
def routed() -> Iterator[str]:
    """The address of a router of Zenoh, as rmw_zenoh has one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        router = f"tcp/127.0.0.1:{free.getsockname()[1]}"
    settings = zenoh.Config()
    for key, value in {"mode": '"router"', "listen/endpoints": f'["{router}"]', "scouting/multicast/enabled": "false"}.items():
        settings.insert_json5(key, value)
    with zenoh.open(settings):
        yield router


async def measured(config: Config, router: str, minutes: float) -> list[Row]:
    """The node here, the camera in a process of its own."""
    robot = Robot(wire="zenoh", router=router, pictures=TOPIC)
    wire = partial(open_wire, "zenoh", "favor", "/", type_hash, router=router)
    async with Node(robot, (), replace(config, watches=(WATCH,)), wire) as node:
        command = [sys.executable, "-m", "favor_stream.bench.robot", "--publish", router, "--minutes", str(minutes)]
        camera = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        agent, mind, ages_s, memory_mb = node._active(), node._active()._mind, list[float](), list[float]()
        loop = ControlLoop(agent)
        with loop:
            begun_s = time.monotonic()
            while camera.poll() is None:
                await asyncio.sleep(1.0)
                ages_s.append(agent.lag_s)
                if time.monotonic() - begun_s > SETTLED_S or minutes * 60 <= SETTLED_S:
                    memory_mb.append(psutil.Process().memory_info().rss / 1e6)
                note(f"bench: {time.monotonic() - begun_s:.0f} s")
        assert camera.stdout
        told: dict[str, Any] = json.loads(camera.stdout.read())
        await asyncio.sleep(1.0)
        traffic, counts, model_s = node.incoming.pictures, agent.counts, mind.busy_s / (2 * agent.heard_until_s)
        figures = node.incoming.figures()
        counted = (
            node._wire.lost[TOPIC]
            + traffic.unusable
            + figures["pictures_not_decoded"]
            + figures["pictures_thinned"]
            + counts.pictures_in
        )
        return [
            at_most("asking the agent for the newest, p99 while the model runs", 1e6 * loop.p99_s, "us", 50),
            Row("the same, longest", 1e6 * loop.longest_s, "us", "", None),
            Row("of which the newest was stale (1 s)", loop.stale_share * 100, "%", "", None),
            at_most(
                "picture in to event out, p95; goal: a half second and the model's time for it", told["p95_s"], "s", 0.5 + model_s
            ),
            Row("the same, median", told["median_s"], "s", "", None),
            Row("times that the circle came and was told of", told["told"], f"of {told['shows']}", "", None),
            Row("pictures sent", told["sent"], "", "", None),
            at_most("pictures sent and not counted", told["sent"] - counted, "", 0),
            at_most("memory grown after the first minute", memory_mb[-1] - memory_mb[0], "MB", 20),
            Row("lag, p95", float(np.percentile(ages_s, 95)), "s", "", None),
        ]


class ControlLoop:
    """A thread that asks for the newest 50 times a second, and how long that took."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self._leaving = agent, threading.Event()
        self._took_s, self._stale = list[float](), 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._leaving.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._leaving.wait(LOOP_S):
            begun_s = time.perf_counter()
            try:
                self._agent.latest(1.0)
            except Stale:
                self._stale += 1
            self._took_s.append(time.perf_counter() - begun_s)

    @property
    def p99_s(self) -> float:
        return float(np.percentile(self._took_s, 99))

    @property
    def longest_s(self) -> float:
        return max(self._took_s)

    @property
    def stale_share(self) -> float:
        return self._stale / len(self._took_s)


# The camera's process.


def publish(router: str, minutes: float) -> None:
    """Shows the room with and without the circle, and prints what it heard of it as JSON."""
    wire = open_wire("zenoh", "camera", "/", type_hash, lambda trouble: note(trouble.text), router=router)
    told_s, shown_s = list[float](), [0.0]

    def take(cdr: bytes) -> None:
        event = json.loads(decode(cdr, STRING).data)
        if event.get("phase") == "new" and shown_s[0] and time.monotonic() - shown_s[0] < LATE_S:
            told_s.append(time.monotonic() - shown_s[0])
            shown_s[0] = 0.0

    wire.subscribe("/favor/events", STRING, take, Quality.RELIABLE)
    show, (empty, circle) = wire.publisher(TOPIC, IMAGE, Quality.SENSOR), rooms()
    begun_s, sent, shows = time.monotonic(), 0, 0
    while (now_s := time.monotonic() - begun_s) < 60 * minutes:
        turn, into_s = divmod(now_s, SHOWN_S + AWAY_S)
        is_shown = into_s > AWAY_S
        if is_shown and shows <= turn:
            shows, shown_s[0] = shows + 1, time.monotonic()
        show(message(circle if is_shown else empty))
        sent += 1
        time.sleep(max(0.0, begun_s + sent / FPS - time.monotonic()))
    time.sleep(LATE_S)
    wire.close()
    p95_s = float(np.percentile(told_s, 95)) if told_s else float("inf")
    median_s = statistics.median(told_s) if told_s else float("inf")
    print(json.dumps({"sent": sent, "shows": shows, "told": len(told_s), "median_s": median_s, "p95_s": p95_s}))


def rooms() -> tuple[Picture, Picture]:
    """The same room, and with a red circle in it."""
    script = replace(world.draw(3, 10.0, "held_out"), things=(), cards=())
    circle = Thing("red", "circle", 0.0, 10.0, 0.5, 0.5, 0.2, "still", 0.0, 0, 0.0)
    return tuple(picture(each, 1.0, 640, 480) for each in (script, replace(script, things=(circle,))))  # type: ignore[return-value]


def message(seen: Picture) -> bytes:
    height, width = seen.shape[:2]
    fields = {"height": height, "width": width, "encoding": "rgb8", "step": 3 * width, "data": seen.reshape(-1)}
    return encode(make(IMAGE, header=header(time.time_ns(), "camera"), **fields))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m favor_stream.bench.robot", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="(%(default)s)")
    parser.add_argument("--publish", metavar="ROUTER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        publish(arguments.publish, arguments.minutes)
    else:
        print(table(run(Config(threads=1, pictures_per_s=10.0), arguments.minutes)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
