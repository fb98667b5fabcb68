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
from favor_stream.aveb.truth import picture_s
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

    def played(self) -> Iterator[Slice]:
        """Its slices, as they come out of the ring that its source fills."""
        ring = Ring(KEEP_S, pace="lossless")
        with Staged(self, ring, lambda _: None):
            yield from ring


class Staged(Played):
    """Fills a ring with a scene, as fast as the reader goes."""

    def __init__(self, scene: Scene, ring: Ring, on_event: OnEvent) -> None:
        super().__init__(f"scene {scene.script.seed}", ring, "fast", on_event, 1 / SLICE_S)
        self._scene = scene

    def _run(self) -> None:
        self._expect(self._scene.is_heard, self._scene.is_seen, math.inf)
        self._play(pieces(self._scene), lambda: 0)


def pieces(scene: Scene) -> Iterator[Heard | Seen]:
    """A picture in each half second, where the truth expects it, and the sound."""
    script = scene.script
    sound = soundtrack(script) if scene.is_heard else None
    for k in range(scene.slices):
        if scene.is_seen:
            yield Seen(picture(script, picture_s(k)), picture_s(k), 0.0)
        if sound is not None:
            yield Heard(sound[k * SLICE_SAMPLES : (k + 1) * SLICE_SAMPLES], k * SLICE_S, 0.0)
