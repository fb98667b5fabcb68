"""A generated film as a browser's fake camera and microphone, and a wire between browser and server that can be cut."""

from __future__ import annotations

import asyncio
import math
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from favor_stream.aveb.picture import picture
from favor_stream.aveb.script import Script
from favor_stream.aveb.soundtrack import soundtrack
from favor_stream.records import RATE, Sound

FPS = 8


@dataclass(frozen=True, slots=True)
class Devices:
    """What Chromium plays in place of a camera and a microphone, over and over."""

    pictures: Path  # Y4M
    sound: Path  # WAV

    @property
    def flags(self) -> list[str]:
        return [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={self.pictures}",
            f"--use-file-for-fake-audio-capture={self.sound}",
        ]


def devices(folder: Path, script: Script) -> Devices:
    made = Devices(folder / "camera.y4m", folder / "microphone.wav")
    write_sound(made.sound, soundtrack(script))
    height, width = picture(script, 0.0).shape[:2]
    with made.pictures.open("wb") as film:
        film.write(f"YUV4MPEG2 W{width} H{height} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for index in range(math.ceil(script.duration_s * FPS)):
            frame = av.VideoFrame.from_ndarray(picture(script, index / FPS), format="rgb24").reformat(format="yuvj420p")
            film.write(b"FRAME\n" + np.ascontiguousarray(frame.to_ndarray()).tobytes())
    return made


def silence(folder: Path) -> Path:
    """What a muted microphone gives."""
    write_sound(folder / "silence.wav", np.zeros(RATE, np.float32))
    return folder / "silence.wav"


def write_sound(path: Path, samples: Sound) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes((samples * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes())


@dataclass
class Wire:
    """A port that passes everything on to another, until it is cut."""

    port: int = 0
    is_cut: bool = False
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def cut(self) -> None:
        """Connections break, and new ones come to nothing, until it is mended."""
        self.is_cut = True
        self._loop.call_soon_threadsafe(self._break)

    def mend(self) -> None:
        self.is_cut = False

    def _break(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, to_port: int, is_up: threading.Event) -> None:
        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.is_cut:
                return writer.transport.abort()
            there, back = await asyncio.open_connection("127.0.0.1", to_port)
            self._open |= {writer, back}
            await asyncio.gather(_pass(reader, back), _pass(there, writer))
            self._open -= {writer, back}

        server = await asyncio.start_server(carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        is_up.set()
        async with server:
            await server.serve_forever()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # cut
    finally:
        writer.transport.abort()


@contextmanager
def wire(to_port: int) -> Iterator[Wire]:
    made, is_up = Wire(), threading.Event()

    def run() -> None:
        asyncio.set_event_loop(made._loop)
        try:
            made._loop.run_until_complete(made.serve(to_port, is_up))
        except asyncio.CancelledError:
            pass
        finally:
            made._break()
            made._loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(made._loop), return_exceptions=True))
            made._loop.run_until_complete(asyncio.sleep(0.1))  # for what was broken off to be closed
            made._loop.close()

    def stop() -> None:
        for task in asyncio.all_tasks(made._loop):
            task.cancel()

    thread = threading.Thread(target=run, name="wire", daemon=True)
    thread.start()
    assert is_up.wait(10), "the wire is not up"
    try:
        yield made
    finally:
        made._loop.call_soon_threadsafe(stop)
        thread.join(10)
