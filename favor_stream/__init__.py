"""An agent that watches and listens to a live stream, remembers it and answers at any moment.

Importing this package costs numpy and nothing else; `Agent` and `Session` bring torch in when they are first touched.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from favor_stream.errors import ConfigError, DeviceError, EngineError, FavorError, Stale, WeightsError
from favor_stream.records import Answer, Event, Slice, Watch, WatchEvent
from favor_stream.version import __version__

if TYPE_CHECKING:
    from favor_stream.agent import Agent
    from favor_stream.session import Session

__all__ = [
    "Agent",
    "Answer",
    "ConfigError",
    "DeviceError",
    "EngineError",
    "Event",
    "FavorError",
    "Session",
    "Slice",
    "Stale",
    "Watch",
    "WatchEvent",
    "WeightsError",
    "__version__",
]

_HOMES = {"Agent": "favor_stream.agent", "Session": "favor_stream.session"}

if not TYPE_CHECKING:  # a visible __getattr__ would make every misspelt name pass the type checker

    def __getattr__(name: str) -> object:
        """Import a heavy class on first use (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)
