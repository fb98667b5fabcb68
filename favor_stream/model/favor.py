"""FAVOR assembled: encoders, synchronisation, causal Q-Former, projection and LLM.

`step` runs the stream slice by slice with its state in the caller's hands; `perceive` is the same function over a whole
recording. The LLM's memory is not kept here: see favor_stream/llm.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from favor_stream.errors import ConfigError
from favor_stream.model.audio import AudioEncoder, AudioState
from favor_stream.model.config import ModelConfig
from favor_stream.model.llama import llama
from favor_stream.model.lora import add_lora
from favor_stream.model.paper import EvaVision, RollingWhisper, WhisperState
from favor_stream.model.qformer import CausalQFormer, Outputs, SeparateQFormers, WindowState
from favor_stream.model.sync import synchronise
from favor_stream.model.vision import VisionEncoder
from favor_stream.records import SLICE_SAMPLES

# A new encoder is named here, by its config's `kind`.
EARS: dict[str, type[AudioEncoder] | type[RollingWhisper]] = {"blockwise": AudioEncoder, "whisper": RollingWhisper}
EYES: dict[str, type[VisionEncoder] | type[EvaVision]] = {"convnet": VisionEncoder, "eva": EvaVision}
Encoder = TypeVar("Encoder")


class Hearing(Protocol):
    """What an audio encoder is: it makes its state, and steps whole slices of sound through it."""

    def start(self, batch: int = 1) -> AudioState | WhisperState: ...

    def step(self, sound: Tensor, state: AudioState | WhisperState) -> tuple[Tensor, AudioState | WhisperState]:
        """[B, 8000 n] samples -> [B, 25 n, D] tokens, final, and the state after them."""
        ...


@dataclass(slots=True)
class FavorState:
    """Everything that a batch of streams leaves behind before the LLM; constant in size."""

    audio: AudioState | WhisperState
    window: WindowState


Sensed = tuple[Tensor, Tensor, AudioState | WhisperState]  # of one slice: seen, heard, and the state of hearing after it


class Fusion(nn.Module):
    """Encoder tokens of slices -> tokens of the LLM."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = self.config = config.fusion
        self.from_vision = nn.Linear(config.vision.width, c.width) if config.vision.width != c.width else nn.Identity()
        self.from_audio = nn.Linear(config.audio.width, c.width)
        # What asks for more than steps and read-outs (a graph) is for joint ones only.
        self.qformer = CausalQFormer(c) if c.joint else cast(CausalQFormer, SeparateQFormers(c))
        self.to_llm = nn.ModuleList(nn.Linear(c.output_width, config.llm.width) for _ in c.resolutions)

    def pair(self, pictures: Tensor, sounds: Tensor, first: int = 0) -> Tensor:
        """[B, S, 32, Dv] and [B, S, 25, Da] -> [B, S, N, W]; `first` is the place in the window of the first slice."""
        if self.config.picture_every > 1:
            place = torch.arange(first, first + pictures.shape[1], device=pictures.device)
            pictures = pictures * (place % self.config.picture_every == 0)[:, None, None]
        seen, heard = self.from_vision(pictures), self.from_audio(sounds)
        return synchronise(seen, heard, self.config.sense_tokens, self.config.synchronised)

    def project(self, outputs: Tensor, resolution: int) -> Tensor:
        """Query outputs [..., D] -> the LLM's width."""
        projected: Tensor = self.to_llm[self.config.resolutions.index(resolution)](outputs)
        return projected

    def forward(self, pictures: Tensor, sounds: Tensor) -> dict[int, Tensor]:
        """One window, whole: encoder tokens [B, S, N, D] of each modality -> LLM tokens for each resolution."""
        outputs = self.qformer(self.pair(pictures, sounds))
        return {resolution: self.project(x, resolution) for resolution, x in outputs.items()}


