"""The model's parts as functions from tensors to tensors of fixed sizes, state included: what an exported graph can be.

A past that grows is here a register that shifts: what is newest enters at its end, and a count says how much of it is filled.
`Favor.step` and `Favor.read_out` say what these compute; tests/test_steps.py shows that they do.
"""

from __future__ import annotations

import math
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favor_stream.errors import EngineError
from favor_stream.model.audio import FLOOR, FRAME, HOP, AudioEncoder
from favor_stream.model.favor import Favor, Fusion
from favor_stream.model.paper import MEMORY_SAMPLES, RollingWhisper
from favor_stream.model.resize import BICUBIC, BILINEAR, resize
from favor_stream.records import SLICE_SAMPLES

NEW = "new_"  # an output `new_x` is the input `x` of the next step
State = dict[str, Tensor]


class Step(nn.Module):
    """One part. `forward` takes what `inputs` names, in that order, and returns what `outputs` names; all begin with the batch.

    Sound, state and results are float32 whatever precision is inside, so that parts of different precision fit together.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def start(self, batch: int = 1) -> State:
        """The state before the first slice; empty for a part that has none."""
        return {}


class VisionStep(Step):
    """Pictures uint8 [B, height, width, 3] of the camera's size -> `seen` [B, 32, Dv]."""

    inputs, outputs = ("pictures",), ("seen",)

    def __init__(self, model: Favor) -> None:
        super().__init__()
        self.encoder = model.vision
        self.kernel = BICUBIC if model.config.vision.kind == "eva" else BILINEAR

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        if torch.compiler.is_exporting():  # else the encoder makes them smaller itself
            pictures = resize(pictures, self.encoder.config.image, self.kernel)
        return (self.encoder(pictures).float(),)


