from __future__ import annotations

import itertools
import random
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from media import film, likeness, number_of, numbered, numbered_film, pitch_hz, sweep, tone

from favor_stream.capture import LiveSource, Source, growing_delays, log_event, open_source
from favor_stream.capture.camera import Camera
from favor_stream.capture.clock import Drift, SoundLine
from favor_stream.capture.file import File
from favor_stream.capture.microphone import Microphone
from favor_stream.capture.rtsp import Rtsp
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.records import RATE, SLICE_SAMPLES, Event, Picture, Sound
from favor_stream.ring import Ring


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Every source gives its threads back."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5.0)
        assert not thread.is_alive(), f"{thread.name} still runs"


class Reading:
    """A whole file as a lossless ring gives it."""

    def __init__(self, path: Path | str, pictures_per_s: float = 4.0) -> None:
        self.events: list[Event] = []
        ring = Ring(pace="lossless")
        with open_source(str(path), ring, self.events.append, pictures_per_s) as source:
            self.slices = list(ring)
        self.thinned = source.pictures_thinned
        self.counts = ring.counts
        self.sound: Sound = np.concatenate([piece.sound for piece in self.slices] or [np.zeros(0, np.float32)])
        self.numbers = [number_of(piece.picture) for piece in self.slices]
        assert self.counts.pictures_in == self.counts.pictures_used + self.counts.pictures_dropped
        assert self.counts.samples_in == self.counts.samples_used + self.counts.samples_dropped

    @property
    def told(self) -> str:
        (event,) = self.events
        assert event.kind == "ended"
        return event.text


def wait_for(events: list[Event], kind: str, count: int = 1, timeout_s: float = 20.0) -> None:
    give_up_s = time.monotonic() + timeout_s
    while sum(event.kind == kind for event in events) < count:
        assert time.monotonic() < give_up_s, f"no event {kind!r} came, only {events}"
        time.sleep(0.02)


# Files.


def test_a_film_becomes_slices_with_its_pictures_and_its_sound(tmp_path: Path) -> None:
    reading = Reading(numbered_film(tmp_path / "film.mp4"))
    assert reading.numbers == [1, 3, 5, 7, 9, 11]
    assert likeness(reading.sound, sweep(3.0)) > 0.999
    assert reading.counts.samples_missing == reading.counts.samples_dropped == 0
    assert reading.counts.pictures_in == 12
    assert reading.told == f"{tmp_path / 'film.mp4'}: ended"


def test_the_same_film_gives_the_same_slices_twice(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "film.mp4", seconds=10.0, fps=25.0)
    first, second = Reading(path), Reading(path)
    assert first.numbers == second.numbers
    assert np.array_equal(first.sound, second.sound)


@pytest.mark.parametrize(
    ("name", "video_codec", "audio_codec"),
    [("film.mkv", "libx264", "flac"), ("film.mkv", "libx264", "libopus"), ("film.avi", "mpeg4", "pcm_s16le")],
)
def test_other_containers_and_codecs_give_the_same_film(tmp_path: Path, name: str, video_codec: str, audio_codec: str) -> None:
    path, times_s, sound = tmp_path / name, np.arange(12) / 4, sweep(3.0, 48_000)
    reading = Reading(film(path, map(numbered, range(12)), times_s, sound, 48_000, "mono", video_codec, audio_codec))
    assert reading.numbers[:6] == [1, 3, 5, 7, 9, 11]
    assert likeness(reading.sound, sweep(3.0)) > 0.99


def test_pictures_are_thinned_before_they_cost_anything(tmp_path: Path) -> None:
    reading = Reading(numbered_film(tmp_path / "film.mp4", seconds=2.0, fps=25.0), pictures_per_s=4.0)
    assert (reading.counts.pictures_in, reading.thinned) == (8, 42)
    assert reading.counts.pictures_dropped == 0
    assert reading.numbers == [7, 19, 12, 4]  # 7, 19, 32 and 44, the first of every second quarter


