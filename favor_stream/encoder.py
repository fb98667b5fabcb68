"""What turns a stream's slices into tokens for the language model: the model itself in torch, or its graphs on engines.

It holds the state of one stream and knows nothing of what the tokens are for.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from engines.engine import Engine
from engines.stream import Stream
from favor_stream.config import Config, cache_folder
from favor_stream.errors import EngineError
from favor_stream.graphs import Choice, Graphs, graphs_folder
from favor_stream.model.favor import Favor
from favor_stream.model.steps import steps

LOGGER = logging.getLogger(__name__)


class Encoder(Protocol):
    """One stream's way from slices to tokens."""

    @property
    def slices(self) -> int:
        """In the open window; 0 when the last slice closed it."""
        ...

    @property
    def took_s(self) -> tuple[float, float]:
        """Wall-clock seconds of the last step: of its encoders, and of its Q-Former."""
        ...

    @property
    def engines(self) -> Mapping[str, str]:
        """What runs each part."""
        ...

    def step(self, picture: Tensor | None, sound: Tensor) -> Tensor:
        """The tokens [N, D] that are final with this slice: picture uint8 [height, width, 3] or None, sound float32 [8000].

        Where the model looks at several pictures of a slice: [F, height, width, 3].
        """
        ...

    def read_out(self) -> Tensor:
        """The open window's provisional tokens [Q, D]; Q = 0 when none is open."""
        ...

    def reset(self) -> None:
        """The next slice is the first."""
        ...


class TorchEncoder:
    """The model itself."""

    def __init__(self, model: Favor) -> None:
        self._model, self._state = model, model.start()
        self.took_s = (0.0, 0.0)

    @property
    def slices(self) -> int:
        return self._state.window.slices

    def step(self, picture: Tensor | None, sound: Tensor) -> Tensor:
        started_s = time.perf_counter()
        seen, heard, self._state.audio = self._model.sense(None if picture is None else picture[None], sound[None], self._state)
        sensed_s = time.perf_counter()
        tokens, self._state = self._model.fuse(seen, heard, self._state)
        self.took_s = (sensed_s - started_s, time.perf_counter() - sensed_s)
        return tokens[0]

    @property
    def engines(self) -> Mapping[str, str]:
        return {"all": "torch"}

    def read_out(self) -> Tensor:
        return self._model.read_out(self._state)[0]

    def reset(self) -> None:
        self._state = self._model.start()


class GraphEncoder:
    """The same through engines, one for each part: vision, audio, window and, where the model has one, read_out."""

    def __init__(self, model: Favor, engines: Mapping[str, Engine]) -> None:
        """`engines` by the graph's name; `vision@640x480` is taken for pictures of that size, `vision` for all others."""
        parts = steps(model)
        self._model, self._engines = model, engines
        self._audio = Stream(engines["audio"], parts["audio"].start())
        self._window = Stream(engines["window"], parts["window"].start())
        self.slices, self.took_s = 0, (0.0, 0.0)

    @torch.inference_mode()
    def step(self, picture: Tensor | None, sound: Tensor) -> Tensor:
        started_s = time.perf_counter()
        seen, heard = self._see(picture), self._audio.step({"sound": sound[None]})["heard"]
        sensed_s = time.perf_counter()
        tokens = self._fused(seen, heard)
        self.took_s = (sensed_s - started_s, time.perf_counter() - sensed_s)
        return tokens

    @property
    def engines(self) -> Mapping[str, str]:
        return {name: type(engine).__name__.removesuffix("Engine") for name, engine in self._engines.items()}

    def _fused(self, seen: Tensor, heard: Tensor) -> Tensor:
        own = self._window.step({"seen": seen, "heard": heard})
        self.slices += 1
        tokens = [each[0].to(self._model.device) for each in own.values()]
        if self.slices == self._model.config.fusion.slices_per_window:
            tokens.append(self.read_out())
            self.slices = 0
        return torch.cat([self._nothing, *tokens])

    def read_out(self) -> Tensor:
        if not self.slices or "read_out" not in self._engines:
            return self._nothing
        state = self._window.state
        told = self._engines["read_out"].run({name: state[name] for name in self._engines["read_out"].inputs})
        return told["tokens"][0].to(self._model.device)

    def reset(self) -> None:
        self.slices = 0
        self._audio.reset()
        self._window.reset()

    @property
    def _nothing(self) -> Tensor:
        return self._model.projection.new_zeros(0, self._model.config.llm.width)

    def _see(self, picture: Tensor | None) -> Tensor:
        if picture is None:
            return self._model.see(None, 1)
        fitting = f"vision@{picture.shape[1]}x{picture.shape[0]}"
        engine = self._engines.get(fitting) or self._engines["vision"]
        return engine.run({"pictures": picture[None]})["seen"]


def load_encoder(config: Config, model: Favor, weights: str) -> Encoder:
    """The encoder of one stream; arguments and errors as of `load_encoders`."""
    return load_encoders(config, model, weights)()


def load_encoders(config: Config, model: Favor, weights: str) -> Callable[[], Encoder]:
    """A maker of encoders as configured, one for each stream, on the same engines. `weights` is the sha256 of the model's.

    Raises EngineError for an engine that is asked for by name and cannot be had. With `auto` torch is used then, and a warning
    says why.
    """
    if config.engine == "torch":
        return partial(TorchEncoder, model)
    graphs = Graphs(steps(model), weights, config.graphs or graphs_folder(weights))
    if config.engine != "auto":
        return partial(GraphEncoder, model, {name: graphs.open(name, Choice(config.engine)) for name in graphs.parts})
    try:
        return partial(GraphEncoder, model, {name: graphs.open(name, choice) for name, choice in read_choices(weights).items()})
    except EngineError as error:
        LOGGER.warning("torch perceives: %s", error)
        return partial(TorchEncoder, model)


def choices_file(weights: str) -> Path:
    """Where the fastest engines for these weights on this machine are written down."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu-{torch.get_num_threads()}"
    return cache_folder() / "tuned" / f"{weights[:12]}-{device.replace(' ', '-')}.json"


def read_choices(weights: str) -> dict[str, Choice]:
    """What was tuned here, by graph. Raises EngineError where nothing was."""
    path = choices_file(weights)
    try:
        return {name: Choice(**choice) for name, choice in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError as error:
        raise EngineError('nothing was tuned here; run favor-export and favor-stream tune, or set engine = "torch"') from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise EngineError(f"{path} cannot be read ({error}); run favor-stream tune again") from error
