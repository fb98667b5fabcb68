from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from favor_stream.errors import ConfigError, DeviceError
from favor_stream.records import RATE, SLICE_S, SLICE_SAMPLES, Picture, Slice, Sound
from favor_stream.ring import LATE_S, LEAD_SLICES, PACKED_PER_S, WAITING_PICTURES, Pace, Ring

HALF = SLICE_SAMPLES


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def ramp(count: int, start: int = 0) -> Sound:
    """Samples that tell their own place, exactly: 1, 2, 3, ... in steps that float32 can hold."""
    return np.arange(start + 1, start + count + 1, dtype=np.float32)


def picture(number: int) -> Picture:
    return np.full((2, 3, 3), number, np.uint8)


def shown(piece: Slice) -> int | None:
    return None if piece.picture is None else int(piece.picture[0, 0, 0])


def ring(pace: Pace = "live", sound: bool = True, pictures: bool = True, clock: Clock | None = None, **settings: float) -> Ring:
    made = Ring(pace=pace, now_s=clock or Clock(), **settings)  # type: ignore[arg-type]
    made.expect(sound=sound, pictures=pictures)
    return made


def taken(source: Ring) -> list[Slice]:
    """Every slice that is ready now."""
    return list(iter(lambda: source.take(timeout_s=0.0), None))


def conserved(source: Ring) -> bool:
    counts = source.counts
    pictures = counts.pictures_used + counts.pictures_dropped + counts.pictures_waiting
    samples = counts.samples_used + counts.samples_dropped + counts.samples_waiting
    return counts.pictures_in == pictures and counts.samples_in == samples


# Sound: counted, never timed.


