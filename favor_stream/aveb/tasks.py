"""AVEB's eleven tasks on clips of the generated world, and those of a stream that no benchmark of the field has.

Add a task here; what its clips are like is in `scenes`, what is asked of them in `kinds`. Watching and remembering have tables of
their own (`watching`, `remembering`).
"""

from __future__ import annotations

from dataclasses import dataclass

from favor_stream.aveb.questions import FOLLOW_UP

DENSITY = 1.5  # how much happens in a film


@dataclass(frozen=True, slots=True)
class Task:
    name: str  # as `eval --tasks` has it
    asked: tuple[tuple[str, tuple[str, ...]], ...]  # settings of its clips, and kinds of question to each
    metric: str  # one of metrics.METRICS
    goal: float | None = None
    duration_s: float = 16.0
    is_seen: bool = True  # False: the pictures are kept from the model
    snr_db: float | None = None
    is_cut: bool = False  # asked at any half second, not at the end
    half_of: str = ""  # its goal: half of the errors of another task, or fewer
    aveb: str = ""  # what AVEB calls it, where it has it

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for _, kinds in self.asked for kind in kinds)


HAPPENED = ("first", "last", "after", "before", "sound_order", "cross_order", "motion", "count_things", "count_sound")
TOGETHER = ("seen_during", "heard_during", "saw", "heard")
SAID = (("slides", ("said",)),)


def in_noise(snr_db: float) -> tuple[Task, Task]:
    """Slides that are read aloud in so much noise, and the same without the pictures."""
    by_ear = f"speech at {snr_db:g} dB by ear"
    seen = Task(f"speech at {snr_db:g} dB", SAID, "WER", None, 10.0, snr_db=snr_db, half_of=by_ear, aveb="AVSR")
    return seen, Task(by_ear, SAID, "WER", None, 10.0, is_seen=False, snr_db=snr_db)


TASKS = (
    Task("speech", (("speech", ("said", "said_last")),), "WER", 0.03, aveb="ASR"),
    Task("sounds", (("sounds", ("sounds",)),), "F1", 0.90, aveb="AAC"),
    Task("sounds in order", (("sounds", ("sounds",)),), "accuracy"),
    Task("captions", (("picture", ("caption",)),), "attributes", 0.95, 2.0, aveb="IC"),
    Task("printed words", (("reading", ("word",)),), "accuracy", 0.95, 2.0, aveb="OCR"),
    Task(
        "pictures",
        (("picture", ("colour", "shape", "size", "side", "beside", "how_many")),),
        "accuracy",
        0.95,
        2.0,
        aveb="VQA",
    ),
    Task("films", (("film", HAPPENED + TOGETHER), ("causes", ("why",))), "accuracy", 0.90, aveb="video QA"),
    *in_noise(10.0),
    *in_noise(0.0),
    *in_noise(-5.0),
    Task("dialogues", (("film", (FOLLOW_UP,)),), "accuracy", 0.90, aveb="AVSD"),
    Task("spoken questions", (("asked_aloud", ("spoken",)),), "accuracy", 0.85, 6.0, aveb="ISQA"),
    Task("sound sources", (("source", ("source",)),), "accuracy", 0.90, aveb="AVSSD"),
    Task("matching", (("source", ("fits_in_time",)), ("naming", ("fits_in_words",))), "accuracy", 0.95, aveb="AVM"),
    Task("story", (("film", ("story",)),), "F1", 0.90),
    Task("now", (("film", ("now_see", "now_hear", "sees", "hears")),), "accuracy", 0.95, is_cut=True),
    Task("again", (("recurring", ("sees",)),), "accuracy", is_cut=True),
    Task("when", (("film", ("seen_ago", "heard_ago")),), "within 1 s"),
)
