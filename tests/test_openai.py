"""OpenAI's own client against the server: chats about the stream, about pictures and sound that come along, and bad requests."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media import numbered, tone

from favor_stream import glance
from favor_stream.clip import snapshot_jpeg
from favor_stream.config import Config
from favor_stream.errors import ConfigError
from favor_stream.records import RATE, SLICE_SAMPLES, Picture, Sound

pytest.importorskip("fastapi")
pytest.importorskip("openai")

import openai
from serving import TOKEN, served

from favor_stream.web import streams as many

MODEL = "tiny"  # of the tests, by its own name
QUESTION: list[Any] = [{"role": "user", "content": "what do you see now?"}]
NO_SOUND = np.zeros(0, np.float32)


def chatted(config: Config, calls: Any, token: str = TOKEN) -> Any:
    """What `calls(client, streams)` returns."""

    async def run() -> Any:
        with tempfile.TemporaryDirectory() as state:
            async with served(replace(config, state=Path(state))) as (streams, http):
                address = f"{http.base_url}/v1"
                async with openai.AsyncOpenAI(base_url=address, api_key=token, max_retries=0, timeout=30) as client:
                    return await calls(client, streams)

    return asyncio.run(run())


def completed(config: Config, **wanted: Any) -> Any:
    """The one completion of a request."""

    async def calls(client: Any, streams: Any) -> Any:
        return await client.chat.completions.create(**{"model": MODEL, "messages": QUESTION, **wanted})

    return chatted(config, calls)


def refusals(config: Config, cases: list[dict[str, Any]]) -> list[Any]:
    """What the client raises for each of these requests, in place of what they would change of a good one."""

    async def calls(client: Any, streams: Any) -> list[Any]:
        errors: list[Any] = []
        for wanted in cases:
            with pytest.raises(openai.APIStatusError) as caught:
                await client.chat.completions.create(**{"model": MODEL, "messages": QUESTION, **wanted})
            errors.append(caught.value)
        await client.chat.completions.create(model=MODEL, messages=QUESTION)  # all is well after
        return errors

    return list(chatted(config, calls))


def overheard(agent: Any) -> list[tuple[str, Any]]:
    """What the agent is asked from now on, with the turns before it."""
    questions: list[tuple[str, Any]] = []
    ask = agent.ask

    def noted(question: str, **settings: Any) -> Any:
        questions.append((question, settings["earlier"]))
        return ask(question, **settings)

    agent.ask = noted
    return questions


def png(picture: Picture) -> bytes:
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1, 1)
    return b"".join(bytes(packet) for packet in encoder.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))


def recording(sound: Sound, kind: str) -> bytes:
    file = BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream("pcm_s16le" if kind == "wav" else "libmp3lame", rate=RATE, layout="mono")
        whole = (sound * 32_767).astype(np.int16)[None] if kind == "wav" else sound[None]
        frame = av.AudioFrame.from_ndarray(whole, format="s16" if kind == "wav" else "fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def shown(picture: bytes, kind: str = "jpeg") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"}}


def heard(sound: bytes, kind: str = "wav") -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(sound).decode(), "format": kind}}


def test_models_are_one_for_each_stream_and_the_first_by_the_own_name(config: Config) -> None:
    async def calls(client: Any, streams: Any) -> tuple[list[str], str]:
        await streams.add(["lavfi:testsrc=size=64x48:rate=4"], "yard")
        return [model.id for model in (await client.models.list()).data], (await client.models.retrieve("tiny:yard")).id

    assert chatted(config, calls) == (["tiny", "tiny:test", "tiny:yard"], "tiny:yard")


def test_chat_is_answered_about_the_stream_that_the_model_names(config: Config) -> None:
    async def calls(client: Any, streams: Any) -> list[Any]:
        asked = overheard((await streams.add(["lavfi:testsrc=size=64x48:rate=4"], "yard")).agent)
        answered = [await client.chat.completions.create(model=model, messages=QUESTION) for model in (MODEL, "tiny:yard")]
        return [*answered, asked]

    first, second, asked = chatted(config, calls)
    assert asked == [("what do you see now?", [])]
    assert (first.model, second.model) == ("tiny", "tiny:yard")
    for answer in (first, second):
        assert answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
        assert answer.usage.completion_tokens > 0
        assert answer.usage.prompt_tokens > answer.usage.prompt_tokens_details.cached_tokens > 0


def test_pieces_of_a_streamed_answer_are_the_whole_answer(config: Config) -> None:
    async def calls(client: Any, streams: Any) -> list[Any]:
        usage = {"include_usage": True}
        answer = await client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True, stream_options=usage)
        return [chunk async for chunk in answer]

    chunks = chatted(config, calls)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert len(chunks) > 4
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_of_chunks_ends_as_it_is_documented(config: Config) -> None:
    async def run() -> list[str]:
        with tempfile.TemporaryDirectory() as state:
            async with served(replace(config, state=Path(state))) as (_, client):
                wanted = {"model": MODEL, "messages": QUESTION, "stream": True}
                answer = await client.post("/v1/chat/completions", json=wanted)
                return [line for line in answer.text.split("\n\n") if line]

    lines = asyncio.run(run())
    assert lines[-1] == "data: [DONE]"
    told = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert {each["object"] for each in told} == {"chat.completion.chunk"}
    assert not [each for each in told if "usage" in each]  # which nobody asked for


def test_answer_ends_where_so_many_tokens_were_asked_for(config: Config) -> None:
    short = completed(config, max_completion_tokens=2)
    assert short.choices[0].finish_reason == "length"
    assert short.usage.completion_tokens < completed(config).usage.completion_tokens


def test_answer_fills_a_schema(config: Config) -> None:
    pytest.importorskip("llguidance")
    form: dict[str, Any] = {"type": "object", "properties": {"seen": {"enum": ["ring", "dot"]}}, "required": ["seen"]}
    form |= {"additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "seen", "schema": form, "strict": True}}
    answer = completed(replace(config, max_answer_tokens=32), response_format=wanted)
    assert json.loads(answer.choices[0].message.content)["seen"] in ("ring", "dot")


def test_earlier_turns_and_what_clients_send_besides_are_taken(config: Config) -> None:
    async def calls(client: Any, streams: Any) -> Any:
        given = overheard(streams.find().agent)
        messages = [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "unanswered"},
            {"role": "user", "content": [{"type": "text", "text": "what is it?"}]},
            {"role": "assistant", "content": "a ring"},
            {"role": "user", "content": [{"type": "text", "text": "of which"}, {"type": "text", "text": "colour?"}]},
        ]
        harmless = {"temperature": 0.2, "top_p": 0.9, "user": "somebody", "n": 1, "stop": ["\n"], "seed": 7}
        answer = await client.chat.completions.create(
            model=MODEL, messages=messages, response_format={"type": "text"}, extra_body={"of_tomorrow": 1}, **harmless
        )
        return given, answer.choices[0].message.content

    given, text = chatted(config, calls)
    assert given == [("of which\ncolour?", [("what is it?", "a ring")])]
    assert text


BAD_REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({"n": 2}, "n: Input should be 1"),
    ({"messages": []}, "messages: List should have at least 1 item"),
    ({"messages": QUESTION * 1001}, "messages: List should have at most 1000 items"),
    ({"messages": [{"role": "system", "content": "be brief"}]}, "none is by the user"),
    ({"messages": [{"role": "nobody", "content": "?"}]}, "messages.0.role: Input should be"),
    ({"messages": [{"role": "user", "content": " "}]}, "blank"),
    ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content: Input should be a valid list"),
    ({"messages": [{"role": "user", "content": "x" * 70_000}]}, "more than 65536 characters"),
    ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "expected tags: 'text', 'image_url'"),
    ({"response_format": {"type": "json_object"}}, "expected tags: 'text', 'json_schema'"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "schema: Field required"),
    ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
]


def test_request_that_cannot_be_met_is_refused_in_one_line(config: Config) -> None:
    for refused, (_, complaint) in zip(refusals(config, [wanted for wanted, _ in BAD_REQUESTS]), BAD_REQUESTS, strict=True):
        assert isinstance(refused, openai.BadRequestError)
        assert complaint in refused.body["message"]  # type: ignore[index]
        assert "\n" not in str(refused)


def test_model_that_is_not_there_is_told_so(config: Config) -> None:
    for refused in refusals(config, [{"model": "gpt-4o"}, {"model": "tiny:cellar"}]):
        assert isinstance(refused, openai.NotFoundError)
        assert "is called" in str(refused)


def test_who_has_no_token_or_comes_when_all_places_are_taken_gets_the_right_error(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def calls(client: Any, streams: Any) -> list[type]:
        errors: list[type] = []
        for key in ("another", TOKEN):
            with pytest.raises(openai.APIStatusError) as caught:
                await client.with_options(api_key=key).chat.completions.create(model=MODEL, messages=QUESTION)
            errors.append(caught.type)
        return errors

    monkeypatch.setattr(many, "MOST_ASKING", 0)
    assert chatted(config, calls) == [openai.AuthenticationError, openai.RateLimitError]


def test_who_leaves_in_the_middle_of_an_answer_holds_up_nobody(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    async def calls(client: Any, streams: Any) -> str:
        async with await client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True) as answer:
            await anext(aiter(answer))
        while True:  # until the place is free again; the server's time is limited
            with suppress(openai.RateLimitError):
                return str((await client.chat.completions.create(model=MODEL, messages=QUESTION)).choices[0].message.content)
            await asyncio.sleep(0.05)

    monkeypatch.setattr(many, "MOST_ASKING", 1)
    assert chatted(replace(config, max_answer_tokens=64), calls)


def test_picture_and_sound_that_come_along_are_asked_about_alone(config: Config) -> None:
    async def calls(client: Any, streams: Any) -> list[Any]:
        await streams.remove("test")  # no stream is needed
        picture, sound = numbered(3), tone(0.7)
        parts = [
            [shown(snapshot_jpeg(picture)), {"type": "text", "text": "what is this?"}],
            [shown(png(picture), "png"), heard(recording(sound, "mp3"), "mp3"), {"type": "text", "text": "what is this?"}],
            [heard(recording(sound, "wav"))],  # which is the question
        ]
        given = [[{"role": "user", "content": each}] for each in parts]
        return [await client.chat.completions.create(model=MODEL, messages=each) for each in given]

    for answer in chatted(config, calls):
        assert answer.choices[0].message.content
        assert answer.usage.prompt_tokens_details.cached_tokens == 0


def test_what_is_perceived_is_the_picture_and_the_sound_that_were_sent() -> None:
    pictures, sound = [numbered(1), numbered(2)], np.concatenate([tone(1.1), tone(1.3, hertz=220)])
    seen = list(glance.slices(pictures, sound))
    assert [piece.index for piece in seen] == [0, 1, 2, 3, 4]
    assert [piece.picture is pictures[1] for piece in seen] == [False, False, False, True, True]
    assert {piece.sound.shape for piece in seen} == {(SLICE_SAMPLES,)}
    whole = np.concatenate([piece.sound for piece in seen])
    np.testing.assert_array_equal(whole[: len(sound)], sound)
    assert not whole[len(sound) :].any()
    assert [piece.sound.any() for piece in glance.slices(pictures[:1], NO_SOUND)] == [False, False]


def test_files_are_opened_to_what_they_hold() -> None:
    picture, sound = numbered(5), tone(0.5)
    np.testing.assert_array_equal(glance.picture_in(png(picture)), picture)
    assert abs(glance.picture_in(snapshot_jpeg(picture)).astype(int) - picture).max() < 6
    np.testing.assert_allclose(glance.sound_in(recording(sound, "wav"), "wav"), sound, atol=1e-3)
    assert len(glance.sound_in(recording(sound, "mp3"), "mp3")) == pytest.approx(len(sound), abs=RATE // 10)


@pytest.mark.parametrize("packed", [png(numbered(1)), snapshot_jpeg(numbered(1))])
def test_picture_larger_than_any_camera_takes_is_not_opened(packed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    glance.picture_in(packed)
    monkeypatch.setattr(glance, "MOST_PIXELS", 1000)
    with pytest.raises(ConfigError, match="at most 1000 pixels"):
        glance.picture_in(packed)


BAD_PARTS: list[tuple[list[Any], str]] = [
    ([{"type": "image_url", "image_url": {"url": "https://elsewhere.example/one.jpg"}}], "expected data:image/jpeg"),
    ([shown(b"\xff\xd8\xff and no more")], "cannot be decoded"),
    ([shown(b"GIF89a")], "neither JPEG nor PNG"),
    ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}], "no base64"),
    ([shown(snapshot_jpeg(numbered(1)))], "without a question"),
    ([shown(snapshot_jpeg(numbered(1)))] * 9 + [{"type": "text", "text": "?"}], "at most 8 and 60 s"),
    ([{"type": "text", "text": "?"}] * 33, "at most 32 items"),
    ([heard(b"no sound at all")], "cannot be decoded; expected WAV"),
    ([heard(b"no sound at all", "mp3")], "cannot be decoded; expected MP3"),
    ([heard(b"", "flac")], "Input should be 'wav' or 'mp3'"),
    ([heard(recording(tone(0.1), "wav")[:78])], "there is no sound"),
    ([heard(recording(tone(62.0, level=0.0), "mp3"), "mp3")], "at most 8 and 60 s"),
]


def test_picture_or_sound_that_is_none_is_one_clear_error(config: Config) -> None:
    cases = [{"messages": [{"role": "user", "content": parts}]} for parts, _ in BAD_PARTS]
    for refused, (_, complaint) in zip(refusals(config, cases), BAD_PARTS, strict=True):
        assert isinstance(refused, openai.BadRequestError)
        assert complaint in refused.body["message"]  # type: ignore[index]
        assert "\n" not in str(refused)
