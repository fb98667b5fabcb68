"""Watches over HTTP: added in a sentence, tried on what was just seen, changed, removed. They last over a restart."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from favor_stream.records import Sense, Severity, Watch, name_of
from favor_stream.web.chosen import Chosen
from favor_stream.web.history import shown
from favor_stream.web.streams import NotThereError, Stream

routes = APIRouter()
USUAL = Watch("usual", "something happens")  # its settings are those of a watch that comes without


class NewWatch(BaseModel):
    """Something to be told of when it happens, in a sentence; its name is made of its words."""

    model_config = ConfigDict(extra="forbid")
    question: str
    on: float = USUAL.on
    off: float = USUAL.off
    cooldown_s: float = USUAL.cooldown_s
    severity: Severity = USUAL.severity
    by: Sense = USUAL.by

    def made(self) -> Watch:
        return Watch(name_of(self.question), **{key: getattr(self, key) for key in NewWatch.model_fields})


class Trial(NewWatch):
    """The same, and how much of the past it is tried on."""

    last_s: float = Field(60.0, gt=0, le=3600)

    def made(self) -> Watch:
        return NewWatch.made(self)


class ChangedWatch(BaseModel):
    """What is to be different."""

    model_config = ConfigDict(extra="forbid")
    is_on: bool | None = None
    on: float | None = None
    off: float | None = None
    cooldown_s: float | None = None


@routes.get("/v1/watches")
async def watches(stream: Chosen) -> dict[str, Any]:
    """Each with `levels`: how likely it was after each half second of the last minute, `[time_s, value]`."""
    levels = stream.agent.levels
    return {"watches": [{**asdict(watch), "levels": levels[watch.name]} for watch in stream.agent.watches]}


@routes.post("/v1/watches", status_code=201)
async def add(wanted: NewWatch, stream: Chosen) -> dict[str, Any]:
    watch = wanted.made()
    stream.agent.watch(watch)
    stream.switches.keep()
    return asdict(watch)


@routes.post("/v1/watches/try")
async def rehearse(trial: Trial, stream: Chosen) -> dict[str, Any]:
    """What it would have told in the last seconds, as far as pictures and sound of them are kept; nothing is told now."""
    tried = await stream.agent.rehearse(trial.made(), trial.last_s)
    return {"levels": tried.levels, "events": [shown(event) for event in tried.events]}


@routes.patch("/v1/watches/{name}")
async def change(name: str, changed: ChangedWatch, stream: Chosen) -> dict[str, Any]:
    watch = replace(_found(stream, name), **changed.model_dump(exclude_none=True))
    await stream.agent.change(watch)
    stream.switches.keep()
    return asdict(watch)


@routes.delete("/v1/watches/{name}", status_code=204)
async def remove(name: str, stream: Chosen) -> None:
    """Those of the settings are there again at the next start."""
    await stream.agent.unwatch(_found(stream, name).name)
    stream.switches.keep()


@routes.post("/v1/watches/{name}/fire", status_code=204)
async def fire(name: str, stream: Chosen) -> None:
    stream.agent.fire(_found(stream, name).name)


def _found(stream: Stream, name: str) -> Watch:
    watch = next((watch for watch in stream.agent.watches if watch.name == name), None)
    if watch is None:
        raise NotThereError(f"no watch is called {name!r}; GET /v1/watches tells those that are")
    return watch
