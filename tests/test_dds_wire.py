"""A node on DDS among peers that Cyclone's own types make, on loopback and in a domain of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import make_idl_struct
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration
from wire_peer import (
    IMAGE,
    PICTURES,
    STRING,
    TRIGGER,
    WAIT_S,
    Troubled,
    camera_process,
    see_all,
    store,
    text,
    type_hash,
    waited,
    words,
)

from favor_stream.errors import DeviceError
from favor_stream.robot.dds_type import shape_of
from favor_stream.robot.dds_wire import DdsWire, hash_of, user_data
from favor_stream.robot.wire import Quality

DOMAIN = 1 + os.getpid() % 90  # whose ports are below those that systems give out
LOOPBACK = """<CycloneDDS><Domain Id="any"><General>
<Interfaces><NetworkInterface name="lo" multicast="false"/></Interfaces><AllowMulticast>false</AllowMulticast>
<MaxMessageSize>65500B</MaxMessageSize></General><Discovery><ParticipantIndex>auto</ParticipantIndex>
<MaxAutoParticipantIndex>40</MaxAutoParticipantIndex><Peers><Peer Address="127.0.0.1"/></Peers></Discovery>
</Domain></CycloneDDS>"""
String: Any = make_idl_struct("String", "std_msgs::msg::dds_::String_", {"data": str})  # as a peer that goes by types has it
Made = Callable[..., DdsWire]


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYCLONEDDS_URI", LOOPBACK)


@pytest.fixture
def made() -> Iterator[Made]:
    """Makes nodes in the test's domain, and closes them."""
    wires = list[DdsWire]()

    def make(node: str, troubles: Troubled | None = None, hashes: Callable[[str], str] = type_hash) -> DdsWire:
        told = Troubled() if troubles is None else troubles
        wires.append(DdsWire(node, "/", hashes, told.append, domain=DOMAIN, fields=store.fielddefs))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()


def repeated(publish: Callable[[bytes], None], is_so: Callable[[], object], cdr: bytes) -> None:
    """Says it until it has an effect: who has just come is not heard by everybody yet."""

    def say() -> object:
        publish(cdr)
        return is_so()

    waited(say)


def test_peer_that_compares_types_hears_and_is_heard(made: Made) -> None:
    wire, heard = made("agent"), list[str]()
    publish = wire.publisher("/chatter", STRING, Quality.RELIABLE)
    wire.subscribe("/echo", STRING, lambda cdr: heard.append(words(cdr)), Quality.RELIABLE)
    qos = Qos(Policy.Reliability.Reliable(duration(seconds=1)), Policy.History.KeepLast(10))
    peer = DomainParticipant(DOMAIN)
    reader: DataReader[Any] = DataReader(peer, Topic(peer, "rt/chatter", String), qos=qos)
    writer: DataWriter[Any] = DataWriter(peer, Topic(peer, "rt/echo", String), qos=qos)
    repeated(publish, lambda: reader.read(1), text("hello"))
    assert reader.take(1)[0].data == "hello"
    waited(lambda: writer.write(String("hello back")) or heard)
    assert heard[0] == "hello back"


def test_two_hundred_pictures_of_another_process_arrive_as_they_were_sent(made: Made) -> None:
    with camera_process("dds", str(DOMAIN), "RELIABLE") as camera:
        seen, wrong = see_all(made("agent"), Quality.RELIABLE)
        assert (seen, wrong) == (list(range(PICTURES)), [])
        _, complaints = camera.communicate(timeout=60)
    assert (camera.returncode, complaints) == (0, b"")


def test_last_of_what_is_latched_reaches_who_comes_late(made: Made) -> None:
    scene, heard = made("one").publisher("/scene", STRING, Quality.LATCHED), list[str]()
    for number in range(5):
        scene(text(str(number)))
    made("two").subscribe("/scene", STRING, lambda cdr: heard.append(words(cdr)), Quality.LATCHED)
    waited(lambda: heard)
    scene(text("5"))
    waited(lambda: heard == ["4", "5"])


def test_peer_with_another_hash_or_another_type_is_told_with_both(made: Made) -> None:
    troubles = Troubled()
    made("agent", troubles).subscribe("/chatter", STRING, lambda cdr: None, Quality.SENSOR)
    made("same").publisher("/chatter", STRING, Quality.SENSOR)
    made("old", hashes=lambda kind: "RIHS01_7").publisher("/chatter", STRING, Quality.SENSOR)
    waited(lambda: troubles.codes() == ["wrong_hash"])
    assert all(word in troubles[0].text for word in ("/chatter", "RIHS01_7", type_hash(STRING)))
    made("camera").publisher("/chatter", IMAGE, Quality.SENSOR)
    waited(lambda: troubles.codes() == ["wrong_hash", "wrong_type"])
    assert all(word in troubles[1].text for word in ("/chatter", IMAGE, STRING))


