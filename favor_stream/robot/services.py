"""What other nodes ask of this one: questions, what is new, privacy, its life's state. It knows the agent, and a wire's bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from favor_stream.agent import Agent
from favor_stream.errors import FavorError
from favor_stream.payload import Json
from favor_stream.robot.lifecycle import LifeCycle
from favor_stream.robot.telling import Telling
from favor_stream.robot.wire import Quality, Wire
from favor_stream.ros.messages import Message, decode, encode, make

ANSWER_S = 60.0  # that a service waits for what it does
STRING = "std_msgs/msg/String"
Serve = Callable[[Message], Coroutine[Any, Any, Json]]  # from a request to a response's fields


class Services:
    """Answered on the event loop while a thread of the wire waits. What cannot be done is the answer, in words."""

    def __init__(self, agent: Callable[[], Agent], life: LifeCycle, telling: Telling) -> None:
        """`agent` raises LeftError while there is none."""
        self._agent, self._life, self._telling = agent, life, telling
        self._loop = asyncio.get_running_loop()

    def offer(self, wire: Wire, name: Callable[[str], str]) -> None:
        """On a wire without services, only the question that comes by a topic."""
        wire.subscribe(name("~/question"), STRING, self._take_question, Quality.RELIABLE)
        services = {
            "~/ask": ("favor_msgs/srv/Ask", self._ask),
            "~/anything_new": ("std_srvs/srv/Trigger", self._anything_new),
            "~/reset_memory": ("std_srvs/srv/Trigger", self._reset_memory),
            "~/set_privacy": ("std_srvs/srv/SetBool", self._set_privacy),
            "~/change_state": ("lifecycle_msgs/srv/ChangeState", self._change_state),
            "~/get_state": ("lifecycle_msgs/srv/GetState", self._get_state),
        }
        for own, (kind, serve) in services.items():
            wire.serve(name(own), kind, partial(self._served, kind, serve))

    def _served(self, kind: str, serve: Serve, request: bytes) -> bytes:
        """On a thread of the wire."""
        serving = serve(decode(request, f"{kind}_Request"))
        return encode(make(f"{kind}_Response", **asyncio.run_coroutine_threadsafe(serving, self._loop).result(ANSWER_S)))

    def _take_question(self, cdr: bytes) -> None:
        """On a thread of the wire."""
        asyncio.run_coroutine_threadsafe(self._answer(decode(cdr, STRING).data), self._loop)

    async def _answer(self, question: str) -> None:
        try:
            self._telling.answer(await self._agent().answer(question))
        except FavorError as error:
            self._telling.refusal(question, str(error))

    async def _ask(self, request: Message) -> Json:
        try:
            answer = await self._agent().answer(request.question)
        except FavorError as error:
            return {"success": False, "text": str(error)}
        self._telling.answer(answer)
        return {"success": True, "text": answer.text}

    async def _anything_new(self, request: Message) -> Json:
        news = "; ".join(self._telling.news)
        self._telling.news.clear()
        return {"success": bool(news), "message": news}

    async def _reset_memory(self, request: Message) -> Json:
        return await self._done(lambda agent: agent.forget())

    async def _set_privacy(self, request: Message) -> Json:
        return await self._done(hold if request.data else resume)

    async def _done(self, work: Callable[[Agent], Coroutine[Any, Any, None]]) -> Json:
        try:
            await work(self._agent())
        except FavorError as error:
            return {"success": False, "message": str(error)}
        return {"success": True, "message": ""}

    async def _change_state(self, request: Message) -> Json:
        return {"success": not await self._life.change(request.transition.id)}

    async def _get_state(self, request: Message) -> Json:
        state = self._life.state
        return {"current_state": make("lifecycle_msgs/msg/State", id=int(state), label=state.name.lower())}


async def hold(agent: Agent) -> None:
    await agent.hold()


async def resume(agent: Agent) -> None:
    agent.resume()
