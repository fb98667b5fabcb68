"""The agent as a node among those of ROS 2: topics in, events, scene, answers and diagnostics out, and services.

It knows the agent, and the wire as something that carries bytes; what else is on the robot it does not know.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

from favor_stream.agent import Agent
from favor_stream.board import Board
from favor_stream.capture.inlet import Inlet
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError, FavorError, LeftError
from favor_stream.health import Health
from favor_stream.mind import Mind
from favor_stream.outlets import Robot
from favor_stream.payload import Json
from favor_stream.robot.diagnostics import Level, Troubles, report
from favor_stream.robot.incoming import SOUND_KINDS, Incoming, picture_kind
from favor_stream.robot.lifecycle import LifeCycle, Transition
from favor_stream.robot.services import Services
from favor_stream.robot.simtime import KIND as CLOCK
from favor_stream.robot.simtime import SimTime
from favor_stream.robot.telling import Telling
from favor_stream.robot.wire import OnTrouble, Quality, Trouble, Wire, expanded
from favor_stream.ros.messages import encode
from favor_stream.ros.sound import INFO_KIND

log = logging.getLogger(__name__)
Companion = Callable[[], Coroutine[None, None, None]]
DIAGNOSE_S = 1.0  # REP 107
HANGS_S = 30.0  # so far behind is no overload any more, of which the ring drops what is older
LEVELS = {"running": Level.OK, "degraded": Level.WARN, "paused": Level.OK, "error": Level.ERROR}


class Node:
    """One node, from entering to leaving. It perceives while it is active; without a manager that is from the start."""

    def __init__(
        self,
        robot: Robot,
        sources: Sequence[str],
        config: Config,
        wire: Callable[[OnTrouble], Wire],
        beside: Callable[[Agent], Sequence[Companion]] = lambda agent: (),
    ) -> None:
        """`sources` are perceived besides the topics; `wire` opens one; what is `beside` an agent runs as long as its events.

        Raises ConfigError where there is nothing to perceive.
        """
        self._robot, self._sources, self._config, self._open_wire, self._beside = robot, sources, config, wire, beside
        self._sim = SimTime(self._begin_anew) if robot.use_sim_time else None
        self._clock, self._wall = self._sim or time.monotonic, self._sim or time.time
        self.incoming = Incoming(robot, self._trouble, self._clock, self._wall)
        if not (sources or self.incoming.inlets):
            raise ConfigError("the robot has nothing to perceive; name a source, or topics with --pictures and --sound")
        self._troubles, self._board, self._health = Troubles(), Board(), Health()
        self._agent: Agent | None = None
        self._mind: Mind | None = None
        self._following: list[asyncio.Task[None]] = []
        self.life = LifeCycle(
            {
                Transition.CONFIGURE: self._configure,
                Transition.ACTIVATE: self._activate,
                Transition.DEACTIVATE: self._deactivate,
                Transition.CLEANUP: self._clean_up,
                Transition.UNCONFIGURED_SHUTDOWN: self._clean_up,
                Transition.INACTIVE_SHUTDOWN: self._clean_up,
                Transition.ACTIVE_SHUTDOWN: self._clean_up,
            }
        )

    async def __aenter__(self) -> Self:
        """Raises DeviceError and others where a node without a manager cannot become active."""
        self._loop = asyncio.get_running_loop()
        self._wire = self._open_wire(self._trouble)
        self._telling = Telling(self._wire, self._name, self.incoming.stamps, self._robot.annotated)
        self._tell_diagnostics = self._wire.publisher("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Quality.RELIABLE)
        Services(self._active, self.life, self._telling).offer(self._wire, self._name)
        self._listen()
        self._diagnosing = asyncio.create_task(self._diagnose(), name="diagnose")
        for way in () if self._robot.is_managed else (Transition.CONFIGURE, Transition.ACTIVATE):
            if refusal := await self.life.change(way):
                await self._close()
                raise DeviceError(refusal)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._close()

    async def ended(self) -> None:
        """Wait until the node is shut down, or, without a manager, until every source has ended."""
        ending: list[asyncio.Task[Any]] = [asyncio.create_task(self.life.finalized.wait())]
        if self._following and not self._robot.is_managed:
            ending.append(self._following[0])
        await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        ending[0].cancel()

    @property
    def words(self) -> str:
        """What it listens to and where it tells, for people."""
        heard = ", ".join([*self._sources, *(self._name(inlet.name) for inlet in self.incoming.inlets)])
        return f"{self._name('~')} is {self.life.state.name.lower()}: {heard} -> {self._name('~/events')}"

    @property
    def is_well(self) -> bool:
        """Whether perceiving goes on, where it should: a model that hangs falls ever further behind."""
        return self._agent is None or (not self._agent.failure and self._agent.lag_s < HANGS_S)

    def _active(self) -> Agent:
        if self._agent is None:
            raise LeftError("the node is not active; activate it first")
        return self._agent

    # The wire.

    def _name(self, name: str) -> str:
        return expanded(name, self._robot.node, self._robot.namespace, self._robot.remappings())

    def _listen(self) -> None:
        incoming, robot, listen = self.incoming, self._robot, self._wire.subscribe
        if robot.pictures:
            kind = picture_kind(robot.pictures)
            listen(self._name(robot.pictures), kind, partial(incoming.see, kind=kind), Quality.SENSOR)
        if robot.sound:
            for kind in SOUND_KINDS:
                listen(self._name(robot.sound), kind, partial(incoming.hear, kind=kind), Quality.SENSOR, SOUND_KINDS)
            listen(f"{self._name(robot.sound)}_info", INFO_KIND, partial(incoming.hear, kind=INFO_KIND), Quality.LATCHED)
        if self._sim:
            listen("/clock", CLOCK, self._sim.take, Quality.SENSOR)

    # Life.

    async def _configure(self) -> None:
        self._mind = await Mind(self._config).__aenter__()

    async def _activate(self) -> None:
        sources: list[str | Inlet] = [*self._sources, *self.incoming.inlets]
        agent = Agent(*sources, config=self._config, mind=self._mind, clock=self._clock)
        events, beside, self._health = agent.events(), self._beside(agent), Health()
        self._agent = await agent.__aenter__()
        following = [self._telling.follow(agent, events, self._health), *map(self._accompany, beside)]
        self._following = [asyncio.create_task(work, name="follow") for work in following]

    async def _accompany(self, companion: Companion) -> None:
        """One that fails is told in the diagnostics; perceiving goes on."""
        try:
            await companion()
        except FavorError as error:
            self._trouble(Trouble("outlet_failed", str(error)))

    async def _deactivate(self) -> None:
        agent, self._agent = self._agent, None
        if agent:
            with suppress(FavorError):  # what perceiving has ended with was told while it was active
                await agent.__aexit__(None, None, None)
            await asyncio.wait(self._following)

    async def _clean_up(self) -> None:
        await self._deactivate()
        if self._mind:
            await self._mind.close()

    async def _close(self) -> None:
        await self.life.shut_down()
        self._diagnosing.cancel()
        await asyncio.wait({self._diagnosing})
        await asyncio.to_thread(self._wire.close)

    def _begin_anew(self) -> None:
        """On a topic's thread: simulated time went back. Devices are opened anew, and so is their clock; the memory goes on."""
        self._trouble(Trouble("time_went_back", "/clock went back: a simulation or a bag began anew; what was perceived is kept"))
        asyncio.run_coroutine_threadsafe(self._reopen(), self._loop)

    async def _reopen(self) -> None:
        if self._agent:
            await self._agent.hold()
            self._agent.resume()

    # How it is.

    def _trouble(self, trouble: Trouble) -> None:
        """On any thread."""
        self._troubles.note(trouble, time.monotonic())
        log.warning("%s: %s", trouble.code, trouble.text)

    async def _diagnose(self) -> None:
        while True:
            status = (
                self._health.status(self._agent) if self._agent else {"state": "paused", "reason": self.life.state.name.lower()}
            )
            summary = f"{status['state']}: {status['reason']}".rstrip(": ")
            troubles = self._troubles.recent(time.monotonic())
            if self._health.lost:
                stopped = ", ".join(sorted(self._health.lost))
                troubles["source_stopped"] = f"{stopped}: nothing comes; look whether it is still published"
            told = report(
                self._robot.node, round(self._wall() * 1e9), LEVELS[status["state"]], summary, self._figures(), troubles
            )
            self._tell_diagnostics(encode(told))
            await asyncio.sleep(DIAGNOSE_S)

    def _figures(self) -> Json:
        board = self._board.read()
        figures: Json = {
            "life": self.life.state.name.lower(),
            **self.incoming.figures(),
            "lost_on_the_wire": sum(self._wire.lost.values()),
            "hottest_c": board.hottest_c,
            "slowed_down_by": ", ".join(board.throttled or ()),
            "memory_mb": board.memory_mb,
        }
        if self._agent:
            counts = self._agent.counts
            figures |= {
                "lag_s": self._agent.lag_s,
                "real_time_factor": self._agent.real_time_factor,
                "pictures_used": counts.pictures_used,
                "pictures_dropped": counts.pictures_dropped,
                "sound_lost_s": counts.slices_lost * 0.5,
            }
        return figures