class Favor(nn.Module):
    """The whole model. Parameters only; a stream's state is made by `start` and passed through `step`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = of_kind(EARS, config.audio.kind)(config.audio)
        self.vision = of_kind(EYES, config.vision.kind)(config.vision)
        self.fusion = Fusion(config)
        self.llm = LlamaForCausalLM(llama(config.llm))
        if config.llm.lora_rank:
            add_lora(self.llm, config.llm.lora_rank)

    @property
    def device(self) -> torch.device:
        return self.projection.device

    @property
    def projection(self) -> Tensor:
        """A weight that tells the model's device and dtype."""
        return cast(nn.Linear, self.fusion.to_llm[0]).weight

    def start(self, batch: int = 1) -> FavorState:
        """The state of `batch` streams before their first slice."""
        return FavorState(self.audio.start(batch), self.fusion.qformer.start(batch))

    def see(self, picture: Tensor | None, batch: int) -> Tensor:
        """uint8 [B, height, width, 3], or of several pictures [B, F, height, width, 3] -> [B, 32 F, Dv].

        Zeros when there is no picture, as FAVOR does for a missing modality.
        """
        vision = self.config.vision
        if picture is None:
            return self.projection.new_zeros(batch, vision.tokens * self.config.fusion.pictures, vision.width)
        seen: Tensor = self.vision(picture.to(self.device).flatten(0, -4))
        return seen.reshape(batch, -1, vision.width)

    @torch.inference_mode()
    def step(self, picture: Tensor | None, sound: Tensor, state: FavorState) -> tuple[Tensor, FavorState]:
        """One slice of each stream -> LLM tokens [B, n, D] that became final with it, and the state after it.

        picture: uint8 [B, (F,) height, width, 3] or None; sound: float32 [B, 8000]. Order: the slice's own tokens, then the
        window's if it closed.
        """
        seen, heard, audio = self.sense(picture, sound, state)
        return self.fuse(seen, heard, FavorState(audio, state.window))

    @torch.inference_mode()
    def sense(self, picture: Tensor | None, sound: Tensor, state: FavorState) -> Sensed:
        """The first half of a step: what the encoders give, seen [B, 32, Dv] and heard [B, 25, Da], and the audio's new state."""
        heard, audio = cast(Hearing, self.audio).step(sound.to(self.device), state.audio)
        return self.see(picture, sound.shape[0]), heard, audio

    @torch.inference_mode()
    def fuse(self, seen: Tensor, heard: Tensor, state: FavorState) -> tuple[Tensor, FavorState]:
        """The second half: the slice joins its window in the Q-Former; tokens and state as `step` returns them."""
        pairs = self.fusion.pair(seen[:, None], heard[:, None], state.window.slices)[:, 0]
        final, window = self.fusion.qformer.step(pairs, state.window)
        return self.told(final, len(pairs)), FavorState(state.audio, window)

    @torch.inference_mode()
    def read_out(self, state: FavorState) -> Tensor:
        """Anytime read-out: the open window's provisional tokens [B, Q, D]; Q = 0 when no window is open."""
        provisional = self.fusion.qformer.read_out(state.window) if state.window.slices else {}
        return self.told(provisional, state.audio.sound.shape[0])

    def told(self, outputs: Outputs, batch: int) -> Tensor:
        """Query outputs [B, n, D] of each resolution -> LLM tokens [B, n, D], one behind the other."""
        nothing = self.projection.new_zeros(batch, 0, self.config.llm.width)
        return torch.cat([nothing, *(self.fusion.project(x, resolution) for resolution, x in outputs.items())], 1)

    @torch.inference_mode()
    def perceive(self, pictures: Tensor, sound: Tensor) -> Tensor:
        """The offline definition: pictures uint8 [B, S, (F,) height, width, 3], sound [B, 8000 S] -> LLM tokens [B, n, D].

        A last partial window gives its slices' tokens and its provisional read-out, as a question at that moment would see it.
        """
        slices = sound.shape[1] // SLICE_SAMPLES
        heard = self.audio(sound).unflatten(1, (slices, -1))
        seen = self.see(pictures.flatten(0, 1), len(sound) * slices).unflatten(0, (-1, slices))
        c = self.config.fusion
        tokens = []
        for at in range(0, slices, c.slices_per_window):
            window = self.fusion(seen[:, at : at + c.slices_per_window], heard[:, at : at + c.slices_per_window])
            tokens += [window[1].flatten(1, 2)] if c.queries_of(1) and c.slices_per_window > 1 else []
            tokens += [window[c.slices_per_window]] if c.queries_of(c.slices_per_window) else []
        return torch.cat(tokens, 1)


def of_kind(encoders: Mapping[str, Encoder], kind: str) -> Encoder:
    """The encoder of that kind. Raises ConfigError when there is none."""
    if kind not in encoders:
        raise ConfigError(f"no encoder of kind {kind!r}; expected one of {', '.join(encoders)}")
    return encoders[kind]
