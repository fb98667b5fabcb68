"""What a film or a device costs on its way through the live agent."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from favor_stream.agent import Agent
from favor_stream.bench.memory import QUESTION, WATCHED, warmed
from favor_stream.bench.rows import Row, note
from favor_stream.bench.subject import Subject
from favor_stream.capture import open_source
from favor_stream.clip import snapshot_jpeg, write_film
from favor_stream.config import Config
from favor_stream.crowd import Crowd
from favor_stream.records import RATE, SLICE_S, Watch, WatchEvent
from favor_stream.ring import Ring
from favor_stream.sample import SIZE
from favor_stream.session import Session


def film(folder: Path, seconds: int, fps: int, size: tuple[int, int], pulse_s: int = 0) -> Path:
    """H.264 and AAC of drifting noise and a tone, which with `pulse_s` is there for so long and then away for as long."""
    width, height = size
    scene = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    pictures = (np.roll(scene, 2 * k, 1) for k in range(seconds * fps))
    at = np.arange(seconds * RATE)
    is_there = at // (pulse_s * RATE) % 2 == 0 if pulse_s else True
    tone = (0.2 * np.sin(at * 0.17) * is_there).astype(np.float32)
    path = folder / f"{width}x{height}.mp4"
    write_film(path, pictures, fps, tone)
    return path


def whole_chain(subject: Subject, seconds: int) -> list[Row]:
    """Seconds of computing for a second of film, from the file to the memory, without telling what is perceived."""
    note(f"bench: {seconds} s of film through the whole chain")
    session = warmed(subject.session(subject.config.context_s))
    with tempfile.TemporaryDirectory() as folder:
        path = film(Path(folder), seconds, 25, SIZE)
        ring = Ring(pace="lossless", pack=snapshot_jpeg)
        started_s = time.perf_counter()
        with open_source(str(path), ring, pictures_per_s=subject.config.pictures_per_s):
            for piece in ring:
                session.see(piece)
        factor = (time.perf_counter() - started_s) / session.heard_until_s
    return [Row("real-time factor of the whole chain, 640x480", factor, "", "<= 0.2", factor <= 0.2)]


def many_streams(subject: Subject, seconds: int, most: int = 32) -> list[Row]:
    """How many films at once, each with capture, memory and state of its own, go through faster than they play."""
    note(f"bench: {seconds} s of more and more films at once")
    sessions, held = [warmed(subject.session(subject.config.context_s))], []
    with tempfile.TemporaryDirectory() as folder:
        path = film(Path(folder), seconds, 25, SIZE)
        while True:
            factor = together(path, sessions, subject.config)
            if factor < 1:
                held.append((len(sessions), factor))
            if factor >= 1 or len(sessions) >= most:
                break
            sessions += [subject.session(subject.config.context_s) for _ in sessions]
    streams, factor = held[-1] if held else (0, factor)
    return [
        Row(f"films of 640x480 at once, real-time factor {factor:.2f}", streams, "", ">= 8", streams >= 8),
    ]


def together(path: Path, sessions: Sequence[Session], config: Config) -> float:
    """The real-time factor of as many films as there are sessions, which read their windows together."""
    started_s = time.perf_counter()
    with ExitStack() as opened:
        rings = [Ring(pace="lossless") for _ in sessions]
        for ring, session in zip(rings, sessions, strict=True):
            session.reset()
            opened.enter_context(open_source(str(path), ring, pictures_per_s=config.pictures_per_s))
        crowd = Crowd(sessions)
        for pieces in zip(*rings, strict=True):
            crowd.see(dict(enumerate(pieces)))
    return (time.perf_counter() - started_s) / sessions[0].heard_until_s


def loop_lag(config: Config, seconds: int) -> list[Row]:
    """How late the event loop wakes while the model perceives and answers."""
    note(f"bench: event loop for {seconds} s")

    async def lateness(path: Path) -> list[float]:
        late = []
        async with Agent(str(path), config=config) as agent:
            asking = asyncio.create_task(keep_asking(agent), name="keep asking")
            for _ in range(seconds * 200):
                due_s = time.perf_counter() + 0.005
                await asyncio.sleep(0.005)
                late.append(time.perf_counter() - due_s)
            asking.cancel()
            with suppress(asyncio.CancelledError):  # anything else would mean that the figure is of an idle agent
                await asking
        return late

    with tempfile.TemporaryDirectory() as folder:
        late = asyncio.run(lateness(film(Path(folder), seconds * 2, 25, SIZE)))
    p99 = float(np.quantile(late, 0.99)) * 1000
    return [Row("event-loop lag p99 while perceiving and answering", p99, "ms", "<= 20", p99 <= 20)]


def telling(config: Config, seconds: int) -> list[Row]:
    """From the first moment of a slice to the event that tells what it held, live, with a snapshot and other watches beside."""
    note(f"bench: telling what happens for {seconds} s")
    loud = Watch("loud", "it is loud", by="loudness", on=0.1, off=0.05, hold_s=SLICE_S, cooldown_s=0.0)
    others = [Watch(f"other_{number}", text) for number, text in enumerate(WATCHED[:8])]

    async def ages(path: Path, proof: Path) -> list[float]:
        agent, told = Agent(str(path), config=replace(config, evidence=proof), watches=[loud, *others]), []
        events = agent.events()
        async with agent:
            async for event in events:
                if isinstance(event, WatchEvent) and event.phase == "new":
                    told.append((datetime.now(UTC) - event.captured_at).total_seconds())
        return told

    with tempfile.TemporaryDirectory() as folder:
        path = film(Path(folder), seconds, 25, SIZE, pulse_s=1)
        told = asyncio.run(ages(path, Path(folder) / "proof"))
    p95 = float(np.quantile(told, 0.95)) + SLICE_S
    return [
        Row("happenings told while that was measured", len(told), "", "", None),
        Row("capture to publish p95, with 9 watches", p95, "s", "<= 1", p95 <= 1),
    ]


async def keep_asking(agent: Agent) -> None:
    while True:
        await agent.answer(QUESTION)


def capture_share(seconds: int) -> list[Row]:
    """CPU time of capture and ring for 720p30 with sound, at real-time pace."""
    note(f"bench: capture of 720p30 for {seconds} s")
    with tempfile.TemporaryDirectory() as folder:
        path = film(Path(folder), seconds, 30, (1280, 720))
        ring = Ring(pack=snapshot_jpeg)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        with open_source(str(path), ring):
            for _ in ring:
                pass
        share = (time.process_time() - cpu_s) / (time.perf_counter() - wall_s)
    return [Row("capture + ring at 720p30 + 16 kHz, share of a core", share, "", "", None)]
