"""A node on Zenoh, as those of rmw_zenoh are: no ROS is needed, but their router is. It knows no message's content."""

from __future__ import annotations

import atexit
import itertools
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from threading import Event, Lock, Thread, current_thread
from typing import Any, Protocol

import zenoh
from zenoh.ext import (
    CacheConfig,
    HistoryConfig,
    MissDetectionConfig,
    RecoveryConfig,
    declare_advanced_publisher,
    declare_advanced_subscriber,
)
from zenoh.handlers import FifoChannel, RingChannel

from favor_stream.errors import ConfigError
from favor_stream.robot import rmw_zenoh
from favor_stream.robot.rmw_zenoh import Attachment, Entity, Token
from favor_stream.robot.wire import ROUTER, Answer, OnTrouble, Quality, Take, Troubles, TypeHash, dds_name, kind_of

MOST_TOKENS = 100  # that wait to be looked at; then whoever brings them does
MOST_REQUESTS = 10  # that wait for one service; then the oldest gets no answer
ROUTER_WAIT_S = 3.0  # without a router, before it is told
ROUTER_LOOK_S = 0.5
LEAVING_S = 2.0  # at most, for a thread that is still busy
CLOSED = (zenoh.ZError, RuntimeError)  # what Zenoh raises where something is closed already


class Declared(Protocol):
    def undeclare(self) -> Any: ...


