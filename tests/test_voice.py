"""Questions that are spoken: when somebody has finished, and that each is answered once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from media import tone
from tiny import talkative_model

import favor_stream.agent
from favor_stream.agent import Agent
from favor_stream.aveb.lexicon import SOUNDS
from favor_stream.aveb.noises import noise
from favor_stream.aveb.speech import HELD_OUT_VOICES, say
from favor_stream.clip import write_film
from favor_stream.config import Config
from favor_stream.model import weights
from favor_stream.records import RATE, SLICE_SAMPLES, Answer, Sound
from favor_stream.session import SAID_LAST, SPOKEN
from favor_stream.vad import VoiceActivity
from favor_stream.voice import Utterances, is_question


def ends(spoken: list[float]) -> list[int]:
    utterances = Utterances()
    return [k for k, each in enumerate(spoken) if utterances.step(each)]


def test_utterance_ends_once_it_has_been_quiet_for_a_second() -> None:
    assert ends([0.0] * 4 + [0.4, 1.0, 0.2] + [0.0] * 6) == [8]


def test_pause_between_words_ends_nothing() -> None:
    assert ends([0.0] * 4 + [0.9, 0.9, 0.0, 0.9, 0.9] + [0.0] * 4) == [10]


@pytest.fixture
def activity() -> VoiceActivity:
    pytest.importorskip("silero_vad")
    return VoiceActivity()


def shares(activity: VoiceActivity, sound: Sound) -> list[float]:
    whole = sound[: len(sound) // SLICE_SAMPLES * SLICE_SAMPLES]
    return [activity.share(part) for part in whole.reshape(-1, SLICE_SAMPLES)]


def test_voices_are_speech_and_noises_are_not(activity: VoiceActivity) -> None:
    pytest.importorskip("espeakng_loader")
    pause = np.zeros(RATE, np.float32)
    said = 0.4 * say("please switch on the lamp in the kitchen", HELD_OUT_VOICES[0], 150, 50).sound
    assert max(shares(activity, np.concatenate([pause, said, pause]))) == 1.0
    for kind in SOUNDS:
        assert np.mean(shares(activity, np.concatenate([pause, 0.4 * noise(kind, 1.5, 3), pause]))) < 0.1, kind


def test_every_sample_is_heard_once_however_it_is_cut(activity: VoiceActivity) -> None:
    sound = (0.1 * np.random.default_rng(0).standard_normal(4 * SLICE_SAMPLES)).astype(np.float32)
    halves = [VoiceActivity().share(sound), np.mean(shares(activity, sound))]
    assert halves[0] == pytest.approx(halves[1], abs=0.02)


class Loudness:
    """Stands for voice activity where sound that comes and goes stands for speech."""

    def share(self, sound: Sound) -> float:
        return float(np.abs(sound).max() > 0.05)


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

    async def answer(self: Agent, question: str) -> Answer:
        assert question in (SAID_LAST, SPOKEN)
        text = left.pop(0) if question == SAID_LAST else "what colour is the star? red"
        return Answer(question, text, self.heard_until_s, 0.0, 0.0)

    monkeypatch.setattr(Agent, "answer", answer)
    monkeypatch.setattr(favor_stream.agent, "hearing", Loudness)

    async def run() -> list[str]:
        config = Config(weights=tmp_path / "tiny", voice=True)
        agent = Agent(str(tmp_path / "film.mp4"), config=config, pace="fast", perceive_every=0)
        events = agent.events()
        async with asyncio.timeout(30), agent:
            return [event.text async for event in events if event.kind == "answer"]

    assert asyncio.run(run()) == ["what colour is the star? red"] * expected
    assert not left
