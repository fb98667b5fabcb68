"""How an agent is set from outside, and kept so over a restart: what it watches and how, whether it watches and captures at all.

It knows the agent and a file; who sends the words, and how, is not its affair.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from favor_stream.agent import Agent
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.records import Watch

KEPT = ("is_on", "cooldown_s", "on", "off")  # of a watch


class Switches:
    """Sets one agent. What it is told and cannot do is a ConfigError, in one line."""

    def __init__(self, agent: Agent, path: Path) -> None:
        """Before the agent is entered: where privacy was on, no device is opened. `path` is the file of what was set."""
        self._agent, self._path, self._kept = agent, path, read(path)
        self._configured = {watch.name for watch in agent.watches}
        if self._kept.get("privacy"):
            agent.begin_held()

    async def restore(self) -> None:
        """Set the watches as they were, also those that were added; what is not as this version writes it is passed over."""
        with suppress(TypeError):
            for added in self._kept.get("added", ()):
                with suppress(TypeError, ConfigError):
                    self._agent.watch(Watch(**added))
        for watch in self._agent.watches:
            with suppress(KeyError, TypeError, ConfigError):
                await self._agent.change(replace(watch, **self._kept["watches"][watch.name]))
        if self._kept.get("paused"):
            await self._agent.pause()

    async def turn(self, command: str, text: str) -> None:
        """Obey `cmd/pause`, `cmd/privacy`, `cmd/reset_memory` or `trigger/NAME/...`. DeviceError where it cannot be kept."""
        if turn := TURNS.get(command):
            await turn(self._agent, text)
        else:
            await self._turn_watch(command, text)
        self.keep()

    async def _turn_watch(self, command: str, text: str) -> None:
        _, name, *what = command.split("/")
        watch = next((watch for watch in self._agent.watches if watch.name == name), None)
        if watch is None:
            raise ConfigError(f"no watch is called {name!r}; expected one that is configured")
        if what == ["fire"]:
            self._agent.fire(name)
        else:
            await self._agent.change(changed(watch, what[0], text))

    def keep(self) -> None:
        """Write down how the agent is set now. DeviceError where it cannot be kept."""
        watches = {watch.name: {key: getattr(watch, key) for key in KEPT} for watch in self._agent.watches}
        added = [asdict(watch) for watch in self._agent.watches if watch.name not in self._configured]
        told = {"privacy": self._agent.is_held, "paused": self._agent.is_paused, "watches": watches, "added": added}
        part = self._path.with_suffix(".part")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(told), encoding="utf-8")
            part.replace(self._path)
        except OSError as error:
            raise DeviceError(f"{self._path}: cannot be written ({error.strerror}); it is set until the next start") from error


async def pause(agent: Agent, text: str) -> None:
    if is_on("pause", text):
        await agent.pause()
    else:
        agent.unpause()


async def hold(agent: Agent, text: str) -> None:
    if is_on("privacy", text):
        await agent.hold()
    else:
        agent.resume()


async def forget(agent: Agent, text: str) -> None:
    await agent.forget()


TURNS: dict[str, Callable[[Agent, str], Awaitable[None]]] = {
    "cmd/pause": pause,
    "cmd/privacy": hold,
    "cmd/reset_memory": forget,
}


def is_on(what: str, text: str) -> bool:
    if text not in ("ON", "OFF"):
        raise ConfigError(f"{what} is {text[:40]!r}; write ON or OFF")
    return text == "ON"


def changed(watch: Watch, what: str, text: str) -> Watch:
    """The watch as a command sets it. Raises ConfigError for a value that it cannot have."""
    if what == "enabled":
        return replace(watch, is_on=is_on(what, text))
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(f"{what} is {text[:40]!r}; write a number") from error
    if what == "cooldown":
        return replace(watch, cooldown_s=value)
    return replace(watch, on=value, off=min(watch.off, value))


def read(path: Path) -> dict[str, Any]:
    """What had been set before a restart; a file that is missing or cannot be read is as if nothing had been."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
