"""Events to listeners. A slow listener loses its oldest events, and is told how many; it never holds anybody up."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Self

from favor_stream.records import Event


class Listener:
    """An endless `async for` over events from the moment it was made; it ends when it or the feed is closed."""

    def __init__(self, feed: Feed, keep: int) -> None:
        self.dropped = 0  # events that this listener was too slow for
        self._feed = feed
        self._is_closed = feed.closed
        self._waiting: deque[Event] = deque()
        self._keep = keep
        self._something = asyncio.Event()

    def put(self, event: Event) -> None:
        if len(self._waiting) == self._keep:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(event)
        self._something.set()

    def end(self) -> None:
        """Ends after what is waiting."""
        self._is_closed = True
        self._something.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self._is_closed:
                raise StopAsyncIteration
            self._something.clear()
            await self._something.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        """Listen no longer; what is waiting is dropped."""
        self._feed.leave(self)
        self._waiting.clear()
        self.end()


class Feed:
    """Hands every event to every listener. One event loop only."""

    def __init__(self, keep: int = 256) -> None:
        self.closed = False
        self._keep = keep  # events that wait for each listener
        self._listeners: list[Listener] = []

    def listen(self) -> Listener:
        listener = Listener(self, self._keep)
        self._listeners.append(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def publish(self, event: Event) -> None:
        for listener in self._listeners:
            listener.put(event)

    def close(self) -> None:
        """Let every listener end after what is waiting for it."""
        self.closed = True
        for listener in self._listeners:
            listener.end()
