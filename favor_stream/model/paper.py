"""The paper's encoders behind the interfaces of ours: Whisper on sound, EVA-ViT-g and InstructBLIP's Q-Former on pictures.

Whisper is bidirectional over 30 s. Here the stream's last 30 s are encoded anew at each slice and the newest slice's
tokens are used: the streamed function is the offline one by definition, at 2.3 TFLOP a slice for large-v2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import InstructBlipQFormerConfig, InstructBlipVisionConfig, WhisperConfig
from transformers.models.instructblip.modeling_instructblip import InstructBlipQFormerModel, InstructBlipVisionModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from favor_stream.model.audio import FRAME, HOP, mel_filters
from favor_stream.model.config import AudioConfig, VisionConfig
from favor_stream.records import RATE, SLICE_SAMPLES

MEMORY_SAMPLES = 30 * RATE  # what Whisper was trained on


@dataclass(slots=True)
class WhisperState:
    sound: Tensor  # [B, <= MEMORY_SAMPLES] the last 30 s


class RollingWhisper(nn.Module):
    """Whisper's encoder, run anew over the last 30 s for each slice; 25 tokens of 20 ms a slice."""

    window: Tensor
    filters: Tensor

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = WhisperEncoder(
            WhisperConfig(
                num_mel_bins=config.mels,
                d_model=config.width,
                encoder_layers=config.layers,
                encoder_attention_heads=config.heads,
                encoder_ffn_dim=4 * config.width,
            )
        )
        self.register_buffer("window", torch.hann_window(FRAME), persistent=False)
        self.register_buffer("filters", mel_filters(config.mels), persistent=False)

    def start(self, batch: int = 1) -> WhisperState:
        return WhisperState(self.window.new_zeros(batch, 0))

    def step(self, sound: Tensor, state: WhisperState) -> tuple[Tensor, WhisperState]:
        """Sound of whole slices [B, 8000 n] -> tokens [B, 25 n, D] and the state after them."""
        tokens = []
        for piece in sound.split(SLICE_SAMPLES, -1):
            state = WhisperState(torch.cat([state.sound, piece], -1)[:, -MEMORY_SAMPLES:])
            tokens.append(self.encode(state.sound))
        return torch.cat(tokens, 1), state

    def encode(self, sound: Tensor) -> Tensor:
        """The newest slice's tokens, [B, 25, D], of up to 30 s of sound that is padded to 30 s as Whisper expects."""
        padded = F.pad(sound, (0, MEMORY_SAMPLES - sound.shape[-1]))
        spectrum = torch.stft(padded, FRAME, HOP, window=self.window, return_complex=True)[..., :-1].abs().square()
        mel = (self.filters.T @ spectrum).clamp(min=1e-10).log10()
        mel = (torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8) + 4) / 4
        end = sound.shape[-1] // (2 * HOP)
        out: Tensor = self.encoder(mel).last_hidden_state[:, end - self.config.tokens : end]
        return out

    def forward(self, sound: Tensor) -> Tensor:
        return self.step(sound, self.start(sound.shape[0]))[0]


class EvaVision(nn.Module):
    """EVA-ViT-g/14 read by InstructBLIP's Q-Former without its text input, which a stream does not have yet."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = InstructBlipVisionModel(
            InstructBlipVisionConfig(
                hidden_size=config.patch_width,
                intermediate_size=config.patch_mlp,
                num_hidden_layers=config.patch_layers,
                num_attention_heads=config.patch_heads,
                image_size=config.image,
                patch_size=config.patch,
            )
        )
        self.reader = InstructBlipQFormerModel(
            InstructBlipQFormerConfig(
                hidden_size=config.width,
                intermediate_size=4 * config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                encoder_hidden_size=config.patch_width,
            )
        )
        self.queries = nn.Parameter(torch.randn(1, config.tokens, config.width) * 0.02)
        self.register_buffer("mean", torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None], persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 RGB [B, height, width, 3] of any size -> [B, 32, D]"""
        x, side = pictures.permute(0, 3, 1, 2).float() / 255, self.config.image
        if x.shape[-2:] != (side, side):
            x = F.interpolate(x, (side, side), mode="bicubic", antialias=True)
        grid = self.trunk(((x - self.mean) / self.deviation).to(self.queries.dtype)).last_hidden_state
        ones = torch.ones(x.shape[0], self.config.tokens, dtype=torch.long, device=x.device)
        queries = self.queries.expand(x.shape[0], -1, -1)
        out = self.reader(input_ids=None, attention_mask=ones, query_embeds=queries, encoder_hidden_states=grid)
        tokens: Tensor = out.last_hidden_state[:, : self.config.tokens]
        return tokens
