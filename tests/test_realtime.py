"""Conversations in the Realtime interface: OpenAI's own client and a plain one, over a real connection."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import numbered, pitch_hz, tone

from favor_stream.capture.inlet import Brought, Inlet
from favor_stream.clip import snapshot_jpeg
from favor_stream.config import Config
from favor_stream.errors import ConfigError
from favor_stream.records import RATE, Event

pytest.importorskip("fastapi")
pytest.importorskip("openai")
pytest.importorskip("websockets")

import openai
import websockets
from serving import TOKEN, served

from favor_stream.web import dialogue, realtime
from favor_stream.web import streams as many
from favor_stream.web.pacing import BEAT_SAMPLES, MOST_AHEAD_S, PCM_RATE, Pacer


def conversed(config: Config, calls: Any) -> Any:
    """What `calls(streams, connect)` returns; `connect(query)` is a connection that was greeted."""

    async def run() -> Any:
        with tempfile.TemporaryDirectory() as state:
            async with served(replace(config, state=Path(state))) as (streams, http):
                address = str(http.base_url).replace("http", "ws", 1)

                @asynccontextmanager
                async def connect(query: str = "") -> AsyncIterator[Talk]:
                    bearer = {"authorization": f"Bearer {TOKEN}"}
                    async with websockets.connect(f"{address}/v1/realtime{query}", additional_headers=bearer) as socket:
                        yield Talk(socket)

                return await calls(streams, connect)

    return asyncio.run(run())


class Talk:
    """One program's side of a conversation."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def send(self, kind: str, **what: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **what}))

    async def told(self) -> dict[str, Any]:
        return dict(json.loads(await self.socket.recv()))

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """All that is told up to the first event of that kind."""
        events = [await self.told()]
        while events[-1]["type"] != kind:
            events.append(await self.told())
        return events

    async def says(self, *content: dict[str, Any], role: str = "user") -> None:
        await self.send("conversation.item.create", item={"type": "message", "role": role, "content": list(content)})
        await self.until("conversation.item.done")

    async def answer(self, **response: Any) -> list[dict[str, Any]]:
        await self.send("response.create", response=response)
        return await self.until("response.done")


def text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}


def pcm(seconds: float) -> str:
    return base64.b64encode((tone(seconds, rate_hz=PCM_RATE) * 32_767).astype("<i2").tobytes()).decode()


def picture(number: int = 3) -> dict[str, Any]:
    jpeg = base64.b64encode(snapshot_jpeg(numbered(number))).decode()
    return {"type": "input_image", "image_url": f"data:image/jpeg;base64,{jpeg}"}


