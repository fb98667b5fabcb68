"""What was seen and heard, over HTTP: the picture as it is, and any moment that is still kept, as a film."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from favor_stream.agent import Agent
from favor_stream.clip import write_clip
from favor_stream.records import SLICE_S
from favor_stream.ring import Clip
from favor_stream.web.chosen import Chosen

LOOK_S = 0.1  # how often there may be a new picture
FRAME = "favor-frame"  # between pictures of the moving one
WHOLE_S = 3600.0  # as much as any ring keeps
SECONDS = Query(description="of the stream, as in events", allow_inf_nan=False, ge=-1e9, le=1e9)
routes = APIRouter()


@routes.get("/v1/picture.jpg")
async def picture(stream: Chosen) -> Response:
    """The newest picture that is kept."""
    pictures = stream.agent.clip(2 * SLICE_S).pictures
    if not pictures:
        raise HTTPException(404, "there is no picture now: no camera, or privacy is on")
    return Response(pictures[-1][1], media_type="image/jpeg", headers={"cache-control": "no-store"})


@routes.get("/v1/picture.mjpeg")
async def moving(stream: Chosen) -> Response:
    """Every picture that is kept, as they come; for an <img>."""
    return StreamingResponse(_frames(stream.agent), media_type=f"multipart/x-mixed-replace; boundary={FRAME}")


@routes.get("/v1/moment.mp4")
async def moment(stream: Chosen, start_s: Annotated[float, SECONDS], end_s: Annotated[float, SECONDS]) -> Response:
    """What was seen and heard between two times of the stream; 404 where it is no longer kept."""
    clip = stream.agent.clip(WHOLE_S).between(start_s, end_s)
    if not clip.pictures and not len(clip.sound):
        raise HTTPException(404, f"{start_s:g} s to {end_s:g} s are not kept; what was perceived can still be asked about")
    path = await asyncio.to_thread(_filmed, clip)
    return FileResponse(path, media_type="video/mp4", background=BackgroundTask(path.unlink))


def _filmed(clip: Clip) -> Path:
    file, name = tempfile.mkstemp(suffix=".mp4")
    os.close(file)
    path = Path(name)
    try:
        write_clip(path, clip)
    except BaseException:
        path.unlink()
        raise
    return path


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
