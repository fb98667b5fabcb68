"""Voice activity: how much of a half second somebody speaks in, by Silero VAD on ONNX Runtime; to it noises are no speech.

Source: github.com/snakers4/silero-vad, utils_vad.py: chunks of 512 samples, each with the 64 before it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime

from favor_stream.records import RATE, Sound

CHUNK, BEFORE = 512, 64  # samples
SPOKEN = 0.5  # probability from which a chunk counts


class VoiceActivity:
    """One stream's detector; it remembers what Silero carries from chunk to chunk."""

    def __init__(self) -> None:
        """Raises ModuleNotFoundError where Silero is not installed."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # a chunk takes a tenth of a millisecond
        self._silero = onnxruntime.InferenceSession(str(model_file()), options, providers=["CPUExecutionProvider"])
        self._state = np.zeros((2, 1, 128), np.float32)
        self._unheard = np.zeros(BEFORE, np.float32)  # what a next chunk begins with, and what did not fill one

    def share(self, sound: Sound) -> float:
        """Of the chunks that end in this next sound [samples at RATE], the share that is speech."""
        series, spoken = np.concatenate([self._unheard, sound]), []
        while len(series) >= BEFORE + CHUNK:
            fed = {"input": series[None, : BEFORE + CHUNK], "state": self._state, "sr": np.array(RATE)}
            chance, self._state = self._silero.run(None, fed)
            spoken.append(float(chance[0, 0]) >= SPOKEN)
            series = series[CHUNK:]
        self._unheard = series
        return float(np.mean(spoken)) if spoken else 0.0


def model_file() -> Path:
    """Found without importing the package, which would bring torch's own reader of sound files along."""
    spec = find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("no module named silero_vad", name="silero_vad")
    return Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.onnx"
