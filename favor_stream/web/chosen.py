"""What every call has in common: the stream that it is about, named by `?stream=`, and the form of a refusal."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import HTTPConnection

from favor_stream import payload
from favor_stream.web.streams import Stream, Streams


def all_streams(connection: HTTPConnection) -> Streams:
    streams: Streams = connection.app.state.streams
    return streams


def chosen(
    connection: HTTPConnection,
    stream: Annotated[str, Query(description="which stream, by its name in /v1/sources; the first")] = "",
) -> Stream:
    return all_streams(connection).find(stream)


AllStreams = Annotated[Streams, Depends(all_streams)]
Chosen = Annotated[Stream, Depends(chosen)]


def wrong(kind: str, message: str) -> payload.Json:
    return {"error": {"type": kind, "message": message}}
