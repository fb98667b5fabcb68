"""Accents of English that nobody has: which sounds become which, drawn from a number, as espeak-ng voice files.

A listener that knows many understands one more. Their tables of phonemes are those of the training accents, never those of the
held-out ones; a single change of sound may be found in these too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from favor_stream.config import cache_folder

PREFIX = "invented"  # and a number: such an accent
NAMES = tuple(f"{PREFIX}{number}" for number in range(48))
_VOICES, _VARIANTS = "voices", "!v"  # folders of espeak-ng's data: the second lies in the first

# espeak-ng's tables of phonemes, and which of its dictionary's conditional rules go with each.
_TABLES = {"en": "", "en-us": "3 6", "en-sc": "2 5 6 7", "en-us-nyc": "3 6", "en-rp": "", "en-n": ""}

# A phoneme of espeak-ng and what it may become: its neighbours in the mouth, and what speakers make of it whose
# tongue does not have it.
VOWELS = {
    "I": ("i", "I2", "E"),
    "E": ("I", "a", "e@"),
    "a": ("E", "A:", "V"),
    "V": ("U", "A:", "a"),
    "O:": ("oU", "A:", "aU"),
    "oU": ("O:", "aU", "u:"),
    "eI": ("aI", "E", "i:"),
    "aI": ("OI", "A:", "eI"),
    "aU": ("oU", "A:", "a"),
    "i:": ("I", "eI"),
    "u:": ("U", "oU"),
    "U": ("u:", "V"),
    "3:": ("E", "O:", "A:"),
    "A@": ("a", "O:"),
    "o@": ("oU", "u:"),
    "e@": ("i:", "E"),
    "@": ("V", "E", "I"),
}
CONSONANTS = {
    "T": ("t", "f", "s"),
    "D": ("d", "v", "z"),
    "h": ("NULL",),
    "N": ("n",),
    "w": ("v",),
    "v": ("w", "f"),
    "z": ("s",),
    "r": ("w",),
    "tS": ("S",),
    "dZ": ("tS",),
}
_VOWEL_CHANGES, _CONSONANT_CHANGES = 0.25, 0.12  # the chance that one changes


def voice_file(number: int) -> str:
    """The accent as espeak-ng reads it."""
    rng = np.random.default_rng((number, 5))
    table = str(rng.choice(list(_TABLES)))
    lines = [f"name {PREFIX}{number}", "language en", f"phonemes {table}", f"intonation {rng.integers(1, 5)}"]
    lines += [f"dictrules {_TABLES[table]}"] if _TABLES[table] else []
    for sounds, chance in ((VOWELS, _VOWEL_CHANGES), (CONSONANTS, _CONSONANT_CHANGES)):
        lines += [f"replace 00 {old} {rng.choice(new)}" for old, new in sounds.items() if rng.random() < chance]
    return "\n".join(lines) + "\n"


@lru_cache
def data_with_accents(data_path: str) -> str:
    """A folder with espeak-ng's data, whose voices are the invented accents: made once for all processes, and kept.

    Making it for each phrase took a hundred times as long as saying the phrase.
    """
    data = [path for path in sorted(Path(data_path).iterdir()) if path.name != _VOICES]
    voices = {name: voice_file(number) for number, name in enumerate(NAMES)}
    folder = cache_folder() / f"accents-{sha256(repr((data, voices)).encode()).hexdigest()[:12]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as made:
            _fill(Path(made), [*data, Path(data_path, _VOICES, _VARIANTS)], voices)
            try:
                Path(made).rename(folder)
            except OSError:
                if not folder.exists():  # or another process was faster
                    raise
    return str(folder)


def _fill(folder: Path, data: Sequence[Path], voices: Mapping[str, str]) -> None:
    """Links to espeak-ng's data, the variants of a voice among the voices, and the voice files."""
    (folder / _VOICES).mkdir()
    for path in data:
        (folder / _VOICES if path.name == _VARIANTS else folder).joinpath(path.name).symlink_to(path)
    for name, text in voices.items():
        (folder / _VOICES / name).write_text(text, encoding="utf-8")
