"""A recording holds what was seen, heard and said, once and in its place, and stays readable whatever happens to the writer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import BEGAN_NS, NS_PER_S, heard
from happenings import DOOR
from mcap.reader import make_reader
from media import numbered, sweep
from rosbags.rosbag2 import Reader

from favor_stream.capture.bag import Bag
from favor_stream.clip import picture_of, snapshot_jpeg
from favor_stream.errors import DeviceError
from favor_stream.recording import ANSWER, EVENTS, KINDS, PICTURE, SCENE, SOUND, Recording
from favor_stream.records import RATE, SLICE_SAMPLES, Answer, Event, Perceived, Sound, WatchEvent
from favor_stream.ring import Clip, Ring
from favor_stream.ros.messages import Message, decode, definition, stamp_ns

JPEGS = [snapshot_jpeg(numbered(number, 24, 32), 95) for number in range(20)]
SHOTS = tuple((0.25 * number + 1e-9, JPEGS[number]) for number in range(12))
CLIP = Clip(0.0, sweep(3.0), SHOTS)


def recorded(path: Path, topic: str) -> list[tuple[int, Message]]:
    """Stamps and messages of a topic, as any reader of MCAP finds them."""
    with open(path, "rb") as file:
        found = make_reader(file).iter_messages(topics=[topic])
        return [(message.log_time, decode(message.data, schema.name)) for schema, _, message in found if schema]


def played(path: Path) -> tuple[Sound, list[Any], int | None, str]:
    """Sound and pictures of a bag, its beginning and what was told at its end."""
    ring, events = Ring(pace="lossless"), list[Event]()
    with Bag(str(path), ring, "fast", events.append, pictures_per_s=8.0) as source:
        slices = list(ring)
    sound = np.concatenate([piece.sound for piece in slices])
    return sound, [piece.picture for piece in slices], source.began_ns, events[-1].text


def test_recording_is_played_back_to_the_sample_and_to_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "seen.mcap"
    with Recording(path, BEGAN_NS) as recording:
        recording.add_clip(CLIP)
    sound, pictures, began_ns, told = played(path)
    assert np.array_equal(sound, heard(CLIP.sound))
    assert np.abs(sound - CLIP.sound).max() <= 0.5 / 32_768
    assert [message.data.tobytes() for _, message in recorded(path, PICTURE)] == JPEGS[:12]
    expected = [picture_of(JPEGS[number]) for number in (1, 3, 5, 7, 9, 11)]
    assert all(np.array_equal(seen, jpeg) for seen, jpeg in zip(pictures, expected, strict=True))
    assert (began_ns, told) == (BEGAN_NS, f"{path}: ended")


def test_newest_seconds_told_again_and_again_are_written_once(tmp_path: Path) -> None:
    path, ring = tmp_path / "live.mcap", Ring(pace="lossless", pack=partial(snapshot_jpeg, quality=95))
    ring.expect(sound=True, pictures=True)
    with Recording(path, BEGAN_NS) as recording:
        for k in range(6):
            ring.put_picture(numbered(k, 24, 32), 0.5 * k + 0.1)
            ring.put_sound(CLIP.sound[k * SLICE_SAMPLES : (k + 1) * SLICE_SAMPLES], 0.5 * k)
            if k > 0:
                assert ring.take(1.0)
            recording.add_clip(ring.clip(1.5))
        ring.end()
        while ring.take(1.0):
            recording.add_clip(ring.clip(1.5))
    assert recording.samples == 3 * RATE
    assert recording.pictures == 6
    assert np.array_equal(played(path)[0], heard(CLIP.sound))


def test_stamps_are_the_stream_s_time_to_the_nanosecond(tmp_path: Path) -> None:
    path = tmp_path / "stamps.mcap"
    with Recording(path, BEGAN_NS) as recording:
        recording.add_clip(CLIP.between(1.0, 3.0))
    sound, pictures = recorded(path, SOUND), recorded(path, PICTURE)
    assert [at_ns for at_ns, _ in sound] == [BEGAN_NS + k * NS_PER_S // 2 for k in range(2, 6)]
    assert [at_ns for at_ns, _ in pictures] == [BEGAN_NS + k * NS_PER_S // 4 + 1 for k in range(4, 12)]
    assert all(stamp_ns(message) == at_ns for at_ns, message in sound + pictures)
    assert played(path)[2] == BEGAN_NS + NS_PER_S


def test_what_was_never_told_is_silence_when_it_is_played(tmp_path: Path) -> None:
    path = tmp_path / "gap.mcap"
    with Recording(path, BEGAN_NS) as recording:
        recording.add_clip(CLIP.between(0.0, 1.0))
        recording.add_clip(CLIP.between(2.0, 3.0))
    expected = heard(CLIP.sound)
    expected[RATE : 2 * RATE] = 0.0
    assert np.array_equal(played(path)[0], expected)


def test_clip_without_sound_or_without_pictures_is_recorded(tmp_path: Path) -> None:
    with Recording(tmp_path / "silent.mcap", BEGAN_NS) as recording:
        recording.add_clip(replace(CLIP, sound=CLIP.sound[:0]))
    with Recording(tmp_path / "blind.mcap", BEGAN_NS) as recording:
        recording.add_clip(replace(CLIP, pictures=()))
    assert [seen is None for seen in played(tmp_path / "silent.mcap")[1]] == [False] * 6
    assert np.array_equal(played(tmp_path / "blind.mcap")[0], heard(CLIP.sound))


def test_events_the_scene_and_answers_are_json_on_their_topics(tmp_path: Path) -> None:
    path, at = tmp_path / "said.mcap", datetime(2026, 11, 25, tzinfo=UTC)
    with Recording(path, BEGAN_NS) as recording:
        recording.add_event(Event("lost", 0.5, "pörch: nothing came", "porch"))
        recording.add_event(Perceived("perceived", 1.0, "a dog barks", sees="a dog", hears="barking"))
        recording.add_event(
            WatchEvent(
                "watch", 2.0, "yes", id="01A", watch=DOOR, phase="new", confidence=0.9, started_s=1.5, captured_at=at, data=[1]
            )
        )
        recording.add_answer(Answer("what?", "a dog", 2.5, 0.1, 0.2))
    told = {topic: [(ns, json.loads(said.data)) for ns, said in recorded(path, topic)] for topic in (EVENTS, SCENE, ANSWER)}
    (lost_ns, lost), (watched_ns, watched) = told[EVENTS]
    assert (lost_ns, lost["text"], lost["source"]) == (BEGAN_NS + NS_PER_S // 2, "pörch: nothing came", "porch")
    assert (watched_ns, watched["phase"], watched["watch"]["name"]) == (BEGAN_NS + 2 * NS_PER_S, "new", DOOR.name)
    assert (watched["captured_at"], watched["data"]) == ("2026-11-25T00:00:00+00:00", [1])
    assert told[SCENE][0][1]["hears"] == "barking"
    ((answered_ns, answer),) = told[ANSWER]
    assert (answered_ns, answer["question"], answer["text"]) == (BEGAN_NS + 5 * NS_PER_S // 2, "what?", "a dog")


def test_other_readers_of_bags_find_the_topics_and_their_types(tmp_path: Path) -> None:
    path = tmp_path / "seen.mcap"
    with Recording(path, BEGAN_NS) as recording:
        recording.add_clip(CLIP)
        recording.add_event(Event("lost", 0.5, "porch", "porch"))
        recording.add_answer(Answer("what?", "a dog", 2.5, 0.1, 0.2))
        recording.add_event(Perceived("perceived", 1.0, "a dog"))
    with Reader(path) as reader:
        assert {connection.topic: connection.msgtype for connection in reader.connections} == KINDS
        assert sum(1 for _ in reader.messages()) == 6 + 12 + 3
    with open(path, "rb") as file:
        summary = make_reader(file).get_summary()
        assert make_reader(file).get_header().profile == "ros2"
    assert summary
    assert {schema.name: schema.data.decode() for schema in summary.schemas.values()} == {
        kind: definition(kind) for kind in KINDS.values()
    }
    assert {schema.encoding for schema in summary.schemas.values()} == {"ros2msg"}
    assert {index.compression for index in summary.chunk_indexes} == {"zstd"}


WRITER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_recording import CLIP, BEGAN_NS, JPEGS
import numpy as np
from favor_stream.recording import Recording
from favor_stream.ring import Clip
recording = Recording(sys.argv[1], BEGAN_NS)
sound = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32)
for second in range(10_000):
    recording.add_clip(Clip(float(second), sound, ((second + 0.1, JPEGS[second % 20]),)))
    print(second, flush=True)
"""


