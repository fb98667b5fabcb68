"""The world's own truth written as LLM tokens. The language model learns from it before it can see, and the Q-Former learns to
write the same tokens; joint training then lets go of it. Nothing here is shipped.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from favor_stream.aveb.lexicon import SOUNDS
from favor_stream.model.config import ModelConfig
from favor_stream.training import labels

QUERIES = 5  # a slice's tokens: left thing, right thing, card and sounds, first word, second word
WINDOW_QUERIES = 4  # a window's: the same, the words as one
SCALE = 0.1  # standard deviation of what is added up
TOKEN_OF_FIELD = (0,) * labels.THING_FIELDS + (1,) * labels.THING_FIELDS + (2,)
FIRST_WORD = 3  # the token
FIGURES = dict(zip(("colour", "shape", "motion", "size", "side", "right"), range(labels.THING_FIELDS + 1), strict=True))
FIGURES |= {"card": labels.CARD, "word": labels.CARD + 1, "word_2": labels.CARD + 2}  # what is read, among all guesses


class Oracle(nn.Module):
    """Labels of slices -> the tokens that a perfect Q-Former would write, and readers that tell labels from tokens.

    A token is the sum of the LLM's own vectors for the words that describe it, each turned a little by what it is (a colour, a
    sound). So a question finds by its own words what it asks for, and an answer needs no dictionary.

    What belongs together in time is told together, as far as the window shows it: a thing with what sounds meanwhile and whether
    it is new, a sound with what is in view, a word with the two before it. One look then finds what would take several.
    """

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        width = config.llm.width

        def role() -> nn.Linear:
            linear = nn.Linear(width, width, bias=False)
            nn.init.eye_(linear.weight)
            return linear

        self.sound_names = first_tokens(list(SOUNDS), tokenizer)
        # Fields are looked up and read all at once, each with matrices of its own: a GPU waits for calls.
        self.names = pad_sequence([first_tokens(words, tokenizer) for words in labels.NAMES], batch_first=True)
        self.fields = nn.Parameter(torch.eye(width).repeat(labels.SOUND, 1, 1))
        self.sounding, self.beginning, self.spoken = role(), role(), role()
        self.sounding_by, self.seen_by, self.after, self.after_next = role(), role(), role(), role()
        for turned in (self.beginning, self.sounding_by, self.seen_by, self.after, self.after_next):
            nn.init.orthogonal_(turned.weight)
        self.new = nn.Parameter(torch.randn(width) * SCALE)
        self.window_slices = config.fusion.slices_per_window
        self.slots = nn.Parameter(torch.randn(QUERIES + WINDOW_QUERIES, width) * SCALE)
        self.readers = nn.Parameter(torch.randn(labels.SOUND, width, max(labels.CLASSES)) / width**0.5)
        self.biases = nn.Parameter(torch.zeros(labels.SOUND, 1, max(labels.CLASSES)))
        self.is_class = torch.arange(max(labels.CLASSES)) < torch.tensor(labels.CLASSES)[:, None, None]
        self.sound_reader = nn.Linear(width, 2 * len(SOUNDS))
        self.spoken_reader = nn.Linear(width, config.llm.vocabulary)

    def slices(self, rows: Tensor, words: Tensor) -> Tensor:
        """[..., S, WIDTH] labels from a window's start -> [..., S, 5, D]; `words` is the LLM's word vectors [vocabulary, D].

        What has no name is as if it were not there, see `copy_loss`.
        What all word vectors have in common is taken off: it grows in training until nothing else could be told.
        """
        vectors = F.layer_norm(words - words.mean(0), words.shape[-1:]) * SCALE
        fields = self.told(rows[..., : labels.SOUND].clamp(min=0), vectors)
        sounds, kinds = rows[..., labels.SOUND : labels.SPOKEN], vectors[self.sound_names]
        heard = (sounds > 0).float() @ self.sounding(kinds) + (sounds == 2).float() @ self.beginning(kinds)
        there = pairs(rows)[..., :1] != 0  # [..., S, 2, 1]
        both = fields[..., : labels.CARD, :].unflatten(-2, (2, -1))  # [..., S, 2, 5, D]
        things, looks = both[..., :2, :].sum(-2), both[..., 2:, :].sum(-2)
        meanwhile = self.sounding_by((sounds > 0).float() @ kinds).unsqueeze(-2)
        seen = things + looks + there * (meanwhile + arrivals(rows, self.window_slices).unsqueeze(-1) * self.new)
        rest = fields[..., labels.CARD, :] + heard + (sounds > 0).any(-1, keepdim=True) * self.seen_by(things.sum(-2))
        said = self.said(rows[..., labels.SPOKEN :], vectors)
        return torch.cat([seen, rest.unsqueeze(-2), said], -2) + self.slots[:QUERIES]

    def told(self, numbers: Tensor, vectors: Tensor) -> Tensor:
        """[..., S, 11] which name each field has, from 1, or 0 for none -> [..., S, 11, D]"""
        turned = torch.bmm(vectors[self.names], self.fields.mT)
        table = torch.cat([vectors.new_zeros(len(turned), 1, turned.shape[-1]), turned], 1)
        return F.embedding(numbers + torch.arange(len(table)) * table.shape[1], table.flatten(0, 1))

    def said(self, spoken: Tensor, vectors: Tensor) -> Tensor:
        """[..., S, 2] words of slices -> [..., S, 2, D]"""
        before = words_before(spoken, self.window_slices)  # [..., S, 2, 2]
        one, two = (F.embedding(before, vectors) * (before > 0).unsqueeze(-1)).unbind(-2)
        told = self.spoken(F.embedding(spoken, vectors)) + self.after(one) + self.after_next(two)
        return told * (spoken > 0).unsqueeze(-1)

    def window(self, slices: Tensor) -> Tensor:
        """The slices so far of a window [..., S, 5, D] -> [..., 4, D]: a coarse summary, their mean."""
        mean = slices.mean(-3)
        return torch.cat([mean[..., :3, :], mean[..., 3:, :].sum(-2, keepdim=True)], -2) + self.slots[QUERIES:]

    def memory(self, rows: Tensor, words: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, S, WIDTH] labels -> slice tokens [B, S, 5, D] and the read-out of each started window."""
        slices = self.slices(rows, words)
        return slices, [self.window(part) for part in slices.split(self.window_slices, 1)]

    def copy_loss(self, slices: Tensor, window: Tensor, rows: Tensor, words: Tensor) -> Tensor:
        """How far slice tokens [B, S, 5, D] and their window's [B, 4, D] are from this oracle's, squared.

        Tokens of things whose colour or shape has no name are left out: nothing here says what they should be.
        """
        wanted = self.slices(rows, words)
        named = pairs(rows).ge(0).all(-1)  # [B, S, 2]
        named = torch.cat([named, named.all(-1, keepdim=True)], -1)  # a sound's token tells what is in view
        known = F.pad(named, (0, QUERIES - 3), value=True)
        known_window = F.pad(named.all(1), (0, WINDOW_QUERIES - 3), value=True)
        of_slices = (slices - wanted).square().mean(-1)[known].mean()
        return of_slices + (window - self.window(wanted)).square().mean(-1)[known_window].mean()

    def reading(self, tokens: Tensor, rows: Tensor) -> tuple[Tensor, dict[str, float]]:
        """How badly labels [N, WIDTH] are read back from slice tokens [N, 5, D], and the share of things read rightly."""
        truth, said = rows[:, : labels.SOUND].T, rows[:, labels.SPOKEN :].T
        guesses = torch.baddbmm(self.biases, tokens[:, TOKEN_OF_FIELD].transpose(0, 1), self.readers)
        guesses = guesses.where(self.is_class, -torch.inf)
        spelled = self.spoken_reader(tokens[:, FIRST_WORD:].transpose(0, 1))
        sounds = rows[:, labels.SOUND : labels.SPOKEN]
        heard = torch.cat([sounds > 0, sounds == 2], -1).float()
        unheard = F.binary_cross_entropy_with_logits(self.sound_reader(tokens[:, 2]), heard)
        loss = misread(guesses, truth) + misread(spelled, said) + 8 * unheard
        right = torch.cat([shares_right(guesses, truth), shares_right(spelled, said)]).tolist()
        return loss, {name: right[at] for name, at in FIGURES.items() if right[at] == right[at]}


