"""Sound to 50 tokens a second: log-mel with a fixed floor, causal convolutions and block-causal attention.

A block is a slice. A token sees its own slice and a bounded past, nothing later, so a slice's tokens are final when the
slice is: there is no lag, and the streamed function is the offline one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favor_stream.model.attention import Attention
from favor_stream.model.config import AudioConfig
from favor_stream.records import RATE, SLICE_SAMPLES

FRAME = 400  # samples of one spectrum, 25 ms
HOP = 160  # samples, 10 ms
PART = 8  # slices that attend at once
FLOOR = 1e-8  # of the mel power. Fixed: a floor that follows the loudest moment (Whisper's) cannot be streamed


@dataclass(slots=True)
class AudioState:
    """What the encoder remembers of one batch of streams; bounded by the left context."""

    sound: Tensor  # [B, FRAME - HOP] the last samples
    mel: Tensor  # [B, mels, 2] the last spectra
    stem: Tensor  # [B, channels, mels / 2, 1] the last frame of the first convolution
    conv: list[Tensor]  # per layer [B, D, kernel - 1]
    keys: list[Tensor]  # per layer [B, heads, past, D / heads], past at most the left context
    values: list[Tensor]
    slices: int  # seen so far


class LogMel(nn.Module):
    """Log-mel power, each frame looking back only: frame i ends with sample 160 (i + 1)."""

    window: Tensor
    filters: Tensor

    def __init__(self, mels: int) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(FRAME), persistent=False)
        self.register_buffer("filters", mel_filters(mels), persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        """[B, FRAME - HOP + 160 n] samples -> [B, mels, n], about -1..1"""
        frames = sound.unfold(-1, FRAME, HOP) * self.window  # [B, n, FRAME]
        power = torch.fft.rfft(frames).abs().square()
        return ((power @ self.filters).clamp(min=FLOOR).log10().transpose(1, 2) + 4) / 4


def mel_filters(mels: int) -> Tensor:
    """Triangles on the mel scale (HTK): [FRAME / 2 + 1, mels]"""
    hertz = torch.linspace(0, RATE / 2, FRAME // 2 + 1)
    top = 2595 * math.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, mels + 2) / 2595) - 1)
    rising = (hertz[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0)


class Stem(nn.Module):
    """Two convolutions over pitch and time, each halving the pitch and the second the time.

    What a larger person says lies lower: a pattern is to be known at every height.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        channels = config.stem
        self.first = nn.Conv2d(1, channels, 3, stride=(2, 1), padding=(1, 0))
        self.second = nn.Conv2d(channels, channels, 3, stride=2, padding=(1, 0))
        self.out = nn.Linear(channels * (config.mels // 4), config.width)

    def forward(self, mel: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra [B, mels, 2 + 2 n] and the last frame of the first convolution -> tokens [B, n, D] and that frame now."""
        new = F.gelu(self.first(mel[:, None]))
        frames = torch.cat([past.to(new.dtype), new], -1)
        return self.out(F.gelu(self.second(frames)).flatten(1, 2).transpose(1, 2)), frames[..., -1:]


class AudioLayer(nn.Module):
    """A causal depthwise convolution that tells order, block-causal attention, a feed-forward network."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width = config.width
        self.part, self.reach = PART * config.tokens, config.left_slices * config.tokens
        self.conv = nn.Conv1d(width, width, config.kernel, groups=width)
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x: Tensor, past: Tensor, keys: Tensor, values: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, T, D] with the past of convolution and attention -> x and what is past now."""
        series = torch.cat([past, x.transpose(1, 2)], -1)
        x = x + self.conv(series).transpose(1, 2)
        normal = self.before_attention(x)
        key, value = self.attention.remember(normal)
        keys, values = torch.cat([keys.to(key.dtype), key], 2), torch.cat([values.to(value.dtype), value], 2)
        x = x + self.attend(normal, keys, values, mask)
        return x + self.mlp(self.before_mlp(x)), series[..., -past.shape[-1] :], keys, values

    def attend(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Part by part, each to what it may see: of a long recording that is little."""
        past, count = keys.shape[2] - x.shape[1], x.shape[1]
        if count <= self.part:
            return self.attention(x, keys, values, mask)
        out = []
        for start in range(0, count, self.part):
            stop = min(start + self.part, count)
            seen = slice(max(0, past + start - self.reach), past + stop)
            out.append(self.attention(x[:, start:stop], keys[:, :, seen], values[:, :, seen], mask[start:stop, seen]))
        return torch.cat(out, 1)


class AudioEncoder(nn.Module):
    """Block-causal speech and sound encoder: 8,000 samples in, 25 tokens out, each half second."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config.mels)
        self.stem = Stem(config)
        self.layers = nn.ModuleList(AudioLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def start(self, batch: int = 1) -> AudioState:
        """The state before the first sample: silence."""
        c, weight = self.config, self.stem.out.weight
        nothing = weight.new_zeros(batch, c.heads, 0, c.width // c.heads)
        return AudioState(
            sound=weight.new_zeros(batch, FRAME - HOP),
            # Silence sits on the floor of the log-mel, not at zero.
            mel=weight.new_full((batch, c.mels, 2), (math.log10(FLOOR) + 4) / 4),
            stem=weight.new_zeros(batch, c.stem, c.mels // 2, 1),
            conv=[weight.new_zeros(batch, c.width, c.kernel - 1) for _ in range(c.layers)],
            keys=[nothing] * c.layers,
            values=[nothing] * c.layers,
            slices=0,
        )

    def step(self, sound: Tensor, state: AudioState) -> tuple[Tensor, AudioState]:
        """Sound of whole slices [B, 8000 n] -> tokens [B, 25 n, D] and the state after them."""
        series = torch.cat([state.sound, sound], -1)
        mel = torch.cat([state.mel, self.mel(series)], -1)
        x, stem = self.stem(mel, state.stem)  # [B, 25 n, D]
        mask = self.mask(sound.shape[-1] // SLICE_SAMPLES, state.slices).to(x.device)
        keep = self.config.left_slices * self.config.tokens
        conv, keys, values = [], [], []
        for layer, past, key, value in zip(self.layers, state.conv, state.keys, state.values, strict=True):
            x, past, key, value = layer(x, past, key, value, mask)
            conv.append(past)
            keys.append(key[:, :, -keep:])
            values.append(value[:, :, -keep:])
        slices = state.slices + sound.shape[-1] // SLICE_SAMPLES
        return self.norm(x), AudioState(series[:, -(FRAME - HOP) :], mel[..., -2:], stem, conv, keys, values, slices)

    def mask(self, slices: int, seen: int) -> Tensor:
        """Which of [past + new tokens] each new token may look at: [25 n, 25 (past + n)], True where it may."""
        left, tokens = self.config.left_slices, self.config.tokens
        past = min(left, seen)
        own = torch.arange(past, past + slices)[:, None]
        other = torch.arange(past + slices)[None]
        visible = (other <= own) & (other >= own - left)
        return visible.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)

    def forward(self, sound: Tensor) -> Tensor:
        """Whole recordings [B, 8000 n] -> tokens [B, 25 n, D]: the offline definition."""
        return self.step(sound, self.start(sound.shape[0]))[0]