@given(st.lists(st.integers(1, 3 * HALF), min_size=1, max_size=12), st.sampled_from(["live", "lossless"]))
def test_any_chunking_of_the_sound_gives_the_same_slices(sizes: list[int], pace: Pace) -> None:
    source, start, heard = ring(pace, pictures=False), 0, []
    for size in sizes:
        for offset in range(0, size, HALF):  # a lossless ring takes a few slices ahead of its reader and no more
            count = min(HALF, size - offset)
            source.put_sound(ramp(count, start), start / RATE)
            start += count
            heard += taken(source)
    source.end()
    heard += taken(source)
    assert [piece.index for piece in heard] == list(range(-(-start // HALF)))
    whole = np.concatenate([piece.sound for piece in heard])
    assert np.array_equal(whole[:start], ramp(start))
    assert not whole[start:].any()
    assert [piece.samples_missing for piece in heard[:-1]] == [0] * (len(heard) - 1)
    assert heard[-1].samples_missing == len(whole) - start
    assert conserved(source)


def test_a_slice_waits_for_its_last_sample() -> None:
    source = ring(pictures=False)
    source.put_sound(ramp(HALF - 1), 0.0)
    assert source.take(timeout_s=0.0) is None
    source.put_sound(ramp(1), (HALF - 1) / RATE)
    assert source.take(timeout_s=0.0) is not None


def test_a_gap_in_the_sound_is_silence_and_is_counted() -> None:
    source = ring(pictures=False)
    source.put_sound(ramp(1000), 0.0)
    source.put_sound(ramp(HALF), 3000 / RATE)
    (piece,) = taken(source)
    assert np.array_equal(piece.sound, np.concatenate([ramp(1000), np.zeros(2000, np.float32), ramp(HALF - 3000)]))
    assert piece.samples_missing == source.counts.samples_missing == 2000
    assert conserved(source)


def test_a_start_told_in_float_makes_no_gap_of_one_sample() -> None:
    source = ring(pictures=False)
    source.put_sound(ramp(4000), 0.0)
    source.put_sound(ramp(4000, 4000), 4001 / RATE)
    (piece,) = taken(source)
    assert np.array_equal(piece.sound, ramp(HALF))


def test_sound_that_jumps_back_is_trimmed_and_counted() -> None:
    source = ring(pictures=False)
    source.put_sound(ramp(6000), 0.0)
    source.put_sound(ramp(5000, 3000), 3000 / RATE)
    source.put_sound(ramp(100), 0.0)  # all of it lies in the past
    (piece,) = taken(source)
    assert np.array_equal(piece.sound, ramp(HALF))
    assert source.counts.samples_dropped == 3100
    assert conserved(source)


def test_sound_before_the_first_moment_is_trimmed() -> None:
    source = ring(pictures=False)
    source.put_sound(ramp(HALF + 100, -100), -100 / RATE)
    (piece,) = taken(source)
    assert np.array_equal(piece.sound, ramp(HALF))


# Pictures: stamped, the newest of each slice is shown.


def test_a_slice_shows_the_newest_picture_before_its_end() -> None:
    source = ring(sound=False)
    for number, time_s in enumerate([0.0, 0.25, 0.49, 0.5, 1.2]):
        source.put_picture(picture(number), time_s)
    assert [shown(piece) for piece in taken(source)] == [2, 3]
    source.end()
    assert [shown(piece) for piece in taken(source)] == [4]
    assert source.counts.pictures_used == source.counts.pictures_in == 5


def test_a_slice_brings_the_pictures_before_its_newest_along() -> None:
    source = ring(sound=False)
    for number, time_s in enumerate([0.0, 0.25, 0.49, 0.5, 2.0]):
        source.put_picture(picture(number), time_s)
    assert [[int(each[0, 0, 0]) for each in piece.earlier] for piece in taken(source)] == [[0, 1], [], [], []]


@pytest.mark.parametrize(
    ("numbers", "count", "seen"),
    [([1, 2, 3], 1, [3]), ([1, 2, 3], 2, [1, 3]), ([1, 2, 3, 4, 5], 3, [1, 3, 5]), ([1, 2], 3, [1, 1, 2]), ([4], 2, [4, 4])],
)
def test_pictures_of_a_slice_are_shown_from_the_first_to_the_last(numbers: list[int], count: int, seen: list[int]) -> None:
    *earlier, newest = map(picture, numbers)
    pictures = Slice(0, newest, ramp(HALF), earlier=tuple(earlier)).shown(count)
    assert pictures is not None
    assert pictures.shape == ((2, 3, 3) if count == 1 else (count, 2, 3, 3))
    assert pictures[..., 0, 0, 0].ravel().tolist() == seen
    assert not np.shares_memory(pictures, newest)


def test_pictures_of_another_size_are_not_shown_beside_the_newest() -> None:
    pictures = Slice(0, picture(2), ramp(HALF), earlier=(np.zeros((4, 3, 3), np.uint8), picture(1))).shown(2)
    assert pictures is not None
    assert pictures[:, 0, 0, 0].tolist() == [1, 2]
    assert Slice(0, None, ramp(HALF)).shown(2) is None


def test_a_picture_is_held_for_two_seconds_and_no_longer() -> None:
    source = ring(picture_hold_s=2.0, lag_s=60.0)
    source.put_picture(picture(7), 0.6)
    source.put_sound(ramp(7 * HALF), 0.0)
    assert [shown(piece) for piece in taken(source)] == [None, 7, 7, 7, 7, None, None]


def test_a_source_may_have_its_pictures_held_for_ever() -> None:
    source = Ring(lag_s=60.0)
    source.expect(sound=True, pictures=True, hold_s=float("inf"))
    source.put_picture(picture(7), 0.1)
    source.put_sound(ramp(40 * HALF), 0.0)
    assert {shown(piece) for piece in taken(source)} == {7}


@pytest.mark.parametrize("time_s", [0.3, 0.2, -5.0])
def test_a_picture_not_newer_than_the_newest_is_dropped_and_counted(time_s: float) -> None:
    source = ring(sound=False)
    source.put_picture(picture(1), 0.3)
    source.put_picture(picture(2), time_s)
    source.put_picture(picture(3), 0.6)
    (piece,) = taken(source)
    assert (shown(piece), piece.pictures_dropped) == (1, 1)
    assert conserved(source)


def test_a_picture_that_comes_after_its_slice_is_shown_in_the_next() -> None:
    source = ring()
    source.put_sound(ramp(HALF), 0.0)
    assert [shown(piece) for piece in taken(source)] == [None]
    source.put_picture(picture(1), 0.4)
    source.put_sound(ramp(HALF), 0.5)
    assert [shown(piece) for piece in taken(source)] == [1]


# What is missing.


def test_without_a_sound_track_slices_are_silent_and_follow_the_pictures() -> None:
    source = ring(sound=False)
    source.put_picture(picture(1), 0.1)
    source.put_picture(picture(2), 0.6)
    (piece,) = taken(source)
    assert not piece.sound.any()
    assert piece.samples_missing == HALF


def test_without_pictures_or_sound_slices_follow_the_clock() -> None:
    clock = Clock()
    source = ring(sound=False, clock=clock)
    assert source.session_s(clock.now_s) == 0.0
    source.put_picture(picture(1), 0.0)
    assert taken(source) == []
    clock.now_s += 3 * SLICE_S
    assert [shown(piece) for piece in taken(source)] == [1, 1, 1]


def test_sound_that_stays_away_is_waited_for_and_then_passed_over() -> None:
    clock = Clock()
    source = ring(clock=clock)
    source.session_s(clock.now_s, sound=True)
    source.put_sound(ramp(3000), 0.0)
    clock.now_s += SLICE_S + LATE_S - 0.01
    assert taken(source) == []
    clock.now_s += 0.02
    (piece,) = taken(source)
    assert (piece.samples_missing, float(piece.sound[2999]), float(piece.sound[3000])) == (5000, 3000.0, 0.0)
    source.put_sound(ramp(HALF, 3000), 3000 / RATE)  # the delayed sound comes: what it was passed over for is over
    assert source.counts.samples_dropped == 5000
    assert conserved(source)


def test_the_last_slice_is_padded_with_silence() -> None:
    source = ring("lossless", pictures=False)
    source.put_sound(ramp(HALF + 1000), 0.0)
    source.end()
    assert [piece.samples_missing for piece in source] == [0, HALF - 1000]
    assert source.ended


def test_what_comes_after_the_end_is_dropped_and_counted() -> None:
    source = ring()
    source.end()
    source.put_sound(ramp(100), 0.0)
    source.put_picture(picture(1), 0.0)
    assert (source.counts.samples_dropped, source.counts.pictures_dropped) == (100, 1)
    assert source.take(timeout_s=0.0) is None
    assert source.ended


def test_a_failure_is_told_after_the_last_slice() -> None:
    source = ring(pictures=False)
    source.put_sound(ramp(HALF + 1), 0.0)
    source.fail(DeviceError("the decoder gave up"))
    assert source.take(timeout_s=0.0) is not None
    assert source.take(timeout_s=0.0) is not None
    for _ in range(2):
        with pytest.raises(DeviceError, match="gave up"):
            source.take(timeout_s=0.0)


def test_one_of_two_devices_may_end_before_the_other() -> None:
    source = Ring(now_s=Clock())
    source.expect(sound=True, pictures=False)
    source.expect(sound=False, pictures=True)
    source.put_sound(ramp(100), 0.0)
    source.end(sound=True, pictures=False)
    source.put_picture(picture(1), 0.7)
    assert [(piece.samples_missing, shown(piece)) for piece in taken(source)] == [(HALF - 100, None)]
    assert not source.ended
    source.end(sound=False, pictures=True)
    assert [shown(piece) for piece in taken(source)] == [1]
    assert source.ended


def test_a_lossless_source_that_runs_ahead_waits_for_another_one_s_sound() -> None:
    source = Ring(pace="lossless")
    source.expect(sound=False, pictures=True)
    source.expect(sound=True, pictures=False)

    def show() -> None:
        for number in range(100):
            source.put_picture(picture(number), number / 10)
        source.end(sound=False, pictures=True)

    def play() -> None:
        for block in range(10):
            time.sleep(0.02)  # a slow decoder
            source.put_sound(ramp(2 * HALF, start=2 * HALF * block), float(block))
        source.end(sound=True, pictures=False)

    threads = [threading.Thread(target=work) for work in (show, play)]
    for thread in threads:
        thread.start()
    pieces = list(source)
    for thread in threads:
        thread.join()
    assert np.array_equal(np.concatenate([piece.sound for piece in pieces]), ramp(20 * HALF))
    assert [shown(piece) for piece in pieces] == list(range(4, 100, 5))
    assert source.counts.samples_dropped == source.counts.pictures_dropped == 0


def test_two_sources_of_sound_are_one_too_many() -> None:
    source = ring(pictures=False)
    with pytest.raises(DeviceError, match="two sources bring sound"):
        source.expect(sound=True, pictures=True)


@pytest.mark.parametrize("settings", [{"keep_s": 1.0}, {"keep_s": 10.0, "lag_s": 11.0}, {"lag_s": -1.0}])
def test_bounds_that_cannot_be_kept_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="keep_s"):
        Ring(**settings)  # type: ignore[arg-type]


# The session's clock.


def test_the_first_sound_starts_the_clock_and_pictures_wait_for_it() -> None:
    source = ring()
    assert source.session_s(100.0) is None
    assert source.session_s(100.5, sound=True) == 0.0
    assert source.session_s(101.0) == 0.5


def test_pictures_start_the_clock_when_sound_does_not_come() -> None:
    source = ring()
    assert source.session_s(100.0) is None
    assert source.session_s(100.0 + LATE_S) == 0.0
    assert source.session_s(102.0, sound=True) == 2.0 - LATE_S


def test_time_passes_with_the_clock_when_live_and_with_the_data_when_lossless() -> None:
    clock = Clock()
    live, lossless = ring(clock=clock), ring("lossless", clock=clock)
    assert live.elapsed_s == lossless.elapsed_s == 0.0
    live.session_s(clock.now_s, sound=True)
    lossless.put_sound(ramp(1600), 0.0)
    clock.now_s += 7.0
    assert (live.elapsed_s, lossless.elapsed_s) == (7.0, 0.1)


# Overload.


def test_a_lagging_reader_loses_pictures_oldest_first_and_no_sound() -> None:
    source = ring(lag_s=2.0)
    for index in range(10):
        source.put_picture(picture(index), index * SLICE_S)
        source.put_sound(ramp(HALF, index * HALF), index * SLICE_S)
    pieces = taken(source)
    assert [shown(piece) for piece in pieces] == [None] * 5 + [5, 6, 7, 8, 9]
    assert [piece.pictures_dropped for piece in pieces] == [5] + [0] * 9
    assert np.array_equal(np.concatenate([piece.sound for piece in pieces]), ramp(10 * HALF))
    assert conserved(source)


def test_sound_that_is_overwritten_unread_comes_as_silence_and_time_stays_true() -> None:
    source = ring(keep_s=5.0, pictures=False)
    source.put_sound(ramp(20 * HALF), 0.0)
    pieces = taken(source)
    assert [piece.index for piece in pieces] == list(range(20))
    assert [piece.samples_missing for piece in pieces] == [HALF] * 9 + [0] * 11
    assert np.array_equal(pieces[9].sound, ramp(HALF, 9 * HALF))
    assert source.counts.slices_lost == 9
    assert source.counts.samples_dropped == 9 * HALF
    assert conserved(source)


def test_waiting_pictures_are_bounded_in_number() -> None:
    source = ring(sound=False, lag_s=60.0)
    for number in range(100):
        source.put_picture(picture(number), number / 1000)
        assert source.counts.pictures_waiting <= WAITING_PICTURES
    assert source.counts.pictures_dropped == 100 - WAITING_PICTURES


Step = tuple[str, float]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sound"), st.floats(-0.2, 1.5)),  # seconds between where it should start and where it starts
        st.tuples(st.just("picture"), st.floats(-0.3, 3.0)),  # seconds from the picture before
        st.tuples(st.just("take"), st.just(0.0)),
        st.tuples(st.just("wait"), st.floats(0.0, 2.0)),
    ),
    max_size=60,
)


