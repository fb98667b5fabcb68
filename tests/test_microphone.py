"""A real sound server without a sound card: what is played into the sink `room` is heard by the microphone `mic`."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from media import sweep
from real import require

from favor_stream.capture import open_source
from favor_stream.records import RATE, SLICE_SAMPLES, Event, Slice, Sound
from favor_stream.ring import Ring

pytestmark = [pytest.mark.device, pytest.mark.alone]

# Without norewinds a null sink plays up to 1.8 s late and jumps.
MODULES = """
load-module module-native-protocol-unix socket={folder}/native auth-anonymous=1
load-module module-null-sink sink_name=room rate=48000 channels=1 norewinds=1
load-module module-remap-source source_name=mic master=room.monitor
set-default-source mic
"""
DAEMON = """
exit-idle-time = -1
flat-volumes = no
realtime-scheduling = no
high-priority = no
default-fragments = 4
default-fragment-size-msec = 10
"""
ALSA = """
</usr/share/alsa/alsa.conf>
pcm.!default { type pulse }
ctl.!default { type pulse }
pcm.mic { type pulse device mic hint { show on description "virtual microphone" } }
"""


class SoundServer:
    """A PulseAudio of our own, that can be killed, frozen and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.chmod(0o700)
        (folder / "modules.pa").write_text(MODULES.format(folder=folder))
        (folder / "daemon.conf").write_text(DAEMON)
        (folder / "asoundrc").write_text(ALSA)

    @property
    def clients(self) -> dict[str, str]:
        """The environment that makes a program use this server."""
        return {
            "PULSE_SERVER": f"unix:{self._folder}/native",
            "PULSE_COOKIE": f"{self._folder}/cookie",
            "ALSA_CONFIG_PATH": f"{self._folder}/asoundrc",
        }

    def start(self) -> None:
        places = ("PULSE_RUNTIME_PATH", "PULSE_STATE_PATH", "XDG_RUNTIME_DIR")
        settings = {place: str(self._folder) for place in places} | {"PULSE_CONFIG": f"{self._folder}/daemon.conf"}
        command = ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "-F", f"{self._folder}/modules.pa"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, env=os.environ | settings | self.clients, stdout=quiet, stderr=quiet)
        for _ in range(100):
            if subprocess.run(["pactl", "info"], env=os.environ | self.clients, capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.1)
        pytest.fail("the sound server did not start")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def play(self, sound: Sound) -> subprocess.Popen[bytes]:
        path = self._folder / "played.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes((sound * 32767).astype(np.int16).tobytes())
        return subprocess.Popen(["paplay", "--device=room", "--latency-msec=20", str(path)], env=os.environ | self.clients)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    programs = ("pulseaudio", "pactl", "paplay")
    lacking = [program for program in programs if shutil.which(program) is None]
    require(not lacking, f"there is no {', '.join(lacking)} (packages pulseaudio, pulseaudio-utils, libasound2-plugins)")
    try:
        import sounddevice  # noqa: F401
    except OSError as error:  # it finds no PortAudio
        require(False, f"{error} (package libportaudio2)")
    server = SoundServer(tmp_path_factory.mktemp("pulse"))
    server.start()
    for name, value in server.clients.items():
        monkeypatch.setenv(name, value)
    yield server
    server.kill()


def taken_until(ring: Ring, events: list[Event], kind: str, timeout_s: float = 20.0) -> list[Slice]:
    """The slices up to an event."""
    slices, give_up_s = list[Slice](), time.monotonic() + timeout_s
    while not any(event.kind == kind for event in events):
        assert time.monotonic() < give_up_s, f"no event {kind!r} came, only {events}"
        if (piece := ring.take(timeout_s=0.1)) is not None:
            slices.append(piece)
    return slices


def best_likeness(heard: Sound, played: Sound) -> float:
    """The correlation of `played` with where in `heard` it is found best."""
    size = 1 << (len(heard) + len(played)).bit_length()
    match = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size)), size)[: len(heard) - len(played)]
    start = int(np.argmax(match))
    return float(np.corrcoef(heard[start : start + len(played)], played)[0, 1])


def test_what_is_played_in_the_room_is_heard(server: SoundServer) -> None:
    ring, played = Ring(), sweep(2.0)
    with open_source("microphone:mic", ring):
        slices = list(itertools.islice(ring, 1))
        with server.play(played):
            slices += list(itertools.islice(ring, 6))
        behind_s = ring.elapsed_s - slices[-1].end_s
    assert [piece.index for piece in slices] == list(range(7))
    assert ring.counts.samples_missing == 0
    assert -0.1 < behind_s < 0.6
    assert best_likeness(np.concatenate([piece.sound for piece in slices]), played) > 0.99


def test_the_system_s_own_choice_is_heard_too(server: SoundServer) -> None:
    ring = Ring()
    with open_source("microphone", ring):
        assert ring.take(timeout_s=10.0) is not None


def test_a_sound_server_that_is_killed_is_lost_and_found_again_and_time_goes_on(server: SoundServer) -> None:
    ring, events = Ring(), list[Event]()
    with open_source("microphone:mic", ring, events.append):
        slices = list(itertools.islice(ring, 2))
        server.kill()
        slices += taken_until(ring, events, "lost", timeout_s=5.0)
        slices += list(itertools.islice(ring, 3))
        server.start()
        slices += taken_until(ring, events, "found")
        slices += list(itertools.islice(ring, 4))
        behind_s = ring.elapsed_s - slices[-1].end_s
    assert [event.kind for event in events] == ["lost", "found"]
    assert [piece.index for piece in slices] == list(range(len(slices)))
    assert SLICE_SAMPLES in [piece.samples_missing for piece in slices]
    assert slices[-1].samples_missing == 0
    assert -0.1 < behind_s < 1.1
    counts = ring.counts
    assert counts.samples_in == counts.samples_used + counts.samples_dropped + counts.samples_waiting


def test_a_sound_server_that_freezes_is_lost_although_it_says_nothing(server: SoundServer) -> None:
    ring, events = Ring(), list[Event]()
    with open_source("microphone:mic", ring, events.append):
        list(itertools.islice(ring, 1))
        server.send(signal.SIGSTOP)
        frozen_s = time.monotonic()
        taken_until(ring, events, "lost", timeout_s=5.0)
        assert time.monotonic() - frozen_s < 3.0
        server.send(signal.SIGCONT)
        taken_until(ring, events, "found")
    assert events[0].text == "microphone mic: nothing came for 1 s; trying again until it is back"


def test_leaving_a_microphone_whose_server_is_frozen_does_not_hang(server: SoundServer) -> None:
    ring, events = Ring(), list[Event]()
    with open_source("microphone:mic", ring, events.append):
        list(itertools.islice(ring, 1))
        server.send(signal.SIGSTOP)
        taken_until(ring, events, "lost", timeout_s=5.0)
        time.sleep(0.5)  # by now it tries to open the device, which answers nothing
        left_s = time.monotonic()
    assert time.monotonic() - left_s < 1.0


def test_a_microphone_that_is_not_there_is_told(server: SoundServer) -> None:
    ring, events = Ring(), list[Event]()
    with open_source("microphone:no such thing", ring, events.append):
        taken_until(ring, events, "lost")
    assert events[0].text.startswith("microphone no such thing: No input device matching 'no such thing'; plug a microphone in")
