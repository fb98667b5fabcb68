"""What a run of training teaches: to which model, how much, and by which lessons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from favor_stream.training.bank import SHARES, Lesson
from favor_stream.training.budget import Budget
from favor_stream.training.loop import Stage

GENTLY = 0.4  # of the usual rate, where weights are taught further


@dataclass(frozen=True, slots=True)
class Curriculum:
    model: str  # of `model.config.PRESETS`, where no weights are there to begin with
    budget: Budget
    slices: int  # of a film
    lessons: tuple[Lesson, ...]  # for a language model that knows nothing
    further: tuple[Lesson, ...]  # for one that can look things up
    rates: Mapping[str, float] = field(default_factory=dict)  # of stages, against the usual: a small model may take larger steps

    def stage(self, name: str, is_new: bool) -> Stage:
        return Stage(name, getattr(self.budget, name), self.rates.get(name, 1.0) * (1.0 if is_new else GENTLY))

    @property
    def rehearsal(self) -> tuple[Lesson, ...]:
        """What a language model goes on with while it learns together with the Q-Former."""
        return unexercised(self.lessons[-1:])


def unexercised(lessons: tuple[Lesson, ...]) -> tuple[Lesson, ...]:
    """Who can look things up has no more exercises: nobody asks so, and who has exercised long does not end an answer in time."""
    return tuple(replace(lesson, exercises=0.0) for lesson in lessons)


# A camera that stays on sees an empty room most of the time, and people say more than one thing: what came last, or all that was
# said, is then asked of a memory that is longer than a film and ends with nothing.
STAYING = (*(dict(SHARES) | {"film": 0.3, "over": 0.2, "speech": 0.06}).items(),)
# Looking things up begins in short memories; by a shape it is learned only where nearly every word is a look-up. What was found
# in short memories is not yet found in those four times as long.
LESSONS = (
    Lesson(400, (8,)),
    Lesson(1400, (16,), exercises=1.0),
    Lesson(2600, (16, 24, 32, 40)),
    Lesson(200, (16, 24, 32, 48, 80, 160)),
    Lesson(3400, (16, 24, 32, 40, 48, 64), exercises=0.25, settings=STAYING),
)
# Of what is asked about films little is found by a sound: after ten thousand steps that is still a guess. Four hundred steps
# that ask for hardly anything else, of short memories, teach most of it.
BY_SOUND = (("by_sound", 0.5), ("sounds", 0.4), ("causes", 0.1))
FURTHER = (
    Lesson(1, (8, 16), exercises=0.0, settings=BY_SOUND),
    Lesson(1, (16, 24, 32, 40), exercises=0.0, settings=BY_SOUND),
    Lesson(4, (16, 24, 32, 40, 48, 64), exercises=0.0, settings=(*STAYING, ("by_sound", 0.15))),
)
NANO = Curriculum(
    "favor-nano",
    Budget(2000, odd=2000, speech=14_000, sight=1500, hearing=6000, language=10_000, distil=1500, join=2000),
    slices=32,
    lessons=LESSONS,
    further=FURTHER,
)
SHORT = (Lesson(1, (8,)),)
# Minutes on two cores, after which pictures are told better than by chance; words and sounds are not.
SMOKE = Curriculum(
    "favor-pico",
    Budget(800, odd=10, speech=12, sight=240, hearing=5, language=215, distil=75, join=45),
    slices=6,
    lessons=SHORT,
    further=unexercised(SHORT),
    rates={"sight": 2.5, "language": 1.5, "join": 2.5},
)
CURRICULA = {"nano": NANO, "smoke": SMOKE}
