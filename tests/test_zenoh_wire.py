"""A node on Zenoh among peers that speak as rmw_zenoh does, through a router that is one or comes late."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import zenoh
from wire_peer import (
    IMAGE,
    PICTURES,
    STRING,
    TRIGGER,
    WAIT_S,
    Troubled,
    camera_process,
    picture,
    see_all,
    text,
    type_hash,
    waited,
    words,
)

from favor_stream.errors import ConfigError
from favor_stream.robot import zenoh_wire
from favor_stream.robot.wire import Quality
from favor_stream.robot.zenoh_wire import ZenohWire

STRING_HASH = "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
CHATTER = f"0/chatter/std_msgs::msg::dds_::String_/{STRING_HASH}"
Made = Callable[..., ZenohWire]

# It knows nothing of this package: what it says and hears is written out as rmw_zenoh's design has it.
PEER = f"""
import json, sys, zenoh
config = zenoh.Config()
for key, value in (("mode", "peer"), ("connect/endpoints", [sys.argv[1]]), ("scouting/multicast/enabled", False)):
    config.insert_json5(key, json.dumps(value))
session, is_first = zenoh.open(config), True
subscriber = session.declare_subscriber("{CHATTER}")
for sample in subscriber:
    attachment = sample.attachment.to_bytes()
    session.put("{CHATTER.replace("chatter", "echo")}", sample.payload, attachment=attachment)
    if is_first:
        tokens = [str(reply.ok.key_expr) for reply in session.liveliness().get("@ros2_lv/0/**") if reply.ok]
        print(json.dumps([attachment.hex(), tokens]), flush=True)
    is_first = False
