"""What is measured: a model with its tokenizer, on a device, and the engines that perceive for it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from favor_stream.bench.rows import note
from favor_stream.cache import Room
from favor_stream.config import SHIPPED, Config
from favor_stream.encoder import Encoder, load_encoder, read_choices
from favor_stream.errors import ConfigError, DeviceError, EngineError
from favor_stream.graphs import Graphs, graphs_folder
from favor_stream.llm import Llm
from favor_stream.model import weights
from favor_stream.model.config import PRESETS, LlmConfig
from favor_stream.model.favor import Favor
from favor_stream.model.llama import llama
from favor_stream.model.steps import steps
from favor_stream.passes import Passes
from favor_stream.session import Session, load_model, longest_s, room
from favor_stream.words import Prompt


@dataclass(frozen=True, slots=True)
class Subject:
    config: Config
    model: Favor
    tokenizer: Tokenizer
    weights: str  # sha256
    passes: Passes  # of all its sessions

    @property
    def device(self) -> str:
        return self.model.device.type

    @property
    def graphs(self) -> Graphs:
        return Graphs(steps(self.model), self.weights, self.config.graphs or graphs_folder(self.weights))

    def encoder(self) -> Encoder:
        return load_encoder(self.config, self.model, self.weights)

    def session(self, context_s: float) -> Session:
        """An empty one, with engines of its own."""
        return Session(self.model, self.tokenizer, context_s, self.config.max_answer_tokens, self.encoder(), self.passes)

    def llm(self, held: Room, prompt: Prompt) -> Llm:
        """An empty memory of windows that need not be perceived."""
        return Llm(self.model.llm, self.tokenizer, prompt, held, self.model.config.llm.look_back, self.passes)

    @property
    def is_goal(self) -> bool:
        """Whether it is what the goals for a GPU are about."""
        return self.device == "cuda" and self.model.config.name == "favor-13b"

    def holds(self, minutes: float) -> bool:
        """Whether the model has positions for so much of a stream."""
        try:
            room(self.model, minutes * 60.0, self.config.max_answer_tokens)
        except ConfigError:
            return False
        return True


def configured(config: Config) -> Subject:
    """The configured weights."""
    model, tokenizer = load_model(config)
    sha256 = weights.read_manifest(config.weights or SHIPPED)["sha256"]
    return tuned(Subject(config, model, tokenizer, sha256, Passes(model.llm)))


def random(config: Config, preset: str) -> Subject:
    """Random weights of any preset, for speed alone; the language model in bf16 on a GPU. DeviceError for too little memory."""
    _, tokenizer = weights.load(None)  # whose words are among those of any larger vocabulary
    device = "cuda" if config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available()) else "cpu"
    model, name = weights.random(PRESETS[preset])
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    needed = parameters(PRESETS[preset].llm) * dtype.itemsize + sum(each.nbytes for each in model.parameters())
    check_memory(preset, device, needed, dtype)
    with torch.device(device):
        model.llm = LlamaForCausalLM._from_config(llama(PRESETS[preset].llm), dtype=dtype)  # type: ignore[no-untyped-call]
    model.config = PRESETS[preset]
    model = model.to(device).eval()
    config = replace(config, context_s=min(config.context_s, longest_s(model, config.max_answer_tokens)))
    return tuned(Subject(config, model, tokenizer, name, Passes(model.llm)))


def parameters(config: LlmConfig) -> int:
    """Of the language model."""
    return config.layers * config.width * (4 * config.width + 3 * config.mlp) + 2 * config.vocabulary * config.width


def check_memory(preset: str, device: str, needed: int, dtype: torch.dtype) -> None:
    """Raises DeviceError that names the largest preset which fits."""
    on_gpu = device == "cuda"
    free = torch.cuda.mem_get_info()[0] if on_gpu else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > free * 0.9:
        sizes = {name: parameters(each.llm) * dtype.itemsize for name, each in PRESETS.items() if name != preset}
        fitting = max((size, name) for name, size in sizes.items() if size < min(free * 0.8, needed) or name == "tiny")[1]
        raise DeviceError(
            f"{preset} needs {needed / 1e9:.0f} GB of memory on {device}, {free / 1e9:.0f} GB are free; take --preset {fitting}"
        )


def tuned(subject: Subject) -> Subject:
    """With torch for good where no engine was chosen, so that it is said once."""
    if subject.config.engine != "auto":
        return subject
    try:
        read_choices(subject.weights)
    except EngineError as error:
        note(f"bench: torch perceives: {error}")
        return replace(subject, config=replace(subject.config, engine="torch"))
    return subject
