"""A script says everything that happens in a clip of the generated world.

Pictures and sound are played from it, and questions are asked of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["training", "held_out", "symbolic"]  # see world.draw


@dataclass(frozen=True, slots=True)
class Thing:
    """A coloured shape that is in view for a while."""

    colour: str  # one of lexicon.COLOURS, or #rrggbb, which has no name in this world
    shape: str  # one of lexicon.SHAPES, or a number, from which a shape without a name is drawn
    start_s: float
    end_s: float
    x: float  # centre at start_s, 0..1 of the picture's width
    y: float  # centre at start_s, 0..1 of the picture's height
    size: float  # radius, 0..1 of the picture's height
    motion: str  # one of lexicon.MOTIONS
    speed: float  # of the picture's width or height per second; 0 when still
    texture: int  # 0 plain, 1 striped, 2 shaded
    tilt: float  # radians


@dataclass(frozen=True, slots=True)
class Card:
    """A printed word that is in view for a while."""

    word: str
    start_s: float
    end_s: float
    x: float
    y: float
    height: float  # of a capital letter, 0..1 of the picture's height
    font: int  # index into picture.FONTS
    tilt: float  # radians
    dark: bool  # dark letters on a light card, or the other way round


@dataclass(frozen=True, slots=True)
class Post:
    """Something dull that stands from top to bottom before the things, and hides some of what is behind it."""

    x: float  # its middle at half height, 0..1 of the picture's width
    width: float  # 0..1 of the picture's width
    tilt: float  # radians
    grey: int  # 0..255


@dataclass(frozen=True, slots=True)
class Noise:
    """A sound event that is not speech."""

    kind: str  # one of lexicon.SOUNDS
    start_s: float
    end_s: float
    loudness: float  # peak amplitude, 0..1
    seed: int  # pitch, rhythm and timbre are drawn from it


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something said; `words` carry the clip's time of each spoken word."""

    text: str
    start_s: float
    end_s: float
    voice: str  # name for speech.say
    words_per_minute: int
    pitch: int  # 0..99, espeak-ng's scale
    loudness: float  # peak amplitude, 0..1
    words: tuple[Word, ...]
    tract: float = 1.0  # length of the speaker's vocal tract against the voice's own


@dataclass(frozen=True, slots=True)
class Camera:
    """What the lens and the codec do to a picture."""

    exposure: float  # multiplies the light, about 0.7..1.3
    noise: float  # standard deviation of the sensor's noise, in 0..255 steps
    blur: float  # Gaussian radius in pixels at 160 x 120
    jpeg: int  # quality 30..95; 0 for none


@dataclass(frozen=True, slots=True)
class Room:
    """What the room does to sound."""

    noise_db: float  # level of background noise below full scale, e.g. -50
    colour: float  # 0 white .. 1 brown
    reverb_s: float  # time to fall by 60 dB; 0 for none


@dataclass(frozen=True, slots=True)
class Script:
    seed: int
    duration_s: float
    background: int  # seed of the procedural background
    background_kind: str  # one of picture.BACKGROUNDS
    camera: Camera
    room: Room
    things: tuple[Thing, ...]
    cards: tuple[Card, ...]
    noises: tuple[Noise, ...]
    utterances: tuple[Utterance, ...]
    posts: tuple[Post, ...] = ()
