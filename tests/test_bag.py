"""A bag of ROS 2 becomes slices: the same twice, the same from every storage, and as far as it goes where it is damaged."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from heapq import heappush
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import BEGAN_NS, BLOCK, NS_PER_S, Said, folder, heard, image, jpeg, mcap, mixed, raw_audio, talk, view
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media import likeness, number_of, numbered, sweep

from favor_stream.capture import is_bag, open_source
from favor_stream.capture.bag import Bag, wished
from favor_stream.clip import write_film
from favor_stream.errors import ConfigError, DeviceError, FavorError
from favor_stream.records import RATE, Event, Slice, Sound
from favor_stream.ring import Pace, Ring
from favor_stream.ros.messages import make


class Reading:
    """A whole bag as a lossless ring gives it."""

    def __init__(self, address: Path | str, pictures_per_s: float = 4.0) -> None:
        self.events = list[Event]()
        ring = Ring(pace="lossless")
        with open_source(str(address), ring, self.events.append, pictures_per_s) as source:
            assert isinstance(source, Bag)
            self.slices = list(ring)
        self.began_ns, self.thinned, self.counts = source.began_ns, source.pictures_thinned, ring.counts
        self.sound: Sound = np.concatenate([piece.sound for piece in self.slices] or [np.zeros(0, np.float32)])
        self.numbers = [number_of(piece.picture) for piece in self.slices]
        assert self.counts.pictures_in == self.counts.pictures_used + self.counts.pictures_dropped
        assert self.counts.samples_in == self.counts.samples_used + self.counts.samples_dropped

    @property
    def told(self) -> str:
        (event,) = self.events
        assert event.kind == "ended"
        return event.text.partition(": ended")[2]


def alike(first: Iterable[Slice], second: Iterable[Slice]) -> bool:
    """To the last bit."""

    def told(each: Slice) -> Any:
        picture = None if each.picture is None else each.picture.tobytes()
        return each.index, picture, each.sound.tobytes(), each.pictures_dropped, each.samples_missing

    return [told(each) for each in first] == [told(each) for each in second]


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same three seconds in every storage."""
    path, said = tmp_path_factory.mktemp("bags"), mixed(talk(), view())
    (path / "only").mkdir()
    made = {
        "sqlite3": folder(path / "sqlite3", said),
        "folder": folder(path / "folder", said, "mcap"),
        "packed": folder(path / "packed", said, packed="message"),
        "mcap": mcap(path / "whole.mcap", said),
        "cut": mcap(path / "cut.mcap", said, is_whole=False),
    }
    (file,) = made["sqlite3"].glob("*.db3")
    return made | {"db3": file}


def test_bag_becomes_slices_with_its_pictures_and_its_sound(bags: dict[str, Path]) -> None:
    reading = Reading(bags["sqlite3"])
    assert reading.numbers == [1, 3, 5, 7, 9, 11]
    assert np.array_equal(reading.sound, heard(sweep(3.0)))
    assert reading.counts.samples_missing == reading.counts.pictures_dropped == 0
    assert (reading.began_ns, reading.told) == (BEGAN_NS, "")


def test_every_storage_gives_the_same_slices_and_gives_them_twice(bags: dict[str, Path]) -> None:
    first = Reading(bags["sqlite3"])
    for name, path in bags.items():
        for _ in range(2):
            reading = Reading(path)
            assert alike(reading.slices, first.slices), name
            assert reading.began_ns == BEGAN_NS
    assert len(first.slices) == 6


def test_file_without_an_end_is_played_and_that_is_told(bags: dict[str, Path]) -> None:
    assert Reading(bags["cut"]).told == ", reading stopped early (the file breaks off)"


def test_bag_of_several_files_is_played_through(tmp_path: Path) -> None:
    said = mixed(talk(), view())
    path, rest = folder(tmp_path / "split", said[:30]), folder(tmp_path / "rest", said[30:])
    (second,) = rest.glob("*.db3")
    second.rename(path / "split_1.db3")
    metadata = path / "metadata.yaml"
    both = re.sub(r"( *)- split.db3", r"\1- split.db3\n\1- old/split_1.db3", metadata.read_text(), count=1)
    metadata.write_text(both)
    reading = Reading(path)
    assert alike(reading.slices, Reading(mcap(tmp_path / "one.mcap", said)).slices)


