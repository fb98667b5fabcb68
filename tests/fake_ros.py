"""A stand-in for as much of rclpy and rosidl_runtime_py as is used: one bus for all nodes of the process.

Each callback has a thread, as with an executor that has enough of them; those of one group wait for each other.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

PLACES = ("rclpy", *(f"rclpy.{name}" for name in ("callback_groups", "context", "executors", "qos", "serialization", "signals")))
BUS = list["Node"]()
CONTEXTS = list["Context"]()


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """The packages on the path; all names are in all of their modules."""
    for place in (*PLACES, "rosidl_runtime_py", "rosidl_runtime_py.utilities"):
        path = folder.joinpath(*place.split("."))
        path = path / "__init__.py" if place.count(".") == 0 else path.with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text("from fake_ros import *\n")
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] in ("rclpy", "rosidl_runtime_py")]:
            del sys.modules[name]
        sys.modules.pop("favor_stream.robot.rclpy_wire", None)


class Context:
    domain: int | None = None


class SignalHandlerOptions(Enum):
    NO = 0
    ALL = 3


class MutuallyExclusiveCallbackGroup:
    def __init__(self) -> None:
        self.lock = threading.Lock()


class ExternalShutdownException(Exception):
    pass


class MultiThreadedExecutor:
    def __init__(self, num_threads: int | None = None, *, context: Context | None = None) -> None:
        self.over = threading.Event()

    def add_node(self, node: Node) -> None:
        node.is_spun = True

    def spin(self) -> None:
        self.over.wait()
        raise ExternalShutdownException

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        self.over.set()
        return True


class HistoryPolicy(Enum):
    KEEP_LAST = 1


class ReliabilityPolicy(Enum):
    RELIABLE = 1
    BEST_EFFORT = 2


class DurabilityPolicy(Enum):
    TRANSIENT_LOCAL = 1
    VOLATILE = 2


class QoSProfile:
    def __init__(
        self, *, history: HistoryPolicy, depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy
    ) -> None:
        self.said = (history.name, depth, reliability.name, durability.name)


qos_profile_services_default = "services"


def init(
    *, args: list[str], context: Context, domain_id: int | None = None, signal_handler_options: SignalHandlerOptions
) -> None:
    assert args == []
    assert signal_handler_options is SignalHandlerOptions.NO
    context.domain = domain_id
    CONTEXTS.append(context)


def try_shutdown(*, context: Context) -> None:
    CONTEXTS.remove(context)


def on_a_thread(run: Callable[[], object], group: MutuallyExclusiveCallbackGroup) -> None:
    def call() -> None:
        with group.lock:
            run()

    threading.Thread(target=call).start()


class Node:
    def __init__(
        self, name: str, *, namespace: str, context: Context, use_global_arguments: bool, start_parameter_services: bool
    ) -> None:
        self.name, self.namespace, self.context, self.is_spun = name, namespace, context, False
        self.subscriptions, self.services, self.publishers = list[Any](), dict[str, Any](), list[Any]()
        BUS.append(self)

    def create_subscription(
        self,
        msg_type: type,
        topic: str,
        callback: Callable[[bytes], None],
        qos_profile: QoSProfile,
        *,
        callback_group: MutuallyExclusiveCallbackGroup,
        raw: bool = False,
    ) -> None:
        assert raw
        self.subscriptions.append((msg_type, topic, callback, qos_profile, callback_group))

    def create_publisher(self, msg_type: type, topic: str, qos_profile: QoSProfile) -> Publisher:
        self.publishers.append((msg_type, topic, qos_profile))
        return Publisher(self, msg_type, topic)

    def create_service(
        self,
        srv_type: type,
        srv_name: str,
        callback: Callable[[Any, Any], Any],
        *,
        qos_profile: object,
        callback_group: MutuallyExclusiveCallbackGroup,
    ) -> None:
        assert qos_profile == qos_profile_services_default
        self.services[srv_name] = (srv_type, callback, callback_group)

    def destroy_node(self) -> None:
        BUS.remove(self)


def create_node(name: str, **options: Any) -> Node:
    return Node(name, **options)


class Publisher:
    def __init__(self, node: Node, msg_type: type, topic: str) -> None:
        self.node, self.what = node, (msg_type, topic, node.context.domain)

    def publish(self, message: bytes) -> None:
        assert type(message) is bytes
        assert self.node in BUS, "a node that is destroyed publishes"
        for node in [node for node in BUS if node.is_spun]:
            for msg_type, topic, take, _, group in node.subscriptions:
                if (msg_type, topic, node.context.domain) == self.what:
                    on_a_thread(lambda take=take: take(message), group)  # type: ignore[misc]


class Message:
    """What is serialised in a way of its own, so that it is seen where it was not."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data


def serialize_message(message: Message) -> bytes:
    return b"CDR:" + message.data


def deserialize_message(cdr: bytes, message_type: type[Message]) -> Message:
    assert cdr.startswith(b"CDR:")
    return message_type(cdr[4:])


class String(Message):
    pass


class Image(Message):
    pass


class Trigger:
    class Request(Message):
        pass

    class Response(Message):
        pass


def get_message(identifier: str) -> type[Message]:
    if identifier.startswith("favor_msgs/"):
        raise ModuleNotFoundError("No module named 'favor_msgs'", name="favor_msgs")
    return {"std_msgs/msg/String": String, "sensor_msgs/msg/Image": Image}[identifier]


def get_service(identifier: str) -> type[Trigger]:
    if identifier != "std_srvs/srv/Trigger":
        raise AttributeError(f"no {identifier}")
    return Trigger


def call(service: str, data: bytes) -> bytes:
    """What an asker gets."""
    _, callback, _ = next(node.services[service] for node in BUS if service in node.services)
    response = callback(Trigger.Request(data), Trigger.Response())
    assert type(response) is Trigger.Response
    return bytes(response.data)
