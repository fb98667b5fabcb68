"""How fast, how flat and how late: each figure beside its goal, ratios taken in one interleaved run.

Times come from the wall clock of a machine that may be busy, so what is promised is ratios and shares, not milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers.models.llama.modeling_llama import rotate_half

from favor_stream.agent import Agent
from favor_stream.aveb.lexicon import COLOURS, SHAPES
from favor_stream.aveb.questions import a
from favor_stream.capture import open_source
from favor_stream.clip import snapshot_jpeg, write_film
from favor_stream.config import Config
from favor_stream.llm import Llm, Prompt
from favor_stream.model.favor import Favor
from favor_stream.records import RATE, SLICE_S, Slice, Watch, WatchEvent
from favor_stream.ring import Ring
from favor_stream.sample import SIZE, sample
from favor_stream.session import QUESTION_TOKENS, Session, load_model, load_session, room
from favor_stream.watches import BACK_S

SMALL = (160, 120)  # pictures whose making costs next to nothing
QUESTION = "what do you see now?"
WATCHED = [
    f"{before} {a(colour)} {shape}{after}?"
    for before, after in (("is there", " now"), ("do you see", " now"), ("", " appears"))
    for shape in SHAPES
    for colour in COLOURS
]
SLICES_PER_MINUTE = int(60 / SLICE_S)
STATM = Path("/proc/self/statm")  # the second number is what is resident, in pages


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    value: float
    unit: str
    goal: str
    reached: bool | None  # None: there is no goal, the figure is for information


def run(config: Config, quick: bool, json_out: bool, watches: tuple[int, ...] = ()) -> int:
    """Measure everything and print it, or so many `watches` against one; `quick` streams 4 minutes instead of an hour."""
    rows = watching(config, watches, minutes=1 if quick else 10) if watches else everything(config, quick)
    print(json.dumps([asdict(row) for row in rows]) if json_out else table(rows))
    return 0


def everything(config: Config, quick: bool) -> list[Row]:
    return [
        *endless(config, minutes=4 if quick else 60),
        *first_token(config, minutes=(1,) if quick else (1, 4, 16)),
        *watching(config, (8, 32) if quick else (8, 32, 128), minutes=1 if quick else 10),
        *whole_chain(config, seconds=10 if quick else 60),
        *loop_lag(config, seconds=5 if quick else 20),
        *telling(config, seconds=10 if quick else 60),
        *capture_share(seconds=5 if quick else 20),
    ]


def table(rows: list[Row]) -> str:
    """A Markdown table, aligned for the terminal too."""
    verdict = {True: "reached", False: "missed", None: ""}
    cells = [("what", "value", "goal", ""), ("---", "--:", "--:", "---")]
    cells += [(row.name, f"{figure(row.value)} {row.unit}".strip(), row.goal, verdict[row.reached]) for row in rows]
    what, value, goal, end = (max(map(len, column)) for column in zip(*cells, strict=True))
    return "\n".join(f"| {a:{what}} | {b:>{value}} | {c:>{goal}} | {d:{end}} |" for a, b, c, d in cells)


def figure(value: float) -> str:
    """Three digits, or all of a large whole number."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def warmed(session: Session) -> Session:
    """The session, empty, after the costs that only a first pass has."""
    for piece in sample(SLICES_PER_MINUTE, size=SMALL):
        session.see(piece)
    timed_first(session)
    session.reset()
    return session


