"""A scene: a script, and the senses that it is perceived by.

It is played into a ring as a film is, so that what is measured is what runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from favor_stream.aveb.picture import picture
from favor_stream.aveb.script import Script
from favor_stream.aveb.soundtrack import soundtrack
from favor_stream.aveb.truth import pictures_s
from favor_stream.capture import OnEvent
from favor_stream.capture.container import Heard, Seen
from favor_stream.capture.played import Played
from favor_stream.records import SLICE_S, SLICE_SAMPLES, Slice
from favor_stream.ring import Ring

KEEP_S = 4.0  # of sound that the ring of a scene holds


@dataclass(frozen=True, slots=True)
class Scene:
    """What a clip of a task is like."""

    script: Script
    is_seen: bool = True  # False: it comes without pictures
    is_heard: bool = True  # False: it comes without sound

    @property
    def slices(self) -> int:
        return int(self.script.duration_s / SLICE_S)

    def played(self, pictures: int = 1) -> Iterator[Slice]:
        """Its slices with so many pictures each, as they come out of the ring that its source fills."""
        ring = Ring(KEEP_S, pace="lossless")
        with Staged(self, ring, lambda _: None, pictures):
            yield from ring


class Staged(Played):
    """Fills a ring with a scene, as fast as the reader goes."""

    def __init__(self, scene: Scene, ring: Ring, on_event: OnEvent, pictures: int = 1) -> None:
        super().__init__(f"scene {scene.script.seed}", ring, "fast", on_event, pictures / SLICE_S)
        self._scene, self._per_slice = scene, pictures

    def _run(self) -> None:
        self._expect(self._scene.is_heard, self._scene.is_seen, math.inf)
        self._play(pieces(self._scene, self._per_slice), lambda: 0)


def pieces(scene: Scene, pictures: int) -> Iterator[Heard | Seen]:
    """So many pictures in each half second, the last where the truth expects it, and the sound."""
    script = scene.script
    sound = soundtrack(script) if scene.is_heard else None
    for k in range(scene.slices):
        for at_s in pictures_s(k, pictures) if scene.is_seen else ():
            yield Seen(picture(script, at_s), at_s, 0.0)
        if sound is not None:
            yield Heard(sound[k * SLICE_SAMPLES : (k + 1) * SLICE_SAMPLES], k * SLICE_S, 0.0)
