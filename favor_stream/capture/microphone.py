"""A microphone. The sound library runs in a process of its own, since it may hang with the sound server and has to be ended then.

That process (`listen`) writes what it hears to a pipe; the pipe's size bounds what can wait there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any, Self

import av
import numpy as np

from favor_stream.capture import LiveSource, OnEvent, log_event
from favor_stream.capture.clock import SoundLine
from favor_stream.capture.container import SoundTrack
from favor_stream.errors import DeviceError
from favor_stream.records import RATE, Sound
from favor_stream.ring import Ring

BLOCKS_PER_S = 50
FAILED = "! "  # opens the line that tells why a device cannot be heard
WANTED = "plug a microphone in, start the sound server, or name another one (microphone:NAME)"


class Microphone(LiveSource):
    """Sound at RATE in mono, whatever the device's rate. Lost when nothing comes for a second; opened again until it is back.

    `device`: a part of its name or its number, as sounddevice lists them; "" is the system's default.
    """

    lost_after_s = 1.0

    def __init__(self, device: str, ring: Ring, on_event: OnEvent = log_event) -> None:
        super().__init__(f"microphone {device}".strip(), ring, on_event)
        self._device = device
        self._listener: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._expect(sound=True, pictures=False)
        return super().__enter__()

    def _command(self) -> list[str]:
        program = f"import sys; sys.path = {sys.path!r}; from {__name__} import listen; listen({self._device!r})"
        return [sys.executable, "-c", program]

    def _fill(self) -> None:
        quiet = subprocess.DEVNULL  # sound libraries chatter there
        with subprocess.Popen(self._command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet) as listener:
            self._listener = listener
            try:
                if not self._leaving.is_set():  # else nobody may have seen it to end it
                    self._hear(listener)
            finally:
                listener.kill()

    def _hear(self, listener: subprocess.Popen[bytes]) -> None:
        assert listener.stdout is not None
        said = listener.stdout.readline().decode(errors="replace").strip()
        if not said.isdigit():
            raise DeviceError(f"{self.name}: {said.removeprefix(FAILED) or 'the sound library gave up'}; {WANTED}")
        rate_hz, line, track = int(said), SoundLine(self._ring), SoundTrack()
        size = 4 * (rate_hz // BLOCKS_PER_S)
        while len(block := listener.stdout.read(size)) == size and not self._leaving.is_set():
            arrived_s = time.monotonic()
            self._alive()
            for sound, time_s in track.hear(_frame(block, rate_hz), None, 0.0):
                self._put_sound(line, sound, time_s, arrived_s)
        raise DeviceError(f"{self.name}: its sound ended")

    def _interrupt(self) -> None:
        if self._listener is not None:
            self._listener.kill()

    def _end(self) -> None:
        super()._end()
        self._interrupt()


def _frame(block: bytes, rate_hz: int) -> av.AudioFrame:
    sound: Sound = np.frombuffer(block, np.float32)
    frame = av.AudioFrame.from_ndarray(sound[None], format="flt", layout="mono")
    frame.sample_rate = rate_hz
    return frame


def listen(device: str) -> None:
    """The other process: writes the device's rate and then its sound, float32, to standard output until it ends.

    It ends with the device, or when the process that started it is gone.
    """
    import sounddevice

    pipe = sys.stdout.fileno()

    def write(block: Any, frames: int, times: Any, status: Any) -> None:
        try:
            os.write(pipe, bytes(block))
        except OSError:
            os._exit(1)  # nobody hears any more

    try:
        stream = _opened(sounddevice, int(device) if device.isdigit() else device or None, write)
    except (sounddevice.PortAudioError, ValueError) as error:
        os.write(pipe, f"{FAILED}{' '.join(str(error).split())}\n".encode())
        return
    os.write(pipe, f"{stream.samplerate:.0f}\n".encode())
    stream.start()
    sys.stdin.buffer.read()
    os._exit(0)  # closing a stream may hang


def _opened(sounddevice: Any, device: int | str | None, write: Any) -> Any:
    """A stream at RATE, or at the device's own rate where it refuses."""

    def at(rate_hz: int) -> Any:
        return sounddevice.RawInputStream(
            samplerate=rate_hz,
            blocksize=rate_hz // BLOCKS_PER_S,
            device=device,
            channels=1,
            dtype="float32",
            latency="low",
            callback=write,
            finished_callback=lambda: os._exit(0),  # the device is gone
        )

    try:
        return at(RATE)
    except sounddevice.PortAudioError:
        return at(round(sounddevice.query_devices(device, "input")["default_samplerate"]))
