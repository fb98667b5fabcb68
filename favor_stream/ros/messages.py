"""Messages and services of ROS 2 in their wire format, CDR, and the hashes that tell their types. No ROS install is needed.

One name may stand for several layouts: two packages are called audio_common_msgs. The bytes of one never fit the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from threading import Lock
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.msg import get_types_from_msg
from rosbags.typesys.store import Typestore

from favor_stream.errors import DeviceError

Message = Any  # a class that rosbags makes at run time, with the type's fields
Description = Any  # rosbags' own of a field: a tuple of its sort and what it holds

NS_PER_S = 1_000_000_000
EVENT_INFO = "service_msgs/msg/ServiceEventInfo"
MAKING = Lock()  # the types are made once: a message's class tells its layout
FAILED = (SerdeError, struct.error, ValueError, TypeError, AttributeError, LookupError, OverflowError, AssertionError)


def make(kind: str, **fields: object) -> Message:
    """A message with these fields, and nothing (0, "", no elements) in all others; arrays may come as bytes or lists.

    Of several layouts, the first that has these fields. Raises DeviceError for a kind or a field that nobody knows.
    """
    for store in _stores_of(kind):
        if fields.keys() <= dict(store.fielddefs[kind][1]).keys():
            return _made(store, kind, fields)
    names = ", ".join(dict(_stores_of(kind)[0].fielddefs[kind][1]))
    raise DeviceError(f"{kind} has no {', '.join(sorted(fields))}; expected some of: {names}")


def encode(message: Message) -> bytes:
    """Its CDR bytes. Raises DeviceError for values that its fields cannot hold."""
    kind = message.__msgtype__
    store = next((store for store in _stores_of(kind) if store.types[kind] is type(message)), _stores_of(kind)[0])
    try:
        return bytes(store.serialize_cdr(message, kind))
    except FAILED as error:
        raise DeviceError(f"{kind}: cannot be written ({_one_line(error)}); give each field what its type holds") from None


def decode(data: bytes | memoryview, kind: str) -> Message:
    """The message in CDR bytes, its arrays being views of them. Raises DeviceError for bytes that are no such message."""
    reasons = []
    for store in _stores_of(kind):
        try:
            return store.deserialize_cdr(memoryview(data), kind)
        except (*FAILED, RecursionError, MemoryError) as error:
            reasons.append(_one_line(error))
    raise DeviceError(f"{len(data)} bytes are no {kind} ({reasons[0]}); expected its CDR as ROS 2 writes it")


def type_hash(kind: str) -> str:
    """What rmw_zenoh and recordings tell a message or service type by (REP 2016), of the first of its layouts."""
    return type_hashes(kind)[0]


def type_hashes(kind: str) -> tuple[str, ...]:
    """The same of all layouts of this name."""
    return tuple(store.hash_rihs01(kind) for store in _stores_of(kind))


def definition(kind: str) -> str:
    """A message type and all that it is made of, as recordings carry it (ros2msg), of the first of its layouts."""
    return _stores_of(kind)[0].generate_msgdef(kind, ros_version=2)[0]


def fields() -> Mapping[str, Any]:
    """What each type consists of, as rosbags describes it: constants, and fields; of the first of its layouts."""
    return {kind: described for store in reversed(_stores()) for kind, described in store.fielddefs.items()}


def is_known(kind: str) -> bool:
    return any(kind in store.types for store in _stores())


# Time.


def stamp(stamp_ns: int) -> Message:
    """A builtin_interfaces/msg/Time."""
    seconds, nanoseconds = divmod(stamp_ns, NS_PER_S)
    return make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)


def header(stamp_ns: int, frame_id: str = "") -> Message:
    """A std_msgs/msg/Header."""
    return make("std_msgs/msg/Header", stamp=stamp(stamp_ns), frame_id=frame_id)


def stamp_ns(message: Message) -> int | None:
    """When what a message holds was captured; `message` may be a header or a time itself. None: it does not tell, or tells 0."""
    told: Message = getattr(message, "header", message)
    told = getattr(told, "stamp", getattr(told, "timestamp", told))
    if not hasattr(told, "nanosec"):
        return None
    return int(told.sec) * NS_PER_S + int(told.nanosec) or None


def stamp_s(message: Message) -> float:
    """The same in seconds, 0.0 where it does not tell: for people; what is compared stays in nanoseconds."""
    return (stamp_ns(message) or 0) / NS_PER_S


# Types.


def _stores() -> tuple[Typestore, ...]:
    with MAKING:
        return _made_stores()


@cache
def _made_stores() -> tuple[Typestore, ...]:
    """All layouts that are known, the usual ones first."""
    first, second = get_typestore(Stores.ROS2_JAZZY), get_typestore(Stores.ROS2_JAZZY)
    for store, name in ((first, "first"), (second, "second")):
        store.register(dict(_defined(files("favor_stream.ros") / "definitions" / name)))
        for kind, (constants, fields) in store.fielddefs.items():
            store.fielddefs[kind] = constants, [(field, _without_char(described)) for field, described in fields]
    return first, second, get_typestore(Stores.ROS2_HUMBLE)


@cache
def _stores_of(kind: str) -> tuple[Typestore, ...]:
    """A store for each layout of this name."""
    layouts = {store.hash_rihs01(kind): store for store in reversed(_stores()) if kind in store.types}
    if not layouts:
        raise DeviceError(f"{kind} is no type that is known; expected one such as sensor_msgs/msg/Image")
    return tuple(reversed(layouts.values()))


def _defined(folder: Traversable) -> Iterator[tuple[str, Any]]:
    """Names and fields of the types in definition files, PACKAGE/msg/NAME.msg and PACKAGE/srv/NAME.srv."""
    for package in folder.iterdir():
        for sort in package.iterdir():
            for file in sort.iterdir():
                name, text = file.name.partition(".")[0], file.read_text(encoding="utf-8")
                if sort.name == "srv":
                    yield from _service(package.name, name, text)
                else:
                    yield from get_types_from_msg(text, f"{package.name}/msg/{name}").items()


def _service(package: str, name: str, text: str) -> Iterator[tuple[str, Any]]:
    """A service is hashed as a type that holds its request, its response and the event that introspection publishes."""
    parts = {}
    for part, fields in zip(("Request", "Response"), text.split("---\n"), strict=True):
        parts[part] = f"{package}/srv/{name}_{part}"
        yield from ((parts[part], found) for found in get_types_from_msg(fields, f"{package}/msg/{name}_{part}").values())
    event = f"{package}/srv/{name}_Event"
    at_most_one = [(part.lower(), (Nodetype.SEQUENCE, ((Nodetype.NAME, parts[part]), 1))) for part in parts]
    yield event, ([], [("info", (Nodetype.NAME, EVENT_INFO)), *at_most_one])
    members = {**parts, "Event": event}
    yield f"{package}/srv/{name}", ([], [(f"{part.lower()}_message", (Nodetype.NAME, members[part])) for part in members])


def _without_char(description: Description) -> Description:
    """ROS 2 takes the `char` of a definition file for uint8, and hashes it so."""
    if description == "char":
        return "uint8"
    return tuple(map(_without_char, description)) if isinstance(description, tuple) else description


def _made(store: Typestore, kind: str, fields: Mapping[str, object]) -> Message:
    values = {name: _value(store, description, fields.get(name)) for name, description in store.fielddefs[kind][1]}
    return store.types[kind](**values)  # type: ignore[arg-type]


def _value(store: Typestore, description: Description, given: object) -> object:
    """What a field of this description takes, from what was given for it, if anything."""
    sort, held = description
    if sort == Nodetype.NAME:
        return _made(store, held, {}) if given is None else given
    if sort == Nodetype.BASE:
        return _nothing(held[0]) if given is None else given
    (inner, name), count = held
    if given is None:
        given = [_value(store, held[0], None)] * (count if sort == Nodetype.ARRAY else 0)
    if inner == Nodetype.NAME or name[0] == "string":
        return given
    dtype = np.dtype("uint8" if name[0] == "byte" else name[0])
    return np.frombuffer(given, dtype) if isinstance(given, bytes | bytearray | memoryview) else np.asarray(given, dtype)


def _nothing(name: str) -> object:
    return {"string": "", "bool": False, "float32": 0.0, "float64": 0.0}.get(name, 0)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
