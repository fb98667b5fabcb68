"""How much of everything a run of training makes and learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from favor_stream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Budget:
    """Clips that are made, and steps of the optimiser."""

    clips: int  # films, with pictures and sound
    odd: int  # the same, with things that have no name
    speech: int  # of 8 s, sound alone, dense with speech
    sight: int
    hearing: int
    language: int
    distil: int
    join: int
    batch: int = 1  # times as many clips and memories in each batch

    def further(self) -> Budget:
        """For weights that know most of it already."""
        data = {"odd": self.odd // 2, "speech": self.speech // 2}
        senses = {"sight": self.sight // 5, "hearing": self.hearing // 5}
        return replace(self, **data, **senses, language=self.language // 10, distil=self.distil // 2, join=self.join // 2)


NEEDED = {  # what steps of each stage are taught with
    "sight": ("clips",),
    "hearing": ("speech",),
    "distil": ("clips", "odd", "speech"),
    "join": ("clips", "odd", "speech"),
}


def budgeted(budget: Budget, other: Mapping[str, int]) -> Budget:
    """With other numbers, by their names. ConfigError for a name or a number that is none, and for steps without data."""
    known = asdict(budget)
    if unknown := other.keys() - known.keys():
        raise ConfigError(f"a budget knows no {min(unknown)!r}; expected some of: {', '.join(known)}")
    for name, number in other.items():
        if type(number) is not int or number < 0:
            raise ConfigError(f"{name} is {number!r} in the budget; expected a whole number from 0")
    made = known | dict(other)
    if made["batch"] < 1:
        raise ConfigError(f"batch is {made['batch']} in the budget: expected 1 or more")
    for stage, needed in NEEDED.items():
        if made[stage] and (lacking := [name for name in needed if not made[name]]):
            raise ConfigError(
                f"{lacking[0]} is 0 in the budget, and {stage} has {made[stage]} steps: expected 1 or more, or no steps"
            )
    if not any(made[stage] for stage in NEEDED):
        raise ConfigError(f"no step of any stage in the budget: expected some of {', '.join(NEEDED)}")
    return Budget(**made)