def overheard(agent: Any) -> list[Any]:
    """What the agent is asked from now on, with the turns before it."""
    questions: list[Any] = []
    ask = agent.ask

    def noted(question: str, **settings: Any) -> Any:
        questions.append((question, settings.get("earlier")))
        return ask(question, **settings)

    agent.ask = noted
    return questions


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def test_question_in_text_is_answered_event_by_event(config: Config) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        async with connect("?model=tiny:test") as talk:
            created = await talk.told()
            await talk.says(text("what do you see now?"))
            return created, await talk.answer(), [each.name for each in streams.all]

    created, events, names = conversed(config, calls)
    assert (created["type"], created["session"]["model"]) == ("session.created", "tiny:test")
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert kinds([event for event in events if event["type"] != "response.output_text.delta"]) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    done = events[-1]["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "output_text", "text": "".join(deltas)}]
    assert len(deltas) > 1
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"]
    assert done["usage"]["input_tokens"] > done["usage"]["input_token_details"]["cached_tokens"] > 0
    assert len({event["event_id"] for event in events}) == len(events)
    assert names == ["test"]  # it has brought none


def test_openai_client_converses_unchanged(config: Config) -> None:
    async def run() -> list[Any]:
        with tempfile.TemporaryDirectory() as state:
            async with served(replace(config, state=Path(state))) as (_, http):
                address = f"{http.base_url}/v1"
                client = openai.AsyncOpenAI(base_url=address, api_key=TOKEN, max_retries=0)
                async with client, client.realtime.connect(model="tiny") as connection:
                    await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
                    content: list[Any] = [text("what do you see now?")]
                    item: Any = {"type": "message", "role": "user", "content": content}
                    await connection.conversation.item.create(item=item)
                    await connection.response.create()
                    events: list[Any] = [await connection.recv()]
                    while events[-1].type != "response.done":
                        events.append(await connection.recv())
                    return events

    events = asyncio.run(run())
    assert [event.type for event in events[:4]] == [
        "session.created",
        "session.updated",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert events[1].session.output_modalities == ["text"]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert events[-1].response.output[0].content[0].text == "".join(deltas) != ""
    assert events[-1].response.usage.output_tokens > 0


def test_sound_and_pictures_become_a_stream_that_is_asked_and_ends_with_the_connection(config: Config) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        async with connect() as talk:
            await talk.told()
            for _ in range(3):
                await talk.send("input_audio_buffer.append", audio=pcm(0.3))
            await talk.send("input_audio_buffer.commit")
            committed = await talk.until("conversation.item.done")
            own = streams.all[-1]
            asked = overheard(own.agent)
            first = (await talk.answer())[-1]["response"]
            heard = own.agent.clip(60.0).sound
            await talk.says(picture(), text("what is this?"))
            second = (await talk.answer())[-1]["response"]
            seen = own.agent.counts.pictures_used
            names = [each.name for each in streams.all]
        async with asyncio.timeout(10):
            while len(streams.all) > 1:
                await asyncio.sleep(0.02)
        return committed, first, second, asked, heard, seen, names

    committed, first, second, asked, heard, seen, names = conversed(config, calls)
    assert kinds(committed) == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    assert committed[1]["item"]["id"] == committed[0]["item_id"]
    assert (first["status"], second["status"]) == ("completed", "completed")
    assert names[0] == "test"
    assert len(names) == 2
    assert asked == [("answer the spoken question", None), ("what is this?", [])]  # what was said aloud has no words here
    assert np.count_nonzero(abs(heard) > 0.01) > 0.8 * RATE  # all of it was heard before it was answered
    assert pitch_hz(heard) == pytest.approx(440, abs=3)
    assert seen > 0


def test_answer_follows_up_what_was_said_before(config: Config) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        asked = overheard(streams.find().agent)
        async with connect() as talk:
            await talk.told()
            await talk.says(text("be brief"), role="system")
            await talk.says(text("what is it?"))
            await talk.says({"type": "output_text", "text": "a ring"}, role="assistant")
            await talk.says(text("of which colour?"))
            said = (await talk.answer())[-1]["response"]["output"][0]["content"][0]["text"]
            await talk.says(text("and where?"))
            await talk.answer()
        return said, asked

    said, asked = conversed(config, calls)
    first = ("what is it?", "a ring")
    assert asked == [("of which colour?", [first]), ("and where?", [first, ("of which colour?", said)])]


def test_answer_is_cancelled_and_one_is_written_at_a_time(config: Config) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        async with connect() as talk:
            await talk.told()
            await talk.says(text("what do you see now?"))
            async with streams.find().agent._entered._asking:  # somebody else is being answered
                await talk.send("response.create")
                await talk.until("response.content_part.added")
                await talk.send("response.create", event_id="mine")
                twice = await talk.told()
                await talk.send("response.cancel")
                cancelled = (await talk.until("response.done"))[-1]
            await talk.send("response.cancel")
            idle = await talk.told()
            return twice, cancelled, idle, (await talk.answer())[-1]

    twice, cancelled, idle, after = conversed(config, calls)
    assert (twice["error"]["code"], twice["error"]["event_id"]) == ("conversation_already_has_active_response", "mine")
    assert cancelled["response"]["status"] == "cancelled"
    assert idle["error"]["code"] == "response_cancel_not_active"
    assert after["response"]["status"] == "completed"


def test_answer_that_cannot_be_given_has_failed_and_one_may_be_cut_short(config: Config) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        async with connect() as talk:
            await talk.told()
            await talk.says(text("word " * 2000))
            failed = (await talk.answer())[-1]["response"]
            await talk.says(text("what do you see now?"))
            return failed, (await talk.answer(max_output_tokens=2))[-1]["response"]

    failed, short = conversed(config, calls)
    assert (failed["status"], failed["output"][0]["content"]) == ("failed", [])
    assert "question" in failed["status_details"]["error"]["message"]
    assert (short["status"], short["status_details"]["reason"]) == ("incomplete", "max_output_tokens")


def test_events_of_the_stream_are_told_to_who_wants_them(config: Config) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        agent = streams.find().agent
        agent.publish(Event("lost", 1.0, "before anybody asked"))
        async with connect("?stream=test") as talk:
            await talk.told()
            await talk.send("session.update", session={"type": "realtime", "favor": {"events": True}})
            updated = await talk.told()
            agent.publish(Event("lost", 2.0, "the camera is gone"))
            told = await talk.told()
            await talk.send("session.update", session={"favor": {"events": False}})
            await talk.told()
            agent.publish(Event("lost", 3.0, "again"))
            await talk.send("input_audio_buffer.clear")
            return updated, told, (await talk.told())["type"]

    updated, told, last = conversed(config, calls)
    assert updated["session"]["favor"] == {"events": True}
    assert (told["type"], told["stream"], told["event"]["text"]) == ("favor.event", "test", "the camera is gone")
    assert told["event"]["number"] > 0
    assert last == "input_audio_buffer.cleared"


BAD_EVENTS: list[tuple[str, str]] = [
    ("{", "no JSON"),
    ("[]", "no event"),
    ("{}", "Unable to extract tag using discriminator 'type'"),
    ('{"type": "response.sing"}', "Input tag 'response.sing' found using 'type' does not match any of the expected tags"),
    ('{"type": "session.update", "session": {"output_modalities": ["audio"]}}', "Input should be 'text'"),
    ('{"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}}', "'audio/pcm'"),
    ('{"type": "session.update", "session": {"audio": {"input": {"turn_detection": {}}}}}', "Input should be None"),
    ('{"type": "input_audio_buffer.append"}', "audio: Field required"),
    ('{"type": "input_audio_buffer.append", "audio": "!"}', "no base64"),
    ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "3 bytes of sound; expected 16-bit samples"),
    ('{"type": "input_audio_buffer.commit"}', "no sound has come"),
    ('{"type": "response.create"}', "nothing was asked"),
    ('{"type": "response.create", "response": {"input": []}}', "Input should be None"),
    ('{"type": "conversation.item.create", "item": {"type": "function_call"}}', "Input should be 'message'"),
    (
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": '
        '[{"type": "input_image", "image_url": "https://elsewhere.example/one.jpg"}]}}',
        "expected data:image/jpeg",
    ),
]


def test_event_that_is_none_is_told_in_one_line_and_the_conversation_goes_on(config: Config) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        errors = []
        async with connect() as talk:
            await talk.told()
            for event, _ in BAD_EVENTS:
                await talk.socket.send(event)
                errors.append(await talk.told())
            await talk.send("response.sing", event_id="song")
            named = await talk.told()
            await talk.says(text("what do you see now?"))
            return errors, named, (await talk.answer())[-1]["response"]["status"]

    errors, named, status = conversed(config, calls)
    for error, (_, complaint) in zip(errors, BAD_EVENTS, strict=True):
        assert error["type"] == "error"
        assert complaint in error["error"]["message"]
        assert "\n" not in error["error"]["message"]
    assert named["error"]["event_id"] == "song"
    assert status == "completed"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.sing", "event_id": "\ud800"},
        {"type": "conversation.item.create", "item": {"role": "user", "content": [text("what is \ud800?")]}},
    ],
)
def test_half_a_character_is_refused_and_the_conversation_goes_on(config: Config, event: dict[str, Any]) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        async with connect() as talk:
            await talk.told()
            await talk.socket.send(json.dumps(event))
            error = await talk.told()
            await talk.says(text("what do you see now?"))
            return error, (await talk.answer())[-1]["response"]["status"]

    error, status = conversed(config, calls)
    assert (error["type"], status) == ("error", "completed")
    assert error["error"]["event_id"] == event.get("event_id")


