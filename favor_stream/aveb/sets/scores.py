"""How well an item was answered: two numbers of each answer, and the score of a set is the ratio of their sums.

The published metrics that can be computed here, and others under names of their own where they cannot.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from favor_stream.aveb.metrics import word_errors
from favor_stream.aveb.sets.item import Item

Parts = tuple[float, float]

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = {"none": "0"} | {word: str(number) for number, word in enumerate(NUMBERS)}
ARTICLES = {"a", "an", "the"}
SIGNS = ';/[]"{}()=+\\_-><@`,?!'
SHORTENED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd've how'd how'll
    how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at
    shan't she'd've should've shouldn't shouldn't've somebody'd somebody'd've somebody'll somebody's someone'd someone'd've
    someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've
    they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've
    who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd
    you'd've you'll you're you've
"""
# Each of them as it is written when one apostrophe was forgotten.
APOSTROPHES = {word[: at.start()] + word[at.end() :]: word for word in SHORTENED.split() for at in re.finditer("'", word)}


@dataclass(frozen=True, slots=True)
class Measure:
    name: str  # as the table has it
    parts: Callable[[Item, str], Parts]
    is_published: bool = True  # whether it is what the set's results are told in


def words(text: str) -> list[str]:
    """Lower case, without punctuation save for apostrophes: how transcripts of LibriSpeech and How2 are compared."""
    return re.sub(r"[^\w']|_", " ", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")).split()


def transcript_errors(item: Item, said: str) -> Parts:
    """(words wrong, missing or too much; words that were spoken)"""
    return word_errors(" ".join(words(item.answers[0])), " ".join(words(said)))


def vqa_form(answer: str) -> str:
    """An answer in the form in which the evaluation of VQA and TextVQA compares answers."""
    text = " ".join(answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").split())
    loose = {sign for sign in SIGNS if f"{sign} " in text or f" {sign}" in text}
    for sign in SIGNS:
        text = text.replace(sign, "" if sign in loose else " ")
    text = re.sub(r"\.(?!\d)", "", text)
    told = [DIGITS.get(word, word) for word in text.split()]
    return " ".join(APOSTROPHES.get(word, word) for word in told if word not in ARTICLES)


def soft_accuracy(item: Item, said: str) -> Parts:
    """min(people who said it / 3, 1), averaged over all ways to leave one of the people out (TextVQA, arXiv 1904.08920)."""
    told, people = vqa_form(said), len(item.answers)
    agreeing = sum(vqa_form(answer) == told for answer in item.answers)
    without_one, without_another = min((agreeing - 1) / 3, 1.0), min(agreeing / 3, 1.0)
    return (agreeing * without_one + (people - agreeing) * without_another) / people, 1.0


def accuracy(item: Item, said: str) -> Parts:
    """Word for word, whatever the case and the punctuation."""
    return float(any(words(said) == words(answer) for answer in item.answers)), 1.0


def yes_or_no(item: Item, said: str) -> Parts:
    """By the first word."""
    return float(words(said)[:1] == words(item.answers[0])), 1.0


def containment(item: Item, said: str) -> Parts:
    """Whether one of the answers is in what was said, as whole words next to each other."""
    told = f" {' '.join(words(said))} "
    return float(any(f" {' '.join(words(answer))} " in told for answer in item.answers)), 1.0


def word_f1(item: Item, said: str) -> Parts:
    """(2 x words in common, words of both) with the answer that is most like it: the ratio is F1."""
    return max((_overlap(words(answer), words(said)) for answer in item.answers), key=lambda parts: parts[0] / max(1.0, parts[1]))


def _overlap(one: list[str], other: list[str]) -> Parts:
    return 2.0 * (Counter(one) & Counter(other)).total(), float(len(one) + len(other))


WER = Measure("WER", transcript_errors)
SOFT_ACCURACY = Measure("soft accuracy", soft_accuracy)
ACCURACY = Measure("accuracy", accuracy)
YES_OR_NO = Measure("accuracy of yes or no", yes_or_no)
OPTION = Measure("accuracy of the option", accuracy)
EXACT = Measure("exact match", accuracy, is_published=False)
CONTAINED = Measure("whole-word containment", containment, is_published=False)
WORD_F1 = Measure("word F1", word_f1, is_published=False)
