"""What this node tells others: events, the scene, answers and pictures with words on them, with the stamps of their evidence."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterable, Callable

from favor_stream import payload
from favor_stream.agent import Agent
from favor_stream.health import Health
from favor_stream.payload import Json
from favor_stream.records import Answer, Event, WatchEvent
from favor_stream.robot.annotated import annotated
from favor_stream.robot.stamps import Stamp, Stamps
from favor_stream.robot.wire import Quality, Wire
from favor_stream.ros.messages import encode, header, make

STRING, COMPRESSED = "std_msgs/msg/String", "sensor_msgs/msg/CompressedImage"
MOST_NEWS = 32  # that wait for somebody to ask what is new


class Telling:
    """Publishes what an agent tells, for one agent after another."""

    def __init__(self, wire: Wire, name: Callable[[str], str], stamps: Stamps, with_pictures: bool) -> None:
        """`name` gives a topic's whole name; `with_pictures`: what is perceived is told as a picture too."""
        self.news, self._stamps = deque[str](maxlen=MOST_NEWS), stamps
        self._event = wire.publisher(name("~/events"), STRING, Quality.RELIABLE)
        self._scene = wire.publisher(name("~/scene"), STRING, Quality.LATCHED)
        self._answer = wire.publisher(name("~/answer"), STRING, Quality.RELIABLE)
        self._picture = wire.publisher(name("~/annotated/compressed"), COMPRESSED, Quality.SENSOR) if with_pictures else None

    async def follow(self, agent: Agent, events: AsyncIterable[Event], health: Health) -> None:
        """Until the agent's events end."""
        async for event in events:
            health.note(event)
            self._tell(agent, event)

    def answer(self, given: Answer) -> None:
        self._answer(words(payload.answer(given, "")))

    def refusal(self, question: str, why: str) -> None:
        self._answer(words({"schema_version": payload.SCHEMA_VERSION, "question": question, "error": why}))

    def _tell(self, agent: Agent, event: Event) -> None:
        stamp = self._stamp(agent, event.time_s)
        told = payload.event(event, agent.utc(agent.heard_until_s)) if isinstance(event, WatchEvent) else payload.news(event)
        said = words({**told, "stamp": {"sec": stamp.ns // 10**9, "nanosec": stamp.ns % 10**9}, "frame_id": stamp.frame_id})
        self._event(said)
        if event.kind == "perceived":
            self._scene(said)
            self._show(agent, event.text, stamp)
        elif event.kind == "answer":
            self._answer(said)
        elif isinstance(event, WatchEvent) and event.phase == "new":
            self.news.append(event.watch.question)

    def _stamp(self, agent: Agent, stream_s: float) -> Stamp:
        """Of the newest evidence before that time; a device of this machine has no header, and its time is this machine's."""
        found = self._stamps.newest(agent.captured_s(stream_s))
        return found or Stamp(round(agent.utc(stream_s).timestamp() * 1e9))

    def _show(self, agent: Agent, text: str, stamp: Stamp) -> None:
        pictures = agent.clip(1.0).pictures if self._picture else ()
        if self._picture and pictures:
            data = annotated(pictures[-1][1], text)
            self._picture(encode(make(COMPRESSED, header=header(stamp.ns, stamp.frame_id), format="jpeg", data=data)))


def words(told: Json) -> bytes:
    """As a std_msgs/String."""
    return encode(make(STRING, data=json.dumps(told, ensure_ascii=False)))
