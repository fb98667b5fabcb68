"""Plays what an item is about into a lossless ring, as a film is played, and lets a session see what comes out of it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from favor_stream.aveb.sets.item import Media
from favor_stream.aveb.speech import HELD_OUT_VOICES, say
from favor_stream.capture import OnEvent, Source, open_source
from favor_stream.capture.container import Footage, Heard, Seen, in_order, opened
from favor_stream.capture.played import Played
from favor_stream.config import Config
from favor_stream.errors import DeviceError
from favor_stream.records import RATE, SLICE_S, SLICE_SAMPLES, Picture, Sound
from favor_stream.ring import Ring
from favor_stream.session import Session

STILL_SLICES = 4  # that a picture without sound is shown for, and the least with one
WANTED = "expected a film, a recording or a picture; download it again"
WORDS_PER_MINUTE, PITCH, LEVEL = 160, 50, 0.5  # of a question that is spoken


def perceive(session: Session, media: Media, config: Config, on_event: OnEvent) -> None:
    """Let the session forget all and see this. Raises DeviceError for a file that cannot be decoded."""
    session.reset()
    ring = Ring(config.keep_s, config.picture_hold_s, config.lag_s, "lossless")
    with source(media, ring, on_event, config.pictures_per_s):
        for piece in ring:
            session.see(piece)
    if session.heard_until_s <= 0:
        raise DeviceError(f"{media.paths[0]}: nothing is seen or heard in it; {WANTED}")


def source(media: Media, ring: Ring, on_event: OnEvent, pictures_per_s: float) -> Source:
    """What will fill the ring: the file itself where one file is all there is, else its parts put together."""
    alone = media.film or media.sound
    if alone and len(media.paths) == 1 and (media.start_s, media.end_s) == (0.0, math.inf):
        return open_source(str(alone.absolute()), ring, on_event, pictures_per_s)
    return Composed(media, ring, on_event, pictures_per_s)


class Composed(Played):
    """A span of a film, or a film or a picture along with a sound, as fast as the reader goes."""

    def __init__(self, media: Media, ring: Ring, on_event: OnEvent, pictures_per_s: float) -> None:
        super().__init__(str(media.paths[0]), ring, "fast", on_event, pictures_per_s)
        self._media = media

    def _run(self) -> None:
        if self._media.film is None:
            has_sound = bool(self._media.sound or self._media.said)
            self._expect(has_sound, True, math.inf)
            self._play(still(self._media), lambda: 0)
            return
        with opened(f"file:{self._media.film}", self.name, WANTED) as container:
            footage = Footage(container, self._pictures_per_s)
            self._expect(footage.has_sound or self._media.sound is not None, footage.has_pictures, math.inf)
            pieces = dubbed(footage, recording(self._media.sound)) if self._media.sound else footage
            self._play(span(in_order(pieces), self._media.start_s, self._media.end_s), lambda: footage.thinned)


def dubbed(film: Iterable[Heard | Seen], sound: Sound) -> Iterator[Heard | Seen]:
    """The pictures of a film with another sound, which is cut where the film ends."""
    heard = 0  # samples
    for piece in film:
        if isinstance(piece, Seen):
            yield piece
        until = round(piece.end_s * RATE)
        if len(part := sound[heard:until]):
            yield Heard(part, heard / RATE, 0.0)
        heard = max(heard, until)


def span(pieces: Iterable[Heard | Seen], start_s: float, end_s: float) -> Iterator[Heard | Seen]:
    """What of these lies between, to the sample, with the span's start as 0.0."""
    for piece in pieces:
        if piece.time_s >= end_s + SLICE_S:  # sorted by their ends: nothing that is wanted comes so late
            return
        if isinstance(piece, Seen):
            if start_s <= piece.time_s < end_s:
                yield Seen(piece.picture, piece.time_s - start_s, piece.arrived_s)
            continue
        first, last = (max(0, round((min(edge_s, piece.end_s) - piece.time_s) * RATE)) for edge_s in (start_s, end_s))
        if last > first:
            yield Heard(piece.sound[first:last], max(0.0, piece.time_s - start_s), piece.arrived_s)


def still(media: Media) -> Iterator[Heard | Seen]:
    """A picture in each half second, for as long as its sound lasts."""
    assert media.picture, "a still is of a picture"
    shown, heard = picture(media.picture), spoken(media.said) if media.said else recording(media.sound)
    for k in range(max(STILL_SLICES, math.ceil(len(heard) / SLICE_SAMPLES))):
        yield Seen(shown, k * SLICE_S, 0.0)
        if len(piece := heard[k * SLICE_SAMPLES : (k + 1) * SLICE_SAMPLES]):
            yield Heard(piece, k * SLICE_S, 0.0)


def picture(path: Path) -> Picture:
    """Raises DeviceError for a file that shows none."""
    with opened(f"file:{path}", str(path), WANTED) as container:
        for piece in Footage(container, pictures_per_s=1.0):
            if isinstance(piece, Seen) and piece.picture is not None:
                return piece.picture
    raise DeviceError(f"{path}: shows no picture that can be decoded; {WANTED}")


def recording(path: Path | None) -> Sound:
    """All of a sound file, and nothing of None. Raises DeviceError for a file with no sound in it."""
    if path is None:
        return np.zeros(0, np.float32)
    with opened(f"file:{path}", str(path), WANTED) as container:
        heard = [piece.sound for piece in Footage(container, pictures_per_s=1.0) if isinstance(piece, Heard)]
    if not heard:
        raise DeviceError(f"{path}: has no sound that can be decoded; {WANTED}")
    return np.concatenate(heard)


def spoken(text: str) -> Sound:
    """The text in a voice that training never hears, which depends on the text alone, with a pause around it."""
    voice = HELD_OUT_VOICES[zlib.crc32(text.encode()) % len(HELD_OUT_VOICES)]
    return np.pad(LEVEL * say(text, voice, WORDS_PER_MINUTE, PITCH).sound, SLICE_SAMPLES // 2).astype(np.float32)
