"""A node of ROS itself, on a stand-in for rclpy: ROS is asked as it wants to be, and what it gives goes through."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_ros
import pytest
from wire_peer import IMAGE, STRING, TRIGGER, WAIT_S, Troubled, picture, text, waited, words

from favor_stream.robot.wire import Quality, Wire, open_wire

Made = Callable[..., Wire]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """Makes nodes of the stand-in, and closes them."""
    wires = list[Wire]()

    def make(node: str = "agent", troubles: Troubled | None = None, domain: int = 0, name: str = "rclpy") -> Wire:
        told = Troubled() if troubles is None else troubles
        wires.append(open_wire(name, node, "/robot1", lambda kind: "", told.append, domain=domain))
        return wires[-1]

    with fake_ros.installed(tmp_path):
        yield make
        for wire in wires:
            wire.close()
    assert (fake_ros.BUS, fake_ros.CONTEXTS) == ([], [])


def test_pictures_arrive_as_the_bytes_that_were_sent_in_their_domain_only(made: Made) -> None:
    heard, strangers = list[bytes](), list[bytes]()
    made().subscribe("/camera/image_raw", IMAGE, heard.append, Quality.SENSOR)
    made(domain=7).subscribe("/camera/image_raw", IMAGE, strangers.append, Quality.SENSOR)
    show = made("camera").publisher("/camera/image_raw", IMAGE, Quality.SENSOR)
    for number in range(3):
        show(memoryview(picture(number)))  # type: ignore[arg-type]
    waited(lambda: len(heard) == 3)
    assert set(heard) == {picture(number) for number in range(3)}
    assert strangers == []


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        (Quality.SENSOR, ("KEEP_LAST", 5, "BEST_EFFORT", "VOLATILE")),
        (Quality.RELIABLE, ("KEEP_LAST", 10, "RELIABLE", "VOLATILE")),
        (Quality.LATCHED, ("KEEP_LAST", 1, "RELIABLE", "TRANSIENT_LOCAL")),
    ],
)
def test_promise_is_made_to_ros_as_it_names_it(made: Made, quality: Quality, said: tuple[object, ...]) -> None:
    wire = made()
    wire.subscribe("/chatter", STRING, lambda cdr: None, quality)
    wire.publisher("/chatter", STRING, quality)
    (node,) = fake_ros.BUS
    assert (node.subscriptions[0][3].said, node.publishers[0][2].said) == (said, said)
    assert (node.name, node.namespace) == ("agent", "/robot1")


def test_service_answers_in_the_bytes_of_its_type_while_messages_flow(made: Made) -> None:
    wire, heard = made(), list[str]()
    wire.subscribe("/chatter", STRING, lambda cdr: heard.append(words(cdr)), Quality.RELIABLE)
    say = made("talker").publisher("/chatter", STRING, Quality.RELIABLE)

    def answer(request: bytes) -> bytes:
        say(text("meanwhile"))
        waited(lambda: heard)
        return request + b" yes"

    assert wire.serve("/ask", TRIGGER, answer)
    assert fake_ros.call("/ask", b"well?") == b"well? yes"


def test_answer_that_fails_is_told_and_the_next_one_comes(made: Made) -> None:
    troubles, answers = Troubled(), [b"no response", b"CDR:better"]
    made(troubles=troubles).serve("/ask", TRIGGER, lambda request: answers.pop(0))
    assert [fake_ros.call("/ask", b"?") for _ in range(2)] == [b"", b"better"]
    assert troubles.codes() == ["unreadable"]


def test_type_that_ros_has_not_is_told_once_and_the_rest_works(made: Made) -> None:
    troubles, heard = Troubled(), list[bytes]()
    wire = made(troubles=troubles)
    wire.subscribe("/events", "favor_msgs/msg/Event", heard.append, Quality.RELIABLE)
    wire.publisher("/events", "favor_msgs/msg/Event", Quality.RELIABLE)(b"nobody")
    assert not wire.serve("/watch", "favor_msgs/srv/Watch", lambda request: request)
    assert troubles.codes() == ["unknown_type", "unknown_type"]
    assert all(word in troubles[0].text for word in ("/events", "favor_msgs/msg/Event", "install"))
    wire.subscribe("/chatter", STRING, heard.append, Quality.RELIABLE)
    made("talker").publisher("/chatter", STRING, Quality.RELIABLE)(text("hello"))
    waited(lambda: heard == [text("hello")])


def test_take_that_raises_is_told_and_the_next_message_comes(made: Made) -> None:
    troubles, heard = Troubled(), list[str]()

    def take(cdr: bytes) -> None:
        heard.append(words(cdr))
        if heard[-1] == "bad":
            raise ValueError("no such thing")

    made(troubles=troubles).subscribe("/chatter", STRING, take, Quality.RELIABLE)
    say = made("talker").publisher("/chatter", STRING, Quality.RELIABLE)
    for data in ("bad", "good"):
        say(text(data))
        waited(lambda data=data: data in heard)  # type: ignore[misc]
    assert troubles.codes() == ["unreadable"]


def test_slow_take_keeps_no_other_topic_waiting(made: Made) -> None:
    heard, may_go = list[str](), threading.Event()
    wire, talker = made(), made("talker")

    def take_slowly(cdr: bytes) -> None:
        may_go.wait(WAIT_S)
        heard.append("slow")

    wire.subscribe("/slow", STRING, take_slowly, Quality.SENSOR)
    wire.subscribe("/quick", STRING, lambda cdr: heard.append("quick"), Quality.SENSOR)
    for topic in ("/slow", "/quick"):
        talker.publisher(topic, STRING, Quality.RELIABLE)(text("hello"))
    waited(lambda: heard == ["quick"])
    may_go.set()
    waited(lambda: heard == ["quick", "slow"])


def test_closing_twice_frees_the_thread_and_later_messages_do_no_harm(made: Made) -> None:
    before = threading.active_count()
    wire = made()
    publish = wire.publisher("/chatter", STRING, Quality.LATCHED)
    assert threading.active_count() == before + 1
    wire.close()
    wire.close()
    publish(text("later"))
    assert (threading.active_count(), fake_ros.BUS) == (before, [])


def test_auto_takes_ros_where_it_is_installed(made: Made) -> None:
    made(name="auto")
    assert [node.name for node in fake_ros.BUS] == ["agent"]


def test_ros_that_is_not_installed_is_named() -> None:
    assert "rclpy" not in sys.modules
    with pytest.raises(ModuleNotFoundError, match="rclpy"):
        open_wire("rclpy", "agent", "/", lambda kind: "", lambda trouble: None)
