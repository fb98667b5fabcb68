"""Scenes: each setting makes something of a script of the world, so that what its questions ask for happens in it.

A picture that stands still, a word to read, a question asked aloud about a picture, slides that are read aloud in noise, a thing
that makes a sound, something that is shown and named, a bell that makes things come; a film as the world itself draws it, one
that is over early, and one in which the same things come again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from favor_stream.aveb import soundtrack, world
from favor_stream.aveb.lexicon import CARD_WORDS, COLOURS, SHAPES, SOUNDS, SPOKEN_FORMS, a
from favor_stream.aveb.script import Card, Noise, Script, Split, Thing, Utterance
from favor_stream.aveb.speech import say
from favor_stream.aveb.staged import Scene
from favor_stream.aveb.world import Timed
from favor_stream.records import SLICE_S

Rng = np.random.Generator
Happening = TypeVar("Happening", Thing, Card, Noise, Utterance)
STREAM = 3  # of random numbers, apart from those that the script itself was drawn with
SNR_DB = (10.0, 0.0, -5.0)  # of slides: how much louder the voice is than the noise
ABOUT_PICTURES = [form for form in SPOKEN_FORMS if "hear" not in form and "first" not in form]
OVER = (0.3, 0.8)  # of its time, when a film may be over early
UNSEEN = 0.3  # of training's slides, those that are read aloud alone: else only sight would be trusted
REACH_S = 1.2  # from one word of slides to the next
BLINKS_S = (1.0, 1.5)  # how long a thing that makes a sound does so, and rests; whole slices


@dataclass(frozen=True, slots=True)
class Wish:
    """What scenes of a setting are drawn for."""

    seed: int
    duration_s: float
    split: Split
    timed: Timed = soundtrack.timed
    density: float = 1.0
    odd: float = 0.0
    snr_db: float | None = None  # of slides; None: any of SNR_DB


@dataclass(frozen=True, slots=True)
class Setting:
    make: Callable[[Script, Wish, Rng], Scene]
    share: float  # of training's scenes
    kinds: tuple[str, ...]  # of question that are asked of it


def draw(name: str, wish: Wish) -> Scene:
    """A scene of the setting of that name; the same arguments give the same scene."""
    base = world.draw(wish.seed, wish.duration_s, wish.split, wish.density, wish.timed, wish.odd)
    return SETTINGS[name].make(base, wish, np.random.default_rng((wish.seed, world.STREAMS[wish.split], STREAM)))


def film(base: Script, wish: Wish, rng: Rng) -> Scene:
    return Scene(base)


def over(base: Script, wish: Wish, rng: Rng) -> Scene:
    """A film that is over early: an empty, quiet room is left. Else how much there was could be told by how long it took."""
    end_s = float(rng.uniform(*OVER)) * wish.duration_s
    things, cards = ended(base.things, end_s), ended(base.cards, end_s)
    noises, utterances = ended(base.noises, end_s), ended(base.utterances, end_s)
    return Scene(replace(base, things=things, cards=cards, noises=noises, utterances=utterances))


def recurring(base: Script, wish: Wish, rng: Rng) -> Scene:
    """A film in which the looks of its first two things come again and again: what went may be there anew."""
    looks, shown = [(thing.colour, thing.shape) for thing in base.things[:2]], list[Thing]()
    for thing in base.things:
        beside = [(each.colour, each.shape) for each in shown if each.end_s > thing.start_s]
        free = [look for look in looks if look not in beside]
        colour, shape = free[int(rng.integers(len(free)))]
        shown.append(replace(thing, colour=colour, shape=shape))
    return Scene(replace(base, things=tuple(shown)))


def speech(base: Script, wish: Wish, rng: Rng) -> Scene:
    return Scene(replace(base, things=(), cards=(), noises=()), is_seen=False)


def sounds(base: Script, wish: Wish, rng: Rng) -> Scene:
    return Scene(replace(base, things=(), cards=(), utterances=()), is_seen=False)


def picture(base: Script, wish: Wish, rng: Rng) -> Scene:
    """Up to two things and perhaps a word, from beginning to end."""
    shown = things(rng, wish, int(rng.choice(3, p=[0.08, 0.37, 0.55])))
    words = cards(rng, wish, 1) if rng.random() < 0.5 else ()
    return Scene(replace(base, things=shown, cards=words, noises=(), utterances=()), is_heard=False)


def reading(base: Script, wish: Wish, rng: Rng) -> Scene:
    """A word that may be turned and out of focus, and perhaps a thing."""
    card = replace(cards(rng, wish, 1)[0], tilt=float(rng.uniform(-0.2, 0.2)))
    camera = replace(base.camera, blur=float(rng.uniform(0.0, 1.1)))
    shown = things(rng, wish, int(rng.integers(2)))
    return Scene(replace(base, camera=camera, things=shown, cards=(card,), noises=(), utterances=()), is_heard=False)


def asked_aloud(base: Script, wish: Wish, rng: Rng) -> Scene:
    """A picture and a question about it, mostly about what it shows."""
    script = picture(base, wish, rng).script
    thing = script.things[int(rng.integers(len(script.things)))] if script.things and rng.random() < 0.8 else None
    form = ABOUT_PICTURES[int(rng.integers(len(ABOUT_PICTURES)))]
    shape, colour = (thing.shape, thing.colour) if thing else (str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS))))
    return Scene(replace(script, utterances=(said(rng, wish, form.format(shape=shape, colour=colour), 0.5),)))


def slides(base: Script, wish: Wish, rng: Rng) -> Scene:
    """Some words that are read aloud while they are shown, in noise; in training at times nothing is shown."""
    most = min(8, int((wish.duration_s - 1.0) / REACH_S))
    count = int(rng.integers(min(4, most), most + 1))
    words = [CARD_WORDS[i] for i in rng.permutation(len(CARD_WORDS))[:count]]
    voice = said(rng, wish, words[0], 0.5)
    spoken = tuple(again(voice, wish, word, 0.5 + at * REACH_S) for at, word in enumerate(words))
    shown = tuple(
        replace(card, word=each.text, start_s=each.start_s - 0.2, end_s=each.start_s + REACH_S - 0.25)
        for card, each in zip(cards(rng, wish, count), spoken, strict=True)
    )
    snr_db = float(rng.choice(SNR_DB)) if wish.snr_db is None else wish.snr_db
    level_db = -30.0 if wish.timed is world.guessed else loudness_db(spoken)
    room = replace(base.room, noise_db=level_db - snr_db, reverb_s=0.0)
    is_seen = wish.split == "held_out" or rng.random() >= UNSEEN
    script = replace(base, room=room, things=(), noises=(), cards=shown if is_seen else (), utterances=spoken)
    return Scene(script, is_seen=is_seen)


def source(base: Script, wish: Wish, rng: Rng) -> Scene:
    """Two things side by side: one comes and goes with a sound, or neither does."""
    one, other = things(rng, wish, 2)
    spans = blinks(rng, wish.duration_s)
    between = [(a_end, b_start) for (_, a_end), (b_start, _) in zip(spans, spans[1:], strict=False)]
    fits = bool(rng.random() < 0.6)
    kind = str(rng.choice(SOUNDS))
    heard = tuple(Noise(kind, a, b, float(rng.uniform(0.2, 0.6)), int(rng.integers(1 << 30))) for a, b in spans)
    coming = [replace(one, start_s=a, end_s=b) for a, b in (spans if fits else between)]
    staying = [other] if rng.random() < 0.5 or not fits else [replace(other, start_s=a, end_s=b) for a, b in between]
    shown = tuple(sorted((*coming, *staying), key=lambda thing: thing.start_s))
    return Scene(replace(base, things=shown, cards=(), noises=heard, utterances=()))


def naming(base: Script, wish: Wish, rng: Rng) -> Scene:
    """Somebody shows something and says what it is, or says something else, often nearly the same."""
    shown = things(rng, wish, int(rng.integers(1, 3)))
    thing = shown[int(rng.integers(len(shown)))]
    colour, shape = thing.colour, thing.shape
    if rng.random() < 0.5:
        names = {(each.colour, each.shape) for each in shown}
        while (colour, shape) in names:
            colour, shape = [(str(rng.choice(list(COLOURS))), shape), (colour, str(rng.choice(SHAPES)))][int(rng.integers(2))]
    spoken = said(rng, wish, a(f"{colour} {shape}"), 0.5)
    return Scene(replace(base, things=shown, cards=(), noises=(), utterances=(spoken,)))


def causes(base: Script, wish: Wish, rng: Rng) -> Scene:
    """A film in which some things come because something sounded, and other sounds are without effect."""
    heard: list[Noise] = []
    for thing in base.things:
        sounds_s = float(rng.uniform(0.5, 0.8))
        is_cause = rng.random() < 0.6
        end_s = thing.start_s - float(rng.uniform(0.2, 0.7)) if is_cause else thing.start_s + float(rng.uniform(1.0, 1.6))
        after_s = heard[-1].end_s + 0.3 if heard else 0.0
        if after_s <= end_s - sounds_s and end_s < wish.duration_s and (is_cause or rng.random() < 0.5):
            loudness, seed = float(rng.uniform(0.15, 0.6)), int(rng.integers(1 << 30))
            heard.append(Noise(str(rng.choice(SOUNDS)), end_s - sounds_s, end_s, loudness, seed))
    return Scene(replace(base, noises=tuple(heard)))


# What is in scenes.


def ended(items: tuple[Happening, ...], end_s: float) -> tuple[Happening, ...]:
    """Those that are over by then."""
    return tuple(each for each in items if each.end_s <= end_s)


def things(rng: Rng, wish: Wish, count: int) -> tuple[Thing, ...]:
    """So many things that stand still from beginning to end, from left to right; two keep to their halves."""
    pairs = world.shuffled(rng, wish.split, wish.odd)
    halves = [None] if count == 1 else list(range(count))
    made = (world.thing(rng, pairs.pop(), 0.0, wish.duration_s, half) for half in halves)
    return tuple(replace(thing, start_s=0.0, end_s=wish.duration_s, motion="still", speed=0.0) for thing in made)


def cards(rng: Rng, wish: Wish, count: int) -> tuple[Card, ...]:
    """So many different words, each from beginning to end."""
    words = [CARD_WORDS[i] for i in rng.permutation(len(CARD_WORDS))[:count]]
    return tuple(world.card(rng, word, 0.0, wish.duration_s, wish.split) for word in words)


def said(rng: Rng, wish: Wish, text: str, start_s: float) -> Utterance:
    return wish.timed(text, start_s, *world.voice(rng, wish.split))


def again(before: Utterance, wish: Wish, text: str, start_s: float) -> Utterance:
    """By the same voice."""
    how = (before.voice, before.words_per_minute, before.pitch, before.loudness, before.tract)
    return wish.timed(text, start_s, *how)


def loudness_db(spoken: tuple[Utterance, ...]) -> float:
    """Of the voice while it speaks, below full scale."""
    heard = [say(u.text, u.voice, u.words_per_minute, u.pitch, u.tract).sound * u.loudness for u in spoken]
    return 10 * math.log10(float(np.mean(np.concatenate(heard) ** 2)))


def blinks(rng: Rng, duration_s: float) -> list[tuple[float, float]]:
    """Two to four spans and rests between them, along the slices: a picture is taken in each."""
    at_s, out = SLICE_S * int(rng.integers(2)), list[tuple[float, float]]()
    for _ in range(int(rng.integers(2, 5))):
        at_s += float(rng.choice(BLINKS_S))
        end_s = at_s + float(rng.choice(BLINKS_S))
        if end_s > duration_s - SLICE_S:
            break
        out.append((at_s, end_s))
        at_s = end_s
    return out


REMEMBERED = ("said", "said_last", "sounds", "story", "colour", "shape", "motion", "word", "first", "last", "after", "before")
TOGETHER = ("seen_during", "heard_during", "count_things", "count_sound", "saw", "heard", "sound_order", "cross_order")
BY_SOUND = ("sounds", "count_sound", "sound_order", "heard", "heard_ago", "seen_during", "heard_during", "cross_order", "hears")
NOW = ("now_see", "now_hear", "sees", "hears")
SHOWN_NOW = ("caption", "size", "side", "beside", "how_many")
AGO = ("seen_ago", "heard_ago")
OF_FILMS = (*REMEMBERED, *TOGETHER, *NOW, *AGO, *SHOWN_NOW, "spoken")
SETTINGS = {
    "film": Setting(film, 0.44, OF_FILMS),
    "speech": Setting(speech, 0.0, ("said", "said_last")),
    "sounds": Setting(sounds, 0.0, ("sounds", "count_sound", "sound_order", "heard")),
    "by_sound": Setting(film, 0.0, BY_SOUND),
    "picture": Setting(picture, 0.1, (*SHOWN_NOW, "now_see", "sees", "word", "colour", "shape")),
    "reading": Setting(reading, 0.07, ("word", "now_see")),
    "asked_aloud": Setting(asked_aloud, 0.06, ("spoken",)),
    "slides": Setting(slides, 0.06, ("said", "word", "said_last")),
    "source": Setting(source, 0.07, ("source", "fits_in_time", "sounds")),
    "naming": Setting(naming, 0.06, ("fits_in_words", "said")),
    "causes": Setting(causes, 0.06, ("why", "sounds", "story", "seen_during")),
    "over": Setting(over, 0.08, OF_FILMS),
    "recurring": Setting(recurring, 0.08, NOW),
}