def test_node_hears_itself_on_a_topic_whatever_each_end_promises(made: Made) -> None:
    wire, heard, latched = made("agent"), list[str](), list[str]()
    publish = wire.publisher("/chatter", STRING, Quality.LATCHED)
    wire.subscribe("/chatter", STRING, lambda cdr: heard.append(words(cdr)), Quality.SENSOR)
    wire.subscribe("/chatter", STRING, lambda cdr: latched.append(words(cdr)), Quality.LATCHED)
    repeated(publish, lambda: heard and latched, text("hello"))
    assert {*heard, *latched} == {"hello"}


def test_hash_is_read_as_peers_since_iron_say_it_and_humble_says_none() -> None:
    assert user_data("RIHS01_ab") == b"typehash=RIHS01_ab;"
    assert hash_of(Qos(Policy.Userdata(b"enclave=/;typehash=RIHS01_ab;"))) == "RIHS01_ab"
    assert [hash_of(Qos()), hash_of(Qos(Policy.Userdata(b"\xff=;;")))] == [None, None]


def test_services_are_not_offered_and_that_is_told(made: Made) -> None:
    troubles = Troubled()
    assert not made("agent", troubles).serve("/ask", TRIGGER, lambda request: request)
    assert troubles.codes() == ["no_services"]
    assert "/ask" in troubles[0].text


def test_take_that_raises_is_told_once_and_the_next_message_comes(made: Made) -> None:
    troubles, heard = Troubled(), list[str]()

    def take(cdr: bytes) -> None:
        heard.append(words(cdr))
        if heard[-1] == "bad":
            raise ValueError("no such thing")

    made("agent", troubles).subscribe("/chatter", STRING, take, Quality.RELIABLE)
    publish = made("talker").publisher("/chatter", STRING, Quality.RELIABLE)
    repeated(publish, lambda: heard.count("bad") > 2, text("bad"))
    repeated(publish, lambda: "good" in heard, text("good"))
    assert troubles.codes() == ["unreadable"]
    assert "no such thing" in troubles[0].text


def test_slow_take_keeps_nobody_waiting_and_has_the_newest(made: Made) -> None:
    heard, others, may_go = list[str](), list[str](), threading.Event()

    def take(cdr: bytes) -> None:
        heard.append(words(cdr))
        may_go.wait(WAIT_S)

    agent, talker = made("agent"), made("talker")
    agent.subscribe("/slow", STRING, take, Quality.SENSOR)
    agent.subscribe("/other", STRING, lambda cdr: others.append(words(cdr)), Quality.SENSOR)
    slow, other = (talker.publisher(name, STRING, Quality.RELIABLE) for name in ("/slow", "/other"))
    repeated(slow, lambda: heard, text("first"))
    for number in range(50):
        slow(text(str(number)))
    repeated(other, lambda: others, text("behind them"))
    may_go.set()
    waited(lambda: heard[-1] == "49")
    assert len(heard) <= 2 * Quality.SENSOR.depth


def test_type_that_nobody_described_goes_by_its_name() -> None:
    for kind, members in ((IMAGE, 7), ("favor_msgs/msg/Unheard", 1)):
        shape = shape_of(kind, store.fielddefs)
        package, _, name = kind.split("/")
        assert shape.__idl_typename__ == f"{package}::msg::dds_::{name}_"
        assert len(shape.__annotations__) == members


def test_shape_of_every_message_of_ros_can_be_made() -> None:
    for kind in store.fielddefs:
        shape = shape_of(kind, store.fielddefs)
        shape.__idl__.fill_type_data()
        assert list(shape.__annotations__) == [name for name, _ in store.fielddefs[kind][1]]


def test_closing_twice_frees_the_threads_and_later_messages_do_no_harm() -> None:
    before, troubles = threading.active_count(), Troubled()
    wire = DdsWire("agent", "/", type_hash, troubles.append, domain=DOMAIN)
    publish = wire.publisher("/chatter", STRING, Quality.LATCHED)
    wire.subscribe("/chatter", STRING, lambda cdr: None, Quality.LATCHED)
    assert threading.active_count() > before
    wire.close()
    wire.close()
    publish(text("later"))
    assert threading.active_count() == before
    assert troubles == []


def test_process_that_never_closes_its_wire_ends_without_a_word() -> None:
    program = f"""
from favor_stream.robot.wire import Quality, open_wire
wire = open_wire("dds", "agent", "/", lambda kind: "RIHS01_0", print, domain={DOMAIN})
wire.subscribe("/chatter", "std_msgs/msg/String", print, Quality.LATCHED)
wire.publisher("/chatter", "std_msgs/msg/String", Quality.LATCHED)
"""
    ended = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", program], capture_output=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_settings_with_which_dds_cannot_begin_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYCLONEDDS_URI", LOOPBACK.replace('name="lo"', 'name="no_such_interface"'))
    with pytest.raises(DeviceError, match="check the network and CYCLONEDDS_URI"):
        DdsWire("agent", "/", type_hash, lambda trouble: None, domain=DOMAIN + 100)
