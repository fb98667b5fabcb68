"""What can be asked over HTTP: answers, events, watches, the picture, how the agent is. Errors are one line with a type."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from favor_stream import payload
from favor_stream.agent import Agent
from favor_stream.errors import ConfigError, FavorError
from favor_stream.records import SLICE_S, Answer, Severity, Watch, name_of
from favor_stream.version import __version__
from favor_stream.web.history import Entry, History

STATIC = Path(__file__).parent / "static"
LOOK_S = 0.1  # how often there may be a new picture
EVENT_STREAM = "text/event-stream"
FRAME = "favor-frame"  # between pictures of the moving one


class Asked(BaseModel):
    """A question about the stream. `stream`: the answer piece by piece, as server-sent events."""

    model_config = ConfigDict(extra="forbid")
    question: str
    stream: bool = False
    answer_schema: dict[str, Any] | None = Field(None, alias="schema")


class NewWatch(BaseModel):
    """Something to be told of when it happens, in a sentence; its name is made of its words."""

    model_config = ConfigDict(extra="forbid")
    question: str
    on: float = 0.8
    off: float = 0.4
    cooldown_s: float = 10.0
    severity: Severity = "detection"


class ChangedWatch(BaseModel):
    """What is to be different."""

    model_config = ConfigDict(extra="forbid")
    is_on: bool | None = None
    on: float | None = None
    off: float | None = None
    cooldown_s: float | None = None


class Switch(BaseModel):
    model_config = ConfigDict(extra="forbid")
    on: bool


def app(agent: Agent, history: History) -> FastAPI:
    """The interface to an agent that somebody else has entered."""
    made = FastAPI(title="favor_stream", version=__version__, docs_url=None, redoc_url=None)
    made.add_exception_handler(FavorError, _refused)
    made.add_exception_handler(RequestValidationError, _invalid)
    made.add_exception_handler(HTTPException, _http)
    _add_page(made)
    _add_state(made, agent, history)
    _add_asking(made, agent)
    _add_events(made, history)
    _add_watches(made, agent)
    _add_pictures(made, agent)
    return made


def _add_page(made: FastAPI) -> None:
    for address, name in (("/", "page.html"), ("/page.css", "page.css"), ("/page.js", "page.js")):
        made.get(address, include_in_schema=False, response_class=FileResponse)(_sender(STATIC / name))


def _sender(path: Path) -> Any:
    async def send() -> FileResponse:
        return FileResponse(path, headers={"cache-control": "no-cache"})

    return send


def _add_state(made: FastAPI, agent: Agent, history: History) -> None:
    @made.get("/healthz")
    async def is_alive() -> str:
        return "ok"

    @made.get("/readyz")
    async def is_ready() -> Response:
        """200 once something was perceived, or devices are closed on purpose."""
        ready = agent.heard_until_s > 0 or agent.is_held
        return Response("ok" if ready else "nothing was perceived yet", 200 if ready else 503)

    @made.get("/v1/status")
    async def status() -> dict[str, Any]:
        return {**history.health.status(agent), **figures(agent)}

    @made.put("/v1/privacy")
    async def keep_private(switch: Switch) -> dict[str, Any]:
        """On: every device is closed, and what was kept of pictures and sound is dropped."""
        if switch.on:
            await agent.hold()
        else:
            agent.resume()
        return {"on": agent.is_held}

    @made.put("/v1/pause")
    async def pause(switch: Switch) -> dict[str, Any]:
        """On: nothing is watched; perceiving and answering go on."""
        if switch.on:
            await agent.pause()
        else:
            agent.unpause()
        return {"on": agent.is_paused}

    @made.post("/v1/forget", status_code=204)
    async def forget() -> None:
        await agent.forget()


def figures(agent: Agent) -> payload.Json:
    """How the agent keeps up."""
    counts = agent.counts
    return {
        "sources": agent.sources,
        "is_held": agent.is_held,
        "is_paused": agent.is_paused,
        "heard_until_s": agent.heard_until_s,
        "remembered_s": list(agent.remembered_s),
        "lag_s": round(agent.lag_s, 2),
        "real_time_factor": round(agent.real_time_factor, 4),
        "pictures_in": counts.pictures_in,
        "pictures_dropped": counts.pictures_dropped,
        "slices_lost": counts.slices_lost,
        "tokens": agent.tokens,
        "budget_tokens": agent.budget_tokens,
    }


def _add_asking(made: FastAPI, agent: Agent) -> None:
    @made.post("/v1/ask")
    async def ask(asked: Asked) -> Response:
        """The answer; a question that cannot be answered is refused before anything is sent."""
        said = spoken(agent, asked)
        first = await anext(said)
        if asked.stream:
            return StreamingResponse(_told(first, said), media_type=EVENT_STREAM)
        async with aclosing(said):
            async for last in said:
                first = last
        return JSONResponse(first)


async def spoken(agent: Agent, asked: Asked) -> AsyncGenerator[payload.Json, None]:
    """Its pieces, `{"piece": text}`, and at last the whole answer with its times."""
    started_s, first_s, pieces = time.monotonic(), None, []
    async with aclosing(agent.ask(asked.question, schema=asked.answer_schema)) as answer:
        async for piece in answer:
            first_s = first_s or time.monotonic() - started_s
            pieces.append(piece)
            yield {"piece": piece}
        heard_until_s = agent.answered_until_s
    total_s = time.monotonic() - started_s
    yield payload.answer(Answer(asked.question, "".join(pieces).strip(), heard_until_s, first_s or total_s, total_s), "")


async def _told(first: payload.Json, rest: AsyncGenerator[payload.Json, None]) -> AsyncIterator[str]:
    async with aclosing(rest):
        yield sent(first)
        try:
            async for each in rest:
                yield sent(each)
        except FavorError as error:
            yield sent(wrong("refused", str(error)))


def sent(told: payload.Json, number: int | None = None) -> str:
    """A server-sent event."""
    return ("" if number is None else f"id: {number}\n") + f"data: {json.dumps(told)}\n\n"


def _add_events(made: FastAPI, history: History) -> None:
    @made.get("/v1/events")
    async def events(after: int = 0, limit: int = 100) -> dict[str, Any]:
        """The last ones, oldest first."""
        return {"events": [numbered(entry) for entry in history.after(after)[-max(1, limit) :]]}

    @made.get("/v1/events/stream")
    async def follow(last_event_id: Annotated[int, Header()] = 0) -> Response:
        """Those that are kept and those to come, as server-sent events; a browser that comes again goes on where it was."""
        return StreamingResponse(_followed(history, last_event_id), media_type=EVENT_STREAM)

    @made.get("/v1/events/{happening}/{kind}.{suffix}")
    async def evidence(happening: str, kind: Literal["snapshot", "clip"], suffix: Literal["jpg", "mp4"]) -> Response:
        path = history.evidence(happening, kind)
        if path is None or path.suffix != f".{suffix}" or not path.is_file():
            raise HTTPException(404, f"no {kind} of {happening}; it has no evidence, or it is not kept any more")
        return FileResponse(path)


async def _followed(history: History, number: int) -> AsyncIterator[str]:
    async for entry in history.follow(number):
        yield sent(numbered(entry), entry.number) if entry else ": nothing new\n\n"


def numbered(entry: Entry) -> payload.Json:
    return {"number": entry.number, **entry.told}


def _add_watches(made: FastAPI, agent: Agent) -> None:
    @made.get("/v1/watches")
    async def watches() -> dict[str, Any]:
        return {"watches": [asdict(watch) for watch in agent.watches]}

    @made.post("/v1/watches", status_code=201)
    async def add(wanted: NewWatch) -> dict[str, Any]:
        """Watched until the next start; those of the settings are there again then."""
        watch = Watch(name_of(wanted.question), **wanted.model_dump())
        agent.watch(watch)
        return asdict(watch)

    @made.patch("/v1/watches/{name}")
    async def change(name: str, changed: ChangedWatch) -> dict[str, Any]:
        watch = replace(_found(agent, name), **changed.model_dump(exclude_none=True))
        await agent.change(watch)
        return asdict(watch)

    @made.delete("/v1/watches/{name}", status_code=204)
    async def remove(name: str) -> None:
        await agent.unwatch(_found(agent, name).name)

    @made.post("/v1/watches/{name}/fire", status_code=204)
    async def fire(name: str) -> None:
        agent.fire(_found(agent, name).name)


def _found(agent: Agent, name: str) -> Watch:
    watch = next((watch for watch in agent.watches if watch.name == name), None)
    if watch is None:
        raise HTTPException(404, f"no watch is called {name!r}; GET /v1/watches tells those that are")
    return watch


def _add_pictures(made: FastAPI, agent: Agent) -> None:
    @made.get("/v1/picture.jpg")
    async def picture() -> Response:
        """The newest picture that is kept."""
        pictures = agent.clip(2 * SLICE_S).pictures
        if not pictures:
            raise HTTPException(404, "there is no picture now: no camera, or privacy is on")
        return Response(pictures[-1][1], media_type="image/jpeg", headers={"cache-control": "no-store"})

    @made.get("/v1/picture.mjpeg")
    async def moving() -> Response:
        """Every picture that is kept, as they come; for an <img>."""
        return StreamingResponse(_frames(agent), media_type=f"multipart/x-mixed-replace; boundary={FRAME}")


async def _frames(agent: Agent) -> AsyncIterator[bytes]:
    shown_s = -1.0
    while True:
        if (pictures := agent.clip(2 * SLICE_S).pictures) and pictures[-1][0] != shown_s:
            shown_s, packed = pictures[-1]
            yield (
                b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (FRAME.encode(), len(packed))
                + packed
                + b"\r\n"
            )
        await asyncio.sleep(LOOK_S)


# Errors.


def wrong(kind: str, message: str) -> payload.Json:
    return {"error": {"type": kind, "message": message}}


async def _refused(_: Request, error: Exception) -> Response:
    is_mistake = isinstance(error, ConfigError)
    return JSONResponse(wrong("invalid_request" if is_mistake else "unavailable", str(error)), 400 if is_mistake else 503)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = error.errors()[0]
    where = ".".join(str(part) for part in told["loc"][1:]) or "the body"
    return JSONResponse(wrong("invalid_request", f"{where}: {told['msg']}; see /openapi.json"), 400)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kinds = {404: "not_found", 405: "not_allowed"}
    return JSONResponse(wrong(kinds.get(error.status_code, "error"), error.detail), error.status_code)