def resident_mib() -> float:
    """Resident memory of this process; NaN where there is no /proc to tell."""
    if not STATM.exists():
        return math.nan
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def endless(config: Config, minutes: int) -> list[Row]:
    """Cost of the last minute against a first minute, when the memory is still empty, and growth over the second half.

    The two minutes are streamed slice by slice in turn, so that a machine that is busy at times is busy for both. The first half
    does not count for growth: the system hands out the cache's pages as they are first written to.
    """
    note(f"bench: streaming {minutes} minutes as fast as they go")
    loaded = load_model(config)
    session, fresh = (warmed(Session(*loaded, config.context_s)) for _ in range(2))
    early: list[float] = []
    late, sizes = [], []
    slices = minutes * SLICES_PER_MINUTE
    for piece in sample(slices, size=SMALL):
        if piece.index >= slices - SLICES_PER_MINUTE:
            early.append(timed_see(fresh, replace(piece, index=len(early))))
            late.append(timed_see(session, piece))
        else:
            session.see(piece)
        if (piece.index + 1) % SLICES_PER_MINUTE == 0:
            sizes.append(resident_mib())
    ratio = sum(late) / sum(early)
    growth = sizes[-1] - sizes[len(sizes) // 2]
    rows = [
        Row(f"append, last minute of {minutes} / first minute", ratio, "x", "<= 1.05", ratio <= 1.05),
        Row("append, a slice, median of the last minute", median(late) * 1000, "ms", "", None),
        Row(f"resident memory, minute {minutes} - minute {len(sizes) // 2 + 1}", growth, "MiB", "<= 8 (flat)", growth <= 8),
        Row("tokens in the cache at the end", session.tokens, "", "", None),
    ]
    return [row for row in rows if not math.isnan(row.value)]


def first_token(config: Config, minutes: tuple[int, ...]) -> list[Row]:
    """Time to the first token with the kept cache against reading as long a context again, interleaved."""
    model, tokenizer = load_model(config)
    session = warmed(Session(model, tokenizer, max(minutes) * 60.0))  # all of them are still remembered
    rows = []
    for wanted in minutes:
        note(f"bench: first token at {wanted} minutes of context")
        have = int(session.heard_until_s / SLICE_S)
        # Into the middle of a window, so that the question has half of one to bring along.
        for piece in sample(wanted * SLICES_PER_MINUTE + 5 - have, have, SMALL):
            session.see(piece)
        held_s = session.remembered_s[1] - session.remembered_s[0]
        warm, again, turned = [], [], []
        for _ in range(5):
            warm.append(timed_first(session))
            again.append(timed_reading(model, tokenizer, session) + warm[-1])
            turned.append(timed_rotation(model, session.tokens) + warm[-1])
        rows += [
            Row(f"first token at {wanted} min, warm", median(warm) * 1000, "ms", "", None),
            Row(f"first token at {wanted} min, read again / warm", median(again) / median(warm), "x", "", None),
            Row(f"first token at {wanted} min, were keys kept unrotated / warm", median(turned) / median(warm), "x", "", None),
            Row(f"context held at {wanted} min", held_s / 60, "min", f">= {wanted}", held_s >= wanted * 60),
        ]
    return rows


def watching(config: Config, counts: tuple[int, ...], minutes: int) -> list[Row]:
    """Time of all watches after a slice, against that of one, in a memory of some minutes; interleaved."""
    note(f"bench: watches at {minutes} minutes of context")
    session = warmed(Session(*load_model(config), minutes * 60.0))
    for piece in sample(minutes * SLICES_PER_MINUTE + 5, size=SMALL):
        session.see(piece)
    spent: dict[int, list[float]] = {count: [] for count in (1, *counts)}
    for _ in range(9):
        for count, times in spent.items():
            started_s = time.perf_counter()
            session.check(WATCHED[:count], BACK_S)
            times.append(time.perf_counter() - started_s)
    one_s = median(spent.pop(1))
    rows = [Row(f"one watch at {minutes} min, a slice", one_s * 1000, "ms", "", None)]
    for count, times in spent.items():
        goal, is_reached = ("<= 2", median(times) <= 2 * one_s) if count == 32 else ("", None)
        rows.append(Row(f"{count} watches / one", median(times) / one_s, "x", goal, is_reached))
    return rows


def timed_see(session: Session, piece: Slice) -> float:
    started_s = time.perf_counter()
    session.see(piece)
    return time.perf_counter() - started_s


def timed_first(session: Session) -> float:
    started_s = time.perf_counter()
    answer = session.ask(QUESTION)
    next(answer, None)
    spent_s = time.perf_counter() - started_s
    answer.close()
    return spent_s


def timed_reading(model: Favor, tokenizer: Tokenizer, session: Session) -> float:
    """Seconds to read a context as long as the session's into an empty cache."""
    as_long = room(model, session.remembered_s[1] - session.remembered_s[0])
    llm = Llm(model.llm, tokenizer, Prompt(), as_long, model.config.llm.look_back)
    context = torch.randn(session.tokens - llm.tokens, model.config.llm.width)
    started_s = time.perf_counter()
    for at in range(0, len(context), QUESTION_TOKENS):
        llm.append(context[at : at + QUESTION_TOKENS], 0.0, 0.0)
    return time.perf_counter() - started_s


@torch.inference_mode()
def timed_rotation(model: Favor, tokens: int) -> float:
    """Seconds to rotate so many keys of every layer: what each pass would pay, were they kept unrotated for exact positions."""
    c = model.llm.config
    heads = c.num_key_value_heads or c.num_attention_heads
    keys = torch.randn(c.num_hidden_layers, heads, tokens, c.hidden_size // c.num_attention_heads)
    started_s = time.perf_counter()
    cosine, sine = model.llm.model.rotary_emb(keys, torch.arange(tokens)[None])
    for layer in keys:
        layer * cosine + rotate_half(layer) * sine  # type: ignore[no-untyped-call]
    return time.perf_counter() - started_s


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


def whole_chain(config: Config, seconds: int) -> list[Row]:
    """Seconds of computing for a second of film, from the file to the memory, without telling what is perceived."""
    note(f"bench: {seconds} s of film through the whole chain")
    session = warmed(load_session(config))
    with tempfile.TemporaryDirectory() as folder:
        path = film(Path(folder), seconds, 25, SIZE)
        ring = Ring(pace="lossless", pack=snapshot_jpeg)
        started_s = time.perf_counter()
        with open_source(str(path), ring, pictures_per_s=config.pictures_per_s):
            for piece in ring:
                session.see(piece)
        factor = (time.perf_counter() - started_s) / session.heard_until_s
    return [Row("real-time factor of the whole chain, 640x480", factor, "", "<= 0.2", factor <= 0.2)]


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
