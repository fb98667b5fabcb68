"""What somebody brings reaches the slices where it belongs, by a clock that is wrong, over a way that is uneven."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media import number_of, numbered

from favor_stream.capture import inlet as inlet_module
from favor_stream.capture.inlet import MOST_PICTURES, MOST_SOUNDS, BroughtIn, Inlet
from favor_stream.clip import snapshot_jpeg
from favor_stream.records import RATE, Event, Slice, Sound
from favor_stream.ring import Ring

BLOCK_S = 0.05
JPEGS = [snapshot_jpeg(numbered(number, 16, 16), 95) for number in range(20)]
WAIT_S = 10.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The monotonic clock, set by the test."""
    made = SimpleNamespace(now_s=50_000.0)
    made.monotonic = lambda: made.now_s
    monkeypatch.setattr(inlet_module, "time", made)
    return made


def waited(is_so: Callable[[], object]) -> None:
    give_up_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < give_up_s, "it did not come to it"
        time.sleep(0.0005)


class Brought:
    """A source that is entered, what comes out of it, and who brings it things at set times."""

    def __init__(self, clock: SimpleNamespace, ahead_s: float = 0.0, ppm: float = 0.0) -> None:
        self.inlet, self.events = Inlet("porch", clock=clock.monotonic), list[Event]()
        self.ring = Ring(now_s=clock.monotonic, picture_hold_s=1.0)
        self.source = self.inlet.open(self.ring, self.events.append, 4.0)
        self.slices = list[Slice]()
        self._clock, self._ahead_s, self._rate, self._begun_s = clock, ahead_s, 1 + ppm * 1e-6, clock.now_s

    def arrive(self, at_s: float) -> None:
        self._clock.now_s = max(self._clock.now_s, self._begun_s + at_s)

    def bringers_s(self, at_s: float) -> float:
        return float((self._begun_s + at_s) * self._rate + self._ahead_s)

    def sound(self, sound: Sound, ended_s: float, late_s: float = 0.0) -> None:
        self.arrive(ended_s + late_s)
        before = self.ring.counts.samples_in
        self.inlet.put_sound(sound, self.bringers_s(ended_s))
        waited(lambda: self.ring.counts.samples_in > before)
        self.take()

    def picture(self, number: int, at_s: float, late_s: float = 0.0) -> None:
        self.arrive(at_s + late_s)
        before = self.done
        self.inlet.put_picture(JPEGS[number % 20], self.bringers_s(at_s))
        waited(lambda: self.done > before)

    @property
    def done(self) -> int:
        return self.ring.counts.pictures_in + self.source.pictures_thinned + self.source.unreadable

    def take(self) -> None:
        while piece := self.ring.take(0.0):
            self.slices.append(piece)

    @property
    def shown(self) -> list[int | None]:
        return [number_of(piece.picture) for piece in self.slices]