def misread(guesses: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of guesses [fields, N, classes] at [fields, N], each field's mean over what has a name, summed."""
    loss = F.cross_entropy(guesses.transpose(1, 2), truth, reduction="none")
    return (loss.sum(1) / (truth != labels.UNNAMED).sum(1)).sum()


def shares_right(guesses: Tensor, truth: Tensor) -> Tensor:
    """[fields] Of what is there and has a name: the share that is named rightly; NaN where nothing has."""
    is_there = truth > 0
    return ((guesses.argmax(-1) == truth) & is_there).sum(1) / is_there.sum(1)


def first_tokens(words: list[str], tokenizer: Tokenizer) -> Tensor:
    """Each word's first token: of this world's words, the only one."""
    return torch.tensor([tokenizer.encode(f" {word}").ids[0] for word in words])


def pairs(rows: Tensor) -> Tensor:
    """Colour and shape of the two things of a slice: [..., S, WIDTH] -> [..., S, 2, 2]"""
    return rows[..., : labels.CARD].unflatten(-1, (2, -1))[..., :2]


def arrivals(rows: Tensor, size: int) -> Tensor:
    """Whether each thing of a slice was not in view in the slice before: [..., S, WIDTH] -> [..., S, 2].

    As the window shows it: in a window's first slice nobody knows.
    """
    now = pairs(rows)
    was_there = (now.unsqueeze(-2) == now.roll(1, -3).unsqueeze(-3)).all(-1).any(-1)
    is_known = torch.arange(rows.shape[-2]) % size > 0
    return (now[..., 0] != 0) & ~was_there & is_known.unsqueeze(-1)


def shown(rows: Tensor, size: int) -> Tensor:
    """Labels [..., S, WIDTH] from a window's start, as windows of `size` show them: in a first slice nobody knows what moves."""
    rows = rows.clone()
    rows[..., ::size, labels.MOTION : labels.CARD : labels.THING_FIELDS] = 0
    return rows


def words_before(spoken: Tensor, size: int) -> Tensor:
    """The two words said before each word in its window, the nearest first: [..., S, 2] -> [..., S, 2, 2], 0 for none."""
    slices, words = spoken.shape[-2:]
    said = F.pad(spoken, (0, 0, 0, -slices % size)).unflatten(-2, (-1, size)).flatten(-2)  # [..., windows, places]
    place = torch.arange(1, said.shape[-1] + 1)
    nearest = F.pad((place * (said > 0)).cummax(-1).values, (1, -1))  # where the word before a place is, 0 for none
    both = torch.stack([nearest, F.pad(nearest, (1, 0)).gather(-1, nearest)], -1)
    before = F.pad(said, (1, 0)).unsqueeze(-1).expand(*said.shape[:-1], -1, 2).gather(-2, both)
    return before.unflatten(-2, (-1, words)).flatten(-4, -3)[..., :slices, :, :]
