"""What every way of talking to ROS 2 nodes offers: messages in CDR, under names and promises as ROS 2 has them.

It knows no transport and no message's content.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from threading import Lock
from typing import Any, Protocol

from favor_stream.errors import ConfigError

WIRES = ("auto", "zenoh", "dds", "rclpy")
ROUTER = "tcp/localhost:7447"  # where rmw_zenoh has its router
MOST_DOMAIN = 232  # beyond it DDS has no ports
MOST_TOLD = 1000  # troubles that are remembered, so as to be told once
MOST_CHARACTERS = 247  # of a whole name: rmw/validate_full_topic_name.h
WORD = "[A-Za-z_][A-Za-z0-9_]*"
NAME = re.compile(rf"(~|(~?/)?{WORD}(/{WORD})*)")
FULL_NAME = re.compile(rf"(/{WORD})+")
KIND = re.compile(rf"{WORD}/(msg|srv)/{WORD}")

Take = Callable[[bytes], None]
Answer = Callable[[bytes], bytes]
TypeHash = Callable[[str], str]


class Quality(Enum):
    """What is promised about delivery, as the profiles of rmw/qos_profiles.h are."""

    SENSOR = "sensor"  # the newest; what is lost is lost
    RELIABLE = "reliable"
    LATCHED = "latched"  # who comes late is told the last one
    SERVICE = "service"

    @property
    def is_reliable(self) -> bool:
        return self is not Quality.SENSOR

    @property
    def is_latched(self) -> bool:
        return self is Quality.LATCHED

    @property
    def depth(self) -> int:
        """How many messages wait for one who is slow; then the oldest gives way."""
        return {Quality.SENSOR: 5, Quality.LATCHED: 1}.get(self, 10)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps nodes from hearing each other."""

    code: str  # no_router, wrong_type, wrong_hash, unknown_type, no_services or unreadable
    text: str  # what was found, what was expected and what to do


OnTrouble = Callable[[Trouble], None]


class Wire(Protocol):
    """One node on one transport, from its making until it is closed. Names are whole, as `expanded` gives them."""

    @property
    def lost(self) -> Mapping[str, int]:
        """Of topics that are listened to: messages that were sent and did not arrive, as far as the transport numbers them."""

    def subscribe(self, topic: str, kind: str, take: Take, quality: Quality, also: Collection[str] = ()) -> None:
        """`take` gets the CDR of each message, on a thread of the topic's own; while it takes its time, the oldest are lost.

        `also`: other kinds that are listened to on the same topic, so that who sends them is no trouble.
        """

    def publisher(self, topic: str, kind: str, quality: Quality) -> Take:
        """What sends CDR, from any thread, whether anybody listens or not; after the end it does nothing."""

    def serve(self, service: str, kind: str, answer: Answer) -> bool:
        """`answer` makes a response of a request, both CDR, on a thread of the service's own. False: there are no services."""

    def close(self) -> None:
        """Leave. May be called again."""


class Troubles:
    """Tells each trouble once, until it is over."""

    def __init__(self, on_trouble: OnTrouble) -> None:
        self._on_trouble, self._lock = on_trouble, Lock()
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()

    def tell(self, code: str, about: str, text: str) -> None:
        """`about`: what the trouble is with, such as a topic."""
        with self._lock:
            if (code, about) in self._told:
                return
            self._told[code, about] = None
            if len(self._told) > MOST_TOLD:
                self._told.popitem(last=False)
        try:
            self._on_trouble(Trouble(code, text))
        except Exception:  # who listens badly must not end the thread that takes messages
            logging.getLogger(__name__).exception("%s", text)

    def over(self, code: str, about: str) -> None:
        with self._lock:
            self._told.pop((code, about), None)

    def guarded(self, topic: str, take: Take) -> Take:
        """The same, with an exception told: once, until one goes well again."""

        def guarded_take(cdr: bytes) -> None:
            try:
                take(cdr)
            except Exception as error:
                self.tell("unreadable", topic, f"{topic}: a message of {len(cdr)} bytes cannot be used ({error!r})")
            else:
                self.over("unreadable", topic)

        return guarded_take

    def compare(
        self, name: str, peer: str, found: tuple[str, str], expected: tuple[str, str], also: Collection[str] = ()
    ) -> None:
        """Tells where a peer has another type, or the same with another hash, on the same name."""
        (type_found, hash_found), (type_expected, hash_expected) = found, expected
        if type_found in also:
            return
        who = f"{name}: {peer} has it as"
        if type_found != type_expected:
            text = f"{who} {type_found}, expected {type_expected}; remap the topic, or set its type"
            self.tell("wrong_type", f"{name} {type_found}", text)
        elif hash_found != hash_expected:
            text = (
                f"{who} {type_found} of hash {hash_found}, expected {hash_expected}; both must come from one ROS release"
                " and one definition of the message"
            )
            self.tell("wrong_hash", f"{name} {hash_found}", text)


