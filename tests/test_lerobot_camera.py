"""A camera of LeRobot's shape, fed by test pictures and films, read as a robot's loop reads it."""

from __future__ import annotations

import enum
import inspect
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pytest
from media import film, number_of, numbered, numbered_film, sweep
from numpy.typing import NDArray

from favor_stream.robot import camera as camera_module
from favor_stream.robot.camera import DeviceAlreadyConnectedError, DeviceNotConnectedError, Newest, RobotCamera

MOVING = "lavfi:testsrc=size=64x48:rate=20"
ABSENT = "rtsp://robot:password@127.0.0.1:9/yard"
LONG_MS = 20_000.0  # what only a machine that stands still does not keep


@runtime_checkable
class LeRobotCamera(Protocol):
    """What lerobot.cameras.Camera asks of its subclasses, and what its callers use."""

    fps: int | None
    width: int | None
    height: int | None

    @property
    def is_connected(self) -> bool: ...
    @staticmethod
    def find_cameras() -> list[dict[str, Any]]: ...
    def connect(self, warmup: bool = True) -> None: ...
    def read(self, color_mode: Any = None) -> NDArray[Any]: ...
    def async_read(self, timeout_ms: float = ...) -> NDArray[Any]: ...
    def read_latest(self, max_age_ms: int = ...) -> NDArray[Any]: ...
    def disconnect(self) -> None: ...


class ColorMode(enum.StrEnum):
    """As LeRobot has it."""

    RGB = "rgb"
    BGR = "bgr"


@pytest.fixture
def camera() -> Iterator[RobotCamera]:
    with RobotCamera(MOVING) as made:
        yield made


def as_lerobot(camera: LeRobotCamera) -> LeRobotCamera:
    return camera


def test_camera_has_lerobots_shape() -> None:
    camera = RobotCamera(MOVING, fps=20)
    assert as_lerobot(camera) is camera  # the checker of types compares the methods
    assert isinstance(camera, LeRobotCamera)
    defaults = {
        name: [each.default for each in inspect.signature(getattr(RobotCamera, name)).parameters.values()][1:]
        for name in ("connect", "read", "async_read", "read_latest")
    }
    assert defaults == {"connect": [True], "read": [None], "async_read": [200], "read_latest": [500]}
    assert (camera.fps, camera.width, camera.height, camera.is_connected) == (20, None, None, False)


def test_connecting_learns_the_size_and_shows_a_picture_at_once(camera: RobotCamera) -> None:
    assert camera.is_connected
    assert (camera.width, camera.height) == (64, 48)
    picture = camera.read_latest(max_age_ms=20_000)
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.uint8


def test_read_waits_for_a_picture_that_is_not_there_yet(camera: RobotCamera) -> None:
    before = camera.read_latest(max_age_ms=20_000)
    assert not np.array_equal(camera.read(), before)


def test_unread_picture_comes_at_once_and_never_twice(tmp_path: Path) -> None:
    path = film(tmp_path / "slow.mp4", [numbered(k) for k in range(3)], [0.0, 1.0, 2.0])
    with RobotCamera(str(path)) as camera:  # whose warm-up has read the first one
        assert [number_of(camera.async_read(LONG_MS)) for _ in range(2)] == [1, 2]
        with pytest.raises((TimeoutError, RuntimeError)):
            camera.async_read(timeout_ms=100)


def test_late_reader_gets_the_newest_and_not_the_next(tmp_path: Path) -> None:
    newest = Newest()
    newest.expect(sound=False, pictures=True)
    for number in range(5):
        newest.put_picture(numbered(number), number / 10)
    assert number_of(newest.wait(1.0, after_now=False)) == 4
    assert newest.wait(0.0, after_now=False) is None


def test_picture_that_is_too_old_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "stuck.mp4", [numbered(0), numbered(1)], [0.0, 60.0])
    with RobotCamera(str(path)) as camera:
        assert number_of(camera.read_latest(max_age_ms=20_000)) == 0
        time.sleep(0.3)
        with pytest.raises(TimeoutError, match="ms old"):
            camera.read_latest(max_age_ms=100)
        with pytest.raises(TimeoutError, match="no new picture within"):
            camera.async_read(timeout_ms=100)
        assert camera.is_connected


def test_film_that_has_ended_brings_no_more_pictures(tmp_path: Path) -> None:
    with RobotCamera(str(numbered_film(tmp_path / "film.mp4", seconds=0.5))) as camera:
        with pytest.raises(RuntimeError, match="no more pictures"):
            list(iter(lambda: camera.async_read(LONG_MS).shape, None))
        assert not camera.is_connected


def test_colours_come_in_the_order_that_is_asked_for() -> None:
    with RobotCamera("lavfi:color=color=red:size=64x48:rate=20") as camera:
        red, turned = camera.read(), camera.read(ColorMode.BGR)
        assert red[0, 0, 0] > 200 > 50 > red[0, 0, 2]
        assert turned[0, 0, 2] > 200 > 50 > turned[0, 0, 0]
        with pytest.raises(ValueError, match="color_mode"):
            camera.read("hsv")
    with RobotCamera("lavfi:color=color=red:size=64x48:rate=20", color_mode=ColorMode.BGR) as camera:
        assert camera.async_read(LONG_MS)[0, 0, 2] > 200