@given(STEPS, st.sampled_from([0.0, 1.0, 5.0]), st.booleans(), st.booleans())
def test_nothing_is_lost_uncounted_whatever_happens(steps: Sequence[Step], lag_s: float, sound: bool, pictures: bool) -> None:
    clock = Clock()
    source = ring(sound=sound, pictures=pictures, clock=clock, keep_s=5.0, lag_s=lag_s)
    source.session_s(clock.now_s, sound=True)
    sound_s, picture_s, pieces = 0.0, 0.0, list[Slice | None]()
    for kind, amount in steps:
        if kind == "sound":
            source.put_sound(ramp(6000), max(0.0, sound_s + amount))
            sound_s = max(0.0, sound_s + amount) + 6000 / RATE
        elif kind == "picture":
            picture_s += amount
            source.put_picture(picture(1), picture_s)
        elif kind == "take":
            pieces.append(source.take(timeout_s=0.0))
        else:
            clock.now_s += amount
        assert conserved(source)
        assert source.counts.pictures_waiting <= WAITING_PICTURES
    source.end()
    whole = [piece for piece in [*pieces, *taken(source)] if piece is not None]
    assert [piece.index for piece in whole] == list(range(len(whole)))
    assert conserved(source)
    counts = source.counts
    assert (counts.pictures_waiting, counts.samples_waiting) == (0, 0)
    assert counts.samples_missing == sum(piece.samples_missing for piece in whole)
    assert counts.pictures_dropped >= sum(piece.pictures_dropped for piece in whole)
    assert all(np.count_nonzero(piece.sound) == HALF - piece.samples_missing for piece in whole)


