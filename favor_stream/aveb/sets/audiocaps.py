"""AudioCaps: test.csv has five captions of each clip; the clips are of YouTube, and are named by who downloads them."""

from __future__ import annotations

from collections.abc import Iterator

from favor_stream.aveb.sets.files import SOUNDS, Files, endings
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.lists import rows

QUESTION = "describe the sounds in one sentence"


def read(files: Files) -> Iterator[Item]:
    captions: dict[tuple[str, str], list[str]] = {}
    for row in rows(files.listing("test.csv"), ("audiocap_id", "youtube_id", "start_time", "caption")):
        clip = row.text("youtube_id"), row.text("start_time")
        captions.setdefault(clip, []).append(row.text("caption"))
    for (video, start_s), told in captions.items():
        stems = (f"{video}_{start_s}", f"Y{video}_{start_s}", video, f"Y{video}")
        yield Item(stems[0], Media(sound=files.wanted(*endings(stems, SOUNDS))), QUESTION, tuple(told))
