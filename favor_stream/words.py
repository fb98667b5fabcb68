"""Words as the language model reads and writes them: the prompt, questions as tokens, tokens as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tokenizers import Tokenizer

from favor_stream.errors import ConfigError
from favor_stream.records import Turn

QUESTION = "{question}"
BROKEN = "\ufffd"  # what a tokenizer writes for bytes that are no whole character
KNOWN_QUESTIONS, KNOWN_LETTERS = 512, 200  # whose tokens are kept, if no longer: watches ask the same after every slice


@dataclass(frozen=True, slots=True)
class Prompt:
    """The words around the windows, written as the model was trained with them."""

    prefix: str = "<s>USER: <Img>"  # pinned, before the first window
    ask: str = "</Img> {question}\nASSISTANT:"  # closes the windows and asks
    eos: str = "</s>"  # one token, which ends an answer
    resume: str = "USER: <Img>"  # opens the windows again after a dialogue that is kept
    yes: str = " yes"  # as an answer starts; the first token counts
    no: str = " no"

    def __post_init__(self) -> None:
        if self.ask.count(QUESTION) != 1:
            raise ConfigError(
                f"the ask template is {self.ask!r}: expected {QUESTION} in it once; write it where the question goes"
            )


class Words:
    """A tokenizer and the prompt that the model was trained with. Raises `ConfigError` where they do not fit together."""

    def __init__(self, tokenizer: Tokenizer, prompt: Prompt) -> None:
        self.tokenizer, self._prompt = tokenizer, prompt
        self._control = {token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special}
        self._known: Callable[[str], tuple[int, ...]] = lru_cache(KNOWN_QUESTIONS)(self._question)
        self.prefix, self.resume = self._encode(prompt.prefix), self._encode(prompt.resume)
        self.eos = self._token(prompt.eos)
        self.yes, self.no = self._first_token(prompt.yes), self._first_token(prompt.no)
        if self.yes == self.no:
            raise ConfigError(f"{prompt.yes!r} and {prompt.no!r} begin with the same token: expected two; choose other words")

    def question(self, text: str) -> tuple[int, ...]:
        """The tokens that ask it. Raises `ConfigError` where it is blank or holds a control token."""
        return self._known(text) if len(text) <= KNOWN_LETTERS else self._question(text)

    def _question(self, text: str) -> tuple[int, ...]:
        if not text.strip():
            raise ConfigError("the question is blank: expected words; ask something")
        self._plain(text)
        return tuple(self._encode(self._prompt.ask.replace(QUESTION, text.strip())))

    def closed(self, dialogue: Sequence[int]) -> list[int]:
        """A question with its answer, and windows open again behind it."""
        return [*dialogue, self.eos, *self.resume]

    def dialogue(self, turns: Sequence[Turn], room: int) -> list[int]:
        """The last of these turns that fit into so many tokens."""
        tokens = list[int]()
        for question, answer in reversed(turns):
            longer = self.closed([*self.question(question), *self._plain(f" {answer}")]) + tokens
            if len(longer) > room:
                break
            tokens = longer
        return tokens

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _plain(self, text: str) -> list[int]:
        """The tokens of what somebody has written. Raises `ConfigError` for no text, and where a token would steer the model."""
        if not is_text(text):
            raise ConfigError("the question holds half a character (a lone surrogate): expected text; leave it out")
        tokens = self._encode(text)
        if control := self._control.intersection(tokens):
            word = self.tokenizer.id_to_token(min(control))
            raise ConfigError(f"the question holds the control token {word!r}: expected plain words; leave it out")
        return tokens

    def _token(self, word: str) -> int:
        token = self.tokenizer.token_to_id(word)
        if token is None:
            raise ConfigError(
                f"{word!r} is no token of this tokenizer: expected one; choose another or the model's own tokenizer"
            )
        return token

    def _first_token(self, word: str) -> int:
        """The token that an answer beginning with this word begins with."""
        ask = self._encode(self._prompt.ask)
        answered = self._encode(self._prompt.ask + word)
        if answered[: len(ask)] != ask or len(answered) == len(ask):
            raise ConfigError(
                f"{word!r} melts into the end of the ask template: expected tokens of its own; change its first letter"
            )
        return answered[len(ask)]


@dataclass(slots=True)
class Text:
    """The text of a growing list of tokens, given out in whole characters.

    Each piece is the end of a text decoded from a little earlier, because a tokenizer may drop the space before a first word.
    """

    tokenizer: Tokenizer
    start: int = 0  # decode from this token
    given: int = 0  # the text of the tokens before this one is out

    def piece(self, tokens: list[int], *, is_last: bool = False) -> str:
        """What can be said now: nothing while a character is incomplete, which at the last call is left out."""
        before, now = self.tokenizer.decode(tokens[self.start : self.given]), self.tokenizer.decode(tokens[self.start :])
        if len(now) <= len(before) or (now.endswith(BROKEN) and not is_last):
            return ""
        self.start, self.given = self.given, len(tokens)
        return now[len(before) :].rstrip(BROKEN)


def is_text(text: str) -> bool:
    """Whether it can be written down: JSON may carry halves of characters, with which no tokenizer can do anything."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
