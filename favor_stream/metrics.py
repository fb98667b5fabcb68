"""A page of figures for Prometheus: what was perceived, lost and told, and how far the agent is behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from favor_stream.agent import Agent
from favor_stream.errors import DeviceError
from favor_stream.outlets import Page
from favor_stream.records import WatchEvent


class Figures(Collector):
    """Of one agent, from its making on. What happens is counted by `count`; all else is read when somebody asks for the page."""

    def __init__(self, agent: Agent) -> None:
        self._agent, self.registry, self._events = agent, CollectorRegistry(), agent.events()
        self._happenings = Counter(
            "favor_happenings", "Times that a watch began to hold and was told", ["watch"], registry=self.registry
        )
        self._news = Counter("favor_events", "Events of the agent", ["kind"], registry=self.registry)
        self.registry.register(self)

    async def count(self) -> None:
        """Until the agent's events end."""
        async for event in self._events:
            self._news.labels(event.kind).inc()
            if isinstance(event, WatchEvent) and event.phase == "new":
                self._happenings.labels(event.watch.name).inc()

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """In any thread; every figure is one that may be read from anywhere."""
        agent, counts = self._agent, self._agent.counts
        yield GaugeMetricFamily("favor_lag_seconds", "How far perception is behind the devices", agent.lag_s)
        yield GaugeMetricFamily("favor_real_time_factor", "Seconds of perceiving for a second of stream", agent.real_time_factor)
        yield GaugeMetricFamily("favor_memory_tokens", "Tokens in the memory", agent.tokens)
        yield CounterMetricFamily("favor_stream_seconds", "Stream that was perceived", agent.heard_until_s)
        yield CounterMetricFamily("favor_pictures_in", "Pictures that came", counts.pictures_in)
        yield CounterMetricFamily("favor_pictures_dropped", "Pictures that were lost to keep up", counts.pictures_dropped)
        yield CounterMetricFamily("favor_slices_lost", "Half seconds that were lost to keep up", counts.slices_lost)
        yield CounterMetricFamily("favor_feed_dropped", "Events that this page was too slow for", self._events.dropped)


class Metrics:
    """Serves the page at a port of its own, /metrics, from `run` until the agent's events end."""

    def __init__(self, agent: Agent, page: Page) -> None:
        self._figures, self._page = Figures(agent), page

    async def run(self) -> None:
        """Raises DeviceError where the port cannot be listened to."""
        page = self._page
        try:
            server, thread = start_http_server(page.port, page.host, self._figures.registry)
        except OSError as error:
            raise DeviceError(f"metrics: {page.host}:{page.port} cannot be listened to ({error}); choose another port") from error
        try:
            await self._figures.count()
        finally:
            await asyncio.to_thread(server.shutdown)
            server.server_close()
            thread.join()
