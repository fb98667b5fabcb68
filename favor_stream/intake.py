"""The devices of one agent and the ring that they fill: one slice after another, also when devices were closed meanwhile.

Opening and closing a device may block, and so does waiting for a slice: one thread does all of it, and the event loop awaits it.
It knows sources and rings, and no model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

import numpy as np

from favor_stream.capture import Source, open_source
from favor_stream.capture.inlet import Inlet
from favor_stream.clip import snapshot_jpeg
from favor_stream.config import Config
from favor_stream.records import SLICE_S, Event, Slice
from favor_stream.ring import Clip, Counts, Ring

TAKE_S = 0.2  # how long one wait for a slice may last, so that leaving is quick
assert TAKE_S < SLICE_S


class Intake:
    """Opens sources, hands out what they bring, and closes them; one event loop only."""

    def __init__(
        self,
        sources: Sequence[str | Inlet],
        config: Config,
        pace: Literal["live", "fast"],
        publish: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        """`clock`: what live devices' times are counted in, in seconds."""
        self._sources, self._pictures_per_s, self._publish, self._clock = sources, config.pictures_per_s, publish, clock
        ring_pace: Literal["live", "lossless"] = "live" if pace == "live" else "lossless"
        self._new_ring = partial(Ring, config.keep_s, config.picture_hold_s, config.lag_s, ring_pace, snapshot_jpeg, clock)
        self._ring, self._ring_start_s, self._counts_before = self._new_ring(), 0.0, Counts()
        self._slices = 0  # taken
        self._resumed: asyncio.Event | None = None  # while devices are held closed: to be set when they may open again
        self._switching = asyncio.Lock()  # held while devices are being opened again or closed
        self._devices = ExitStack()
        self._running: list[Source] = []
        self._reader = ThreadPoolExecutor(1, "reader")

    async def open(self) -> None:
        """Open every device, unless they are held closed. Raises DeviceError."""
        self._loop = asyncio.get_running_loop()
        if self._resumed is None:
            await self._loop.run_in_executor(self._reader, self._open)

    async def take(self) -> Slice | None:
        """The next slice; None when every source has ended. While devices are held closed it waits."""
        while True:
            piece = await self._loop.run_in_executor(self._reader, self._ring.take, TAKE_S)
            if piece is not None:
                self._slices += 1
                return replace(piece, index=self._slices - 1)
            if self._ring.ended:
                if self._resumed is None:
                    return None
                await self._reopen(self._resumed)

    async def close(self) -> None:
        self._ring.end()  # wakes the reader
        # Leaving a device may block, so not here; in the reader's thread it comes after an opening that was cancelled.
        await asyncio.get_running_loop().run_in_executor(self._reader, self._devices.close)
        await asyncio.to_thread(self._reader.shutdown)

    # Privacy.

    async def hold(self) -> None:
        """Close every device and drop what the ring kept; the stream's time stands still until `resume`."""
        async with self._switching:
            if self._resumed is not None:  # perhaps about to open
                self._resumed.clear()
                return
            self.begin_held()
            await self._loop.run_in_executor(self._reader, self._devices.close)
            self._publish(Event("held", self._taken_s, "devices are closed"))

    def begin_held(self) -> None:
        """Before opening: open no device until `resume`."""
        self._resumed = asyncio.Event()
        self._ring.end()

    def resume(self) -> None:
        if self._resumed is not None:
            self._resumed.set()

    @property
    def is_held(self) -> bool:
        return self._resumed is not None and not self._resumed.is_set()

    async def _reopen(self, resumed: asyncio.Event) -> None:
        """Go on with a new ring once the devices may be opened: the clock of the old one has run on."""
        self._counts_before, self._ring = self._counts_before + self._ring.counts, self._new_ring()
        self._ring_start_s = self._taken_s
        while self._resumed is not None:
            await resumed.wait()
            async with self._switching:
                if resumed.is_set():  # still
                    await self._loop.run_in_executor(self._reader, self._open)
                    self._resumed = None
        self._publish(Event("resumed", self._taken_s, "devices are open again"))

    # Figures.

    @property
    def names(self) -> list[str]:
        """Of the devices and films, as they may be shown."""
        return [source.name for source in self._running]

    @property
    def is_endless(self) -> bool:
        """Whether some device has no end that is known, as a camera; also while they are held closed."""
        return any(source.is_endless for source in self._running or self._made())

    @property
    def counts(self) -> Counts:
        """Pictures and samples in, used and lost."""
        return self._counts_before + self._ring.counts

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the sound device's clock runs than this machine's; None for a film, and before it is known."""
        return next((source.drift_ppm for source in self._running if source.drift_ppm is not None), None)

    @property
    def arrived_s(self) -> float:
        """The stream's time up to which the devices have brought something."""
        return self._taken_s if self._ring.ended else self._ring_start_s + self._ring.elapsed_s

    def captured_s(self, stream_s: float) -> float:
        """When a moment of the stream was captured, on the clock of devices; of a film that is read fast: now."""
        origin_s = self._ring.origin_s
        return self._clock() if origin_s is None else origin_s + stream_s - self._ring_start_s

    def captured_at(self, stream_s: float) -> datetime:
        """The same, UTC; of a recording that knows it, when that was made."""
        if (began_ns := next((source.began_ns for source in self._running if source.began_ns is not None), None)) is not None:
            return datetime.fromtimestamp(began_ns / 1e9 + stream_s, UTC)
        return datetime.now(UTC) - timedelta(seconds=self.arrived_s - stream_s)

    def clip(self, last_s: float) -> Clip:
        """The last seconds of sound and pictures, on the stream's clock; nothing while devices are closed for privacy."""
        if self.is_held:
            return Clip(self._taken_s, np.zeros(0, np.float32), ())
        kept, since_s = self._ring.clip(last_s), self._ring_start_s
        return Clip(since_s + kept.start_s, kept.sound, tuple((since_s + time_s, packed) for time_s, packed in kept.pictures))

    @property
    def _taken_s(self) -> float:
        return self._slices * SLICE_S

    # In the reader's thread.

    def _open(self) -> None:
        self._running.clear()
        for source in self._made():
            self._running.append(self._devices.enter_context(source))

    def _made(self) -> Iterator[Source]:
        """The sources, before they are opened."""
        for name in self._sources:
            brought = (self._ring, self._tell, self._pictures_per_s)
            yield open_source(name, *brought) if isinstance(name, str) else name.open(*brought)

    def _tell(self, event: Event) -> None:
        """From any thread."""
        event = replace(event, time_s=self._ring_start_s + event.time_s)
        self._loop.call_soon_threadsafe(self._publish, event)
