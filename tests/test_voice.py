"""Questions that are spoken: when somebody has finished, and that each is answered once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from media import tone
from tiny import talkative_model

from favor_stream.agent import Agent
from favor_stream.clip import write_film
from favor_stream.config import Config
from favor_stream.model import weights
from favor_stream.records import RATE, Answer
from favor_stream.session import SAID_LAST, SPOKEN
from favor_stream.voice import Utterances, is_question


def ends(loudness: list[float]) -> list[int]:
    utterances = Utterances()
    return [k for k, each in enumerate(loudness) if utterances.step(each)]


def test_utterance_ends_once_it_has_been_quiet_for_a_second() -> None:
    assert ends([0.001] * 4 + [0.1] * 3 + [0.001] * 6) == [8]


def test_pause_between_words_ends_nothing() -> None:
    assert ends([0.001] * 4 + [0.1, 0.1, 0.001, 0.1, 0.1] + [0.001] * 4) == [10]


@pytest.mark.parametrize("room", [0.0, 0.005, 0.02, 0.1])
def test_room_s_own_noise_is_nobody_speaking(room: float) -> None:
    rng = np.random.default_rng(0)
    assert ends((room * rng.uniform(0.8, 1.2, 100)).tolist()) == []
    loud = [*[room] * 10, *[max(0.05, 4 * room)] * 3, *[room] * 4]
    assert ends(loud) == [14]


def test_question_begins_with_a_word_that_asks() -> None:
    assert is_question("what colour is the cross")
    assert is_question("Did you hear a bell")
    assert not is_question("switch off the lamp")
    assert not is_question("")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["what colour is the star"], 1),
        (["what colour is the star", "what colour is the star"], 1),
        (["what colour is the star", "good morning", "what colour is the star"], 2),
        (["open the door"], 0),
    ],
)
def test_each_question_is_answered_once(said: list[str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound that comes and goes stands for speech; what the model makes of it is given."""
    weights.save(tmp_path / "tiny", *talkative_model(), {})
    silence = np.zeros(2 * RATE, np.float32)
    sound = np.concatenate([silence, *(part for _ in said for part in (tone(1.0, level=0.2), silence))])
    write_film(tmp_path / "film.mp4", [np.zeros((16, 16, 3), np.uint8)] * 4, 4.0, sound)
    left = list(said)

    async def answer(self: Agent, question: str, keep: bool = False) -> Answer:
        assert question in (SAID_LAST, SPOKEN)
        text = left.pop(0) if question == SAID_LAST else "what colour is the star? red"
        return Answer(question, text, self.heard_until_s, 0.0, 0.0)

    monkeypatch.setattr(Agent, "answer", answer)

    async def run() -> list[str]:
        config = Config(weights=tmp_path / "tiny", voice=True)
        agent = Agent(str(tmp_path / "film.mp4"), config=config, pace="fast", perceive_every=0)
        events = agent.events()
        async with asyncio.timeout(30), agent:
            return [event.text async for event in events if event.kind == "answer"]

    assert asyncio.run(run()) == ["what colour is the star? red"] * expected
    assert not left
