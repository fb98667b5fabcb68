"""Message types in the shape that DDS compares between peers, made of their definitions. It knows no transport."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cyclonedds.idl.types
from cyclonedds.idl import IdlStruct, make_idl_struct

from favor_stream.robot.wire import dds_name

idl: Any = cyclonedds.idl.types  # whose generics no checker understands

# By kind: constants, and members with what they are: a rosbags type store's `fielddefs`.
Fields = Mapping[str, tuple[Any, Any]]
PLAIN, NESTED, ARRAY = 1, 2, 3  # rosbags.interfaces.Nodetype; 4 is a sequence
NUMBERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "byte")
TYPES = {name: getattr(idl, name) for name in NUMBERS} | {"bool": bool, "char": idl.uint8, "string": str}


def shape_of(kind: str, fields: Fields) -> type[IdlStruct]:
    """The type of a kind of message; one that is not among `fields` is a heap of bytes, which only its name tells from others."""
    if kind not in fields:
        return make_idl_struct("Unknown", dds_name(kind), {"data": idl.sequence[idl.uint8]})
    return struct(kind, fields, {})


def struct(kind: str, fields: Fields, made: dict[str, type[IdlStruct]]) -> type[IdlStruct]:
    if kind not in made:
        members = {name: member(described, fields, made) for name, described in fields[kind][1]}
        made[kind] = make_idl_struct(kind.rpartition("/")[2], dds_name(kind), members)
    return made[kind]


def member(described: Any, fields: Fields, made: dict[str, type[IdlStruct]]) -> Any:
    node, what = described
    if node == PLAIN:
        name, bound = what
        return idl.bounded_str[bound] if name == "string" and bound else TYPES[name]
    if node == NESTED:
        return struct(what, fields, made)
    element, length = what
    inner = member(element, fields, made)
    if node == ARRAY:
        return idl.array[inner, length]
    return idl.sequence[inner, length] if length else idl.sequence[inner]
