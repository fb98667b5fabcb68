"""A question about a picture and some sound that come along with it: they are perceived in a memory of their own, and forgotten.

The same path as live, from the slice on; no live memory is touched, and streams have their turns between two slices.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from itertools import chain
from typing import Any, Literal

import av
import numpy as np
from av.container import InputContainer

from favor_stream.capture.container import FAILED, Footage, Heard, PictureTrack
from favor_stream.clip import MOST_PIXELS
from favor_stream.errors import ConfigError
from favor_stream.mind import Mind
from favor_stream.records import RATE, SLICE_S, SLICE_SAMPLES, Picture, Slice, Sound, Turn
from favor_stream.reply import Reply
from favor_stream.session import SPOKEN

LEAST_SLICES = 2  # that a picture is shown for
MOST_S = 60.0  # of sound
MOST_PICTURES = 8
DECODERS = {b"\xff\xd8\xff": "mjpeg", b"\x89PNG\r\n\x1a\n": "png"}  # by how a file begins


def glance(
    mind: Mind,
    pictures: Sequence[Picture],
    sound: Sound,
    question: str = "",
    schema: Mapping[str, Any] | None = None,
    earlier: Sequence[Turn] = (),
) -> Reply:
    """The answer from these alone, as from `Agent.ask`: pictures one after the other, each held, along with the sound.

    Without a question it is the one that is asked aloud in the sound. ConfigError for too much, and for none of both.
    """
    if not pictures and not len(sound):
        raise ConfigError("there is neither a picture nor a sound; expected one of them to ask about")
    if len(pictures) > MOST_PICTURES or len(sound) > MOST_S * RATE:
        raise ConfigError(
            f"{len(pictures)} pictures and {len(sound) / RATE:.1f} s of sound are too much to ask about at once; "
            f"send at most {MOST_PICTURES} and {MOST_S:g} s"
        )
    if not question.strip() and not len(sound):
        raise ConfigError("a picture came without a question; ask something about it")
    pieces = list(slices(pictures, sound))
    return Reply(question.strip() or SPOKEN, partial(_write, mind=mind, pieces=pieces, schema=schema, earlier=earlier))


def slices(pictures: Sequence[Picture], sound: Sound) -> Iterator[Slice]:
    """As a camera and a microphone would have given them; pictures share the time evenly."""
    count = max(LEAST_SLICES * max(1, len(pictures)), math.ceil(len(sound) / SLICE_SAMPLES))
    heard = np.pad(sound, (0, count * SLICE_SAMPLES - len(sound))).astype(np.float32)
    for index in range(count):
        shown = pictures[index * len(pictures) // count] if pictures else None
        yield Slice(index, shown, heard[index * SLICE_SAMPLES : (index + 1) * SLICE_SAMPLES])


async def _write(
    reply: Reply, mind: Mind, pieces: Sequence[Slice], schema: Mapping[str, Any] | None, earlier: Sequence[Turn]
) -> None:
    session = await mind.compute(partial(mind.session, len(pieces) * SLICE_S))
    said = await mind.compute(partial(session.ask, reply.question, False, schema, earlier))  # refused now, if at all
    for piece in pieces:
        await mind.compute(partial(session.see, piece))
    reply.until_s = session.heard_until_s
    try:
        while (word := await mind.compute(partial(next, said, None))) is not None:
            reply.put(word)
    finally:
        await asyncio.shield(mind.compute(said.close))  # on the model's thread, also when it is stopped


def picture_in(file: bytes) -> Picture:
    """The picture of a JPEG or PNG, at most as large as a camera's. ConfigError for what is none, or too large to be opened."""
    codec = next((codec for beginning, codec in DECODERS.items() if file.startswith(beginning)), None)
    if codec is None:
        raise ConfigError("a picture is neither JPEG nor PNG; send one of these")
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count, decoder.options = 1, {"max_pixels": str(MOST_PIXELS)}
    try:
        frame = next(chain(decoder.decode(av.Packet(file)), decoder.decode(None)))
    except (*FAILED, StopIteration) as error:
        raise ConfigError(f"a picture cannot be decoded; expected a JPEG or PNG of at most {MOST_PIXELS} pixels") from error
    picture, _ = PictureTrack(1.0, usual_fps=1.0).see(frame, 0.0, 0.0)
    assert picture is not None, "a first picture is never one too many"
    return picture


def sound_in(file: bytes, kind: Literal["wav", "mp3"]) -> Sound:
    """The sound [samples] of a WAV or MP3 file, the first MOST_S and a little. ConfigError for what is none."""
    try:
        with av.open(BytesIO(file), "r", format=kind, metadata_errors="ignore") as container:
            sound = _read(container)
    except FAILED as error:
        raise ConfigError(f"a sound cannot be decoded; expected {kind.upper()}") from error
    if not len(sound):
        raise ConfigError(f"there is no sound in a {kind.upper()} file; send one that has some")
    return sound


def _read(container: InputContainer) -> Sound:
    heard = [np.zeros(0, np.float32)]
    for piece in Footage(container, pictures_per_s=1.0):
        if isinstance(piece, Heard):
            heard.append(piece.sound)
            if piece.end_s > MOST_S:  # refused, however long it goes on
                break
    return np.concatenate(heard)