def expanded(name: str, node: str, namespace: str = "/", remappings: Mapping[str, str] | None = None) -> str:
    """The whole name of a topic or service: `~/x` is the node's own, `x` its namespace's, `/x` what it is.

    The first remapping whose name comes to the same wins. Raises ConfigError for what ROS refuses
    (design.ros2.org/articles/topic_and_service_names.html, and rmw/validate_full_topic_name.h where it is less strict).
    """
    if not re.fullmatch(WORD, node):
        raise ConfigError(f"'{node}' is no name for a node; expected letters, digits and _, not beginning with a digit")
    whole = _whole(name, node, namespace)
    for found, replacement in (remappings or {}).items():
        if _whole(found, node, namespace) == whole:
            return _whole(replacement, node, namespace)
    return whole


def _whole(name: str, node: str, namespace: str) -> str:
    home = f"/{namespace.strip('/')}" if namespace.strip("/") else ""
    if home and not FULL_NAME.fullmatch(home):
        raise ConfigError(f"'{namespace}' is no namespace; expected one such as /robot1")
    if not NAME.fullmatch(name):
        raise ConfigError(f"'{name}' is no name of a topic or service; expected one such as camera/image_raw, /ask or ~/events")
    if name.startswith("~"):
        name = f"{home}/{node}{name[1:]}"
    elif not name.startswith("/"):
        name = f"{home}/{name}"
    if len(name) > MOST_CHARACTERS:
        raise ConfigError(f"'{name}' has {len(name)} characters, at most {MOST_CHARACTERS} are allowed; shorten it")
    return name


def parts(kind: str) -> tuple[str, str, str]:
    """sensor_msgs/msg/Image -> sensor_msgs, msg, Image. Raises ConfigError for what names no type."""
    if not KIND.fullmatch(kind):
        raise ConfigError(f"'{kind}' is no type; expected one such as sensor_msgs/msg/Image")
    package, space, name = kind.split("/")
    return package, space, name


def dds_name(kind: str) -> str:
    """sensor_msgs/msg/Image -> sensor_msgs::msg::dds_::Image_, which is what it is called on every transport."""
    package, space, name = parts(kind)
    return f"{package}::{space}::dds_::{name}_"


def kind_of(dds_name: str) -> str:
    """The other way; what is none of ROS stays as it is."""
    match = re.fullmatch(rf"({WORD})::(msg|srv)::dds_::({WORD})_", dds_name)
    return "/".join(match.groups()) if match else dds_name


def open_wire(
    name: str,
    node: str,
    namespace: str,
    type_hash: TypeHash,
    on_trouble: OnTrouble,
    *,
    domain: int = 0,
    router: str = ROUTER,
    fields: Mapping[str, Any] | None = None,
) -> Wire:
    """`auto`: rclpy where it can be imported, else zenoh. Raises ConfigError, and ModuleNotFoundError for what is not installed.

    `router` is zenoh's alone and `fields` (what messages consist of, as a rosbags type store has it) is DDS's alone.
    """
    if name not in WIRES:
        raise ConfigError(f"'{name}' is no wire; expected one of {', '.join(WIRES)}")
    if not 0 <= domain <= MOST_DOMAIN:
        raise ConfigError(f"ROS domain {domain} is out of range; expected 0 to {MOST_DOMAIN}")
    if name in ("auto", "rclpy"):
        try:
            from favor_stream.robot.rclpy_wire import RclpyWire

            return RclpyWire(node, namespace, on_trouble, domain=domain)
        except ModuleNotFoundError as error:
            if name == "rclpy" or (error.name or "").split(".")[0] not in ("rclpy", "rosidl_runtime_py"):
                raise
    if name == "dds":
        from favor_stream.robot.dds_wire import DdsWire

        return DdsWire(node, namespace, type_hash, on_trouble, domain=domain, fields=fields)
    from favor_stream.robot.zenoh_wire import ZenohWire

    return ZenohWire(node, namespace, type_hash, on_trouble, domain=domain, router=router)