def test_who_sends_too_much_that_is_wrong_or_too_often_is_told_so(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        async with connect() as talk:
            await talk.told()
            for _ in range(5):
                await talk.send("response.cancel")
            codes = [(await talk.told())["error"]["code"] for _ in range(5)]
            await talk.socket.wait_closed()
            return codes, talk.socket.close_code

    monkeypatch.setattr(realtime, "MOST_PER_S", 1)
    monkeypatch.setattr(realtime, "MOST_WRONG", 5)
    codes, closed = conversed(config, calls)
    assert codes[:2] == ["response_cancel_not_active"] * 2
    assert codes[-1] == "rate_limit_exceeded"
    assert closed == 1008


@pytest.mark.parametrize("query", ["?model=gpt-realtime", "?model=tiny:cellar", "?stream=cellar"])
def test_stream_that_is_not_there_is_told_before_anything_is_said(config: Config, query: str) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        async with connect(query) as talk:
            error = await talk.told()
            await talk.socket.wait_closed()
            return error, talk.socket.close_code

    error, closed = conversed(config, calls)
    assert "is called" in error["error"]["message"]
    assert closed == 1008


def test_nobody_converses_without_the_token(config: Config) -> None:
    async def run() -> int:
        with tempfile.TemporaryDirectory() as state:
            async with served(replace(config, state=Path(state))) as (_, http):
                with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
                    await websockets.connect(f"{str(http.base_url).replace('http', 'ws', 1)}/v1/realtime")
                return int(refused.value.response.status_code)

    assert asyncio.run(run()) == 401


def test_who_leaves_in_the_middle_of_an_answer_holds_up_nobody(config: Config) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        async with connect() as talk:
            await talk.says(text("what do you see now?"))
            await talk.send("input_audio_buffer.append", audio=pcm(0.1))
            await talk.send("response.create")
            await talk.until("response.output_text.delta")
        async with connect("?model=tiny:test") as talk:
            await talk.told()
            await talk.says(text("what do you see now?"))
            return (await talk.answer())[-1]["response"]["status"]

    assert conversed(replace(config, max_answer_tokens=64), calls) == "completed"


def test_stream_that_was_removed_is_missed_clearly(config: Config) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        async with connect() as talk:
            await talk.told()
            await talk.says(picture(), text("what is this?"))
            await streams.remove(streams.all[-1].name)
            await talk.send("response.create")
            return await talk.told()

    assert "no stream is called" in conversed(config, calls)["error"]["message"]


def test_who_cannot_bring_a_stream_of_its_own_goes_on_with_the_other(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    async def calls(streams: Any, connect: Any) -> Any:
        async with connect() as talk:
            await talk.told()
            await talk.send("input_audio_buffer.append", audio=pcm(0.1))
            error = await talk.told()
            await talk.says(text("what do you see now?"))
            return error, (await talk.answer())[-1]["response"]["status"]

    monkeypatch.setattr(many, "MOST_STREAMS", 1)
    error, status = conversed(config, calls)
    assert "1 streams are open" in error["error"]["message"]
    assert status == "completed"


def test_conversation_keeps_the_last_items() -> None:
    kept = dialogue.Conversation()
    for number in range(dialogue.MOST_ITEMS + 1):
        kept.add(dialogue.Item(role="user", content=[dialogue.InputText(type="input_text", text=f"question {number}?")]))
        kept.add(dialogue.Item(role="assistant", content=[dialogue.OutputText(type="output_text", text="yes")]))
    assert len(kept.earlier()) == dialogue.MOST_ITEMS // 2
    assert kept.question() == f"question {dialogue.MOST_ITEMS}?"


class Desk(Inlet):
    """An inlet that keeps what is brought."""

    def __init__(self) -> None:
        super().__init__("desk")
        self.brought: list[Brought] = []

    def put(self, brought: Brought) -> None:
        self.brought.append(brought)

    @property
    def heard(self) -> Any:
        return np.concatenate([each.sound for each in self.brought if each.sound is not None])


def test_sound_in_bursts_is_brought_steadily_and_whole() -> None:
    async def run() -> Desk:
        desk = Desk()
        pacer = Pacer(desk)
        pacing = asyncio.create_task(pacer.run())
        await asyncio.sleep(0.3)
        for piece in np.split(whole, 5):
            pacer.hear(piece.tobytes())
        pacer.finish()
        pacer.show(numbered(2))
        await asyncio.sleep(pacer.due_s - time.monotonic())
        pacing.cancel()
        with suppress(asyncio.CancelledError):
            await pacing
        return desk

    whole = (tone(0.5, rate_hz=PCM_RATE) * 32_767).astype("<i2")
    desk = asyncio.run(run())
    times_s = [each.captured_s for each in desk.brought if each.sound is not None]
    np.testing.assert_allclose(np.diff(times_s), BEAT_SAMPLES / RATE, atol=1e-6)
    loud = np.flatnonzero(abs(desk.heard) > 1e-3)
    assert len(desk.heard) % BEAT_SAMPLES == 0
    assert loud[0] >= 0.2 * RATE
    assert loud[-1] - loud[0] == pytest.approx(RATE / 2, abs=100)  # without a hole
    assert [each for each in desk.brought if each.frame is not None]


def test_sound_that_would_wait_too_long_is_refused_and_what_waits_can_be_dropped() -> None:
    pacer = Pacer(Desk())
    second = bytes(2 * PCM_RATE)
    for _ in range(int(MOST_AHEAD_S)):
        pacer.hear(second)
    with pytest.raises(ConfigError, match="send it as it is spoken"):
        pacer.hear(second)
    pacer.clear()
    pacer.hear(second)
