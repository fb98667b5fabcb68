"""A picture with what is perceived written on it, for who looks at a robot's pictures."""

from __future__ import annotations

import textwrap

import cv2
import numpy as np

WIDTH = 60  # characters in a line of a picture 640 wide
FONT = cv2.FONT_HERSHEY_SIMPLEX


def annotated(jpeg: bytes, text: str) -> bytes:
    """The same picture as JPEG, with the text on a dark bar at its foot."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None, "the ring keeps JPEGs of its own"
    height, width = image.shape[:2]
    scale, lines = width / 1280, textwrap.wrap(text, WIDTH)
    row = round(36 * scale)
    top = height - row * len(lines) - row // 2
    bar = slice(max(0, top), None)
    image[bar] = image[bar] // 3
    for place, line in enumerate(lines):
        cv2.putText(
            image, line, (row // 2, top + row * (place + 1)), FONT, scale, (255, 255, 255), max(1, round(2 * scale)), cv2.LINE_AA
        )
    return cv2.imencode(".jpg", image)[1].tobytes()
