"""The language model, and its layers cut open where they attend: all else is done to each token for itself.

So whoever reads may decide what attends to what, for which tokens, and how far up.
"""

from __future__ import annotations

from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from favor_stream.model.config import LlmConfig

Turned = tuple[Tensor, Tensor, Tensor]  # queries, keys and values [B, heads, N, D], rotated


def llama(config: LlmConfig) -> LlamaConfig:
    """An unmodified Llama of these sizes."""
    return LlamaConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.width,
        intermediate_size=config.mlp,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.positions,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        tie_word_embeddings=config.lora_rank == 0,
        bos_token_id=1,
        eos_token_id=2,
    )


def before(model: LlamaForCausalLM, number: int, hidden: Tensor, turn: tuple[Tensor, Tensor]) -> Turned:
    """A layer's queries, keys and values of hidden states [B, N, heads * D]; `turn` is what `rotary_emb` gives."""
    layer = model.model.layers[number]
    normed, attention = layer.input_layernorm(hidden), layer.self_attn
    split = (*hidden.shape[:2], -1, attention.head_dim)
    query, key, value = (
        project(normed).view(split).transpose(1, 2) for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    return (*apply_rotary_pos_emb(query, key, *turn), value)


def behind(model: LlamaForCausalLM, number: int, hidden: Tensor, attended: Tensor) -> Tensor:
    """A layer's output, of its input and its attention, both [B, N, heads * D]."""
    layer = model.model.layers[number]
    hidden = hidden + layer.self_attn.o_proj(attended)
    output: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return output