def test_a_slow_reader_of_a_running_device_loses_what_is_counted_and_nothing_else() -> None:
    """A real thread puts forty seconds of media into a ring that keeps five, and the reader takes one slice of eight in time."""
    source = Ring(keep_s=5.0, lag_s=1.0)
    source.expect(sound=True, pictures=True)

    def run() -> None:
        source.session_s(time.monotonic(), sound=True)
        for block in range(2000):  # 20 ms each
            source.put_sound(ramp(320), block * 0.02)
            if block % 5 == 0:
                source.put_picture(picture(1), block * 0.02)
            time.sleep(0.0001)
        source.end()

    device = threading.Thread(target=run)
    device.start()
    pieces = []
    while (piece := source.take(timeout_s=5.0)) is not None:
        pieces.append(piece)
        while device.is_alive() and source.counts.samples_in < len(pieces) * 8 * HALF:
            time.sleep(0.0005)
    device.join()
    counts = source.counts
    assert counts.slices_lost > 0  # it was an overload indeed
    assert counts.pictures_dropped > 0
    assert conserved(source)
    assert (counts.samples_waiting, counts.pictures_waiting) == (0, 0)
    assert [piece.index for piece in pieces] == list(range(80))
    assert counts.samples_in == 80 * HALF == counts.samples_used + counts.samples_dropped
    assert counts.samples_dropped == sum(piece.samples_missing for piece in pieces)
    assert sum(piece.pictures_dropped for piece in pieces) == counts.pictures_dropped


