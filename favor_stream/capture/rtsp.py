"""A network camera or stream: RTSP, and whatever else FFmpeg opens by address. Lost and found again without end."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from favor_stream.capture import LiveSource, OnEvent, log_event
from favor_stream.capture.clock import SoundLine
from favor_stream.capture.container import Footage, Heard, Seen, opened, reason
from favor_stream.errors import DeviceError
from favor_stream.ring import Ring

STORED = ("http", "https", "ftp")  # these may come faster than they were recorded, and are paced
LIVE = ("rtsp", "rtsps", "rtmp", "rtmps", "rtmpt", "rtp", "srtp", "srt", "udp", "udplite", "tcp", "tls", "mmsh", "mmst")
SCHEMES = LIVE + STORED
OPEN_S = 5.0  # for a server to answer

# `timeout` is FFmpeg's for a socket, in microseconds. The stream is described by the server: little of it needs to be probed.
RTSP_OPTIONS = {
    "rtsp_transport": "tcp",
    "timeout": "3000000",
    "fflags": "nobuffer",
    "flags": "low_delay",
    "max_delay": "0",
    "analyzeduration": "100000",
    "probesize": "32000",
}


class Rtsp(LiveSource):
    """Pictures are stamped when they arrive and sound is counted; a time without the stream is silence, and time goes on."""

    def __init__(self, url: str, ring: Ring, on_event: OnEvent = log_event, pictures_per_s: float = 4.0) -> None:
        super().__init__(public_address(url), ring, on_event)
        self._scheme = urlsplit(url).scheme.lower()
        if self._scheme not in SCHEMES:
            raise DeviceError(f"{self.name}: unknown kind of address; expected one of {', '.join(SCHEMES)}")
        self._url = url
        self._pictures_per_s = pictures_per_s

    def _fill(self) -> None:
        options = RTSP_OPTIONS if self._scheme.startswith("rtsp") else {}
        wait_s = (OPEN_S, self.lost_after_s / 2)  # to open, to read; the library takes up to twice as long
        with opened(self._url, self.name, "check the address and that the camera is on", None, options, wait_s) as container:
            footage = Footage(container, self._pictures_per_s)
            self._expect(footage.has_sound, footage.has_pictures)
            self._follow(footage)
        raise DeviceError(f"{self.name}: {reason(footage.error) if footage.error else 'the stream ended'}")

    def _follow(self, footage: Footage) -> None:
        """Fills the ring until the stream ends, or its pictures stay away while its sound goes on."""
        line, thinned_before = SoundLine(self._ring), self.pictures_thinned
        opened_s = seen_s = time.monotonic()
        for piece in footage:
            arrived_s = self._paced(piece, opened_s)
            self._alive()
            if isinstance(piece, Heard):
                self._put_sound(line, piece.sound, piece.time_s, arrived_s)
            else:
                seen_s = arrived_s
                if piece.picture is not None:
                    self._put_picture(piece.picture, arrived_s)
            self.pictures_thinned = thinned_before + footage.thinned
            if footage.has_pictures and arrived_s - seen_s > self.lost_after_s:
                raise DeviceError(f"{self.name}: no picture came for {self.lost_after_s:g} s")
            if self._leaving.is_set():
                return

    def _paced(self, piece: Heard | Seen, opened_s: float) -> float:
        """When the piece arrived; one that came before its time is waited for."""
        if self._scheme not in STORED:
            return piece.arrived_s
        due_s = opened_s + piece.end_s
        self._leaving.wait(max(0.0, due_s - time.monotonic()))
        return max(due_s, piece.arrived_s)


def public_address(url: str) -> str:
    """An address without its user, password and query, which may hold a key. Raises DeviceError for what is none."""
    try:
        parts = urlsplit(url)
    except ValueError:  # whose message would tell the address
        raise DeviceError("an address that cannot be read was given; expected scheme://user:password@host/path") from None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
