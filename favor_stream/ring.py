"""The one media buffer between device threads and the reader: bounded, counted, handed out in half-second slices.

It knows nothing of devices and decoders. Time comes from the data; only a live reader that waits for a track looks at the clock.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from favor_stream.errors import ConfigError, TrackTakenError
from favor_stream.records import RATE, SLICE_S, SLICE_SAMPLES, Picture, Slice, Sound

Pace = Literal["live", "lossless"]

LATE_S = 1.0  # how long a live reader waits for sound that should be there
LEAD_SLICES = 8  # how far a lossless source may run ahead of its reader
WAITING_PICTURES = 32  # pictures that wait for the reader, as arrays
PACKED_PER_S = 8  # pictures kept for clips, packed; of more than come, some are passed over
ROUNDING_SAMPLES = 1  # a start this near to the expected one is the expected one, told in float


@dataclass(slots=True)
class Counts:
    """What went in and where it is: in == used + dropped + waiting, for pictures and for samples, at every moment."""

    pictures_in: int = 0
    pictures_used: int = 0  # reached their slice in time; of several the newest is its picture
    pictures_dropped: int = 0  # came out of order or after the end, or the reader was too far behind
    pictures_waiting: int = 0
    samples_in: int = 0
    samples_used: int = 0
    samples_dropped: int = 0  # came for a time that had sound already, after the end, or were lost unread
    samples_waiting: int = 0
    samples_missing: int = 0  # silence that was handed out in place of sound
    slices: int = 0  # handed out
    slices_lost: int = 0  # overwritten before the reader came to them; handed out as silence

    def __add__(self, other: Counts) -> Counts:
        """Of two rings, one after the other."""
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Clip:
    """The last seconds of a ring, ready to be written to a file."""

    start_s: float  # on the session's clock
    sound: Sound  # [samples], empty when the ring has no sound track
    pictures: tuple[tuple[float, bytes], ...]  # session seconds and packed picture, oldest first

    @property
    def end_s(self) -> float:
        """The end of what is in it."""
        return max(self.start_s + len(self.sound) / RATE, self.pictures[-1][0] if self.pictures else 0.0)

    def between(self, start_s: float, end_s: float) -> Clip:
        """The part of it that lies between."""
        first, last = (max(0, round((seconds - self.start_s) * RATE)) for seconds in (start_s, end_s))
        pictures = tuple(shot for shot in self.pictures if start_s <= shot[0] < end_s)
        return Clip(max(start_s, self.start_s), self.sound[first:last], pictures)


class Ring:
    """Device threads put sound and pictures in; one reader takes slice after slice, k = 0, 1, 2, ... without gaps.

    Two paces. `live`: nobody waits for the reader. When it is more than `lag_s` behind, waiting pictures are dropped, oldest
    first, and its slices carry none until it has caught up; sound is kept for `keep_s`, and a slice whose sound was
    overwritten unread comes as silence. `lossless`: a source that runs too far ahead is made to wait, and nothing is lost.

    Memory is bounded: 64 kB for each second of `keep_s`, WAITING_PICTURES + 1 arrays, and PACKED_PER_S packed pictures for
    each second of `keep_s`. `pack` makes a picture small enough to be kept for clips (`favor_stream.clip.snapshot_jpeg`);
    without it clips have sound alone.
    """

    def __init__(
        self,
        keep_s: float = 60.0,
        picture_hold_s: float = 2.0,
        lag_s: float = 2.0,
        pace: Pace = "live",
        pack: Callable[[Picture], bytes] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        rows = math.ceil(keep_s / SLICE_S) + 1
        if rows <= LEAD_SLICES or not 0 <= lag_s <= keep_s:
            least_s = LEAD_SLICES * SLICE_S
            raise ConfigError(
                f"keep_s is {keep_s:g} and lag_s {lag_s:g}; keep_s must be at least {least_s:g} and no less than lag_s"
            )
        self.pace = pace
        self._lag_s = lag_s
        self._pack = pack
        self._now_s = now_s
        self._changed = threading.Condition()
        self._counts = Counts()
        self._error: Exception | None = None
        self._origin_s: float | None = None  # the session's 0.0 on the monotonic clock
        self._first_asked_s: float | None = None
        self._next = 0  # the reader's next slice
        self._has_sound = self._has_pictures = False
        self._one_source = False  # brings both
        self._sound_open = self._pictures_open = False
        self._over = False
        self._stuck: list[Callable[[], bool]] = []  # what each waiting lossless source waits for

        self._sound = np.zeros((rows, SLICE_SAMPLES), np.float32)  # slice k lies in row k % rows
        self._missing = np.zeros(rows, np.int64)  # samples of a row that are filled-in silence
        self._written = 0  # samples on the session's clock

        self._hold_s = picture_hold_s
        self._newest_s = -math.inf  # stamp of the newest picture
        self._waiting: deque[tuple[float, Picture]] = deque()
        self._shown: tuple[float, Picture] | None = None
        self._dropped = 0  # pictures, since the last slice
        self._packed: deque[tuple[float, bytes]] = deque(maxlen=math.ceil(keep_s * PACKED_PER_S))

    # What sources call.

    def expect(self, sound: bool, pictures: bool, hold_s: float | None = None) -> None:
        """Announces the tracks that a source will fill; `hold_s` replaces the ring's hold of a picture (a file: for ever).

        Raises TrackTakenError when another source fills that track already.
        """
        with self._changed:
            for wanted, taken, track in ((sound, self._has_sound, "sound"), (pictures, self._has_pictures, "pictures")):
                if wanted and taken:
                    raise TrackTakenError(f"two sources bring {track}; one is expected, take the other away")
            self._has_sound, self._sound_open = self._has_sound or sound, self._sound_open or sound
            self._has_pictures, self._pictures_open = self._has_pictures or pictures, self._pictures_open or pictures
            self._one_source, self._over = sound and pictures, False
            if pictures and hold_s is not None:
                self._hold_s = hold_s

    def session_s(self, moment_s: float, sound: bool = False) -> float | None:
        """Where a moment of the monotonic clock lies on the session's clock, which the first sound starts; None before that.

        A picture starts it where no sound is expected, or where sound keeps it waiting for more than LATE_S.
        """
        with self._changed:
            if self._origin_s is None:
                self._first_asked_s = moment_s if self._first_asked_s is None else self._first_asked_s
                if not sound and self._sound_open and moment_s - self._first_asked_s < LATE_S:
                    return None
                self._origin_s = moment_s
            return moment_s - self._origin_s

    def put_sound(self, samples: Sound, start_s: float) -> None:
        """Sound that starts at `start_s`: a gap before it becomes silence; what overlaps with sound already there is dropped.

        Copies. Lossless, it waits while the reader is too far behind.
        """
        with self._changed:
            self._counts.samples_in += len(samples)
            start = round(start_s * RATE)
            if abs(start - self._written) <= ROUNDING_SAMPLES:
                start = self._written
            late = min(len(samples), max(0, self._written - start))
            if self._sound_open:
                self._write(None, start - self._written)
                late += self._write(samples[late:], len(samples) - late)
            else:
                late = len(samples)
            self._counts.samples_dropped += late
            self._changed.notify_all()

    def put_picture(self, picture: Picture, time_s: float) -> None:
        """A picture seen at `time_s`; dropped when it is not newer than the newest. The array now belongs to the ring."""
        packed = self._packed_now(picture, time_s)  # milliseconds: not under the lock
        with self._changed:
            self._counts.pictures_in += 1
            if not self._pictures_open or time_s <= self._newest_s:
                self._drop_pictures(1)
                return
            self._newest_s = time_s
            self._wait_for(lambda: len(self._waiting) < WAITING_PICTURES or not self._pictures_open)
            if not self._pictures_open:
                self._drop_pictures(1)
                return
            self._waiting.append((time_s, picture))
            if packed is not None:
                self._packed.append((time_s, packed))
            self._shed()
            self._changed.notify_all()

    def end(self, sound: bool = True, pictures: bool = True) -> None:
        """No more of these tracks will come; wakes whoever waits. What is put after it is dropped."""
        with self._changed:
            self._sound_open = self._sound_open and not sound
            self._pictures_open = self._pictures_open and not pictures
            self._over = not (self._sound_open or self._pictures_open)
            if self._over and not self._ready():  # pictures of slices that were handed out already
                self._drop_pictures(len(self._waiting))
                self._waiting.clear()
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Ends all tracks; the reader gets the error after the last slice."""
        with self._changed:
            self._error = error
            self.end()

    # What the reader calls.

    def take(self, timeout_s: float) -> Slice | None:
        """The next slice, waited for at most `timeout_s`; None when there is none yet, or no more (`ended`).

        Raises the error that a source failed with, once everything that came before it was taken.
        """
        give_up_s = time.monotonic() + timeout_s
        with self._changed:
            while not self._ready():
                if self._over and self._error is not None:
                    raise self._error
                wait_s = min(give_up_s - time.monotonic(), self._patience_s())
                if self._over or wait_s <= 0:
                    return None
                self._changed.wait(wait_s)
            return self._hand_out()

    def __iter__(self) -> Iterator[Slice]:
        """Slice after slice until the end."""
        while (piece := self.take(timeout_s=60.0)) is not None or not self.ended:
            if piece is not None:
                yield piece

    @property
    def ended(self) -> bool:
        """All tracks have ended and every slice was taken."""
        with self._changed:
            return self._over and not self._ready()

    @property
    def counts(self) -> Counts:
        """The counts as they stand now (a copy)."""
        with self._changed:
            first = max(self._next, self._oldest)
            unread = np.arange(first, math.ceil(self._written / SLICE_SAMPLES)) % len(self._missing)
            waiting = max(0, self._written - first * SLICE_SAMPLES) - int(self._missing[unread].sum())
            return replace(self._counts, pictures_waiting=len(self._waiting), samples_waiting=waiting)

    @property
    def origin_s(self) -> float | None:
        """The session's 0.0 on the monotonic clock; None for a lossless ring, and before anything has come."""
        with self._changed:
            return self._origin_s if self.pace == "live" else None

    @property
    def elapsed_s(self) -> float:
        """The session's time: the clock's when live, the newest data's when lossless."""
        with self._changed:
            if self.pace == "lossless":
                return max(self._written / RATE, self._newest_s, 0.0)
            return 0.0 if self._origin_s is None else self._now_s() - self._origin_s

    def clip(self, last_s: float) -> Clip:
        """The last seconds: up to now when live, up to the last slice taken when lossless. At most `keep_s` of them."""
        with self._changed:
            newest = max(self._written, math.ceil(max(self._newest_s, 0.0) * RATE) + 1)
            end = self._next * SLICE_SAMPLES if self.pace == "lossless" else newest
            first = max(end - round(last_s * RATE), self._oldest * SLICE_SAMPLES, 0)
            heard = np.arange(first, min(end, self._written) if self._has_sound else first)
            sound = np.take(self._sound.reshape(-1), heard, mode="wrap")
            pictures = tuple(shot for shot in self._packed if first <= shot[0] * RATE < end)
            return Clip(first / RATE, sound, pictures)

    # Sound, under the lock.

    @property
    def _oldest(self) -> int:
        """The oldest slice whose sound is still there."""
        return max(0, (self._written - 1) // SLICE_SAMPLES + 1 - len(self._sound))

    def _write(self, samples: Sound | None, count: int) -> int:
        """Appends `count` samples, or silence for None, slice by slice; returns how many found no place before the end."""
        done = 0
        while done < count:
            index, offset = divmod(self._written, SLICE_SAMPLES)
            if offset == 0 and not self._claim(index):
                return count - done
            row, size = index % len(self._sound), min(SLICE_SAMPLES - offset, count - done)
            self._sound[row, offset : offset + size] = 0.0 if samples is None else samples[done : done + size]
            self._missing[row] += size if samples is None else 0
            self._written += size
            done += size
            self._shed()
        return 0

    def _claim(self, index: int) -> bool:
        """Makes the row of slice `index` free; False when sound ended while a lossless source waited for it."""
        self._wait_for(lambda: index - self._next < LEAD_SLICES or not self._sound_open)
        if self.pace == "lossless" and index - self._next >= LEAD_SLICES:
            return False
        row, overwritten = index % len(self._sound), index - len(self._sound)
        if overwritten >= self._next:
            self._counts.slices_lost += 1
            self._counts.samples_dropped += SLICE_SAMPLES - int(self._missing[row])
        self._missing[row] = 0
        return True

    def _wait_for(self, room: Callable[[], bool]) -> None:
        """Lossless, a source waits here until there is room; the reader sees in `_stuck` what for."""
        if self.pace == "live" or room():
            return
        self._stuck.append(room)
        self._changed.notify_all()
        self._changed.wait_for(room)
        self._stuck.remove(room)

    # Pictures, under the lock.

    def _behind_s(self, index: int) -> float:
        """How many seconds of whole slices have come after slice `index`."""
        complete = self._written // SLICE_SAMPLES
        if self._newest_s > 0:
            complete = max(complete, math.floor(self._newest_s / SLICE_S))
        return (complete - 1 - index) * SLICE_S

    def _shed(self) -> None:
        """Drops the pictures that a lagging reader will not be shown, oldest first."""
        if self.pace == "lossless":
            return
        while self._waiting:
            index = max(self._next, math.floor(self._waiting[0][0] / SLICE_S))
            if len(self._waiting) <= WAITING_PICTURES and self._behind_s(index) <= self._lag_s:
                return
            self._waiting.popleft()
            self._drop_pictures(1)

    def _packed_now(self, picture: Picture, time_s: float) -> bytes | None:
        """The picture made small for clips; None where they have one of this moment."""
        is_due = not self._packed or math.floor(time_s * PACKED_PER_S) > math.floor(self._packed[-1][0] * PACKED_PER_S)
        return self._pack(picture) if self._pack is not None and is_due else None

    def _drop_pictures(self, count: int) -> None:
        self._counts.pictures_dropped += count
        self._dropped += count

    def _shown_before(self, end_s: float) -> tuple[Picture, ...]:
        """The new pictures with a stamp before `end_s`, oldest first; else the one shown last, unless it is held for too long."""
        came = []
        while self._waiting and self._waiting[0][0] < end_s:
            self._shown = self._waiting.popleft()
            self._counts.pictures_used += 1
            came.append(self._shown[1])
        if self._shown is None or end_s - self._shown[0] > self._hold_s:
            return ()
        return tuple(came) or (self._shown[1],)

    # Slices, under the lock.

    def _ready(self) -> bool:
        end_s, end = (self._next + 1) * SLICE_S, (self._next + 1) * SLICE_SAMPLES
        heard, seen = self._written >= end, self._newest_s >= end_s
        if self._over:
            return self._written > self._next * SLICE_SAMPLES or self._newest_s >= self._next * SLICE_S
        if self.pace == "live":
            return (heard if self._sound_open else seen and self._pictures_open) or self._patience_s() <= 0
        reached = (heard or not self._sound_open) and (seen or not self._pictures_open)
        # Where both tracks come from one source, it can't bring what the slice lacks while it waits.
        stuck = self._one_source and any(not room() for room in self._stuck)
        return stuck or (reached and (self._sound_open or self._pictures_open))

    def _patience_s(self) -> float:
        """How long a live reader still waits before it takes its next slice as it stands."""
        if self.pace == "lossless" or self._origin_s is None:
            return math.inf
        late_s = LATE_S if self._sound_open else 0.0
        return self._origin_s + (self._next + 1) * SLICE_S + late_s - self._now_s()

    def _hand_out(self) -> Slice:
        index, end_s = self._next, (self._next + 1) * SLICE_S
        self._write(None, (index + 1) * SLICE_SAMPLES - self._written)
        if index >= self._oldest:
            row = index % len(self._sound)
            sound, missing = self._sound[row].copy(), int(self._missing[row])
            self._counts.samples_used += SLICE_SAMPLES - missing
        else:
            sound, missing = np.zeros(SLICE_SAMPLES, np.float32), SLICE_SAMPLES
        pictures = self._shown_before(end_s)
        if self.pace == "live" and self._behind_s(index) > self._lag_s:
            pictures = ()  # a slice without a picture costs less: this is how a reader catches up
        dropped, self._dropped = self._dropped, 0
        self._counts.slices += 1
        self._counts.samples_missing += missing
        self._next += 1
        self._changed.notify_all()
        return Slice(index, pictures[-1] if pictures else None, sound, dropped, missing, pictures[:-1])
