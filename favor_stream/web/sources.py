"""The streams over HTTP: which there are, how each is, and what may be switched: privacy, pause, forgetting."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from favor_stream import payload
from favor_stream.agent import Agent
from favor_stream.web.chosen import AllStreams, Chosen
from favor_stream.web.streams import Stream

TEXT = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' exposition format
routes = APIRouter()


class NewSource(BaseModel):
    """A stream of its own: a film, an address, a camera and a microphone."""

    model_config = ConfigDict(extra="forbid")
    sources: list[str] = Field(min_length=1, max_length=2)
    name: str = ""


class Switch(BaseModel):
    model_config = ConfigDict(extra="forbid")
    on: bool


@routes.get("/healthz")
async def is_alive() -> str:
    return "ok"


@routes.get("/readyz")
async def is_ready(streams: AllStreams) -> Response:
    """200 once every stream has perceived something, or is closed on purpose; browsers bring theirs when they like."""
    waited = [each.name for each in streams.all if not (each.inlet or each.agent.heard_until_s > 0 or each.agent.is_held)]
    return Response(f"nothing was perceived yet of {', '.join(waited)}" if waited else "ok", 503 if waited else 200)


@routes.get("/metrics")
async def metrics(stream: Chosen) -> Response:
    """Figures for Prometheus."""
    return Response(stream.figures.page(), media_type=TEXT)


@routes.get("/v1/sources")
async def sources(streams: AllStreams) -> dict[str, Any]:
    return {"sources": [described(stream) for stream in streams.all]}


@routes.post("/v1/sources", status_code=201)
async def add(wanted: NewSource, streams: AllStreams) -> dict[str, Any]:
    """Opened now, until it is removed or the server ends."""
    return described(await streams.add(wanted.sources, wanted.name))


@routes.delete("/v1/sources/{name}", status_code=204)
async def remove(name: str, streams: AllStreams) -> None:
    """Closes its devices and forgets its memory."""
    await streams.remove(name)


def described(stream: Stream) -> payload.Json:
    agent = stream.agent
    return {
        "name": stream.name,
        "sources": agent.sources,
        "is_brought": stream.inlet is not None,
        **stream.history.health.status(agent),
    }


@routes.get("/v1/status")
async def status(stream: Chosen) -> dict[str, Any]:
    return {**described(stream), **figures(stream.agent)}


@routes.get("/v1/past")
async def past(stream: Chosen) -> dict[str, Any]:
    """`written_down`: from when to when can be asked about; null where nothing is."""
    reach = await stream.agent.past()
    return {"written_down": reach and [payload.utc(at) for at in reach]}


@routes.put("/v1/privacy")
async def keep_private(switch: Switch, stream: Chosen) -> dict[str, Any]:
    """On, over a restart too: every device is closed, and what was kept of pictures and sound is dropped."""
    if switch.on:
        await stream.agent.hold()
    else:
        stream.agent.resume()
    stream.switches.keep()
    return {"on": stream.agent.is_held}


@routes.put("/v1/pause")
async def pause(switch: Switch, stream: Chosen) -> dict[str, Any]:
    """On, over a restart too: nothing is watched; perceiving and answering go on."""
    if switch.on:
        await stream.agent.pause()
    else:
        stream.agent.unpause()
    stream.switches.keep()
    return {"on": stream.agent.is_paused}


@routes.post("/v1/forget", status_code=204)
async def forget(stream: Chosen) -> None:
    """Everything that was perceived, what was written down of it too."""
    await stream.agent.forget()


def figures(agent: Agent) -> payload.Json:
    """How the agent keeps up."""
    counts = agent.counts
    return {
        "is_held": agent.is_held,
        "is_paused": agent.is_paused,
        "heard_until_s": agent.heard_until_s,
        "heard_until": payload.utc(agent.utc(agent.heard_until_s)),
        "remembered_s": list(agent.remembered_s),
        "lag_s": round(agent.lag_s, 2),
        "drift_ppm": agent.drift_ppm,
        "real_time_factor": round(agent.real_time_factor, 4),
        "pictures_in": counts.pictures_in,
        "pictures_used": counts.pictures_used,
        "pictures_dropped": counts.pictures_dropped,
        "slices_lost": counts.slices_lost,
        "tokens": agent.tokens,
        "budget_tokens": agent.budget_tokens,
        "engines": dict(agent.engines),
        "resident_bytes": resident_bytes(),
    }


def resident_bytes() -> int | None:
    """Memory that this process holds; None on systems that do not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
