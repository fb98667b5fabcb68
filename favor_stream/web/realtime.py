"""A conversation about a stream over one WebSocket, in the events of OpenAI's Realtime interface: sound, pictures and text in,
text out (platform.openai.com/docs/guides/realtime-websocket).

It is about the stream that the address names, `?model=MODEL:NAME` or `?stream=NAME`, until the program brings sound or pictures:
these are a stream of its own, perceived as they come, about which everything is asked from then on, and which ends with the
connection. A response is written when it is asked for; nobody's turns are detected, and instructions are not followed. What only
this server has is called `favor`: with `session.update` {"session": {"favor": {"events": true}}} each event of the stream is
told as `favor.event`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from favor_stream import payload
from favor_stream.capture.inlet import Bringer, Inlet
from favor_stream.errors import ConfigError, FavorError
from favor_stream.glance import picture_in
from favor_stream.web import dialogue
from favor_stream.web.access import Bucket
from favor_stream.web.chosen import all_streams
from favor_stream.web.dialogue import Conversation, InputAudio, InputImage, Item, OutputText, new_id
from favor_stream.web.media import MOST_PER_S, MOST_WRONG, POLICY
from favor_stream.web.openai import inlined, pieces, stream_of, unpacked
from favor_stream.web.pacing import PCM_RATE, Pacer
from favor_stream.web.streams import BusyError, NotThereError, Stream, Streams, new_name

PATIENCE_S = 5.0  # for what was brought to be perceived, beyond the time that it takes to be heard
ACTIVE = "conversation_already_has_active_response"
routes = APIRouter()


class RefusedError(ConfigError):
    """What cannot be done now, with the code that clients know it by."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Response:
    """One answer, as far as it is written."""

    most_tokens: int | None
    id: str = field(default_factory=lambda: new_id("resp"))
    item: Item = field(default_factory=lambda: Item(role="assistant", content=[]))
    text: str = ""
    read_tokens: int = 0  # of memory and question
    remembered_tokens: int = 0  # of these, what was read before
    writing: asyncio.Task[None] | None = None

    @property
    def place(self) -> payload.Json:
        return {"response_id": self.id, "output_index": 0}

    @property
    def part_place(self) -> payload.Json:
        return {**self.place, "item_id": self.item.id, "content_index": 0}

    @property
    def part(self) -> payload.Json:
        return {"type": "text", "text": self.text}


@routes.websocket("/v1/realtime")
async def converse(socket: WebSocket) -> None:
    await socket.accept()
    streams, asked = all_streams(socket), socket.query_params
    connection = Connection(socket, streams, asked.get("stream") or asked.get("model", "").partition(":")[2])
    try:
        if asked.get("model"):
            stream_of(streams, asked["model"])
        if asked.get("stream"):
            streams.find(asked["stream"])
    except NotThereError as error:
        await connection.refuse(error)
        return await socket.close(POLICY)
    await connection.run()