def test_fewer_pictures_than_slices_may_be_asked_for(tmp_path: Path) -> None:
    reading = Reading(numbered_film(tmp_path / "film.mp4", seconds=4.0, fps=4.0), pictures_per_s=0.5)
    assert (reading.counts.pictures_in, reading.thinned) == (2, 14)
    assert reading.numbers == [0, 0, 0, 0, 8, 8, 8, 8]  # a file's picture is held until the next


def test_pictures_at_uneven_times_are_shown_at_their_times(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", map(numbered, range(5)), [0.0, 0.1, 1.7, 1.95, 4.0], tone(4.5))
    assert Reading(path).numbers == [0, 0, 0, 3, 3, 3, 3, 3, 4]


def test_a_silent_film_has_pictures_alone(tmp_path: Path) -> None:
    reading = Reading(film(tmp_path / "film.mp4", map(numbered, range(8)), np.arange(8) / 4))
    assert reading.numbers == [1, 3, 5, 7]
    assert not reading.sound.any()


@pytest.mark.parametrize(
    ("codec", "rate_hz", "layout"),
    [("pcm_u8", 8_000, "mono"), ("pcm_s24le", 192_000, "5.1"), ("pcm_f32le", 44_100, "stereo"), ("pcm_s16le", 16_000, "mono")],
)
def test_every_kind_of_sound_becomes_the_same_mono(tmp_path: Path, codec: str, rate_hz: int, layout: str) -> None:
    path = film(
        tmp_path / "sound.wav", sound=tone(2.0, 440.0, rate_hz, level=0.9), rate_hz=rate_hz, layout=layout, audio_codec=codec
    )
    reading = Reading(path)
    assert [piece.picture for piece in reading.slices] == [None] * 4
    assert reading.counts.samples_in == 2 * RATE
    assert likeness(reading.sound, tone(2.0)) > 0.999
    assert np.abs(reading.sound[RATE // 2 : -RATE // 2]).max() == pytest.approx(0.9, abs=0.03)  # no louder than it was


@pytest.mark.parametrize(("given", "shown"), [((1, 1), (1, 1)), ((4320, 7680), (360, 640)), ((1280, 2), (640, 1))])
def test_pictures_of_any_size_are_taken_and_made_small(tmp_path: Path, given: tuple[int, int], shown: tuple[int, int]) -> None:
    reading = Reading(film(tmp_path / "film.mp4", [numbered(7, *given)], [0.0], options={"preset": "ultrafast"}))
    assert [(number_of(piece.picture), piece.picture is not None and piece.picture.shape) for piece in reading.slices] == [
        (7, (*shown, 3))
    ]


def test_a_track_without_length_is_a_track_that_is_missing(tmp_path: Path) -> None:
    no_sound = Reading(film(tmp_path / "film.mkv", map(numbered, range(8)), np.arange(8) / 4, np.zeros(0, np.float32)))
    assert no_sound.numbers == [1, 3, 5, 7]
    assert no_sound.counts.samples_missing == 4 * SLICE_SAMPLES


def test_a_file_without_anything_in_its_tracks_just_ends(tmp_path: Path) -> None:
    reading = Reading(film(tmp_path / "sound.wav", sound=np.zeros(0, np.float32), audio_codec="pcm_s16le"))
    assert reading.slices == []
    assert reading.told.endswith(": ended")


def test_sound_that_ends_early_leaves_the_film_silent(tmp_path: Path) -> None:
    reading = Reading(film(tmp_path / "film.mp4", map(numbered, range(40)), np.arange(40) / 4, tone(1.25)))
    assert reading.numbers == [(2 * index + 1) % 20 for index in range(20)]
    assert [piece.samples_missing for piece in reading.slices] == [0, 0, SLICE_SAMPLES // 2] + [SLICE_SAMPLES] * 17


def test_time_stamps_that_jump_back_go_on_instead(tmp_path: Path) -> None:
    once = numbered_film(tmp_path / "once.ts").read_bytes()
    (tmp_path / "twice.ts").write_bytes(once + once)
    length = Reading(tmp_path / "once.ts").counts.samples_in
    reading = Reading(tmp_path / "twice.ts")
    assert [number for number, _ in itertools.groupby(reading.numbers[:12])] == [1, 3, 5, 7, 9, 11] * 2
    assert likeness(reading.sound, sweep(3.0), late=1024) > 0.99  # what the encoder put before it is a part of the stream
    assert likeness(reading.sound[length:], sweep(3.0), late=1024) > 0.99
    assert reading.counts.pictures_in == 24
    assert "2 jumps in its time stamps mended" in reading.told


def test_a_truncated_film_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "film.mp4", seconds=20.0, options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    reading = Reading(path)
    assert 16 <= len(reading.slices) < 40
    assert reading.numbers[:16] == [(2 * index + 1) % 20 for index in range(16)]
    assert likeness(reading.sound[: 8 * RATE], sweep(20.0)[: 8 * RATE]) > 0.999


def test_a_damaged_film_is_read_around_its_damage_which_is_told(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "film.mp4", seconds=20.0, options={"movflags": "faststart"})
    content, dice = bytearray(path.read_bytes()), random.Random(1)
    for place in range(len(content) * 4 // 10, len(content) * 6 // 10, 97):
        content[place] = dice.randrange(256)
    path.write_bytes(content)
    reading = Reading(path)
    assert len(reading.slices) == 40
    assert re.search(r"ended, \d+ damaged parts passed over", reading.told)
    assert likeness(reading.sound[-4 * RATE :], sweep(20.0)[-4 * RATE :]) > 0.999  # after the damage time is true again


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.mp4", None, "No such file or directory; give the path of a film or a recording"),
        ("empty.mp4", b"", "Invalid data found when processing input"),
        ("notes.txt", b"Once upon a time\n" * 100, "holds neither pictures nor sound"),
        ("notes.mp4", b"Once upon a time\n" * 100, "Invalid data found when processing input"),
        ("noise.mp4", bytes(range(256)) * 100, "Invalid data found when processing input"),
    ],
)
def test_what_is_no_film_is_told_in_one_line(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DeviceError) as error:
        Reading(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: {told}")
    assert "\n" not in str(error.value)


def test_sound_that_nobody_can_decode_is_told(tmp_path: Path) -> None:
    path = film(tmp_path / "sound.wav", sound=tone(1.0), audio_codec="pcm_s16le")
    path.write_bytes(path.read_bytes().replace(b"fmt \x10\0\0\0\x01\0", b"fmt \x10\0\0\0\x99\x99"))
    with pytest.raises(DeviceError, match="holds neither pictures nor sound that can be decoded"):
        Reading(path)


def test_a_folder_is_no_film(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="Is a directory"):
        Reading(tmp_path)


def test_a_film_whose_index_was_cut_off_is_told(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "film.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DeviceError, match="Invalid data"):
        Reading(path)


def test_a_file_may_be_given_as_an_address(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "a film: the first.mp4", seconds=1.0)
    assert Reading(path.as_uri()).numbers == Reading(path).numbers == [1, 3]


def test_a_test_graph_has_pictures_and_sound() -> None:
    reading = Reading("lavfi:testsrc=duration=2:size=64x48:rate=10[out0];sine=frequency=440:duration=2[out1]")
    assert len(reading.slices) == 4
    assert pitch_hz(reading.sound) == pytest.approx(440.0, abs=1.0)


def test_a_graph_that_makes_no_sense_is_told() -> None:
    with pytest.raises(DeviceError, match="lavfi:nonsense: Filter not found; give a graph"):
        Reading("lavfi:nonsense")


def test_a_film_at_its_own_speed_takes_its_time(tmp_path: Path) -> None:
    ring, started_s = Ring(), time.monotonic()
    ends_s, numbers = [], []
    with open_source(str(numbered_film(tmp_path / "film.mp4", seconds=2.0)), ring):
        for piece in ring:
            ends_s.append(time.monotonic() - started_s)
            numbers.append(number_of(piece.picture))
            assert ends_s[-1] >= piece.end_s
    assert numbers == [1, 3, 5, 7]
    assert ends_s[-1] < 6.0
    assert ring.counts.slices_lost == 0


def test_a_film_that_joins_a_running_clock_is_seen_when_it_plays(tmp_path: Path) -> None:
    ring = Ring()
    ring.session_s(time.monotonic() - 3.0, sound=True)
    with open_source(str(numbered_film(tmp_path / "film.mp4", seconds=2.0)), ring):
        seen = [piece.index for piece in ring if piece.picture is not None]
    assert seen[0] >= 6


def test_a_slow_reader_of_a_running_film_loses_pictures_and_no_sound(tmp_path: Path) -> None:
    ring = Ring(lag_s=0.5)
    with open_source(str(numbered_film(tmp_path / "film.mp4", seconds=3.0)), ring):
        time.sleep(2.8)
        pieces = list(ring)
    assert len(pieces) == 6
    assert ring.counts.pictures_dropped > 0
    assert ring.counts.pictures_in == ring.counts.pictures_used + ring.counts.pictures_dropped
    assert pieces[0].picture is None
    assert pieces[-1].picture is not None
    assert ring.counts.slices_lost == 0


def test_leaving_a_film_in_its_middle_frees_its_thread(tmp_path: Path) -> None:
    ring = Ring(pace="lossless")
    with open_source(str(numbered_film(tmp_path / "film.mp4", seconds=60.0)), ring):
        assert ring.take(timeout_s=10.0) is not None
    counts = ring.counts
    assert counts.samples_in == counts.samples_used + counts.samples_dropped + counts.samples_waiting


def test_a_live_ring_cannot_take_a_film_fast() -> None:
    with pytest.raises(ConfigError, match="make the ring lossless"):
        File("film.mp4", Ring(), pace="fast")


def test_what_breaks_in_a_source_s_thread_reaches_the_reader(tmp_path: Path) -> None:
    def broken(picture: Picture) -> bytes:
        raise ZeroDivisionError("in a thread")

    ring = Ring(pace="lossless", pack=broken)
    with open_source(str(numbered_film(tmp_path / "film.mp4")), ring), pytest.raises(ZeroDivisionError, match="in a thread"):
        list(ring)


# Which source a name stands for.


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        ("film.mp4", File, "film.mp4"),
        ("a:b.mp4", File, "a:b.mp4"),
        ("lavfi:movie=a://b", File, "lavfi:movie=a://b"),
        ("camera", Camera, "camera"),
        ("camera:2", Camera, "camera 2"),
        ("/dev/video1", Camera, "camera /dev/video1"),
        ("microphone", Microphone, "microphone"),
        ("microphone:USB Audio: 2", Microphone, "microphone USB Audio: 2"),
        ("rtsp://me:secret@10.0.0.7:554/live?key=secret", Rtsp, "rtsp://10.0.0.7:554/live"),
        ("https://example.org/live.m3u8", Rtsp, "https://example.org/live.m3u8"),
    ],
)
def test_a_name_stands_for_a_source(name: str, kind: type[Source], shown: str) -> None:
    source = open_source(name, Ring())
    assert (type(source), source.name) == (kind, shown)


def test_an_unknown_kind_of_address_is_told() -> None:
    with pytest.raises(DeviceError, match="gopher://example.org/1: unknown kind of address; expected one of rtsp"):
        open_source("gopher://me:secret@example.org/1", Ring())


# Devices that are lost and come back.


def test_delays_grow_are_drawn_and_are_bounded() -> None:
    for _ in range(50):
        delays = list(itertools.islice(growing_delays(first_s=0.25, most_s=5.0), 20))
        assert all(0.05 <= delay <= min(0.25 * 2**index, 5.0) for index, delay in enumerate(delays))
    assert len({next(growing_delays()) for _ in range(20)}) == 20


def test_a_camera_s_pictures_are_stamped_when_they_arrive() -> None:
    """FFmpeg's test picture stands in for the driver; all above it is what a camera uses."""
    ring = Ring()
    with Camera("testsrc=size=64x48:rate=30,realtime", ring, kind="lavfi") as camera:
        pieces = list(itertools.islice(ring, 3))
    assert [piece.index for piece in pieces] == [0, 1, 2]
    assert all(piece.picture is not None and piece.picture.shape == (48, 64, 3) for piece in pieces)
    assert ring.counts.pictures_in <= 9
    assert camera.pictures_thinned > 20


@pytest.mark.parametrize("kind", ["lavfi", "opencv"])
def test_a_camera_that_is_pulled_out_and_put_back_is_an_event_each_time(tmp_path: Path, kind: str) -> None:
    """Each opening gives half a second of pictures and then fails, as a device does that is unplugged."""
    graph = "testsrc=size=64x48:rate=30:duration=0.5,realtime"
    device = graph if kind == "lavfi" else str(numbered_film(tmp_path / "film.mp4"))
    events: list[Event] = []
    ring = Ring()
    with Camera(device, ring, events.append, kind=kind):
        wait_for(events, "found", count=2)
    assert [event.kind for event in events[:4]] == ["lost", "found", "lost", "found"]
    assert "its pictures ended; trying again until it is back" in events[0].text
    assert ring.take(timeout_s=0.0) is not None


@pytest.mark.parametrize("kind", [None, "opencv"])
def test_a_camera_that_is_not_there_is_told_once_and_tried_again(kind: str | None) -> None:
    events: list[Event] = []
    ring = Ring()
    with Camera("/dev/video97", ring, events.append, kind=kind):
        time.sleep(1.0)
    (event,) = events
    assert event.kind == "lost"
    assert event.text.startswith("camera /dev/video97: ")
    assert "plug a camera in" in event.text
    assert ring.ended


@pytest.mark.skipif(
    sys.platform.startswith("linux") and not Path("/dev/video0").exists(),
    reason="there is no camera /dev/video0, and no package brings one",
)
def test_the_first_camera_of_this_machine_gives_pictures() -> None:
    ring = Ring()
    with open_source("camera", ring):
        piece = ring.take(timeout_s=20.0)
    assert piece is not None
    assert piece.picture is not None


class ToneInABox(Microphone):
    """A microphone whose library is a program that writes a tone of 440 Hz at a rate of its own."""

    rate_hz = RATE

    def _command(self) -> list[str]:
        program = f"""
import os, time
import numpy as np
rate_hz, size = {self.rate_hz}, {self.rate_hz} // 50
os.write(1, b"%d\\n" % rate_hz)
start_s = time.monotonic()
for block in range(10**6):
    place = np.arange(block * size, (block + 1) * size) / rate_hz
    os.write(1, (0.5 * np.sin(2 * np.pi * 440 * place)).astype(np.float32).tobytes())
    time.sleep(max(0.0, start_s + (block + 1) / 50 - time.monotonic()))
"""
        return [sys.executable, "-c", program]


class ToneAt44100(ToneInABox):
    rate_hz = 44_100


def test_a_device_of_another_rate_is_heard_at_ours() -> None:
    ring = Ring()
    with ToneAt44100("", ring):
        sound = np.concatenate([piece.sound for piece in itertools.islice(ring, 4)])
    assert pitch_hz(sound) == pytest.approx(440.0, abs=1.0)
    assert ring.counts.samples_missing == 0


def test_a_camera_and_a_microphone_share_one_clock() -> None:
    ring = Ring()
    with Camera("testsrc=size=64x48:rate=30,realtime", ring, kind="lavfi"), ToneInABox("", ring):
        pieces = list(itertools.islice(ring, 6))
        behind_s = ring.elapsed_s - pieces[-1].end_s
    assert all(piece.picture is not None for piece in pieces)
    assert sum(piece.samples_missing for piece in pieces[2:]) == 0
    assert 0.0 <= behind_s < 1.0


def test_a_second_camera_on_one_ring_is_refused() -> None:
    ring = Ring()
    with Camera("testsrc,realtime", ring, kind="lavfi"), pytest.raises(DeviceError, match="two sources bring pictures"):
        Camera("testsrc,realtime", ring, kind="lavfi").__enter__()


# The clocks of devices.


def arrivals(
    ppm: float, seconds: int, jitter_s: float, lost_at_s: float = 1e9, lost_s: float = 0.0
) -> Iterator[tuple[float, float, float]]:
    """For blocks of 20 ms: start on the device's clock, true start, and arrival, which is late by up to `jitter_s`."""
    dice, lost = random.Random(7), 0.0
    for block in range(seconds * 50):
        device_s = block / 50
        lost = lost_s if device_s >= lost_at_s else 0.0
        true_s = device_s / (1 + ppm * 1e-6) + lost
        yield device_s, true_s, true_s + 0.02 + dice.random() ** 3 * jitter_s


@pytest.mark.parametrize("ppm", [-300.0, -20.0, 0.0, 150.0])
def test_a_device_s_drift_is_told_in_parts_per_million(ppm: float) -> None:
    drift = Drift()
    assert drift.ppm is None
    for device_s, _, arrived_s in arrivals(ppm, seconds=70, jitter_s=0.03):
        drift.add(device_s + 0.02, arrived_s)
    assert drift.ppm == pytest.approx(ppm, abs=10.0)


def test_a_source_tells_its_sound_s_drift() -> None:
    class Drifting(LiveSource):
        def _fill(self) -> None:
            self._expect(sound=True, pictures=False)
            line, silence = SoundLine(self._ring), np.zeros(320, np.float32)
            for device_s, _, arrived_s in arrivals(150.0, seconds=30, jitter_s=0.0):
                self._put_sound(line, silence, device_s, arrived_s)
            filled.set()
            self._leaving.wait()

    filled = threading.Event()
    source = Drifting("drifting", Ring(), log_event)
    assert source.drift_ppm is None
    with source:
        assert filled.wait(timeout=10.0)
    assert source.drift_ppm == pytest.approx(150.0, abs=10.0)


@pytest.mark.parametrize("ppm", [-400.0, 400.0])
def test_sound_of_a_drifting_device_is_bent_to_stay_with_the_pictures(ppm: float) -> None:
    """Ten minutes at 400 ppm are 240 ms, which would be seen."""
    ring = Ring()
    line = SoundLine(ring)
    end_s, silence = 0.0, np.zeros(320, np.float32)
    for device_s, true_s, arrived_s in arrivals(ppm, seconds=600, jitter_s=0.01):
        sound, start_s = line.place(silence, device_s, arrived_s)
        assert start_s == pytest.approx(end_s, abs=0.5 / RATE)  # without a gap, without an overlap
        end_s = start_s + len(sound) / RATE
        assert abs(start_s - true_s) < 0.06
    assert abs(len(sound) - 320) <= 1


def test_sound_of_a_true_device_is_left_as_it_is() -> None:
    line, block = SoundLine(Ring()), tone(0.02)
    for device_s, _, arrived_s in arrivals(ppm=0.0, seconds=60, jitter_s=0.03):
        assert line.place(block, device_s, arrived_s)[0] is block


def test_bending_does_not_change_the_pitch_that_is_heard() -> None:
    line, played = SoundLine(Ring()), tone(100.0)
    heard = []
    for device_s, _, arrived_s in arrivals(ppm=-2000.0, seconds=100, jitter_s=0.0):
        start = round(device_s * RATE)
        heard.append(line.place(played[start : start + 320], device_s, arrived_s)[0])
    whole = np.concatenate(heard)
    assert len(whole) > len(played) + 1000
    assert pitch_hz(whole[-2 * RATE :]) == pytest.approx(440.0, rel=0.004)


def test_lost_sound_moves_what_follows_to_its_true_time() -> None:
    line, silence = SoundLine(Ring()), np.zeros(320, np.float32)
    errors = {}
    for device_s, true_s, arrived_s in arrivals(ppm=0.0, seconds=10, jitter_s=0.01, lost_at_s=5.0, lost_s=0.8):
        errors[device_s] = line.place(silence, device_s, arrived_s)[1] - true_s
    assert abs(errors[4.9]) < 0.02
    assert abs(errors[7.5]) < 0.02
