"""Draws a script's pictures: things, posts and cards over a procedural background, through a lens, a sensor and a codec."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from favor_stream.aveb.lexicon import COLOURS
from favor_stream.aveb.script import Card, Post, Script, Thing
from favor_stream.errors import EngineError
from favor_stream.records import Picture

BACKGROUNDS = ("plain", "gradient", "clouds", "room", "stripes", "boxes")
HELD_OUT_BACKGROUNDS = ("bricks", "ripples")

# Name of a face built into OpenCV or a file that Matplotlib ships, and its weight.
FONTS = (
    ("sans", 400),
    ("sans", 700),
    ("italic", 500),
    ("uni", 400),
    ("DejaVuSans.ttf", 400),
    ("DejaVuSans-Bold.ttf", 700),
    ("DejaVuSerif.ttf", 400),
    ("DejaVuSansMono.ttf", 400),
    ("STIXGeneralBol.ttf", 700),
    ("cmr10.ttf", 400),
    ("DejaVuSerif-Bold.ttf", 700),
    ("DejaVuSansMono-Bold.ttf", 700),
    ("cmb10.ttf", 700),
)
HELD_OUT_FONTS = (10, 11, 12)

SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


def place(thing: Thing, time_s: float) -> tuple[float, float]:
    """Where a thing's centre is, in 0..1 of the picture's width and height."""
    way = {"still": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[thing.motion]
    travelled = thing.speed * (time_s - thing.start_s)
    return thing.x + way[0] * travelled, thing.y + way[1] * travelled


def picture(script: Script, time_s: float, width: int = 160, height: int = 120) -> Picture:
    """What the camera of `script` sees at `time_s`: uint8 [height, width, 3], RGB."""
    image = background(script.background_kind, script.background, width, height).copy()
    for thing in script.things:
        if thing.start_s <= time_s < thing.end_s:
            draw_thing(image, thing, *place(thing, time_s))
    for post in script.posts:
        draw_post(image, post)
    for card in script.cards:
        if card.start_s <= time_s < card.end_s:
            draw_card(image, card)
    return photograph(image, script, time_s)


def photograph(image: Picture, script: Script, time_s: float) -> Picture:
    """Exposure, blur, sensor noise and JPEG, the same each time for the same script and time."""
    camera = script.camera
    scale = image.shape[0] / 120
    if camera.blur > 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), camera.blur * scale), np.uint8)
    rng = np.random.default_rng((script.seed, round(time_s * 1000)))
    grain = rng.integers(0, 256, image.shape, dtype=np.uint8).astype(np.float32)
    light = image.astype(np.float32) * camera.exposure + (grain - 127.5) * (camera.noise / 73.9)
    image = np.clip(light, 0, 255).astype(np.uint8)
    if camera.jpeg:
        coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, camera.jpeg])[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    return np.ascontiguousarray(image)


@lru_cache(maxsize=8)
def background(kind: str, seed: int, width: int, height: int) -> Picture:
    """A dull, greyish scene, so that only things are strongly coloured."""
    rng = np.random.default_rng((seed, 77))
    base, other = rng.uniform(70, 190, 3), rng.uniform(60, 200, 3)
    base, other = (0.35 * c + 0.65 * c.mean() for c in (base, other))
    mask = pattern(kind, rng, width, height)[..., None]
    return np.clip(base * (1 - mask) + other * mask, 0, 255).astype(np.uint8)


def pattern(kind: str, rng: np.random.Generator, width: int, height: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """How much of the second colour each pixel has: [height, width] in 0..1."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    angle, count, phase = rng.uniform(0, math.pi), rng.uniform(3, 9), rng.uniform(0, 6)
    along = x * math.cos(angle) + y * math.sin(angle)
    if kind == "plain":
        return np.zeros_like(x)
    if kind == "gradient":
        return np.clip(along * 0.8 + 0.1, 0, 1)
    if kind == "clouds":
        coarse = rng.uniform(0, 1, (5, 6)).astype(np.float32)
        return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    if kind == "room":
        wall = rng.uniform(0.5, 0.75)
        return np.where(y > wall, 1.0, 0.25 * (abs(x - rng.uniform(0.2, 0.8)) < 0.12)).astype(np.float32)
    if kind == "stripes":
        return (np.sin(along * count * 6.28 + phase) > 0).astype(np.float32) * 0.5
    if kind == "boxes":
        mask = np.zeros_like(x)
        for left, top in rng.uniform(0, 0.85, (6, 2)):
            mask[(x > left) & (x < left + rng.uniform(0.08, 0.25)) & (y > top) & (y < top + rng.uniform(0.08, 0.3))] = 0.6
        return mask
    if kind == "bricks":
        row = np.floor(y * count * 1.2)
        return (((y * count * 1.2) % 1 < 0.12) | ((x * count + 0.5 * (row % 2)) % 1 < 0.08)).astype(np.float32) * 0.7
    if kind == "ripples":
        return (0.3 + 0.3 * np.sin(np.hypot(x - 0.5, y - 0.4) * count * 8 + phase)).astype(np.float32)
    raise ValueError(f"background {kind!r}; known: {BACKGROUNDS + HELD_OUT_BACKGROUNDS}")