class Connection:
    """One program that converses."""

    def __init__(self, socket: WebSocket, streams: Streams, name: str) -> None:
        """`name` of the stream that it asks while it brings none; "": the first."""
        self._socket, self._streams, self._name = socket, streams, name
        self._bucket, self._wrong = Bucket(MOST_PER_S), 0  # of those in a row
        self._id, self._conversation = new_id("sess"), Conversation()
        self._own: Stream | None = None
        self._pacer: Pacer | None = None
        self._is_unasked = False  # sound has come that nobody has committed
        self._response: Response | None = None  # that is being written
        self._following: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the program leaves, or sends nothing that can be done."""
        try:
            await self._tell("session.created", session=self._session())
            while self._wrong < MOST_WRONG:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._take(message.get("text") or "")
            await self._socket.close(POLICY)
        except (WebSocketDisconnect, RuntimeError):  # it has gone while it was told something
            return
        finally:
            await self._leave()

    async def _leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._own is not None and self._own.inlet is not None:
            with suppress(FavorError):  # somebody has removed it, or it went wrong long before
                await self._streams.remove(self._own.name)

    async def _take(self, text: str) -> None:
        event_id = None
        try:
            if not self._bucket.takes():
                raise RefusedError("rate_limit_exceeded", f"more than {MOST_PER_S} events a second; this one was dropped")
            told = dialogue.parsed(text)
            event_id = str(told["event_id"])[:64] if "event_id" in told else None
            await self._do(dialogue.checked(told))
            self._wrong = 0
        except FavorError as error:
            self._wrong += 1
            await self.refuse(error, event_id)

    async def _do(self, said: dialogue.Said) -> None:
        match said:
            case dialogue.Update():
                await self._update(said.session)
            case dialogue.Append():
                (await self._bring()).hear(unpacked(said.audio))
                self._is_unasked = True
            case dialogue.Commit():
                await self._commit()
            case dialogue.Clear():
                await self._clear()
            case dialogue.Create():
                await self._create(said.item)
            case dialogue.Respond():
                await self._respond(said.response or dialogue.Wish())
            case dialogue.Cancel():
                self._cancel()

    async def refuse(self, error: FavorError, event_id: str | None = None) -> None:
        code = error.code if isinstance(error, RefusedError) else None
        told = {"type": "invalid_request_error", "code": code, "message": str(error), "param": None, "event_id": event_id}
        await self._tell("error", error=told)

    async def _tell(self, kind: str, **what: Any) -> None:
        told = {"type": kind, "event_id": new_id("event"), **what}
        await self._socket.send_text(json.dumps(told))  # in ASCII: half a character goes back as it came

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Beside what the program says, until it ends or the program leaves."""
        task = asyncio.create_task(work, name="converse")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # The session, and the stream that it is about.

    def _session(self) -> payload.Json:
        heard = {"format": {"type": "audio/pcm", "rate": PCM_RATE}, "turn_detection": None}
        name = self._own.name if self._own else self._name
        return {
            "id": self._id,
            "type": "realtime",
            "object": "realtime.session",
            "model": f"{self._streams.mind.name}{name and ':'}{name}",
            "output_modalities": ["text"],
            "audio": {"input": heard},
            "favor": {"events": self._following is not None},
        }

    async def _update(self, wanted: dialogue.Settings) -> None:
        if wanted.favor is not None:
            self._follow(wanted.favor.events)
        await self._tell("session.updated", session=self._session())

    def _follow(self, wanted: bool) -> None:
        stream = self._stream() if wanted else None
        if self._following is not None:
            self._following.cancel()
        self._following = None if stream is None else self._start(self._tell_events(stream))

    async def _tell_events(self, stream: Stream) -> None:
        kept = stream.history.after(0)
        with suppress(WebSocketDisconnect, RuntimeError):
            async for entry in stream.history.follow(kept[-1].number if kept else 0):
                if entry is not None:
                    await self._tell("favor.event", stream=stream.name, event=entry.told)

    def _stream(self) -> Stream:
        """The one that is asked about. NotThereError where it is not there, or not any more."""
        return self._streams.find(self._own.name if self._own else self._name)

    async def _bring(self) -> Pacer:
        """Whoever brings its own sound and pictures to its own stream, which begins with the first of them."""
        if self._pacer is None:
            inlet = Inlet(new_name())
            self._own = await self._streams.bring(inlet)
            inlet.begin(Bringer())
            self._pacer = Pacer(inlet)
            self._start(self._pacer.run())
            if self._following is not None:
                self._follow(True)
        self._stream()  # nobody has removed it
        return self._pacer

    # What the user says and shows.

    async def _commit(self) -> None:
        if self._pacer is None or not self._is_unasked:
            raise RefusedError("input_audio_buffer_commit_empty", "no sound has come since the last commit; append some first")
        self._pacer.finish()
        self._is_unasked = False
        item = Item(role="user", content=[InputAudio(type="input_audio")])
        before = self._conversation.add(item)
        await self._tell("input_audio_buffer.committed", item_id=item.id, previous_item_id=before)
        await self._tell_item(item, before)

    async def _clear(self) -> None:
        """What was not heard yet never will be."""
        if self._pacer is not None:
            self._pacer.clear()
        self._is_unasked = False
        await self._tell("input_audio_buffer.cleared")

    async def _create(self, item: Item) -> None:
        shown = [inlined(part.image_url) for part in item.content if isinstance(part, InputImage)]
        heard = [unpacked(part.audio) for part in item.content if isinstance(part, InputAudio)]
        if shown or heard:
            pictures = await asyncio.to_thread(lambda: [picture_in(file) for file in shown])
            pacer = await self._bring()
            pacer.hear(b"".join(heard))
            pacer.finish()
            for picture in pictures[-1:]:  # only one is seen at a time
                pacer.show(picture)
        await self._tell_item(item, self._conversation.add(item))

    async def _tell_item(self, item: Item, before: str | None) -> None:
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self._tell(kind, item=item.told(), previous_item_id=before)

    # Answers.

    async def _respond(self, wish: dialogue.Wish) -> None:
        if self._response is not None:
            raise RefusedError(ACTIVE, "an answer is being written; wait for response.done, or send response.cancel")
        question = self._conversation.question()
        if question is None and not self._is_unasked:
            raise ConfigError("nothing was asked; create an item with a text, or append sound")
        stream = self._stream()
        most = wish.max_output_tokens if isinstance(wish.max_output_tokens, int) else None
        self._response = response = Response(most)
        earlier = self._conversation.earlier()
        await self._begin(response)
        response.writing = self._start(self._write(response, stream, question or "", earlier))
        self._start(self._finish(response))

    async def _begin(self, response: Response) -> None:
        await self._tell("response.created", response=self._told(response, "in_progress"))
        item = response.item.told("in_progress")
        await self._tell("response.output_item.added", item=item, **response.place)
        await self._tell("conversation.item.added", item=item, previous_item_id=self._conversation.add(response.item))
        await self._tell("response.content_part.added", part=response.part, **response.part_place)

    async def _write(self, response: Response, stream: Stream, question: str, earlier: list[tuple[str, str]]) -> None:
        await self._perceived(stream)
        tokens = self._streams.mind.tokens
        response.remembered_tokens = stream.agent.tokens
        response.read_tokens = response.remembered_tokens + tokens(question)
        reply = stream.agent.ask(question, earlier=earlier) if question else stream.agent.ask_spoken()
        async with aclosing(pieces(self._streams.placed(reply))) as said:
            async for piece in said:
                response.text += piece
                await self._tell("response.output_text.delta", delta=piece, **response.part_place)
                if response.most_tokens is not None and tokens(response.text) >= response.most_tokens:
                    return

    async def _perceived(self, stream: Stream) -> None:
        """Waits until what was brought before the question has been perceived."""
        if self._pacer is None or stream.agent.is_held:
            return
        ahead_s = self._pacer.due_s - time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, ahead_s) + PATIENCE_S):
                await stream.agent.until(stream.agent.heard_until_s + stream.agent.lag_s + ahead_s)

    async def _finish(self, response: Response) -> None:
        assert response.writing is not None, "it has begun"
        await asyncio.wait({response.writing})
        status, details = self._ended(response)
        response.item.content = [OutputText(type="output_text", text=response.text)] if response.text else []
        item = response.item.told("completed" if status == "completed" else "incomplete")
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._tell("response.output_text.done", text=response.text, **response.part_place)
            await self._tell("response.content_part.done", part=response.part, **response.part_place)
            await self._tell("conversation.item.done", item=item)
            await self._tell("response.output_item.done", item=item, **response.place)
            self._response = None
            await self._tell("response.done", response=self._told(response, status, details, [item]))

    def _ended(self, response: Response) -> tuple[str, payload.Json | None]:
        """How it has ended, and why."""
        assert response.writing is not None, "it has begun"
        if response.writing.cancelled():
            return "cancelled", {"type": "cancelled", "reason": "client_cancelled"}
        if error := response.writing.exception():
            code = "rate_limit_exceeded" if isinstance(error, BusyError) else None
            wrong = {"type": "invalid_request_error", "code": code, "message": str(error)}
            return "failed", {"type": "failed", "error": wrong}
        if response.most_tokens is not None and self._streams.mind.tokens(response.text) >= response.most_tokens:
            return "incomplete", {"type": "incomplete", "reason": "max_output_tokens"}
        return "completed", None

    def _cancel(self) -> None:
        if self._response is None or self._response.writing is None:
            raise RefusedError("response_cancel_not_active", "no answer is being written; there is nothing to cancel")
        self._response.writing.cancel()

    def _told(
        self, response: Response, status: str, details: payload.Json | None = None, output: list[payload.Json] | None = None
    ) -> payload.Json:
        written = self._streams.mind.tokens(response.text)
        usage = {
            "total_tokens": response.read_tokens + written,
            "input_tokens": response.read_tokens,
            "output_tokens": written,
            "input_token_details": {"cached_tokens": response.remembered_tokens},
        }
        return {
            "id": response.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": output or [],
            "output_modalities": ["text"],
            "usage": None if status == "in_progress" else usage,
        }
