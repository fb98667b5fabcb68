"""The shipped film, watched at its own speed through the whole chain and asked about: three questions with known answers.

It only uses the agent as anybody would; all it adds is the film and the comparison.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from favor_stream.agent import Agent
from favor_stream.config import SHIPPED, Config
from favor_stream.errors import DeviceError
from favor_stream.records import Answer, Event

FILM, QUESTIONS = "demo.mp4", "demo.json"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about the film, and what is true."""

    question: str
    expected: str
    needs: str  # "sight" | "sound" | "order in time"
    at_s: float  # asked when the film has come to here, or at its end


def run(config: Config, folder: Path = SHIPPED) -> int:
    """Plays the film of a folder and asks its questions; 0 when every answer is right, else 1.

    Raises DeviceError when the film or its questions are missing.
    """
    asked = questions(folder / QUESTIONS)
    if not (folder / FILM).is_file():
        raise DeviceError(f"no {FILM} in {folder}; fetch the folder again")
    screen = Console(soft_wrap=True, highlight=False, markup=False)  # where it is no terminal, these are plain lines
    right = asyncio.run(_play(folder / FILM, asked, config, screen))
    screen.print(f"{right} of {len(asked)} answers are right.")
    return 0 if right == len(asked) else 1


def questions(path: Path) -> list[Asked]:
    """The questions of a film in the order in which they are asked. Raises DeviceError for a file that holds none."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["questions"]
        asked = [Asked(row["question"], row["expected"], row["needs"], float(row["at_s"])) for row in rows]
    except OSError as error:
        raise DeviceError(f"{path}: cannot be read ({error.strerror}); fetch the folder again") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(f"{path}: holds no questions as the demo expects them ({error!r}); fetch the folder again") from error
    return sorted(asked, key=lambda one: one.at_s)


def is_right(answer: str, expected: str) -> bool:
    """The same words in the same order; case and punctuation do not count."""
    return _words(answer) == _words(expected)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


async def _play(film: Path, asked: list[Asked], config: Config, screen: Console) -> int:
    """Returns the number of right answers."""
    screen.print(f"Playing {film.name} at its own speed.\n")
    right = 0
    agent = Agent(str(film), config=config)
    events = agent.events()  # before entering, so that none is missed
    async with agent:
        telling = asyncio.create_task(_tell(events, screen), name="tell")
        for one in asked:
            await agent.until(one.at_s)
            lag_s = agent.lag_s
            answer = await agent.answer(one.question)
            right += is_right(answer.text, one.expected)
            _show(one, answer, lag_s, screen)
        await telling
        screen.print(f"\n{figures(agent)}", style="dim")
    return right


async def _tell(events: AsyncIterable[Event], screen: Console) -> None:
    async for event in events:
        screen.print(f"{event.time_s:6.1f} s  {event.text}", style=None if event.kind == "perceived" else "yellow")


def _show(one: Asked, answer: Answer, lag_s: float, screen: Console) -> None:
    right = is_right(answer.text, one.expected)
    verdict = "right" if right else f"WRONG, expected: {one.expected}"
    when = f"asked at {answer.heard_until_s:.1f} s, {lag_s:.1f} s behind"
    screen.print(f"\n        > {one.question}  (needs {one.needs}; {when})", style="bold")
    style = "green" if right else "red"
    screen.print(f"          {answer.text}  ({verdict}; first token after {answer.first_token_s:.3f} s)\n", style=style)


def figures(agent: Agent) -> str:
    """One line that says how the agent kept up."""
    counts = agent.counts
    return (
        f"{counts.pictures_in} pictures came, {counts.pictures_dropped} dropped; "
        f"{counts.samples_missing} samples of sound missing; {agent.tokens} tokens in the cache"
    )