def test_file_address_and_a_name_with_a_query_are_recognised(bags: dict[str, Path]) -> None:
    reading = Reading(f"file://{bags['mcap']}?pictures=/camera&sound=/sound&speed=2")
    assert reading.numbers == [1, 3, 5, 7, 9, 11]
    assert is_bag(str(bags["folder"]))
    assert not is_bag(str(bags["folder"].parent))
    assert not is_bag("film.mp4")


def test_pictures_are_thinned_and_compressed_ones_are_seen(tmp_path: Path) -> None:
    def frames() -> Iterator[Said]:
        for number in range(60):
            at_ns = BEGAN_NS + number * NS_PER_S // 30
            yield Said("/camera/compressed", jpeg(numbered(number * 4 // 30), at_ns), at_ns)

    reading = Reading(mcap(tmp_path / "fast.mcap", frames()), pictures_per_s=4.0)
    assert (reading.counts.pictures_in, reading.thinned) == (8, 52)
    assert reading.numbers == [1, 3, 5, 7]
    assert reading.began_ns == BEGAN_NS


def test_first_that_can_be_seen_or_heard_is_taken_by_name(tmp_path: Path) -> None:
    deep = (replace(each, topic="/a_depth") for each in view())
    depths = [replace(each, message=_as_depth(each.message)) for each in deep]
    others = (replace(each, message=image(numbered(19), BEGAN_NS), topic="/z") for each in view())
    path = mcap(tmp_path / "many.mcap", mixed(depths, view(), others, talk(topic="/mic"), talk(topic="/zmic")))
    assert Reading(path).numbers == [1, 3, 5, 7, 9, 11]
    assert Reading(f"{path}?pictures=/z").numbers[:2] == [19, 19]


def _as_depth(message: Any) -> Any:
    message.encoding = "32FC1"
    return message


def test_track_that_is_not_wanted_is_left_out(bags: dict[str, Path]) -> None:
    silent, blind = Reading(f"{bags['mcap']}?sound="), Reading(f"{bags['mcap']}?pictures=")
    assert silent.counts.samples_in == 0
    assert silent.numbers == [1, 3, 5, 7, 9, 11]
    assert blind.numbers == [None] * 6
    assert np.array_equal(blind.sound, heard(sweep(3.0)))


def test_pictures_from_before_the_first_sound_are_passed_over(tmp_path: Path) -> None:
    early = view(seconds=5.0, began_ns=BEGAN_NS - 2 * NS_PER_S)
    reading = Reading(mcap(tmp_path / "early.mcap", mixed(talk(), early)))
    assert reading.began_ns == BEGAN_NS
    assert reading.numbers == [9, 11, 13, 15, 17, 19]
    assert reading.counts.pictures_in + reading.thinned == 20


# Stamps.


def shifted(said: Iterable[Said], by_ns: int, from_ns: int) -> Iterator[Said]:
    """The same with all stamps from a moment on moved."""
    for each in said:
        at = each.message.timestamp if hasattr(each.message, "timestamp") else each.message.header.stamp
        at_ns = at.sec * NS_PER_S + at.nanosec
        if at_ns >= from_ns:
            at.sec, at.nanosec = divmod(at_ns + by_ns, NS_PER_S)
        yield each


def test_receive_time_counts_where_a_message_has_no_stamp(tmp_path: Path) -> None:
    def unstamped() -> Iterator[Said]:
        for number, each in enumerate(talk()):
            data = make("audio_common_msgs/msg/AudioData", data=each.message.data)
            late_ns = number % 7 * 5_000_000  # which is no gap
            yield Said("/audio", data, each.received_ns - 60_000_000 + late_ns)

    pictures = [Said("/camera", image(numbered(k), 0), BEGAN_NS + k * NS_PER_S // 4) for k in range(12)]
    reading = Reading(folder(tmp_path / "bag", mixed(unstamped(), pictures)))
    assert np.array_equal(reading.sound[: 3 * RATE], heard(sweep(3.0)))
    assert reading.told == ", no AudioInfo came, so sound was taken for S16LE at 16000 Hz"
    assert reading.counts.samples_missing == 0
    assert reading.numbers == [1, 3, 5, 7, 9, 11]


def test_messages_in_disorder_are_put_in_order(tmp_path: Path) -> None:
    said = mixed(talk(), view())
    rng = np.random.default_rng(0)
    order = sorted(range(len(said)), key=lambda k: k + rng.uniform(0, 8))  # up to 0.4 s too late
    reading = Reading(mcap(tmp_path / "disorder.mcap", [said[k] for k in order]))
    assert alike(reading.slices, Reading(mcap(tmp_path / "order.mcap", said)).slices)


def test_gap_becomes_silence_and_what_follows_is_in_its_place(tmp_path: Path) -> None:
    cut = [each for each in talk() if not 1.0 <= (each.received_ns - 60_000_000 - BEGAN_NS) / 1e9 < 2.5]
    reading = Reading(mcap(tmp_path / "gap.mcap", mixed(cut, view())))
    expected = heard(sweep(3.0))
    expected[RATE : 5 * RATE // 2] = 0.0
    assert np.array_equal(reading.sound, expected)
    assert reading.counts.samples_missing == 3 * RATE // 2
    assert reading.told == ""


@pytest.mark.parametrize("by_s", [-100, -3600 * 24 * 365 * 5, 3600 * 24 * 365 * 5])
def test_clock_that_is_set_is_told_and_time_goes_on(tmp_path: Path, by_s: int) -> None:
    from_ns = BEGAN_NS + 3 * NS_PER_S // 2
    said = mixed(shifted(talk(), by_s * NS_PER_S, from_ns), shifted(view(), by_s * NS_PER_S, from_ns))
    reading = Reading(mcap(tmp_path / "set.mcap", said))
    assert reading.told == ", 2 jumps of its clock mended"
    assert np.array_equal(reading.sound, heard(sweep(3.0)))
    assert reading.numbers == [1, 3, 5, 7, 9, 11]


def test_gap_of_minutes_stays_one(tmp_path: Path) -> None:
    from_ns = BEGAN_NS + 3 * NS_PER_S // 2
    said = mixed(shifted(talk(), 60 * NS_PER_S, from_ns), shifted(view(), 60 * NS_PER_S, from_ns))
    reading = Reading(mcap(tmp_path / "gap.mcap", said))
    assert len(reading.slices) == 126
    assert reading.counts.samples_missing == 60 * RATE
    assert reading.numbers[-1] == 11
    assert reading.numbers[60] is None  # what was seen a minute ago is not there now


def test_two_clocks_that_have_nothing_in_common_do_no_harm(tmp_path: Path) -> None:
    said = mixed(talk(), shifted(view(), -BEGAN_NS, 0))  # pictures by a simulator's clock
    reading = Reading(mcap(tmp_path / "sim.mcap", said))
    assert reading.told == ", 1 jumps of its clock mended"
    assert len(reading.slices) == 6
    assert reading.numbers[-1] == 11


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=8))
def test_stamps_that_are_made_up_never_hang_it(tmp_path: Path, seconds: list[int]) -> None:
    path = tmp_path / "made_up.mcap"
    said = list(talk(0.4))
    for each, second in zip(said, seconds, strict=False):
        each.message.timestamp.sec = second
    reading = Reading(mcap(path, said))
    assert len(reading.slices) <= 8 * 7200 + 8


# Damage.


@pytest.mark.parametrize("share", [0.4, 0.75, 0.99])
def test_file_that_is_cut_off_is_played_up_to_there(bags: dict[str, Path], tmp_path: Path, share: float) -> None:
    data = bags["mcap"].read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[: round(share * len(data))])
    reading = Reading(tmp_path / "cut.mcap")
    assert 0 < len(reading.slices) <= 6
    assert "reading stopped early" in reading.told
    count = min(len(reading.sound), reading.counts.samples_used)
    assert np.array_equal(reading.sound[:count], heard(sweep(3.0))[:count])


def test_damage_in_the_middle_costs_a_part_and_is_told(bags: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(bags["mcap"].read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "damaged.mcap").write_bytes(data)
    reading = Reading(tmp_path / "damaged.mcap")
    assert "1 damaged parts passed over" in reading.told
    assert len(reading.slices) == 6


def outcome(path: Path) -> str:
    """What is told of a bag that may be damaged, at its end or in place of it; another exception is the test's failure."""
    try:
        return Reading(path).told
    except DeviceError as error:
        return str(error)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), damage=st.binary(min_size=1, max_size=40), name=st.sampled_from(["mcap", "cut", "db3"]))
def test_damage_anywhere_is_slices_or_one_line(
    bags: dict[str, Path], tmp_path: Path, place: float, damage: bytes, name: str
) -> None:
    data = bytearray(bags[name].read_bytes())
    start = int(place * (len(data) - 1))
    data[start : start + len(damage)] = damage
    path = tmp_path / f"damaged{bags[name].suffix}"
    path.write_bytes(data)
    assert "\n" not in outcome(path)


def test_messages_that_are_none_are_counted(tmp_path: Path) -> None:
    said = mixed(talk(), view())
    path = folder(tmp_path / "bag", said)
    (file,) = path.glob("*.db3")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE messages SET data = x'00010000ffffffff' WHERE id IN (9, 10, 11)")
    connection.close()
    reading = Reading(path)
    assert "3 damaged parts passed over (the first: 8 bytes are no " in reading.told
    assert len(reading.slices) == 6


def test_both_families_of_audio_on_one_topic_are_told(tmp_path: Path) -> None:
    one = make("audio_common_msgs/msg/AudioData", data=bytes(1600))
    other = make("audio_common_msgs/msg/AudioData", int16_data=np.zeros(800, np.int16))
    said = [Said("/audio", one if k % 2 else other, BEGAN_NS + k * 50_000_000) for k in range(20)]
    reading = Reading(mcap(tmp_path / "both.mcap", said))
    assert "10 damaged parts passed over (the first: sound comes from mgonzs13 and from ros-drivers at once" in reading.told


def test_audio_info_beside_the_sound_is_believed(tmp_path: Path) -> None:
    kind = "audio_common_msgs/msg/"
    info = make(f"{kind}AudioInfo", channels=1, sample_rate=48_000, sample_format="F32LE", coding_format="wave")
    sound = sweep(3.0, 48_000)
    said = [
        Said("/mic/audio", make(f"{kind}AudioData", data=sound[k : k + 2400].tobytes()), BEGAN_NS + k * NS_PER_S // 48_000)
        for k in range(0, len(sound), 2400)
    ]
    said.insert(3, Said("/mic/audio_info", info, said[3].received_ns))  # which comes every five seconds
    reading = Reading(mcap(tmp_path / "info.mcap", said))
    assert likeness(reading.sound, sweep(3.0)) > 0.999
    assert reading.told == ""


def test_sound_that_its_audio_info_calls_mp3_is_refused(tmp_path: Path) -> None:
    kind = "audio_common_msgs/msg/"
    info = make(f"{kind}AudioInfo", channels=1, sample_rate=16_000, sample_format="S16LE", coding_format="mp3")
    said = [Said("/audio", make(f"{kind}AudioData", data=bytes(320)), BEGAN_NS), Said("/audio_info", info, BEGAN_NS)]
    assert "/audio: sound is coded as 'mp3'; expected wave" in refused(mcap(tmp_path / "mp3.mcap", said))


# What is no bag.


def test_what_cannot_be_played_is_one_clear_line(tmp_path: Path, bags: dict[str, Path]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metadata.yaml").write_text("")
    (tmp_path / "empty.mcap").write_bytes(b"")
    (tmp_path / "text.mcap").write_text("no bag at all, but long enough to be one")
    (tmp_path / "text.db3").write_text("no bag at all")
    (tmp_path / "lone").mkdir()
    (tmp_path / "lone" / "metadata.yaml").write_bytes((bags["folder"] / "metadata.yaml").read_bytes())
    numbers = [Said("/odom", make("nav_msgs/msg/Odometry"), BEGAN_NS)]
    mcap(tmp_path / "odometry.mcap", numbers)
    mcap(tmp_path / "depth.mcap", [replace(each, message=_as_depth(each.message)) for each in view()])
    folder(tmp_path / "packed", mixed(talk()), packed="file")
    for name, complaint in (
        ("missing.mcap", "no such file"),
        ("missing.db3", "no such file"),
        ("empty", "is damaged"),
        ("empty.mcap", "holds no messages"),
        ("text.mcap", "not a valid MCAP file"),
        ("text.db3", "is no bag in sqlite3"),
        ("lone", "no such file"),
        ("odometry.mcap", "no pictures and no sound that can be played; it holds /odom (nav_msgs/msg/Odometry)"),
        ("depth.mcap", "/camera: a picture's encoding is '32FC1'"),
        ("packed", "unpack them first"),
    ):
        assert complaint in refused(tmp_path / name), name
    assert "no metadata.yaml in this folder" in refused_bag(tmp_path)


def refused(address: Path | str) -> str:
    with pytest.raises(FavorError) as caught:
        open_source(str(address), Ring(pace="lossless")).__enter__()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused_bag(path: Path) -> str:
    with pytest.raises(DeviceError) as caught:
        Bag(str(path), Ring(pace="lossless"), "fast").__enter__()
    return str(caught.value)


def test_topic_that_is_not_there_is_named_with_those_that_are(bags: dict[str, Path]) -> None:
    told = refused(f"{bags['mcap']}?pictures=/front")
    assert "there is no topic /front of pictures" in told
    assert "/camera (sensor_msgs/msg/Image), /sound (foxglove_msgs/msg/RawAudio)" in told
    assert "/camera of sound" in refused(f"{bags['mcap']}?sound=/camera")


@pytest.mark.parametrize("query", ["speed=0.5", "speed=fast", "speed=nan", "rate=2", "speed=1e9"])
def test_question_that_is_none_is_refused(query: str) -> None:
    with pytest.raises(ConfigError, match=r"expected some of|write a number"):
        wished(f"a.mcap?{query}")
    assert wished("a.mcap?speed=2&sound=/mic").sound == "/mic"


def test_reading_fast_into_a_live_ring_is_refused() -> None:
    with pytest.raises(ConfigError, match="make the ring lossless"):
        Bag("a.mcap", Ring(), "fast")


def test_film_is_no_bag(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", [numbered(1)] * 4, 4.0, sweep(1.0))
    with open_source(str(tmp_path / "film.mp4"), Ring(pace="lossless")) as source:
        assert not isinstance(source, Bag)
        assert source.began_ns is None


# Pace.


def test_live_ring_gets_it_at_its_own_speed_or_faster(bags: dict[str, Path]) -> None:
    took_s = {}
    for speed in (1, 3):
        began_s, ring = time.monotonic(), Ring()
        with open_source(f"{bags['mcap']}?speed={speed}", ring) as source:
            slices = list(ring)
            assert source.began_ns == BEGAN_NS
        took_s[speed] = time.monotonic() - began_s
        assert len(slices) >= 6
    assert took_s[1] >= 2.9
    assert took_s[3] >= 0.9
    assert took_s[3] < took_s[1]


def test_leaving_ends_it_at_once(bags: dict[str, Path]) -> None:
    paces: tuple[Pace, ...] = ("live", "lossless")
    for pace in paces:
        ring, began_s = Ring(pace=pace), time.monotonic()
        with open_source(str(bags["mcap"]), ring):
            assert ring.take(5.0)
        assert time.monotonic() - began_s < 9.0


def test_memory_holds_a_second_of_it_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = list[int]()

    def watched(heap: list[Any], item: Any) -> None:
        heappush(heap, item)
        held.append(len(heap))

    monkeypatch.setattr("favor_stream.capture.bag.heappush", watched)
    reading = Reading(mcap(tmp_path / "long.mcap", mixed(talk(20.0), view(20.0))))
    assert len(reading.slices) == 40
    assert max(held) <= RATE // BLOCK + 4 + 4  # a second of both, and what lies at its ends
    held.clear()
    monkeypatch.setattr("favor_stream.capture.bag.MOST_HELD", 100_000)
    stuck = [Said("/camera", image(numbered(k), BEGAN_NS), BEGAN_NS + k) for k in range(100)]  # by a clock that stands still
    assert len(Reading(mcap(tmp_path / "stuck.mcap", stuck)).slices) == 1
    assert max(held) <= 100_000 // (48 * 64 * 3) + 1


def test_bag_is_played_without_a_ros_install(bags: dict[str, Path]) -> None:
    program = f"""
import sys
from favor_stream.capture import open_source
from favor_stream.ring import Pace, Ring
ring = Ring(pace="lossless")
with open_source({str(bags["mcap"])!r}, ring):
    print(len(list(ring)), "rclpy" in sys.modules, "torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.strip() == "6 False False"


def test_sound_of_another_rate_is_in_its_place(tmp_path: Path) -> None:
    sound = sweep(3.0, 44_100)
    starts = range(0, len(sound), 2205)
    said = [
        Said("/sound", raw_audio(sound[k : k + 2205], BEGAN_NS + k * NS_PER_S // 44_100, 44_100), BEGAN_NS + k) for k in starts
    ]
    reading = Reading(mcap(tmp_path / "rate.mcap", said))
    assert likeness(reading.sound, sweep(3.0)) > 0.999
    assert reading.counts.samples_dropped == 0