def stream(brought: Brought, seconds: float, late_s: Iterator[float], ppm: float = 0.0) -> list[float]:
    """A picture in the middle of each quarter of a second, and a click in the middle of each second; where clicks are heard."""
    blocks, samples = round(seconds / BLOCK_S), 0
    with brought.source:
        for k in range(blocks):
            end = round((k + 1) * BLOCK_S * RATE * (1 + ppm * 1e-6))  # the sound device runs as the bringer's clock does
            sound = np.zeros(end - samples, np.float32)
            if k % 20 == 9:
                sound[-1] = 1.0  # at 0.5 s, 1.5 s, ...
            samples = end
            brought.sound(sound, (k + 1) * BLOCK_S, next(late_s))
            if k % 5 == 2:
                brought.picture(k // 5, (k + 1) * BLOCK_S - 0.025, next(late_s))
    brought.ring.end()
    brought.take()
    heard = np.concatenate([piece.sound for piece in brought.slices])
    return [float(place) / RATE for place in np.flatnonzero(heard > 0.4)]


def steady(late_s: float) -> Iterator[float]:
    while True:
        yield late_s


def jittery(seed: int, most_s: float) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    yield 0.0
    while True:
        yield float(rng.uniform(0, most_s))


@pytest.mark.parametrize(("ahead_s", "ppm"), [(0.0, 0.0), (3 * 3600.0, 200.0), (-3 * 3600.0, -200.0), (1.7e9, 200.0)])
def test_clock_that_is_off_by_hours_and_drifts_moves_nothing(clock: SimpleNamespace, ahead_s: float, ppm: float) -> None:
    brought = Brought(clock, ahead_s, ppm)
    clicks = stream(brought, 70.0, steady(0.02), ppm)
    assert brought.shown[1:-1] == [(2 * k + 1) % 20 for k in range(1, len(brought.shown) - 1)]
    assert len(clicks) == 70
    assert clicks == pytest.approx([0.5 + k for k in range(70)], abs=0.05)


def test_jitter_in_delivery_moves_nothing(clock: SimpleNamespace) -> None:
    even, uneven = Brought(clock, 3600.0), Brought(clock, 3600.0)
    clicks = stream(even, 12.0, steady(0.0))
    uneven._begun_s = clock.now_s
    assert stream(uneven, 12.0, jittery(0, 0.3)) == pytest.approx(clicks, abs=0.01)
    assert uneven.shown == even.shown


def test_first_delivery_that_was_late_parts_sound_and_pictures_for_no_longer_than_that(clock: SimpleNamespace) -> None:
    brought = Brought(clock)
    clicks = stream(brought, 12.0, iter([2.0, 1.9, 1.8, 1.7, *[0.0] * 10_000]))
    for second, heard_s in zip(range(11, 7, -1), reversed(clicks), strict=False):
        shown = brought.shown[int(heard_s / 0.5)]
        assert shown is not None
        apart_s = 0.25 * shown + 0.125 - (second + 0.5)
        assert abs((apart_s + 2.5) % 5.0 - 2.5) <= 0.5  # numbers begin anew after 5 s


def test_sound_comes_out_as_it_was_brought(clock: SimpleNamespace) -> None:
    brought, rng = Brought(clock, 99.0), np.random.default_rng(0)
    pieces = [rng.uniform(-1, 1, 800).astype(np.float32) for _ in range(100)]
    with brought.source:
        for k, piece in enumerate(pieces):
            brought.sound(piece, (k + 1) * BLOCK_S)
    brought.ring.end()
    brought.take()
    assert np.array_equal(np.concatenate([piece.sound for piece in brought.slices]), np.concatenate(pieces))


def test_after_a_gap_sound_is_where_the_clock_says_at_once(clock: SimpleNamespace) -> None:
    brought = Brought(clock)
    loud = np.ones(800, np.float32)
    with brought.source:
        for k in range(40):
            brought.sound(loud, (k + 1) * BLOCK_S)
        for k in range(40):
            brought.sound(loud, 7.0 + (k + 1) * BLOCK_S)
    brought.ring.end()
    brought.take()
    heard = np.concatenate([piece.sound for piece in brought.slices]).reshape(-1, 800).mean(1)
    assert heard == pytest.approx(np.r_[np.ones(40), np.zeros(100), np.ones(40)], abs=0.01)


def test_picture_that_is_older_than_the_last_is_passed_over_and_moves_none_after_it(clock: SimpleNamespace) -> None:
    brought = Brought(clock)
    with brought.source:
        brought.sound(np.zeros(8000, np.float32), 0.5)
        for number, at_s in [(1, 1.1), (9, 0.2), (9, -3600.0), (2, 1.6), (9, 1.5), (3, 2.1)]:
            brought.picture(number, at_s)
        brought.sound(np.zeros(32_000, np.float32), 2.5)
    brought.ring.end()
    brought.take()
    assert brought.shown == [None, None, 1, 2, 3]


def test_bringer_whose_clock_is_set_back_is_seen_again_soon(clock: SimpleNamespace) -> None:
    brought = Brought(clock)
    with brought.source:
        brought.sound(np.zeros(8000, np.float32), 0.5)
        brought.picture(1, 1.1)
        brought._ahead_s = -100.0
        for number in range(2, 12):
            brought.picture(number, 0.6 + number / 2)
        brought.sound(np.zeros(8000, np.float32), 6.6)
    brought.ring.end()
    brought.take()
    assert brought.shown[-1] == 11


def test_too_many_pictures_lose_the_oldest_and_sound_is_kept(clock: SimpleNamespace) -> None:
    brought = Brought(clock)
    for k in range(400):  # while nobody decodes
        brought.arrive(k * 0.01)
        brought.inlet.put_picture(JPEGS[k % 20], brought.bringers_s(k * 0.01 + 1e-4))
        brought.inlet.put_sound(np.full(160, k, np.float32), brought.bringers_s(k * 0.01 + 1e-4))
    assert MOST_SOUNDS > 400
    with brought.source:
        waited(lambda: brought.ring.counts.samples_in == 400 * 160)
        waited(lambda: brought.done == MOST_PICTURES)
    assert brought.inlet.dropped == 400 - MOST_PICTURES
    brought.ring.end()
    brought.take()
    assert np.array_equal(np.concatenate([piece.sound for piece in brought.slices])[: 400 * 160 : 160], np.arange(400))
    assert brought.shown[-1] is not None


def test_what_is_no_jpeg_is_counted_and_does_no_harm(clock: SimpleNamespace) -> None:
    brought = Brought(clock)
    with brought.source:
        brought.sound(np.zeros(8000, np.float32), 0.5)
        for k, wrong in enumerate((b"", b"no", JPEGS[0][:30], b"\xff\xd8\xff" + bytes(1000))):
            brought.inlet.put_picture(wrong, brought.bringers_s(0.6 + 0.01 * k))
            waited(lambda k=k: brought.done == k + 1)  # type: ignore[misc]
        assert brought.source.unreadable == 4
        brought.picture(7, 0.9)
        brought.sound(np.zeros(8000, np.float32), 1.0)
    assert brought.shown == [None, 7]


@pytest.fixture(scope="module")
def entered() -> Iterator[BroughtIn]:
    with Inlet("porch", sound=False).open(Ring(), lambda event: None, 1000.0) as source:
        yield source


@given(st.binary(max_size=400), st.integers(0, 400), st.integers(0, 3))
def test_damaged_jpegs_never_stop_the_source(entered: BroughtIn, damage: bytes, place: int, number: int) -> None:
    def done() -> int:
        return entered._ring.counts.pictures_in + entered.pictures_thinned + entered.unreadable

    for jpeg in (JPEGS[number][:place] + damage + JPEGS[number][place + len(damage) :], JPEGS[3]):
        before = done()
        entered.put(inlet_module.Brought(time.monotonic(), jpeg=jpeg))
        waited(lambda before=before: done() > before)  # type: ignore[misc]


def test_jpeg_that_claims_to_be_huge_is_refused_without_the_memory_for_it(clock: SimpleNamespace) -> None:
    jpeg = bytearray(JPEGS[0])
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = b"\x3f\xff\x3f\xff"  # 16383 x 16383
    brought = Brought(clock)
    with brought.source:
        brought.inlet.put_picture(bytes(jpeg), brought.bringers_s(0.1))
        waited(lambda: brought.done == 1)
        assert brought.source.unreadable == 1


def test_nothing_brought_for_a_while_is_a_loss_and_the_next_is_a_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BroughtIn, "lost_after_s", 0.2)
    inlet, events = Inlet("porch"), list[Event]()
    with inlet.open(Ring(), events.append, 4.0):
        inlet.put_sound(np.zeros(800, np.float32), time.monotonic())
        waited(lambda: [event.kind for event in events] == ["lost"])
        inlet.put_sound(np.zeros(800, np.float32), time.monotonic())
        waited(lambda: [event.kind for event in events] == ["lost", "found"])
        waited(lambda: [event.kind for event in events] == ["lost", "found", "lost"])
    assert {event.source for event in events} == {"porch"}
    assert "nothing came for 0.2 s" in events[0].text


def test_leaving_frees_the_threads_and_what_comes_later_does_no_harm() -> None:
    before, inlet = threading.active_count(), Inlet("porch")
    inlet.put_sound(np.zeros(800, np.float32), 0.0)  # before anybody listens
    for _ in range(3):  # left and entered again, as for privacy
        ring = Ring()
        with inlet.open(ring, lambda event: None, 4.0):
            assert threading.active_count() > before
            inlet.put_sound(np.zeros(800, np.float32), time.monotonic())
            waited(lambda ring=ring: ring.counts.samples_in == 800)  # type: ignore[misc]
        assert threading.active_count() == before
        inlet.put_picture(JPEGS[0], time.monotonic())
        inlet.put_sound(np.zeros(800, np.float32), time.monotonic())
        assert ring.counts.samples_in == 800
