"""What is said of scenes, through the ring and the session that the live agent uses: in this process, or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO

from favor_stream.aveb.questions import Question
from favor_stream.aveb.staged import Scene
from favor_stream.aveb.workers import processes
from favor_stream.config import Config
from favor_stream.records import SLICE_S, Slice
from favor_stream.session import Session, load_session

RECENT_S = 2.0  # of the recent-window baseline


@dataclass(frozen=True, slots=True)
class Reply:
    question: Question
    full: str  # with the whole memory
    recent: str  # with the last 2 s only
    scene: Scene
    beside: tuple[str, ...] = ()  # by the models that are compared with it


Asked = tuple[Scene, Sequence[Question]]
Answerer = Callable[[Iterable[Asked]], Iterable[list[Reply]]]  # the replies about each scene, in the order of the scenes


def answer(session: Session, slices: Sequence[Slice], asked: Sequence[Question]) -> list[str]:
    """What the session says to each question after seeing `slices`, each on a branch of one memory."""
    session.reset()
    for index, item in enumerate(slices):
        session.see(replace(item, index=index))
    return ["".join(session.ask(question.text, earlier=question.earlier)).strip() for question in asked]


def replies(sessions: Sequence[Session], with_recent: bool, about: Asked) -> list[Reply]:
    """Questions about a scene, answered by the first session with the whole memory and the last 2 s (else ""), and by others."""
    scene, asked = about
    slices = list(scene.played(max(each.pictures for each in sessions)))
    full, *others = (answer(session, slices, asked) for session in sessions)
    recent = answer(sessions[0], slices[-int(RECENT_S / SLICE_S) :], asked) if with_recent else [""] * len(asked)
    beside = list(zip(*others, strict=True)) or [()] * len(asked)
    return [Reply(q, f, r, scene, o) for q, f, r, o in zip(asked, full, recent, beside, strict=True)]


def here(sessions: Sequence[Session], with_recent: bool = True) -> Answerer:
    """In this process, one scene after another."""
    return partial(map, partial(replies, sessions, with_recent))


@contextmanager
def answering(configs: Sequence[Config], workers: int) -> Iterator[Answerer]:
    """Of the first of these, and of the others beside it.

    Several workers are processes, each with models and a thread of its own: small models are hardly faster with more.
    """
    if workers > 1:
        configs = [replace(config, threads=config.threads or 1) for config in configs]
    sessions = [load_session(config) for config in configs]  # for workers too: what is wrong, or worth a warning, is told here
    if workers == 1:
        yield here(sessions)
        return
    with processes(workers, prepare, configs) as pool:
        yield partial(pool.map, reply)


_sessions: list[Session] = []  # of a process of its own


def prepare(configs: Sequence[Config]) -> None:
    with redirect_stderr(StringIO()):  # warnings were told where these were loaded first
        _sessions.extend(load_session(config) for config in configs)


def reply(about: Asked) -> list[Reply]:
    return replies(_sessions, True, about)
