"""How rmw_zenoh nodes name and mark what they exchange. It knows no Zenoh: text and bytes only.

Read in ros2/rmw_zenoh, whose authors promise none of it to others; each fact says where it stands there.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b

VERSIONS = "0.2.0 to 0.2.5"  # in which these facts were read; more at the end of a token or an attachment is passed over
ADMIN_SPACE = "@ros2_lv"  # docs/design.md, Graph Cache
NO_HASH = "TypeHashNotSupported"  # what Humble, which has no hashes, says in place of one
RELIABLE, BEST_EFFORT, TRANSIENT_LOCAL, VOLATILE = "1", "2", "1", "2"  # rmw/types.h
USUAL_DEPTH = 42  # which the text of a QoS leaves out: src/detail/qos.cpp
HEARTBEAT_S = 0.5  # of who publishes what is latched: src/detail/rmw_publisher_data.cpp


class Entity(StrEnum):
    """docs/design.md, Graph Cache, `entity_kind`."""

    NODE = "NN"
    PUBLISHER = "MP"
    SUBSCRIPTION = "MS"
    SERVICE = "SS"
    CLIENT = "SC"


OTHER_END = {
    Entity.PUBLISHER: Entity.SUBSCRIPTION,
    Entity.SUBSCRIPTION: Entity.PUBLISHER,
    Entity.SERVICE: Entity.CLIENT,
    Entity.CLIENT: Entity.SERVICE,
}


def topic_key(domain: int, name: str, type_name: str, type_hash: str) -> str:
    """The key under which a topic's messages, or a service's requests, go: docs/design.md, Topic and Service name mapping."""
    return f"{domain}/{name.strip('/')}/{type_name}/{type_hash}"


def mangled(name: str) -> str:
    """docs/design.md, Graph Cache: a mangled name is the name with each / replaced by %."""
    return name.replace("/", "%") or "%"


def unmangled(name: str) -> str:
    return name.replace("%", "/")


@dataclass(frozen=True, slots=True)
class Token:
    """What an entity declares alive for as long as it is there: docs/design.md, Graph Cache."""

    domain: int
    session: str  # Zenoh's id of it
    node_id: str
    entity_id: str
    entity: Entity
    namespace: str  # "/" or such as /robot1
    node: str
    name: str = ""  # of the topic or service, whole; a node has neither this nor what follows
    type_name: str = ""  # such as std_msgs::msg::dds_::String_
    type_hash: str = ""
    qos: str = ""
    enclave: str = ""

    @property
    def key(self) -> str:
        ids = (ADMIN_SPACE, str(self.domain), self.session, self.node_id, self.entity_id, self.entity)
        node = (mangled(self.enclave), mangled(self.namespace), mangled(self.node))
        what = (mangled(self.name), self.type_name, self.type_hash, self.qos) if self.entity is not Entity.NODE else ()
        return "/".join((*ids, *node, *what))

    @property
    def gid(self) -> bytes:
        """16 bytes that mark the entity's messages. Theirs are another hash of the same text, but nobody compares the two."""
        return blake2b(self.key.encode(), digest_size=16).digest()


def token_of(key: str) -> Token | None:
    """The token that a key is, or None."""
    found = key.split("/")
    kind = found[5] if len(found) > 5 else ""
    is_whole = len(found) >= (9 if kind == Entity.NODE else 13) and found[1].isdecimal()
    if found[0] != ADMIN_SPACE or kind not in list(Entity) or not is_whole:
        return None
    ids = (int(found[1]), found[2], found[3], found[4], Entity(kind))
    name, type_name, type_hash, qos = (unmangled(found[9]), *found[10:13]) if kind != Entity.NODE else ("", "", "", "")
    enclave = "" if found[6] == "%" else unmangled(found[6])
    return Token(*ids, unmangled(found[7]), unmangled(found[8]), name, type_name, type_hash, qos, enclave)


def watch_key(domain: int, entity: Entity, name: str) -> str:
    """What matches every token of that kind on a topic or service."""
    return f"{ADMIN_SPACE}/{domain}/*/*/*/{entity}/*/*/*/{mangled(name)}/**"


def qos_text(is_reliable: bool, is_latched: bool, depth: int) -> str:
    """src/detail/liveliness_utils.cpp, qos_to_keyexpr: only what is not usual is said; deadline, lifespan, liveliness never."""
    reliability = "" if is_reliable else BEST_EFFORT
    durability = TRANSIENT_LOCAL if is_latched else ""
    return f"{reliability}:{durability}:,{'' if depth == USUAL_DEPTH else depth}:,:,:,,"


@dataclass(frozen=True, slots=True)
class Attachment:
    """What comes with each message, request and response: docs/design.md, Publishers; src/detail/attachment_helpers.cpp."""

    sequence_number: int
    source_ns: int  # since 1970
    gid: bytes  # 16 bytes
    is_named: bool = False  # the form before 0.2.4, in which each value's name stands before it

    def encoded(self) -> bytes:
        if not self.is_named:
            return struct.pack("<qqB16s", self.sequence_number, self.source_ns, 16, self.gid)
        first, second, third = NAMES
        return struct.pack("<16sq17sq11sB16s", first, self.sequence_number, second, self.source_ns, third, 16, self.gid)

    def answered(self, now_ns: int) -> Attachment:
        """What goes with the response to a request: docs/design.md, Service Servers."""
        return replace(self, source_ns=now_ns)


NAMES = tuple(bytes([len(name)]) + name for name in (b"sequence_number", b"source_timestamp", b"source_gid"))


def attachment_of(encoded: bytes) -> Attachment | None:
    """The attachment that the bytes are, in either form, or None."""
    is_named = encoded.startswith(NAMES[0])
    form = "<16xq17xq11xB16s" if is_named else "<qqB16s"
    if len(encoded) < struct.calcsize(form):
        return None
    number, source_ns, size, gid = struct.unpack_from(form, encoded)
    return Attachment(number, source_ns, gid, is_named) if size == 16 else None


def session_settings(router: str) -> dict[str, str]:
    """Keys of a Zenoh session's configuration and JSON: config/DEFAULT_RMW_ZENOH_SESSION_CONFIG.json5, with shorter waits."""
    settings: dict[str, object] = {
        "mode": "peer",
        "connect/endpoints": [router],
        "connect/timeout_ms": -1,  # for ever, and beside everything else
        "connect/exit_on_failure": False,
        "connect/retry": {"period_init_ms": 500, "period_max_ms": 2000, "period_increase_factor": 2},
        "listen/endpoints": ["tcp/localhost:0"],  # peers of one machine talk to each other, past the router
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": True,
        "scouting/gossip/target": {"router": ["router", "peer"], "peer": ["router"]},
        "scouting/gossip/autoconnect_strategy": {"peer": {"to_router": "always", "to_peer": "greater-zid"}},
        "timestamping/enabled": True,  # what is latched needs it
        "queries_default_timeout": 60_000,  # ms
    }
    return {key: json.dumps(value) for key, value in settings.items()}