# Lossless: the source waits.


def play(source: Ring, seconds: float, still: bool = False) -> threading.Thread:
    """A thread that puts sound and four pictures a second as fast as the ring takes them, then ends."""

    def run() -> None:
        for block in range(round(seconds * 50)):
            if block == 0 or (block * 8 % 100 < 8 and not still):
                source.put_picture(picture(block * 8 // 100 % 250), block / 50)
            source.put_sound(ramp(320, block * 320), block / 50)
        source.end()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_lossless_source_waits_for_its_reader_and_nothing_is_lost() -> None:
    source = ring("lossless", keep_s=5.0, lag_s=0.0)
    thread = play(source, seconds=20.0)
    thread.join(timeout=0.3)
    assert thread.is_alive()
    assert source.counts.samples_waiting <= LEAD_SLICES * HALF
    pieces = list(source)
    thread.join()
    assert np.array_equal(np.concatenate([piece.sound for piece in pieces]), ramp(20 * RATE))
    assert [shown(piece) for piece in pieces] == [2 * index + 1 for index in range(40)]
    assert (source.counts.pictures_dropped, source.counts.samples_dropped) == (0, 0)


def test_a_still_picture_does_not_hold_up_a_lossless_film() -> None:
    source = Ring(pace="lossless")
    source.expect(sound=True, pictures=True, hold_s=float("inf"))
    thread = play(source, seconds=20.0, still=True)
    assert [shown(piece) for piece in source] == [0] * 40
    thread.join()


def test_a_film_whose_pictures_all_come_before_its_sound_does_not_deadlock() -> None:
    source = ring("lossless")

    def run() -> None:
        for number in range(100):
            source.put_picture(picture(number), number / 4)
        source.put_sound(ramp(25 * RATE), 0.0)
        source.end()

    thread = threading.Thread(target=run)
    thread.start()
    pieces = list(source)
    thread.join()
    assert len(pieces) == 50
    assert source.counts.pictures_dropped == 0
    assert conserved(source)


def test_ending_a_ring_frees_a_source_that_waits() -> None:
    source = ring("lossless")
    thread = play(source, seconds=60.0)
    while source.counts.samples_waiting < LEAD_SLICES * HALF:
        time.sleep(0.01)
    source.end()
    thread.join(timeout=5.0)
    assert not thread.is_alive()
    assert conserved(source)


# Clips.


def packed(seen: Picture) -> bytes:
    return bytes([int(seen[0, 0, 0])])


def test_a_clip_holds_the_last_seconds_of_what_was_seen_and_heard() -> None:
    source = Ring(keep_s=10.0, pack=packed, now_s=Clock())
    source.expect(sound=True, pictures=True)
    for index in range(60):
        source.put_picture(picture(index), index * SLICE_S)
        source.put_sound(ramp(HALF, index * HALF), index * SLICE_S)
    clip = source.clip(last_s=2.0)
    assert clip.start_s == 28.0
    assert np.array_equal(clip.sound, ramp(4 * HALF, 56 * HALF))
    assert clip.pictures == ((28.0, b"8"), (28.5, b"9"), (29.0, b":"), (29.5, b";"))
    assert source.clip(last_s=3600.0).start_s == 19.5  # no more than is kept


def test_a_clip_of_a_lossless_ring_ends_where_its_reader_is() -> None:
    source = ring("lossless", pictures=False)
    source.put_sound(ramp(6 * HALF), 0.0)
    assert not len(source.clip(last_s=10.0).sound)
    source.take(timeout_s=0.0)
    source.take(timeout_s=0.0)
    assert np.array_equal(source.clip(last_s=10.0).sound, ramp(2 * HALF))


def test_a_clip_without_a_sound_track_has_pictures_alone() -> None:
    source = Ring(pack=packed, now_s=Clock())
    source.expect(sound=False, pictures=True)
    source.put_picture(picture(65), 3.0)
    clip = source.clip(last_s=10.0)
    assert (len(clip.sound), clip.pictures) == (0, ((3.0, b"A"),))


def test_packed_pictures_are_bounded_in_number() -> None:
    source = Ring(keep_s=5.0, pack=packed, now_s=Clock())
    source.expect(sound=False, pictures=True)
    for number in range(500):
        source.put_picture(picture(number % 250), number / 100)
    assert len(source.clip(last_s=5.0).pictures) == 5 * PACKED_PER_S


def test_a_clip_of_many_pictures_a_second_is_no_shorter() -> None:
    source = Ring(keep_s=5.0, pack=packed, now_s=Clock())
    source.expect(sound=False, pictures=True)
    for number in range(1000):
        source.put_picture(picture(number % 250), number / 100)
    times_s = [time_s for time_s, _ in source.clip(last_s=5.0).pictures]
    assert times_s[0] < 5.2
    assert max(np.diff(times_s)) < 0.2


def test_importing_the_ring_needs_no_device_libraries() -> None:
    program = "import sys, favor_stream.ring; print(*sorted({'av', 'sounddevice', 'cv2', 'torch', 'numpy'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == ["numpy"]
