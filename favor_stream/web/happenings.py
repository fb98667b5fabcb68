"""What an agent told, over HTTP: listed, followed, and what shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.exceptions import HTTPException

from favor_stream.web.asking import EVENT_STREAM, sent
from favor_stream.web.chosen import Chosen
from favor_stream.web.history import History

routes = APIRouter()


@routes.get("/v1/events")
async def events(stream: Chosen, after: int = 0, limit: int = 100) -> dict[str, Any]:
    """The last ones, oldest first."""
    return {"events": [entry.told for entry in stream.history.after(after)[-max(1, limit) :]]}


@routes.get("/v1/events/stream")
async def follow(stream: Chosen, last_event_id: Annotated[int, Header()] = 0) -> Response:
    """Those that are kept and those to come, as server-sent events; a browser that comes again goes on where it was."""
    return StreamingResponse(_followed(stream.history, last_event_id), media_type=EVENT_STREAM)


@routes.get("/v1/events/{happening}/{kind}.{suffix}")
async def evidence(stream: Chosen, happening: str, kind: Literal["snapshot", "clip"], suffix: Literal["jpg", "mp4"]) -> Response:
    path = stream.history.evidence(happening, kind)
    if path is None or path.suffix != f".{suffix}" or not path.is_file():
        raise HTTPException(404, f"no {kind} of {happening}; it has no evidence, or it is not kept any more")
    return FileResponse(path)


async def _followed(history: History, number: int) -> AsyncIterator[str]:
    async for entry in history.follow(number):
        yield sent(entry.told, entry.number) if entry else ": nothing new\n\n"