def draw_thing(image: Picture, thing: Thing, x: float, y: float) -> None:
    """Paint one thing, its centre at (x, y) in 0..1, into `image` in place."""
    height, width = image.shape[:2]
    centre, radius = np.array([x * width, y * height]), thing.size * height
    colour = np.array(rgb(thing.colour), np.float64)
    outlines = [np.round((centre + radius * o) * 2**SHIFT).astype(np.int32) for o in outline(thing.shape, thing.tilt)]
    left, top = (max(0, int(v)) for v in centre - radius * 1.3)
    right, bottom = (max(0, int(v) + 2) for v in centre + radius * 1.3)
    part = image[top:bottom, left:right]
    if part.size == 0:
        return
    mask = np.zeros(part.shape[:2], np.uint8)
    moved = [o - np.array([left, top], np.int32) * 2**SHIFT for o in outlines]
    cv2.fillPoly(mask, moved, 255, cv2.LINE_AA, SHIFT)
    weight = mask[..., None].astype(np.float32) / 255
    paint = colour[None, None] * shade(thing.texture, part.shape[0], part.shape[1])[..., None]
    part[:] = np.clip(part * (1 - weight) + paint * weight, 0, 255).astype(np.uint8)


def draw_post(image: Picture, post: Post) -> None:
    """Paint a post from top to bottom of `image` in place."""
    height, width = image.shape[:2]
    half, lean = post.width * width / 2, math.tan(post.tilt) * height / 2
    top, bottom = post.x * width - lean, post.x * width + lean
    corners = np.array([(top - half, 0), (top + half, 0), (bottom + half, height), (bottom - half, height)])
    fixed = np.round(corners * 2**SHIFT).astype(np.int32)
    cv2.fillPoly(image, [fixed], (post.grey, post.grey, post.grey), cv2.LINE_AA, SHIFT)


def rgb(colour: str) -> tuple[int, ...]:
    return COLOURS.get(colour) or tuple(bytes.fromhex(colour[1:]))


def shade(texture: int, height: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    if texture == 1:
        return np.where(np.sin((x + y) * 22) > 0.2, 0.8, 1.0).astype(np.float32)
    if texture == 2:
        return 1.08 - 0.3 * y
    return np.ones_like(x)


@lru_cache(maxsize=64)
def unit_outline(shape: str) -> tuple[np.ndarray[Any, np.dtype[np.float64]], ...]:
    """Polygons of a shape of radius 1 around the origin; a second one is a hole."""

    def polygon(corners: int, radii: tuple[float, ...] = (1.0,)) -> np.ndarray[Any, np.dtype[np.float64]]:
        angles = np.arange(corners) * 2 * math.pi / corners - math.pi / 2
        r = np.array([radii[i % len(radii)] for i in range(corners)])
        return np.stack([r * np.cos(angles), r * np.sin(angles)], 1)

    if shape.isdecimal():
        rng = np.random.default_rng(int(shape))
        count = int(rng.integers(5, 10))
        narrow = polygon(count, tuple(rng.uniform(0.5, 1.1, count))) * (1, 0.45)  # as no shape with a name is
        return (turned(narrow, rng.uniform(0, math.pi)),)
    if shape == "circle":
        return (polygon(40),)
    if shape == "ring":
        return polygon(40), polygon(40, (0.55,))
    if shape == "triangle":
        return (polygon(3, (1.1,)),)
    if shape == "star":
        return (polygon(10, (1.1, 0.45)),)
    if shape == "square":
        return (np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.85,)
    arm = 0.32
    quarter = [(-arm, -1), (arm, -1), (arm, -arm)]
    assert shape == "cross", shape
    corners = list(quarter)
    for _ in range(3):
        quarter = [(-y, x) for x, y in quarter]
        corners += quarter
    return (np.array(corners, np.float64),)


def outline(shape: str, tilt: float) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    return [turned(o, tilt) for o in unit_outline(shape)]


def turned(points: np.ndarray[Any, np.dtype[np.float64]], angle: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    c, s = math.cos(angle), math.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


@lru_cache(maxsize=32)
def face(font: int) -> cv2.FontFace:
    name = FONTS[font][0]
    if name.endswith(".ttf"):
        try:
            import matplotlib
        except ImportError as error:
            raise EngineError(
                "the fonts of the generated world come with Matplotlib; pip install --editable '.[train]'"
            ) from error
        name = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name)
    return cv2.FontFace(name)


def draw_card(image: Picture, card: Card) -> None:
    """Paint a printed word on its card into `image` in place."""
    height, width = image.shape[:2]
    letter = max(8, round(card.height * height / 0.72))
    paper, ink = ((235, 235, 230), (20, 20, 25)) if card.dark else ((35, 40, 50), (235, 235, 225))
    left, top, wide, high = cv2.getTextSize((width, height), card.word, (0, 0), face(card.font), letter, FONTS[card.font][1])
    pad = letter // 3
    sheet = np.full((high + 2 * pad, wide + 2 * pad, 3), paper, np.uint8)
    cv2.putText(sheet, card.word, (pad - left, pad - top), ink, face(card.font), letter, FONTS[card.font][1])
    turn = cv2.getRotationMatrix2D((sheet.shape[1] / 2, sheet.shape[0] / 2), math.degrees(card.tilt), 1.0)
    turn[:, 2] += (card.x * width - sheet.shape[1] / 2, card.y * height - sheet.shape[0] / 2)
    cv2.warpAffine(sheet, turn, (width, height), dst=image, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)
