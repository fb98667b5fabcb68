"""LibriSpeech test-clean: SPEAKER/CHAPTER/ holds one .flac an utterance and a .trans.txt of them all."""

from __future__ import annotations

from collections.abc import Iterator

from favor_stream.aveb.sets.files import Files
from favor_stream.aveb.sets.item import Item, Media
from favor_stream.aveb.sets.lists import lines
from favor_stream.errors import ConfigError

SPLIT, TRANSCRIPT = "test-clean", ".trans.txt"
QUESTION = "write down what was said"


def read(files: Files) -> Iterator[Item]:
    transcripts = [path for path in files.ending(TRANSCRIPT) if SPLIT in path.absolute().parts]
    if not transcripts:
        raise ConfigError(f"{files.folder}: there is no {SPLIT}/SPEAKER/CHAPTER/*{TRANSCRIPT} in it; {files.advice}")
    files.lists += transcripts
    for path in transcripts:
        for _, (utterance, text) in lines(path, words=2):
            yield Item(utterance, Media(sound=files.wanted(f"{utterance}.flac")), QUESTION, (text,))
