"""The sizes of a FAVOR model. One config type serves the small model trained here and the paper's sizes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from favor_stream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """A block-causal encoder: a block is one slice, 25 tokens at 50 Hz."""

    kind: Literal["blockwise", "whisper"] = "blockwise"
    width: int = 192
    layers: int = 4
    heads: int = 4
    mels: int = 80
    stem: int = 32  # channels of the convolutions over pitch and time
    left_slices: int = 6  # slices of the past that a token attends to
    kernel: int = 7  # of the causal depthwise convolution that orders tokens in time
    tokens: int = 25  # per slice


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """`convnet`: two small networks, for form and for colour, and a resampler. `eva`: EVA-ViT-g/14 and InstructBLIP's Q-Former
    (FAVOR 3.1)."""

    kind: Literal["convnet", "eva"] = "convnet"
    image: int = 128  # pixels; pictures are resized to a square, the aspect ratio is not kept (as FAVOR does)
    width: int = 128  # of a picture token
    stages: tuple[int, ...] = (64, 128, 192)  # channels of what sees form; strides 4, 8, 16
    colours: int = 64  # channels of what sees colour
    layers: int = 2  # of the resampler; for `eva` of its Q-Former
    heads: int = 4
    tokens: int = 32  # per picture
    patch: int = 14  # `eva` only, with the three below
    patch_width: int = 1408
    patch_layers: int = 39
    patch_heads: int = 16
    patch_mlp: int = 6144


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """Synchronisation and the causal Q-Former (FAVOR, sections 3.2 and 3.3)."""

    width: int = 128  # of each modality's tokens before they are paired
    hidden: int = 256  # of the queries
    layers: int = 2
    heads: int = 4
    causal_heads: int = 4
    mlp: int = 1024
    slices_per_window: int = 10
    resolutions: tuple[int, ...] = (10, 1)  # slices that one read-out covers: the window, the single slice
    queries: tuple[int, ...] = (4, 5)  # per read-out, one entry per resolution
    mask_direction: Literal["past", "future"] = "past"  # `future` is what the released FAVOR weights were trained with
    causal: bool = True  # False: no causal self-attention (ablation)
    synchronised: bool = True  # False: picture and sound tokens lie side by side instead of being paired (ablation)
    tokens: int = 32  # per picture, and of its slice's sound at least; the shorter one is padded with zeros
    joint: bool = True  # False: a Q-Former for pictures and one for sound, their outputs side by side (ablation)
    pictures: int = 1  # of each slice; their tokens lie one behind the other
    picture_every: int = 1  # slices, counted from the window's first; those between have no picture (ablation)

    def __post_init__(self) -> None:
        if len(self.queries) != len(self.resolutions) or set(self.resolutions) - {1, self.slices_per_window}:
            raise ConfigError(
                f"resolutions {self.resolutions} with queries {self.queries}: write 1 and/or {self.slices_per_window} "
                "(slices_per_window), and one number of queries for each"
            )
        if not (self.joint or self.synchronised):
            raise ConfigError(
                "joint and synchronised are both false: two Q-Formers have nothing to pair; set one of them to true"
            )

    @property
    def pair_width(self) -> int:
        """Width of a synchronised token."""
        return 2 * self.width if self.synchronised else self.width

    @property
    def slice_tokens(self) -> int:
        """Tokens of one slice inside the Q-Former."""
        return self.sense_tokens if self.synchronised else 2 * self.sense_tokens

    @property
    def sense_tokens(self) -> int:
        """Tokens of one slice and modality."""
        return self.tokens * self.pictures

    @property
    def output_width(self) -> int:
        """Width of a query's output."""
        return self.hidden if self.joint else 2 * self.of_one_sense.hidden

    @property
    def of_one_sense(self) -> FusionConfig:
        """One of two Q-Formers: three quarters as wide, so that both have about as many parameters as the joint one."""
        hidden, mlp = self.hidden * 3 // 4, self.mlp * 3 // 4
        return replace(self, joint=True, width=self.width // 2, hidden=hidden, mlp=mlp)

    @property
    def waits(self) -> bool:
        """Whether a slice's tokens come with its window's: under the `future` mask none is final before."""
        return self.mask_direction == "future"

    def queries_of(self, resolution: int) -> int:
        return dict(zip(self.resolutions, self.queries, strict=True)).get(resolution, 0)

    @property
    def tokens_per_window(self) -> int:
        """Tokens that a whole window adds to the LLM's memory."""
        return self.queries_of(self.slices_per_window) + (
            self.slices_per_window * self.queries_of(1) if self.slices_per_window > 1 else 0
        )


@dataclass(frozen=True, slots=True)
class LlmConfig:
    """Sizes of a Llama."""

    vocabulary: int = 1024
    width: int = 256
    layers: int = 4
    heads: int = 4
    mlp: int = 768
    positions: int = 32_768
    rope_theta: float = 10_000.0
    look_back: int | None = None  # tokens before its window that a remembered token may see; None: all
    lora_rank: int = 0  # on q, k, v and o; 0: all weights are trained
    converses: bool = False  # whether it was trained to be asked behind earlier questions and their answers


@dataclass(frozen=True, slots=True)
class ModelConfig:
    name: str
    audio: AudioConfig = field(default_factory=AudioConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    llm: LlmConfig = field(default_factory=LlmConfig)


def paper(name: str, width: int, layers: int, heads: int, mlp: int) -> ModelConfig:
    """FAVOR at the paper's sizes around a Vicuna."""
    return ModelConfig(
        name=name,
        audio=AudioConfig(kind="whisper", width=1280, layers=32, heads=20),
        vision=VisionConfig(kind="eva", image=224, width=768, layers=12, heads=12),
        fusion=FusionConfig(width=768, hidden=768, heads=12, causal_heads=12, mlp=3072, resolutions=(10,), queries=(32,)),
        llm=LlmConfig(32_000, width, layers, heads, mlp, positions=4096, lora_rank=32),
    )


PRESETS = {
    "favor-nano": ModelConfig("favor-nano", llm=LlmConfig(rope_theta=500_000.0, look_back=108, converses=True)),
    "favor-pico": ModelConfig(
        "favor-pico",
        AudioConfig(width=48, layers=2, heads=2, mels=40, stem=8, left_slices=2),
        VisionConfig(image=64, width=64, stages=(32, 64, 96), colours=32, layers=1, heads=2),
        FusionConfig(width=32, hidden=128, heads=4, causal_heads=2, mlp=256),
        LlmConfig(width=128, layers=3, heads=2, mlp=256, rope_theta=500_000.0, look_back=108, converses=True),
    ),
    "favor-7b": paper("favor-7b", 4096, 32, 32, 11_008),
    "favor-13b": paper("favor-13b", 5120, 40, 40, 13_824),
    "tiny": ModelConfig(
        "tiny",
        AudioConfig(width=16, layers=2, heads=2, mels=16, stem=4, left_slices=2),
        VisionConfig(image=32, width=16, stages=(8, 8, 16), colours=8, layers=1, heads=2, tokens=32),
        FusionConfig(
            width=8, hidden=16, heads=2, causal_heads=2, mlp=32, slices_per_window=4, resolutions=(4, 1), queries=(3, 2)
        ),
        LlmConfig(512, width=32, layers=2, heads=2, mlp=48, look_back=13),
    ),
}
