from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from media import film, likeness, number_of, numbered, sweep

from favor_stream.clip import Shot, picture_of, snapshot_jpeg, write_clip, write_film, write_mp4
from favor_stream.errors import DeviceError
from favor_stream.records import RATE, Picture, Sound
from favor_stream.ring import Ring

SILENCE = np.zeros(0, np.float32)


def seen(path: Path) -> list[Shot]:
    """Times and pictures of a film."""
    with av.open(str(path)) as container:
        return [
            (float(frame.time or 0), np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            for frame in container.decode(video=0)
        ]


def heard(path: Path) -> Sound:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def shaded(height: int, width: int) -> Picture:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 // height, columns * 255 // width, np.full_like(rows, 90)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("picture", [numbered(5, 1, 1), numbered(5, 3, 5), shaded(360, 640)], ids=["1x1", "5x3", "640x360"])
def test_a_snapshot_shows_the_picture(picture: Picture) -> None:
    jpeg = snapshot_jpeg(picture, quality=95)
    assert jpeg.startswith(b"\xff\xd8\xff")
    shown = picture_of(jpeg)
    assert shown.shape == picture.shape
    assert np.abs(shown.astype(int) - picture).mean() < 4


def test_a_lower_quality_is_smaller() -> None:
    sizes = [len(snapshot_jpeg(shaded(360, 640), quality)) for quality in (1, 50, 85, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 3


def test_a_film_holds_its_pictures_and_its_sound_at_their_times(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", (numbered(index) for index in range(6)), fps=2.0, sound=sweep(3.0))
    shots = seen(tmp_path / "film.mp4")
    assert [(time_s, number_of(picture)) for time_s, picture in shots] == [(index / 2, index) for index in range(6)]
    assert likeness(heard(tmp_path / "film.mp4")[: 3 * RATE], sweep(3.0)) > 0.999
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.mp4"]


def test_a_film_is_known_by_its_codecs_and_its_rate(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", [numbered(1)] * 60, fps=29.97, sound=sweep(2.0))
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(29.97, rel=1e-4)


def test_pictures_may_come_at_uneven_times(tmp_path: Path) -> None:
    times_s = [0.0, 0.1, 1.7, 1.75, 4.0]
    write_mp4(tmp_path / "film.mp4", zip(times_s, map(numbered, range(5)), strict=True), SILENCE)
    assert [time_s for time_s, _ in seen(tmp_path / "film.mp4")] == pytest.approx(times_s)


@pytest.mark.parametrize(("given", "written"), [((1, 1), (2, 2)), ((33, 47), (34, 48))])
def test_odd_pictures_become_even(tmp_path: Path, given: tuple[int, int], written: tuple[int, int]) -> None:
    write_film(tmp_path / "film.mp4", [numbered(3, *given)] * 2, fps=1.0, sound=SILENCE)
    assert [(number_of(picture), picture.shape[:2]) for _, picture in seen(tmp_path / "film.mp4")] == [(3, written)] * 2


def test_a_picture_of_another_size_takes_the_size_of_the_first(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", [numbered(1, 48, 64), numbered(2, 100, 20)], fps=1.0, sound=SILENCE)
    assert [(number_of(picture), picture.shape) for _, picture in seen(tmp_path / "film.mp4")] == [
        (1, (48, 64, 3)),
        (2, (48, 64, 3)),
    ]


def test_sound_alone_is_a_film_too(tmp_path: Path) -> None:
    write_mp4(tmp_path / "sound.mp4", [], sweep(1.0))
    assert likeness(heard(tmp_path / "sound.mp4")[:RATE], sweep(1.0)) > 0.999


def test_a_clip_of_a_ring_starts_at_its_own_zero(tmp_path: Path) -> None:
    ring = Ring(keep_s=10.0, pack=snapshot_jpeg)
    ring.expect(sound=True, pictures=True)
    for index in range(16):
        ring.put_picture(numbered(index), index / 2)
        ring.put_sound(sweep(8.0)[index * 8000 : (index + 1) * 8000], index / 2)
    write_clip(tmp_path / "clip.mp4", ring.clip(last_s=2.0))
    assert [(time_s, number_of(picture)) for time_s, picture in seen(tmp_path / "clip.mp4")] == [
        (index / 2, index + 12) for index in range(4)
    ]
    assert likeness(heard(tmp_path / "clip.mp4")[: 2 * RATE], sweep(8.0)[-2 * RATE :]) > 0.999


def test_an_empty_clip_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="the clip is empty"):
        write_clip(tmp_path / "clip.mp4", Ring().clip(last_s=2.0))


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="No such file or directory") as told:
        write_film(tmp_path / "none" / "film.mp4", [numbered(1)], fps=1.0, sound=SILENCE)
    assert "\n" not in str(told.value)


def test_a_failing_source_of_pictures_leaves_no_half_film(tmp_path: Path) -> None:
    def pictures() -> object:
        yield numbered(1)
        raise DeviceError("the camera is gone")

    with pytest.raises(DeviceError, match="camera is gone"):
        write_film(tmp_path / "film.mp4", pictures(), fps=1.0, sound=SILENCE)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from media import numbered, sweep
from favor_stream.clip import write_film
from favor_stream.errors import DeviceError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
try:
    write_film(Path({path!r}), map(numbered, range(40)), 4.0, sweep(10.0))
except DeviceError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on a file's size are a Unix matter")
@pytest.mark.parametrize("lacking", [1, 500, 20_000])
def test_a_disk_that_fills_up_leaves_the_old_file_and_no_half_one(tmp_path: Path, lacking: int) -> None:
    """The system refuses what goes beyond the room; the last byte may be the one that is refused."""
    path = film(tmp_path / "film.mp4", [numbered(1)], [0.0])
    write_film(tmp_path / "whole.mp4", map(numbered, range(40)), 4.0, sweep(10.0))
    room, before = os.path.getsize(tmp_path / "whole.mp4") - lacking, path.read_bytes()
    (tmp_path / "whole.mp4").unlink()
    program = FULL.format(tests=str(Path(__file__).parent), room=room, path=str(path))
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == f"{path}: cannot be written (File too large); free some space or choose another folder\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.mp4"]
    assert path.read_bytes() == before
