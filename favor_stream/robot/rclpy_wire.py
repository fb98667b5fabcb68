"""A node of ROS itself, where its Python is installed. It knows no message's content, though ROS has to know every type.

It was tested against a stand-in for rclpy only, which offers what is called here as the documentation of Humble and Jazzy has it.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Collection
from contextlib import suppress
from threading import Lock, Thread
from typing import Any

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_profile_services_default
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.signals import SignalHandlerOptions
from rosidl_runtime_py.utilities import get_message, get_service

from favor_stream.robot.wire import Answer, OnTrouble, Quality, Take, Troubles, parts

MOST_THREADS = 8  # that take messages and answer at the same time
LEAVING_S = 2.0  # at most, for a thread that is still busy


class RclpyWire:
    """Types and their hashes are ROS's own matter, remappings of names are done before; signals are left to the program."""

    def __init__(self, node: str, namespace: str, on_trouble: OnTrouble, *, domain: int = 0) -> None:
        self.lost = dict[str, int]()  # ROS does not tell
        self._troubles, self._context, self._lock, self._is_closed = Troubles(on_trouble), Context(), Lock(), False
        signals = SignalHandlerOptions.NO
        rclpy.init(args=[], context=self._context, domain_id=domain, signal_handler_options=signals)
        self._node = rclpy.create_node(
            node, namespace=namespace, context=self._context, use_global_arguments=False, start_parameter_services=False
        )
        self._executor = MultiThreadedExecutor(MOST_THREADS, context=self._context)
        self._executor.add_node(self._node)
        self._thread = Thread(target=self._spin, name="rclpy", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def subscribe(self, topic: str, kind: str, take: Take, quality: Quality, also: Collection[str] = ()) -> None:
        if message := self._type(topic, kind, get_message):
            guarded = self._troubles.guarded(topic, take)
            group = MutuallyExclusiveCallbackGroup()  # of its own, so that nobody waits for another topic
            self._node.create_subscription(message, topic, guarded, profile(quality), callback_group=group, raw=True)

    def publisher(self, topic: str, kind: str, quality: Quality) -> Take:
        message = self._type(topic, kind, get_message)
        publisher = self._node.create_publisher(message, topic, profile(quality)) if message else None

        def publish(cdr: bytes) -> None:
            with self._lock:
                if publisher is not None and not self._is_closed:
                    publisher.publish(bytes(cdr))

        return publish

    def serve(self, service: str, kind: str, answer: Answer) -> bool:
        described = self._type(service, kind, get_service)
        if described is None:
            return False

        def answered(request: Any, response: Any) -> Any:
            try:
                response = deserialize_message(answer(serialize_message(request)), described.Response)
            except Exception as error:  # ROS knows no answer that says so: the asker gets an empty one
                self._troubles.tell("unreadable", service, f"{service}: a request cannot be answered ({error!r})")
            else:
                self._troubles.over("unreadable", service)
            return response

        group = MutuallyExclusiveCallbackGroup()
        self._node.create_service(described, service, answered, qos_profile=qos_profile_services_default, callback_group=group)
        return True

    def close(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        atexit.unregister(self.close)
        self._executor.shutdown(LEAVING_S)
        self._thread.join(LEAVING_S)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _type(self, name: str, kind: str, find: Callable[[str], Any]) -> Any:
        """What ROS makes of a kind; None, and it is told, where it has no such package or type."""
        package, _, _ = parts(kind)
        try:
            return find(kind)
        except (ImportError, AttributeError, ValueError) as error:
            text = f"{name}: ROS has no type {kind} here ({error}); install the package {package} and source it, or use zenoh"
            self._troubles.tell("unknown_type", kind, text)
            return None


def profile(quality: Quality) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=quality.depth,
        reliability=ReliabilityPolicy.RELIABLE if quality.is_reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if quality.is_latched else DurabilityPolicy.VOLATILE,
    )
