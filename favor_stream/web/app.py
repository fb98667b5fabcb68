"""The whole interface over HTTP, put together from its parts; the page; and what a mistake looks like: one line with a type."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException

from favor_stream.errors import ConfigError, FavorError
from favor_stream.version import __version__
from favor_stream.web import asking, happenings, media, openai, pictures, realtime, sources, watching, webrtc
from favor_stream.web.chosen import wrong
from favor_stream.web.streams import BusyError, NotThereError, Streams

STATIC = Path(__file__).parent / "static"
PAGES = {"page.html": "/", "docs.html": "/docs"}
STATUSES = {NotThereError: 404, BusyError: 429, ConfigError: 400, FavorError: 503}  # the first that it is
KINDS = {400: "invalid_request", 404: "not_found", 405: "not_allowed", 429: "busy", 503: "unavailable"}


def app(streams: Streams) -> FastAPI:
    """The interface to streams that somebody else has entered."""
    made = FastAPI(title="favor_stream", version=__version__, docs_url=None, redoc_url=None)
    made.state.streams = streams
    made.add_exception_handler(FavorError, _refused)
    made.add_exception_handler(RequestValidationError, _invalid)
    made.add_exception_handler(HTTPException, _http)
    for part in (sources, asking, happenings, watching, pictures, media, webrtc, openai, realtime):
        made.include_router(part.routes)
    for path in sorted(STATIC.iterdir()):
        address = PAGES.get(path.name, f"/{path.name}")
        made.get(address, include_in_schema=False, response_class=FileResponse)(_sender(path))
    return made


def _sender(path: Path) -> Callable[[], Coroutine[Any, Any, FileResponse]]:
    async def send() -> FileResponse:
        return FileResponse(path, headers={"cache-control": "no-cache"})

    return send


# Errors.


async def _refused(_: Request, error: Exception) -> Response:
    status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
    return JSONResponse(wrong(KINDS[status], str(error)), status)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = error.errors()[0]
    where = ".".join(str(part) for part in told["loc"][1:]) or "the body"
    return JSONResponse(wrong("invalid_request", f"{where}: {told['msg']}; see /openapi.json"), 400)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse(wrong(KINDS.get(error.status_code, "error"), error.detail), error.status_code)
