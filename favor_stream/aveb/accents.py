"""Accents of English that nobody has: which sounds become which, drawn from a number, as espeak-ng voice files.

A listener that knows many understands one more. Their tables of phonemes are those of the training accents, never those of the
held-out ones; a single change of sound may be found in these too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

PREFIX = "invented"  # and a number: such an accent
NAMES = tuple(f"{PREFIX}{number}" for number in range(48))

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


@contextmanager
def data_with(accent: str, data_path: str) -> Iterator[str]:
    """espeak-ng's data, and where the accent is an invented one, a folder in which it lies beside them."""
    if not accent.startswith(PREFIX):
        yield data_path
        return
    with TemporaryDirectory(prefix="accent") as folder:
        voices = Path(folder, "voices")
        voices.mkdir()
        for path in Path(data_path).iterdir():
            if path.name != voices.name:
                (Path(folder) / path.name).symlink_to(path)
        (voices / "!v").symlink_to(Path(data_path, "voices", "!v"))
        (voices / accent).write_text(voice_file(int(accent.removeprefix(PREFIX))), encoding="utf-8")
        yield folder