"""


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp/127.0.0.1:{probe.getsockname()[1]}"


def opened(mode: str, **endpoints: list[str]) -> zenoh.Session:
    config = zenoh.Config()
    for key, value in {"mode": mode, "scouting/multicast/enabled": False}.items():
        config.insert_json5(key, json.dumps(value))
    for end, addresses in endpoints.items():
        config.insert_json5(f"{end}/endpoints", json.dumps(addresses))
    return zenoh.open(config)


def closed(session: zenoh.Session) -> None:
    session.close()  # type: ignore[no-untyped-call]


@pytest.fixture
def router() -> Iterator[str]:
    address = free_address()
    session = opened("router", listen=[address])
    yield address
    closed(session)


@pytest.fixture
def made(router: str) -> Iterator[Made]:
    """Makes nodes that find the router, and closes them."""
    wires = list[ZenohWire]()

    def make(node: str, troubles: Troubled | None = None, hashes: Callable[[str], str] = type_hash) -> ZenohWire:
        told = Troubled() if troubles is None else troubles
        wires.append(ZenohWire(node, "/", hashes, told.append, router=router))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()


@pytest.fixture
def two(made: Made) -> tuple[ZenohWire, ZenohWire]:
    return made("one"), made("two")


def asked(session: zenoh.Session, key: str, attachment: bytes | None, timeout_s: float = 30.0) -> zenoh.Reply:
    target = zenoh.QueryTarget.ALL_COMPLETE
    return next(iter(session.get(key, payload=text("?"), attachment=attachment, target=target, timeout=timeout_s)))


def repeated(publish: Callable[[bytes], None], is_so: Callable[[], object], cdr: bytes) -> None:
    """Says it until it has an effect: who has just come is not heard by everybody yet."""

    def say() -> object:
        publish(cdr)
        return is_so()

    waited(say)


def test_peer_that_knows_only_the_design_hears_and_is_heard_from_another_process(router: str, made: Made) -> None:
    wire, heard = made("agent"), list[str]()
    publish = wire.publisher("/chatter", STRING, Quality.RELIABLE)
    wire.subscribe("/echo", STRING, lambda cdr: heard.append(words(cdr)), Quality.SENSOR)
    before_ns = time.time_ns()
    with subprocess.Popen([sys.executable, "-c", PEER, router], stdout=subprocess.PIPE) as peer:
        try:
            assert peer.stdout
            repeated(publish, lambda: heard, text("hello"))
            attachment, tokens = json.loads(peer.stdout.readline())
        finally:
            peer.kill()
    number, source_ns, size, _ = struct.unpack("<qqB16s", bytes.fromhex(attachment))
    assert (heard[0], number > 0, before_ns < source_ns < time.time_ns(), size) == ("hello", True, True, 16)
    ends = sorted(token.split("/", 4)[4] for token in tokens)
    chatter = f"%chatter/std_msgs::msg::dds_::String_/{STRING_HASH}/::,10:,:,:,,"
    echo = f"%echo/std_msgs::msg::dds_::String_/{STRING_HASH}/2::,5:,:,:,,"
    assert ends == ["0/NN/%/%/agent", f"1/MP/%/%/agent/{chatter}", f"2/MS/%/%/agent/{echo}"]


def test_last_of_what_is_latched_reaches_who_comes_late(made: Made) -> None:
    scene, heard = made("one").publisher("/scene", STRING, Quality.LATCHED), list[str]()
    for number in range(5):
        scene(text(str(number)))
    made("two").subscribe("/scene", STRING, lambda cdr: heard.append(words(cdr)), Quality.LATCHED)
    waited(lambda: heard)
    scene(text("5"))
    waited(lambda: heard == ["4", "5"])


def test_two_hundred_pictures_of_another_process_arrive_as_they_were_sent(router: str, made: Made) -> None:
    with camera_process("zenoh", router, "SENSOR") as camera:
        seen, wrong = see_all(made("agent"), Quality.SENSOR)
        assert (seen, wrong) == (list(range(PICTURES)), [])
        _, complaints = camera.communicate(timeout=60)
    assert (camera.returncode, complaints) == (0, b"")


def test_slow_service_answers_while_pictures_flow(router: str, two: tuple[ZenohWire, ZenohWire]) -> None:
    one, other = two
    seen, counts = list[int](), list[int]()
    show = other.publisher("/camera/image_raw", IMAGE, Quality.SENSOR)
    one.subscribe("/camera/image_raw", IMAGE, lambda cdr: seen.append(len(cdr)), Quality.SENSOR)
    repeated(show, lambda: seen, picture(0))

    def answer(request: bytes) -> bytes:
        counts.append(len(seen))
        waited(lambda: len(seen) > counts[0] + 5)  # it would never end if it kept them from coming
        return text(f"{words(request)} yes")

    assert one.serve("/ask", TRIGGER, answer)
    is_over = threading.Event()
    flow = threading.Thread(target=lambda: [show(picture(0)) for _ in iter(lambda: is_over.wait(0.01), True)])
    flow.start()
    asker = opened("client", connect=[router])
    key, gid = f"0/ask/std_srvs::srv::dds_::Trigger_/{type_hash(TRIGGER)}", bytes(range(16))
    try:
        reply = asked(asker, key, struct.pack("<qqB16s", 41, 1, 16, gid))
    finally:
        is_over.set()
        flow.join()
    assert reply.ok is not None
    assert reply.ok.attachment is not None
    assert words(reply.ok.payload.to_bytes()) == "? yes"
    number, source_ns, size, same = struct.unpack("<qqB16s", reply.ok.attachment.to_bytes())
    assert (number, size, same, source_ns > 1) == (41, 16, gid, True)
    closed(asker)


@pytest.mark.parametrize("problem", ["the answer", "the attachment"])
def test_request_that_cannot_be_answered_is_refused_and_told(router: str, made: Made, problem: str) -> None:
    troubles = Troubled()
    made("one", troubles).serve("/ask", TRIGGER, lambda request: bytes(0 if problem == "the attachment" else 1 // 0))
    asker = opened("client", connect=[router])
    key = f"0/ask/std_srvs::srv::dds_::Trigger_/{type_hash(TRIGGER)}"
    reply = asked(asker, key, bytes(3) if problem == "the attachment" else struct.pack("<qqB16s", 1, 1, 16, bytes(16)))
    assert reply.err is not None
    assert troubles.codes() == ["unreadable"]
    assert "/ask: a request cannot be answered" in troubles[0].text
    closed(asker)


def test_peer_with_another_hash_or_another_type_is_told_with_both(made: Made) -> None:
    troubles = Troubled()
    wire = made("agent", troubles)
    wire.subscribe("/chatter", STRING, lambda cdr: None, Quality.SENSOR)
    old = made("old", hashes=lambda kind: "TypeHashNotSupported")
    old.publisher("/chatter", STRING, Quality.SENSOR)
    waited(lambda: troubles.codes() == ["wrong_hash"])
    assert all(word in troubles[0].text for word in ("/chatter", "/old", "TypeHashNotSupported", STRING_HASH))
    made("camera").publisher("/chatter", IMAGE, Quality.SENSOR)
    waited(lambda: troubles.codes() == ["wrong_hash", "wrong_type"])
    assert all(word in troubles[1].text for word in ("/chatter", "/camera", IMAGE, STRING))


def test_peer_of_the_same_type_is_no_trouble_and_one_that_was_there_before_is_compared(made: Made) -> None:
    troubles = Troubled()
    made("same").publisher("/chatter", STRING, Quality.SENSOR)
    made("camera").publisher("/chatter", IMAGE, Quality.SENSOR)
    made("agent", troubles).subscribe("/chatter", STRING, lambda cdr: None, Quality.SENSOR)
    waited(lambda: troubles)
    assert [trouble.code for trouble in troubles] == ["wrong_type"]


def test_missing_router_is_told_once_and_found_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zenoh_wire, "ROUTER_WAIT_S", 0.2)
    monkeypatch.setattr(zenoh_wire, "ROUTER_LOOK_S", 0.05)
    address, troubles, heard = free_address(), Troubled(), list[str]()
    began_s = time.monotonic()
    wires = [ZenohWire(node, "/", type_hash, troubles.append, router=address) for node in ("one", "two")]
    assert time.monotonic() - began_s < 20
    publish = wires[0].publisher("/chatter", STRING, Quality.RELIABLE)
    wires[1].subscribe("/chatter", STRING, lambda cdr: heard.append(words(cdr)), Quality.RELIABLE)
    waited(lambda: len(troubles) == 2)
    publish(text("nobody"))
    time.sleep(0.5)
    assert troubles.codes() == ["no_router", "no_router"]  # each node once
    assert address in troubles[0].text
    router = opened("router", listen=[address])
    repeated(publish, lambda: heard, text("hello"))
    assert heard[0] == "hello"
    for wire in wires:
        wire.close()
    closed(router)


def test_take_that_raises_is_told_once_and_the_next_message_comes(made: Made) -> None:
    troubles, heard = Troubled(), list[str]()

    def take(cdr: bytes) -> None:
        heard.append(words(cdr))
        if heard[-1] == "bad":
            raise ValueError("no such thing")

    made("agent", troubles).subscribe("/chatter", STRING, take, Quality.RELIABLE)
    publish = made("talker").publisher("/chatter", STRING, Quality.RELIABLE)
    repeated(publish, lambda: "bad" in heard, text("bad"))
    repeated(publish, lambda: heard.count("bad") > 2, text("bad"))
    repeated(publish, lambda: "good" in heard, text("good"))
    assert troubles.codes() == ["unreadable"]
    assert "no such thing" in troubles[0].text
    repeated(publish, lambda: len(troubles) == 2, text("bad"))  # that it was over was seen


def test_router_that_goes_is_told_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zenoh_wire, "ROUTER_WAIT_S", 0.2)
    monkeypatch.setattr(zenoh_wire, "ROUTER_LOOK_S", 0.05)
    address, troubles = free_address(), Troubled()
    wire = ZenohWire("agent", "/", type_hash, troubles.append, router=address)
    for times in (1, 2):
        waited(lambda times=times: troubles.codes() == ["no_router"] * times)  # type: ignore[misc]
        router = opened("router", listen=[address])
        waited(lambda: wire._session.info.routers_zid())
        time.sleep(0.3)
        closed(router)
    wire.close()


def test_slow_take_loses_the_oldest_and_has_the_newest(two: tuple[ZenohWire, ZenohWire]) -> None:
    one, other = two
    heard, others, may_go = list[str](), list[str](), threading.Event()

    def take(cdr: bytes) -> None:
        heard.append(words(cdr))
        may_go.wait(WAIT_S)

    one.subscribe("/slow", STRING, take, Quality.SENSOR)
    one.subscribe("/other", STRING, lambda cdr: others.append(words(cdr)), Quality.SENSOR)
    slow, quick = (other.publisher(topic, STRING, Quality.SENSOR) for topic in ("/slow", "/other"))
    repeated(slow, lambda: heard, text("first"))
    for number in range(50):
        slow(text(str(number)))
    repeated(quick, lambda: others, text("behind them"))
    may_go.set()
    waited(lambda: heard[-1] == "49")
    assert len(heard) <= 1 + Quality.SENSOR.depth
    assert one.lost["/slow"] >= 50 - Quality.SENSOR.depth  # counted by the numbers that they came with


def test_topic_that_is_listened_to_in_several_kinds_takes_any_of_them_without_trouble(made: Made) -> None:
    troubles, heard, kinds = Troubled(), list[str](), (STRING, IMAGE)
    agent, talker = made("agent", troubles), made("talker")
    for kind in kinds:
        agent.subscribe("/chatter", kind, lambda cdr, kind=kind: heard.append(kind), Quality.SENSOR, kinds)  # type: ignore[misc]
    repeated(talker.publisher("/chatter", STRING, Quality.SENSOR), lambda: heard, text("hello"))
    assert set(heard) == {STRING}
    assert troubles.codes() == []


def test_closing_twice_frees_the_threads_and_later_messages_do_no_harm(router: str) -> None:
    before, troubles = threading.active_count(), Troubled()
    wire = ZenohWire("agent", "/", type_hash, troubles.append, router=router)
    publish = wire.publisher("/chatter", STRING, Quality.LATCHED)
    wire.subscribe("/chatter", STRING, lambda cdr: None, Quality.LATCHED)
    wire.serve("/ask", TRIGGER, lambda request: request)
    assert threading.active_count() > before
    wire.close()
    wire.close()
    publish(text("later"))
    assert threading.active_count() == before
    assert troubles == []


def test_process_that_never_closes_its_wire_ends_without_a_word(router: str) -> None:
    program = f"""
from favor_stream.robot.wire import Quality, open_wire
wire = open_wire("zenoh", "agent", "/", lambda kind: "RIHS01_0", print, router="{router}")
wire.subscribe("/chatter", "std_msgs/msg/String", print, Quality.LATCHED)
wire.serve("/ask", "std_srvs/srv/Trigger", bytes)
"""
    ended = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", program], capture_output=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


@pytest.mark.parametrize("address", ["localhost", "localhost:7447", "http://localhost:7447", "tcp/", "ws+x/localhost:1"])
def test_address_that_is_none_is_one_clear_error(address: str) -> None:
    with pytest.raises(ConfigError, match="no address of a router; expected one such as tcp/localhost:7447"):
        ZenohWire("agent", "/", type_hash, lambda trouble: None, router=address)