class AudioStep(Step):
    """Sound [B, 8000] after what came before it -> `heard` [B, 25, Da], final.

    State: `samples` [B, 240], `spectra` [B, mels, 2], `stem` [B, C, mels / 2, 1], `series` [B, layers, D, kernel - 1],
    `keys` and `values` [B, layers, heads, left x 25, d], `past` [B], how many slices those hold.
    """

    names = ("samples", "spectra", "stem", "series", "keys", "values", "past")
    inputs = ("sound", *names)
    outputs = ("heard", *(NEW + name for name in names))

    def __init__(self, encoder: AudioEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("waves", waves(encoder.mel.window), persistent=False)
        self.waves: Tensor

    def start(self, batch: int = 1) -> State:
        c = self.encoder.config
        memory = torch.zeros(batch, c.layers, c.heads, c.left_slices * c.tokens, c.width // c.heads)
        return {
            "samples": torch.zeros(batch, FRAME - HOP),
            "spectra": torch.full((batch, c.mels, 2), (math.log10(FLOOR) + 4) / 4),
            "stem": torch.zeros(batch, c.stem, c.mels // 2, 1),
            "series": torch.zeros(batch, c.layers, c.width, c.kernel - 1),
            "keys": memory,
            "values": memory.clone(),
            "past": torch.zeros(batch, dtype=torch.int64),
        }

    def forward(
        self,
        sound: Tensor,
        samples: Tensor,
        spectra: Tensor,
        stem: Tensor,
        series: Tensor,
        keys: Tensor,
        values: Tensor,
        past: Tensor,
    ) -> tuple[Tensor, ...]:
        c = self.encoder.config
        dtype = self.encoder.stem.out.weight.dtype
        samples = torch.cat([samples, sound], -1)
        spectra = torch.cat([spectra, self.spectra(samples)], -1)
        x, new_stem = self.encoder.stem(spectra.to(dtype), stem.to(dtype))
        filled = newest(c.left_slices, past).repeat_interleave(c.tokens, 1)  # [B, left x 25]
        mask = F.pad(filled, (0, c.tokens), value=True)[:, None, None]
        new_series, new_keys, new_values = [], [], []
        for n, layer in enumerate(self.encoder.layers):
            x, after, key, value = layer(x, series[:, n].to(dtype), keys[:, n].to(dtype), values[:, n].to(dtype), mask)
            new_series.append(after)
            new_keys.append(key[:, :, c.tokens :])
            new_values.append(value[:, :, c.tokens :])
        return (
            self.encoder.norm(x).float(),
            samples[:, SLICE_SAMPLES:],
            spectra[..., -2:],
            new_stem.float(),
            *(torch.stack(layers, 1).float() for layers in (new_series, new_keys, new_values)),
            (past + 1).clamp(max=c.left_slices),
        )

    def spectra(self, samples: Tensor) -> Tensor:
        """As LogMel: [B, 240 + 8000] -> [B, mels, 50]"""
        real, imaginary = F.conv1d(samples[:, None], self.waves, stride=HOP).chunk(2, 1)
        power = real.square() + imaginary.square()
        return ((self.encoder.mel.filters.T @ power).clamp(min=FLOOR).log10() + 4) / 4


class WhisperStep(Step):
    """Sound [B, 8000] after up to 30 s before it -> `heard` [B, 25, Da]: Whisper over all of that, anew.

    State: `samples` [B, 480000], from the front, zeros behind; `past` [B], how many slices those hold.
    """

    inputs = ("sound", "samples", "past")
    outputs = ("heard", "new_samples", "new_past")

    def __init__(self, encoder: RollingWhisper) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("waves", waves(encoder.window), persistent=False)
        self.waves: Tensor

    def start(self, batch: int = 1) -> State:
        return {"samples": torch.zeros(batch, MEMORY_SAMPLES), "past": torch.zeros(batch, dtype=torch.int64)}

    def forward(self, sound: Tensor, samples: Tensor, past: Tensor) -> tuple[Tensor, ...]:
        slices, tokens = MEMORY_SAMPLES // SLICE_SAMPLES, self.encoder.config.tokens
        kept = past.clamp(max=slices - 1)  # slices that stay; the oldest goes when it is full
        at = torch.arange(slices, device=past.device)
        source = torch.where(
            at < kept[:, None], at + (past - kept)[:, None], torch.where(at == kept[:, None], slices, slices + 1)
        )
        pieces = torch.cat([samples, sound, torch.zeros_like(sound)], -1).unflatten(1, (-1, SLICE_SAMPLES))
        samples = pieces.gather(1, source[..., None].expand(-1, -1, SLICE_SAMPLES)).flatten(1)
        dtype = self.encoder.encoder.conv1.weight.dtype
        whole = self.encoder.encoder(self.spectra(samples).to(dtype)).last_hidden_state.unflatten(1, (slices, tokens))
        heard = whole.gather(1, kept[:, None, None, None].expand(-1, 1, *whole.shape[2:]))[:, 0]
        return heard.float(), samples, kept + 1

    def spectra(self, samples: Tensor) -> Tensor:
        padded = F.pad(samples[:, None], (FRAME // 2, FRAME // 2), mode="reflect")
        real, imaginary = F.conv1d(padded, self.waves, stride=HOP)[..., :-1].chunk(2, 1)
        mel = (self.encoder.filters.T @ (real.square() + imaginary.square())).clamp(min=1e-10).log10()
        return (torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8) + 4) / 4


class WindowStep(Step):
    """`seen` [B, 32, Dv] and `heard` [B, 25, Da] of the window's next slice -> its own `tokens` [B, Q, D] for the LLM, if any.

    State, per layer in the second place: `causal_keys`, `causal_values`, `read_keys`, `read_values`
    [B, layers, heads, slices_per_window x N, d], and `slices` [B] of the open window. A full one is followed by a new one.
    """

    def __init__(self, fusion: Fusion) -> None:
        super().__init__()
        if fusion.config.mask_direction == "future":
            raise EngineError("mask_direction is 'future': a slice's step has no fixed cost there; run this model on torch")
        if not fusion.config.joint or (fusion.config.picture_every, fusion.config.pictures) != (1, 1):
            raise EngineError("two Q-Formers, or other than one picture for each slice, have no graph; run this model on torch")
        self.fusion = fusion
        c = fusion.config
        causal = ("causal_keys", "causal_values") if c.causal else ()
        self.names = (*causal, "read_keys", "read_values", "slices")
        self.tells = c.slices_per_window > 1 and c.queries_of(1) > 0
        self.inputs = ("seen", "heard", *self.names)
        self.outputs = (*(("tokens",) if self.tells else ()), *(NEW + name for name in self.names))

    def start(self, batch: int = 1) -> State:
        c = self.fusion.config
        length = c.slices_per_window * c.slice_tokens
        causal = torch.zeros(batch, c.layers, c.causal_heads, length, c.pair_width // c.causal_heads)
        read = torch.zeros(batch, c.layers, c.heads, length, c.hidden // c.heads)
        each = {"causal": causal, "read": read}
        return {name: each[name.split("_")[0]].clone() for name in self.names[:-1]} | {
            "slices": torch.zeros(batch, dtype=torch.int64)
        }

    def forward(self, seen: Tensor, heard: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        c, qformer = self.fusion.config, self.fusion.qformer
        kept = dict(zip(self.names, state, strict=True))
        dtype, at = qformer.place.dtype, kept["slices"] % c.slices_per_window
        pairs = self.fusion.pair(seen[:, None].to(dtype), heard[:, None].to(dtype))[:, 0]
        x = qformer.norm(pairs) + qformer.place.unflatten(0, (-1, c.slice_tokens))[at]
        mask = window_mask(self.fusion, at + 1)
        new: dict[str, list[Tensor]] = {name: [] for name in self.names[:-1]}

        def remember(what: str, pair: tuple[Tensor, Tensor], n: int) -> tuple[Tensor, Tensor]:
            key, value = (
                shifted(kept[f"{what}_{part}"][:, n], each) for part, each in zip(("keys", "values"), pair, strict=True)
            )
            new[f"{what}_keys"].append(key)
            new[f"{what}_values"].append(value)
            return key, value

        own = []
        for n, layer in enumerate(qformer.stack):
            mixed = layer.mix(x, *remember("causal", layer.causal.remember(x), n), mask) if layer.causal is not None else x
            own.append(layer.cross.remember(mixed))
            remember("read", own[-1], n)
        tokens = [self.fusion.project(qformer.query(1, own), 1).float()] if self.tells else []
        return (*tokens, *(torch.stack(layers, 1).float() for layers in new.values()), at + 1)


class ReadOutStep(Step):
    """The open window, as far as it has come -> its `tokens` [B, Q, D] for the LLM: provisional, or final when it is full."""

    inputs, outputs = ("read_keys", "read_values", "slices"), ("tokens",)

    def __init__(self, fusion: Fusion) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, read_keys: Tensor, read_values: Tensor, slices: Tensor) -> tuple[Tensor, ...]:
        qformer, resolution = self.fusion.qformer, self.fusion.config.slices_per_window
        dtype = qformer.place.dtype
        memory = [(read_keys[:, n].to(dtype), read_values[:, n].to(dtype)) for n in range(len(qformer.stack))]
        tokens = qformer.query(resolution, memory, window_mask(self.fusion, slices))
        return (self.fusion.project(tokens, resolution).float(),)


def waves(window: Tensor) -> Tensor:
    """The discrete Fourier transform of windowed frames as a convolution: [2 x (FRAME / 2 + 1), 1, FRAME], cosines, then sines.

    Angles in float64: a float32 angle of 200 turns is already off in the fifth digit.
    """
    at = torch.arange(FRAME, dtype=torch.float64, device=window.device)
    turns = at[: FRAME // 2 + 1, None] * at / FRAME
    return (torch.cat([(math.tau * turns).cos(), (math.tau * turns).sin()]) * window.double()).float()[:, None]


def newest(length: int, filled: Tensor) -> Tensor:
    """Which of `length` places of a register hold something when so many [B] do: [B, length]"""
    return torch.arange(length, device=filled.device) >= length - filled[:, None]


def window_mask(fusion: Fusion, slices: Tensor) -> Tensor:
    """Where the window's slices so far lie in its register: [B, 1, 1, slices_per_window x N]"""
    c = fusion.config
    return newest(c.slices_per_window, slices).repeat_interleave(c.slice_tokens, 1)[:, None, None]


def shifted(register: Tensor, new: Tensor) -> Tensor:
    """The register [B, heads, T, d] after something new has come in at its end."""
    return torch.cat([register[:, :, new.shape[2] :].to(new.dtype), new], 2)


def steps(model: Favor) -> dict[str, Step]:
    """The model's parts by name. Raises EngineError for a model that has no such steps."""
    fusion = model.fusion
    parts: dict[str, Step] = {"vision": VisionStep(model)}
    parts["audio"] = AudioStep(model.audio) if isinstance(model.audio, AudioEncoder) else WhisperStep(model.audio)
    parts["window"] = WindowStep(fusion)
    if fusion.config.queries_of(fusion.config.slices_per_window):
        parts["read_out"] = ReadOutStep(fusion)
    return parts


def lowered(step: Step, dtype: torch.dtype) -> Step:
    """A copy that computes in this dtype. What Fourier and resampling weights there are stay as they are."""
    copy = deepcopy(step)
    for parameter in copy.parameters():
        parameter.data = parameter.data.to(dtype)
    return copy
