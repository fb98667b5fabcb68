"""An agent in the Rerun viewer: pictures, loudness, what is perceived, how likely each watch is, events and answers, in time.

It knows records and clips, never the agent: who has one hands over what it tells, again and again, and what is new is shown.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import numpy as np
import rerun as rr
import rerun.blueprint as rrb

from favor_stream.errors import ConfigError, DeviceError
from favor_stream.records import RATE, Answer, Event, Perceived, WatchEvent
from favor_stream.ring import Clip

TIMELINE = "stream"  # seconds of the session's clock
BLOCK_S = 0.1  # of sound, for which one loudness is shown
BLOCK = round(BLOCK_S * RATE)
REMEMBERED = 1000  # of the last events and answers it is known that they were shown
MOST_WAITING = 256  # pieces that wait for a viewer which is slow or away; the oldest are dropped beyond
CLOSE_S = 5.0  # how long such a viewer is waited for at the end
Piece = tuple[str, Sequence[float], list[rr.ComponentColumn]]  # where, when and what
LEVELS = {"error": "ERROR", "lost": "WARN", "overload": "WARN", "held": "WARN"}  # of events, by their kind
SEVERITIES = {"info": "INFO", "detection": "INFO", "alert": "ERROR"}  # of watches


class RerunView:
    """One recording, from its making until it is closed. Each method shows only what was not shown yet; one thread calls them.

    None of them waits for the viewer; making it does, for some seconds, where the viewer is away. A recording grows for as long
    as it goes on: a file on disk, a viewer in its own memory, up to the limit that it was given.
    """

    def __init__(self, name: str, sink: str, window_s: float | None = None) -> None:
        """`sink`: "spawn" starts a viewer; a path that ends in .rrd; the address of a viewer, rerun+http://HOST:9876/proxy.

        `window_s`: how long a window of the agent's memory is; None: windows are not shown. Raises ConfigError, DeviceError.
        """
        self._stream = rr.RecordingStream(name)
        self._window_s = window_s
        self._picture_s, self._window = -math.inf, -1  # the newest that was shown
        self._heard = 0  # blocks of sound that were shown, or had gone before they could be
        self._chances_s: dict[str, float] = {}  # the newest that was shown of each watch
        self._shown: deque[Hashable] = deque(maxlen=REMEMBERED)
        self.dropped = 0  # pieces that gave way because the viewer was too slow or away
        self._waiting: deque[Piece] = deque(maxlen=MOST_WAITING)
        self._changed = threading.Condition()
        self._closing = False
        try:
            self._open(sink)
        except (OSError, RuntimeError, ValueError) as error:
            raise DeviceError(f"{sink}: cannot be shown to ({error}); check the path or the address, or write spawn") from error
        self._writer = threading.Thread(target=self._write, name=f"rerun {name}", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Writes out what waits and ends the recording; a viewer that is away is no error."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._writer.join(CLOSE_S)
        if not self._writer.is_alive():  # else the library waits for the viewer, and would have us wait as well
            with suppress(RuntimeError):
                self._stream.flush(timeout_sec=CLOSE_S)
            self._stream.disconnect()

    def add_clip(self, clip: Clip) -> None:
        """Its pictures, the loudness of each tenth of a second, and where windows of the memory ended."""
        shots = [shot for shot in clip.pictures if shot[0] > self._picture_s]
        if shots:
            self._picture_s = shots[-1][0]
            jpegs = [jpeg for _, jpeg in shots]
            images = rr.EncodedImage.columns(blob=jpegs, media_type=["image/jpeg"] * len(shots))
            self._send("picture", [time_s for time_s, _ in shots], images)
        self._show_loudness(clip)
        self._show_windows(clip)

    def add_levels(self, levels: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        """How likely each watch was: by its name, the stream's times and what is compared with its `on`, 0..1."""
        for name, all_told in levels.items():
            told = [level for level in all_told if level[0] > self._chances_s.get(name, -math.inf)]
            if told:
                self._chances_s[name] = told[-1][0]
                self._show_numbers(f"chances/{name}", [time_s for time_s, _ in told], [chance for _, chance in told])

    def add_event(self, event: Event) -> None:
        phase = (event.id, event.phase) if isinstance(event, WatchEvent) else ()
        if not self._is_new((event.kind, event.time_s, event.text, event.source, phase)):
            return
        if isinstance(event, Perceived):
            for sense, words in (("sees", event.sees), ("hears", event.hears), ("said", event.said)):
                self._show_words(f"perceived/{sense}", event.time_s, words)
        elif isinstance(event, WatchEvent):
            words = f"{event.watch.name} {event.phase}: {event.text}"
            self._show_words(f"events/watch/{event.watch.name}", event.time_s, words, SEVERITIES[event.watch.severity])
            self._show_numbers(f"told/{event.watch.name}", [event.time_s], [event.confidence])
        else:
            self._show_words(f"events/{event.kind}", event.time_s, event.text, LEVELS.get(event.kind, "INFO"))

    def add_answer(self, answer: Answer) -> None:
        """At the stream's time that it rests on."""
        if self._is_new((answer.question, answer.text, answer.heard_until_s)):
            self._show_words("answers", answer.heard_until_s, f"{answer.question} {answer.text}")

    def _open(self, sink: str) -> None:
        layout = _layout()
        if sink == "spawn":
            self._stream.spawn(default_blueprint=layout)
        elif sink.endswith(".rrd"):
            self._stream.save(sink, default_blueprint=layout)
        elif sink.startswith("rerun"):
            self._stream.connect_grpc(sink, default_blueprint=layout)
        else:
            raise ConfigError(f"{sink}: is nothing to show to; write spawn, FILE.rrd or rerun+http://HOST:9876/proxy")

    def _show_loudness(self, clip: Clip) -> None:
        """Of whole blocks, counted from the session's 0.0, so that clips that overlap agree."""
        start = round(clip.start_s * RATE)
        first, last = max(self._heard, -(-start // BLOCK)), (start + len(clip.sound)) // BLOCK
        if last > first:
            blocks = clip.sound[first * BLOCK - start : last * BLOCK - start].reshape(-1, BLOCK)
            loudness = np.sqrt(np.mean(np.square(blocks, dtype=np.float64), axis=1))
            self._show_numbers("loudness", [(k + 1) * BLOCK_S for k in range(first, last)], loudness.tolist())
            self._heard = last

    def _show_windows(self, clip: Clip) -> None:
        if self._window_s:
            first = max(self._window + 1, math.ceil(clip.start_s / self._window_s), 1)
            ended = range(first, math.floor(clip.end_s / self._window_s + 1e-9) + 1)
            if ended:
                self._show_numbers("windows", [k * self._window_s for k in ended], [float(k) for k in ended])
                self._window = ended[-1]

    def _show_numbers(self, path: str, times_s: Sequence[float], numbers: Sequence[float]) -> None:
        self._send(path, times_s, rr.Scalars.columns(scalars=numbers))

    def _show_words(self, path: str, time_s: float, words: str, level: str = "INFO") -> None:
        if words:
            self._send(path, [time_s], rr.TextLog.columns(text=[words], level=[level]))

    def _send(self, path: str, times_s: Sequence[float], columns: Iterable[rr.ComponentColumn]) -> None:
        with self._changed:
            self.dropped += len(self._waiting) == MOST_WAITING
            self._waiting.append((path, times_s, list(columns)))
            self._changed.notify_all()

    def _write(self) -> None:
        """A thread's work: the library waits for a viewer that is away once some hundred megabytes are meant for it."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                path, times_s, columns = self._waiting.popleft()
            self._stream.send_columns(path, [rr.TimeColumn(TIMELINE, duration=times_s)], columns)

    def _is_new(self, key: Hashable) -> bool:
        if key in self._shown:
            return False
        self._shown.append(key)
        return True


def _layout() -> rrb.Blueprint:
    """The picture beside what is known about it."""
    words = rrb.TextLogView(name="events", contents=["/events/**", "/perceived/**", "/answers"])
    chances = rrb.TimeSeriesView(name="watches", contents=["/chances/**", "/told/**"])
    loudness = rrb.TimeSeriesView(name="loudness", contents=["/loudness"])
    seen = rrb.Spatial2DView(name="picture", origin="/picture")
    return rrb.Blueprint(rrb.Horizontal(rrb.Vertical(seen, loudness), rrb.Vertical(chances, words)), collapse_panels=True)
