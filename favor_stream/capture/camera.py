"""A camera on this machine, through FFmpeg's device for the platform, or through OpenCV where FFmpeg has none."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Self

import av
import numpy as np

from favor_stream.capture import LiveSource, OnEvent, log_event
from favor_stream.capture.container import Footage, PictureTrack, Seen, opened, reason
from favor_stream.errors import DeviceError
from favor_stream.ring import Ring

FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}  # FFmpeg's names
OPTIONS = {"avfoundation": {"framerate": "30"}}  # its own default is refused by most cameras
WANTED = "plug a camera in, close other programs that use it, or name another one (camera:1)"


class Camera(LiveSource):
    """Pictures of a camera, stamped when they arrive. Unplugged, it is lost, and found when it is plugged in again.

    `device`: a number ("" is 0), a path such as /dev/video0, or the device's name. `kind`: FFmpeg's name for a kind of device,
    or "opencv"; by default what the platform has.
    """

    def __init__(
        self, device: str, ring: Ring, on_event: OnEvent = log_event, pictures_per_s: float = 4.0, kind: str | None = None
    ) -> None:
        super().__init__(f"camera {device}".strip(), ring, on_event)
        self._device = device or "0"
        self._kind = kind or self._usual_kind()
        self._pictures_per_s = pictures_per_s

    def __enter__(self) -> Self:
        self._expect(sound=False, pictures=True)
        return super().__enter__()

    def _usual_kind(self) -> str:
        kind = FORMATS.get(sys.platform, "opencv")
        known = {name for names in av.formats_available for name in names.split(",")}
        numbered = kind == "dshow" and self._device.isdigit()  # DirectShow knows cameras by name alone
        return "opencv" if kind not in known or numbered else kind

    def _fill(self) -> None:
        thinned_before = self.pictures_thinned
        for piece, thinned in self._with_opencv() if self._kind == "opencv" else self._with_ffmpeg():
            self._alive()
            self.pictures_thinned = thinned_before + thinned
            if piece.picture is not None:
                self._put_picture(piece.picture, piece.arrived_s)
            if self._leaving.is_set():
                return

    def _with_ffmpeg(self) -> Iterator[tuple[Seen, int]]:
        with opened(self._address(), self.name, WANTED, self._kind, OPTIONS.get(self._kind)) as container:
            footage = Footage(container, self._pictures_per_s)
            for piece in footage:
                if isinstance(piece, Seen):
                    yield piece, footage.thinned
            raise DeviceError(f"{self.name}: {reason(footage.error) if footage.error else 'its pictures ended'}")

    def _address(self) -> str:
        if self._kind == "v4l2" and self._device.isdigit():
            return f"/dev/video{self._device}"
        return {"avfoundation": f"{self._device}:none", "dshow": f"video={self._device}"}.get(self._kind, self._device)

    def _with_opencv(self) -> Iterator[tuple[Seen, int]]:
        import cv2

        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it would write a line for each attempt
        camera = cv2.VideoCapture(int(self._device) if self._device.isdigit() else self._device)
        track = PictureTrack(self._pictures_per_s, usual_fps=camera.get(cv2.CAP_PROP_FPS) or 30.0)
        try:
            if not camera.isOpened():
                raise DeviceError(f"{self.name}: cannot be opened; {WANTED}")
            while camera.grab():
                arrived_s = time.monotonic()
                frame = av.VideoFrame.from_ndarray(np.asarray(camera.retrieve()[1], np.uint8), format="bgr24")
                picture, time_s = track.see(frame, arrived_s, arrived_s)
                yield Seen(picture, time_s, arrived_s), track.thinned
            raise DeviceError(f"{self.name}: its pictures ended")
        finally:
            camera.release()
