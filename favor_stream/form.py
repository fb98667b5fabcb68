"""A JSON schema as a filter of next tokens: an answer that keeps to it is valid, whatever the model would rather say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from favor_stream.errors import ConfigError


class Form:
    """One answer's grammar, by llguidance; it is filled once. Building it takes a few milliseconds."""

    def __init__(self, schema: Mapping[str, Any], tokenizer: Tokenizer, eos: int) -> None:
        """`eos` is the token that ends an answer. Raises ConfigError for a schema that cannot be filled."""
        try:
            from llguidance import LLMatcher, LLTokenizer
        except ModuleNotFoundError as error:
            raise ConfigError("a schema needs llguidance; install it: pip install --editable '.[schema]'") from error
        try:
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides={"whitespace_flexible": False})
            self._matcher = LLMatcher(LLTokenizer(tokenizer.to_str(), eos_token=eos), grammar)
        except (ValueError, RecursionError) as error:  # of one that is nested too deeply
            raise ConfigError(f"the schema cannot be read ({error}); write a flatter one") from error
        if self._matcher.is_error():
            reason = " ".join(self._matcher.get_error().split())
            raise ConfigError(f"the schema cannot be filled ({reason}); write a JSON schema that can")

    @property
    def is_filled(self) -> bool:
        """Whether what was taken so far is a whole answer."""
        return self._matcher.is_accepting()

    def allow(self, logits: Tensor) -> Tensor:
        """Logits [vocabulary] with those of tokens that may not follow at minus infinity; the end may follow a whole answer."""
        bias = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8)  # 0 for what may not
        may_follow = torch.zeros_like(logits, dtype=torch.bool)
        may_follow[: len(bias)] = bias > 0  # a model may have more rows than its tokenizer has tokens
        return logits.masked_fill(~may_follow, -torch.inf)

    def take(self, token: int) -> None:
        self._matcher.consume_token(token)