def test_writer_that_is_killed_leaves_what_it_had_written(tmp_path: Path) -> None:
    path = tmp_path / "killed.mcap"
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    with child.stdout:
        while int(child.stdout.readline()) < 20:
            pass
        child.send_signal(signal.SIGKILL)
        child.wait(30)
    sound, pictures, began_ns, told = played(path)
    assert "reading stopped early" in told
    assert began_ns == BEGAN_NS
    assert len(sound) / RATE >= 17.0  # of 20 seconds and more, two or three may have waited for their chunk
    whole = heard(np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32))
    assert np.array_equal(sound[: 17 * RATE], np.tile(whole, 17))
    assert all(picture is not None for picture in pictures[:34])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_full_disk_is_one_clear_line_and_nothing_more_is_written() -> None:
    with pytest.raises(DeviceError, match="/dev/full: cannot be written .No space left on device.; free some space") as caught:
        Recording("/dev/full", BEGAN_NS).add_clip(replace(CLIP, sound=np.tile(CLIP.sound, 20)))
    assert "\n" not in str(caught.value)
    recording = Recording("/dev/full", BEGAN_NS)
    with pytest.raises(DeviceError):
        recording.close()
    with pytest.raises(DeviceError, match="is closed"):
        recording.add_event(Event("lost", 0.0, "porch"))
    recording.close()


def test_path_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    for path, complaint in ((tmp_path / "no" / "such.mcap", "cannot be written"), (tmp_path, "is there already")):
        with pytest.raises(DeviceError, match=complaint) as caught:
            Recording(path, BEGAN_NS)
        assert "\n" not in str(caught.value)


def test_recording_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "first.mcap"
    with Recording(path, BEGAN_NS) as recording:
        recording.add_clip(CLIP)
    before = path.read_bytes()
    with pytest.raises(DeviceError, match="is there already"):
        Recording(path, BEGAN_NS)
    assert path.read_bytes() == before


def test_what_comes_after_the_end_is_refused_and_a_second_end_is_none(tmp_path: Path) -> None:
    with Recording(tmp_path / "ended.mcap", BEGAN_NS) as recording:
        recording.add_clip(CLIP)
    recording.close()
    with pytest.raises(DeviceError, match="is closed"):
        recording.add_clip(Clip(9.0, CLIP.sound, ()))
    with pytest.raises(DeviceError, match="is closed"):
        recording.add_answer(Answer("what?", "", 1.0, 0.0, 0.0))
