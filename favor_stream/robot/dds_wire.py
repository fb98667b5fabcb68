"""A node on DDS, as those of rmw_cyclonedds and rmw_fastrtps are: no ROS is needed. It knows no message's content.

Messages go through as the bytes that they are: 0.8 ms of work for a picture of 640x480, in place of the 31 ms that Cyclone's
Python needs to take one apart. What is lost by it: nobody checks them against their type. Services are not offered, and
`ros2 node list` does not show the node, for which one more topic would have to be kept.
"""

from __future__ import annotations

import atexit
import itertools
from collections.abc import Callable, Collection
from contextlib import suppress
from threading import Event, Thread, current_thread
from typing import Any

from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsPublication, BuiltinTopicDcpsSubscription
from cyclonedds.core import DDSException, GuardCondition, InstanceState, ReadCondition, SampleState, ViewState, WaitSet
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

from favor_stream.errors import DeviceError
from favor_stream.robot.dds_type import Fields, shape_of
from favor_stream.robot.wire import Answer, OnTrouble, Quality, Take, Troubles, TypeHash, kind_of

MOST_WAIT_MS = 20  # of who publishes, for a reliable peer that is slow; then the message is lost
WAKE_S = 1.0
LEAVING_S = 2.0  # at most, for a thread that is still busy
MOST_PEERS = 100  # that are looked at in one go


class Cdr:
    """A message as Cyclone hands it over, or takes it: no more than its bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sample_info: object = None  # which Cyclone sets

    def serialize(self, use_version_2: bool | None = None) -> bytes:
        return self.data

    @classmethod
    def deserialize(cls, data: bytes) -> Cdr:
        return cls(data)

    @classmethod
    def deserialize_key(cls, data: bytes) -> None:
        """Of a peer that has gone; messages of ROS have no keys."""


class DdsWire:
    """How peers are found is DDS's matter: by multicast, or as CYCLONEDDS_URI says.

    `fields`: what messages consist of, for peers that compare types; those of ROS go by the name alone. A message that is taken
    may end in up to three bytes of padding.
    """

    def __init__(
        self,
        node: str,
        namespace: str,
        type_hash: TypeHash,
        on_trouble: OnTrouble,
        *,
        domain: int = 0,
        fields: Fields | None = None,
    ) -> None:
        """Raises DeviceError where DDS finds no network, or no place in the domain."""
        self._type_hash, self._fields, self._troubles = type_hash, fields or {}, Troubles(on_trouble)
        self._shapes = dict[str, Any]()  # one of each kind, for one participant may not have two that differ
        try:
            self._participant: Any = DomainParticipant(domain, Qos(Policy.EntityName(f"{namespace.rstrip('/')}/{node}")))
        except DDSException as error:
            text = f"DDS cannot begin in ROS domain {domain} ({error.msg}); check the network and CYCLONEDDS_URI"
            raise DeviceError(text) from error
        self.lost = dict[str, int]()  # DDS numbers messages, and Cyclone does not tell
        self._left, self._leaving = Event(), GuardCondition(self._participant)
        self._writers, self._numbers, self._threads = dict[int, Any](), itertools.count(), list[Thread]()
        atexit.register(self.close)

    def subscribe(self, topic: str, kind: str, take: Take, quality: Quality, also: Collection[str] = ()) -> None:
        reader = DataReader(self._participant, self._topic(topic, kind), qos=self._qos(kind, quality))
        guarded = self._troubles.guarded(topic, take)
        self._receive(topic, reader, quality.depth, lambda sample: guarded(sample.data) if isinstance(sample, Cdr) else None)
        self._watch(topic, kind, BuiltinTopicDcpsPublication, also)

    def publisher(self, topic: str, kind: str, quality: Quality) -> Take:
        number = next(self._numbers)
        self._writers[number] = DataWriter(self._participant, self._topic(topic, kind), qos=self._qos(kind, quality))
        self._watch(topic, kind, BuiltinTopicDcpsSubscription)

        def publish(cdr: bytes) -> None:
            if writer := self._writers.get(number):  # not kept here, so that it is gone with the wire
                with suppress(DDSException):  # a slow peer: like rmw's, it loses the message
                    writer.write(Cdr(bytes(cdr)))

        return publish

    def serve(self, service: str, kind: str, answer: Answer) -> bool:
        text = f"{service}: DDS peers are offered no services; use topics, or the zenoh or rclpy wire"
        self._troubles.tell("no_services", service, text)
        return False

    def close(self) -> None:
        if self._left.is_set():
            return
        self._left.set()
        atexit.unregister(self.close)
        self._leaving.set(True)
        for thread in self._threads:
            if thread is not current_thread():
                thread.join(LEAVING_S)
        self._writers.clear()
        del self._leaving
        self._participant = None  # Cyclone deletes what nobody refers to

    def _topic(self, name: str, kind: str) -> Topic[Any]:
        if kind not in self._shapes:
            self._shapes[kind] = shape_of(kind, self._fields)
        topic: Topic[Any] = Topic(self._participant, f"rt{name}", self._shapes[kind])
        topic.data_type = Cdr  # which is what reading and writing ask for
        return topic

    def _qos(self, kind: str, quality: Quality) -> Qos:
        reliable = Policy.Reliability.Reliable(duration(milliseconds=MOST_WAIT_MS))
        return Qos(
            reliable if quality.is_reliable else Policy.Reliability.BestEffort,
            Policy.Durability.TransientLocal if quality.is_latched else Policy.Durability.Volatile,
            Policy.History.KeepLast(quality.depth),
            Policy.DataRepresentation(use_cdrv0_representation=True),
            Policy.Userdata(user_data(self._type_hash(kind))),
        )

    def _receive(self, name: str, reader: Any, most: int, take: Callable[[Any], None]) -> None:
        """A thread that takes what waits at the reader until the end."""
        condition = ReadCondition(reader, SampleState.Any | ViewState.Any | InstanceState.Any)
        waiting = WaitSet(self._participant)
        waiting.attach(condition)
        waiting.attach(self._leaving)

        def run() -> None:
            while not self._left.is_set():
                try:
                    waiting.wait(duration(seconds=WAKE_S))
                    samples = reader.take(most)
                except DDSException:
                    return
                for sample in samples:
                    take(sample)

        self._threads.append(Thread(target=run, name=f"dds {name}", daemon=True))
        self._threads[-1].start()

    def _watch(self, topic: str, kind: str, other_end: Any, also: Collection[str] = ()) -> None:
        """For peers of the other end that have another type."""
        expected = (kind, self._type_hash(kind))

        def compare(peer: Any) -> None:
            if getattr(peer, "topic_name", None) == f"rt{topic}" and peer.qos is not None:
                found = (kind_of(peer.type_name), hash_of(peer.qos) or expected[1])
                self._troubles.compare(topic, "a peer", found, expected, also)

        self._receive(f"{topic} peers", BuiltinDataReader(self._participant, other_end), MOST_PEERS, compare)


def user_data(type_hash: str) -> bytes:
    """How peers since Iron tell each other a type's hash: rmw_dds_common/src/qos.cpp, encode_type_hash_for_user_data_qos."""
    return f"typehash={type_hash};".encode()


def hash_of(qos: Qos) -> str | None:
    """What a peer says of it; those of Humble say nothing."""
    said = bytes(qos[Policy.Userdata].data) if Policy.Userdata in qos else b""
    values = dict(part.partition("=")[::2] for part in said.decode(errors="replace").split(";"))
    return values.get("typehash")