def test_picture_belongs_to_who_reads_it(camera: RobotCamera) -> None:
    camera.read_latest(max_age_ms=20_000)[:] = 0
    assert camera.read_latest(max_age_ms=20_000).any()


def test_fewer_pictures_a_second_come_where_fewer_are_asked_for() -> None:
    with RobotCamera(MOVING, fps=2) as camera:
        begun_s = time.monotonic()
        for _ in range(3):
            camera.async_read(LONG_MS)
        assert time.monotonic() - begun_s > 0.5  # at 20 a second it is 0.15


def test_other_size_than_was_asked_for_is_refused() -> None:
    camera = RobotCamera(MOVING, width=640, height=480)
    with pytest.raises(RuntimeError, match="64x48, expected 640x480"):
        camera.connect()
    assert not camera.is_connected
    assert not [thread for thread in threading.enumerate() if "testsrc" in thread.name]


@pytest.mark.parametrize("use", [RobotCamera.read, RobotCamera.async_read, RobotCamera.read_latest, RobotCamera.disconnect])
def test_nothing_can_be_done_before_connecting(use: Callable[[RobotCamera], object]) -> None:
    with pytest.raises(DeviceNotConnectedError):
        use(RobotCamera(MOVING))
    assert issubclass(DeviceNotConnectedError, ConnectionError)


def test_connecting_twice_is_refused_and_after_leaving_it_is_not(camera: RobotCamera) -> None:
    with pytest.raises(DeviceAlreadyConnectedError):
        camera.connect()
    camera.disconnect()
    camera.connect(warmup=False)
    assert camera.async_read(LONG_MS).any()


def test_without_warm_up_there_may_be_no_picture_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    camera = RobotCamera("lavfi:nullsrc=size=64x48:rate=20,select=gt(t\\,5)")
    camera.connect(warmup=False)
    try:
        with pytest.raises(RuntimeError, match="no picture has come yet"):
            camera.read_latest()
    finally:
        camera.disconnect()


def test_source_that_is_not_there_is_told_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "READ_S", 0.5)
    for source, told in ((str(tmp_path / "none.mp4"), r"none\.mp4"), (ABSENT, r"rtsp://127\.0\.0\.1:9/yard: no picture came")):
        camera = RobotCamera(source)
        with pytest.raises(DeviceNotConnectedError, match=told):
            camera.connect()
        assert not camera.is_connected


def test_reader_is_told_why_no_picture_comes_and_no_password() -> None:
    camera = RobotCamera(ABSENT)
    camera.connect(warmup=False)
    why, give_up_s = "", time.monotonic() + LONG_MS / 1000
    while "(" not in why and time.monotonic() < give_up_s:
        with pytest.raises(TimeoutError) as told:
            camera.async_read(timeout_ms=50)
        why = str(told.value)
    camera.disconnect()
    assert why.count("rtsp://127.0.0.1:9/yard") == 2  # which camera it is, and what became of it
    assert "password" not in why


def test_sound_without_pictures_is_no_camera(tmp_path: Path) -> None:
    path = film(tmp_path / "sound.mp4", sound=sweep(1.0))
    with pytest.raises(DeviceNotConnectedError, match="no picture came"):
        RobotCamera(str(path)).connect()


def test_leaving_wakes_who_waits(tmp_path: Path) -> None:
    path = film(tmp_path / "stuck.mp4", [numbered(0), numbered(1)], [0.0, 60.0])
    camera, told = RobotCamera(str(path)), list[BaseException]()
    camera.connect()

    def wait() -> None:
        try:
            camera.async_read(60_000)
        except ConnectionError as error:
            told.append(error)

    reader = threading.Thread(target=wait)
    reader.start()
    time.sleep(0.2)
    camera.disconnect()
    reader.join(20)
    assert [type(error) for error in told] == [DeviceNotConnectedError]


def test_many_threads_read_whole_pictures(camera: RobotCamera) -> None:
    seen = list[tuple[int, ...]]()

    def read() -> None:
        seen.extend(camera.read().shape for _ in range(3))

    readers = [threading.Thread(target=read) for _ in range(6)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
    assert seen == [(48, 64, 3)] * 18


def test_nothing_grows_while_nobody_reads() -> None:
    newest, picture_bytes = Newest(), 480 * 640 * 3
    newest.expect(sound=True, pictures=True)
    tracemalloc.start()
    try:
        for number in range(200):
            newest.put_picture(numbered(number, 480, 640), number / 30)
            newest.put_sound(np.zeros(16_000, np.float32), float(number))
        assert tracemalloc.get_traced_memory()[0] < 3 * picture_bytes
    finally:
        tracemalloc.stop()


def test_cameras_of_the_machine_are_found_by_their_names(tmp_path: Path) -> None:
    for node, name, index in (("video0", "USB Camera", "0"), ("video1", "USB Camera", "1"), ("video2", "unplugged", "0")):
        folder = tmp_path / "sys" / "class" / "video4linux" / node
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "index").write_text(f"{index}\n")
    (tmp_path / "dev").mkdir()
    for node in ("video0", "video1"):
        (tmp_path / "dev" / node).touch()
    assert RobotCamera.find_cameras(tmp_path) == [{"name": "USB Camera", "type": "favor_stream", "id": "/dev/video0"}]
    assert isinstance(RobotCamera.find_cameras(), list)