class ZenohWire:
    """Connects to the router when there is one, and again when it was away. For peers of Humble `type_hash` gives NO_HASH."""

    def __init__(
        self, node: str, namespace: str, type_hash: TypeHash, on_trouble: OnTrouble, *, domain: int = 0, router: str = ROUTER
    ) -> None:
        """Never waits for a router, and raises ConfigError for an address that is none."""
        self._node, self._namespace, self._domain, self._router = node, f"/{namespace.strip('/')}", domain, router
        self._type_hash, self._troubles = type_hash, Troubles(on_trouble)
        self._leaving, self._ids, self.lost = Event(), itertools.count(), dict[str, int]()
        self._declared, self._threads = list[Declared](), list[Thread]()
        self._session = opened(router)
        self._zid = str(self._session.zid())
        self._declare_alive(self._token(Entity.NODE))
        self._start("router", self._look_for_router)
        atexit.register(self.close)  # a thread that waits in Zenoh while Python ends would abort the process

    def subscribe(self, topic: str, kind: str, take: Take, quality: Quality, also: Collection[str] = ()) -> None:
        token = self._token(Entity.SUBSCRIPTION, topic, kind, quality)
        key, guarded, newest = self._key(token), self._troubles.guarded(topic, take), dict[bytes, int]()
        self.lost.setdefault(topic, 0)
        ring: RingChannel[zenoh.Sample] = RingChannel(quality.depth)
        subscriber: Any
        if quality.is_latched:  # asks who publishes for the last one, and again for what was lost
            history = HistoryConfig(detect_late_publishers=True, max_samples=quality.depth)
            recovery = RecoveryConfig(periodic_queries=None, heartbeat=True)
            subscriber = declare_advanced_subscriber(
                self._session, key, ring, history=history, recovery=recovery, subscriber_detection=True
            )
        else:
            subscriber = self._session.declare_subscriber(key, ring)

        def take_sample(sample: zenoh.Sample) -> None:
            attachment = rmw_zenoh.attachment_of(sample.attachment.to_bytes()) if sample.attachment is not None else None
            if attachment:
                before = newest.get(attachment.gid, attachment.sequence_number - 1)
                self.lost[topic] += max(0, attachment.sequence_number - before - 1)
                newest[attachment.gid] = max(before, attachment.sequence_number)
            guarded(sample.payload.to_bytes())

        self._receive(topic, subscriber, take_sample)
        self._declare_alive(token, also)

    def publisher(self, topic: str, kind: str, quality: Quality) -> Take:
        token = self._token(Entity.PUBLISHER, topic, kind, quality)
        publisher, lock, numbers, gid = self._publisher(self._key(token), quality), Lock(), itertools.count(1), token.gid
        self._declared.append(publisher)
        self._declare_alive(token)

        def publish(cdr: bytes) -> None:
            with lock, suppress(*CLOSED):
                attachment = Attachment(next(numbers), time.time_ns(), gid)
                publisher.put(bytes(cdr), attachment=attachment.encoded())

        return publish

    def serve(self, service: str, kind: str, answer: Answer) -> bool:
        token = self._token(Entity.SERVICE, service, kind, Quality.SERVICE)
        key = self._key(token)
        queryable = self._session.declare_queryable(key, RingChannel(MOST_REQUESTS), complete=True)
        self._receive(service, queryable, lambda query: self._answer(query, key, service, answer))
        self._declare_alive(token)
        return True

    def close(self) -> None:
        if self._leaving.is_set():
            return
        self._leaving.set()
        atexit.unregister(self.close)
        for declared in reversed(self._declared):
            with suppress(*CLOSED):
                declared.undeclare()
        for thread in self._threads:
            if thread is not current_thread():
                thread.join(LEAVING_S)
        with suppress(*CLOSED):
            self._session.close()  # type: ignore[no-untyped-call]

    def _publisher(self, key: str, quality: Quality) -> zenoh.Publisher | zenoh.ext.AdvancedPublisher:
        """Like theirs, it loses a message rather than wait for a peer that is slow."""
        reliability = zenoh.Reliability.RELIABLE if quality.is_reliable else zenoh.Reliability.BEST_EFFORT
        congestion = zenoh.CongestionControl.DROP
        if not quality.is_latched:
            return self._session.declare_publisher(key, congestion_control=congestion, reliability=reliability)
        return declare_advanced_publisher(
            self._session,
            key,
            congestion_control=congestion,
            reliability=reliability,
            cache=CacheConfig(quality.depth),
            sample_miss_detection=MissDetectionConfig(heartbeat=None, sporadic_heartbeat=rmw_zenoh.HEARTBEAT_S),
            publisher_detection=True,
        )

    def _receive(self, name: str, declared: Any, take: Callable[[Any], None]) -> None:
        """A thread that takes what waits in the ring until it is closed."""
        handler = declared.handler  # by itself: what was declared cannot be closed while somebody waits in it

        def run() -> None:
            while not self._leaving.is_set():
                try:
                    received = handler.recv()
                except CLOSED:
                    return
                take(received)

        self._declared.append(declared)
        self._start(name, run)

    def _start(self, name: str, run: Callable[[], None]) -> None:
        thread = Thread(target=run, name=f"zenoh {name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    # Services.

    def _answer(self, query: zenoh.Query, key: str, service: str, answer: Answer) -> None:
        with query:
            attachment = rmw_zenoh.attachment_of(query.attachment.to_bytes()) if query.attachment is not None else None
            try:
                if query.payload is None or attachment is None:
                    raise ValueError(f"it has no payload or attachment as of rmw_zenoh {rmw_zenoh.VERSIONS}")
                response = answer(query.payload.to_bytes())
            except Exception as error:
                self._troubles.tell("unreadable", service, f"{service}: a request cannot be answered ({error!r})")
                with suppress(*CLOSED):
                    query.reply_err(str(error))
                return
            self._troubles.over("unreadable", service)
            with suppress(*CLOSED):
                query.reply(key, response, attachment=attachment.answered(time.time_ns()).encoded())

    # The graph.

    def _token(self, entity: Entity, name: str = "", kind: str = "", quality: Quality = Quality.RELIABLE) -> Token:
        identity = (self._domain, self._zid, "0", str(next(self._ids)), entity, self._namespace, self._node)
        if entity is Entity.NODE:
            return Token(*identity)
        qos = rmw_zenoh.qos_text(quality.is_reliable, quality.is_latched, quality.depth)
        return Token(*identity, name, dds_name(kind), self._type_hash(kind), qos)

    def _key(self, token: Token) -> str:
        return rmw_zenoh.topic_key(self._domain, token.name, token.type_name, token.type_hash)

    def _declare_alive(self, token: Token, also: Collection[str] = ()) -> None:
        """Tells everybody that it is there, and watches for those of the other end that have another type."""
        liveliness = self._session.liveliness()
        self._declared.append(liveliness.declare_token(token.key))
        if other_end := rmw_zenoh.OTHER_END.get(token.entity):
            watch = rmw_zenoh.watch_key(self._domain, other_end, token.name)
            watching = liveliness.declare_subscriber(watch, FifoChannel(MOST_TOKENS), history=True)
            self._receive(f"{token.name} {other_end}", watching, lambda sample: self._compare(token, sample, also))

    def _compare(self, mine: Token, sample: zenoh.Sample, also: Collection[str]) -> None:
        theirs = rmw_zenoh.token_of(str(sample.key_expr))
        if theirs is None or sample.kind != zenoh.SampleKind.PUT:
            return
        found, expected = ((kind_of(token.type_name), token.type_hash) for token in (theirs, mine))
        self._troubles.compare(mine.name, f"{theirs.namespace.rstrip('/')}/{theirs.node}", found, expected, also)

    def _look_for_router(self) -> None:
        missing_since_s = time.monotonic()
        while not self._leaving.wait(ROUTER_LOOK_S):
            with suppress(*CLOSED):
                if self._session.info.routers_zid():
                    missing_since_s = time.monotonic()
                    self._troubles.over("no_router", self._router)
                elif time.monotonic() - missing_since_s > ROUTER_WAIT_S:
                    self._troubles.tell("no_router", self._router, self._no_router)

    @property
    def _no_router(self) -> str:
        return (
            f"no router of Zenoh at {self._router}, through which nodes find each other; start one"
            " (ros2 run rmw_zenoh_cpp rmw_zenohd), or give its address: it is connected to when it is there"
        )


def opened(router: str) -> zenoh.Session:
    """Raises ConfigError for an address that is none."""
    configuration = zenoh.Config()
    try:
        for key, value in rmw_zenoh.session_settings(router).items():
            configuration.insert_json5(key, value)
        return zenoh.open(configuration)
    except zenoh.ZError as error:
        reason = str(error).partition(" at /")[0]
        raise ConfigError(f"'{router}' is no address of a router; expected one such as {ROUTER} ({reason})") from error
