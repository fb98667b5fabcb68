"""Names come out as ROS 2 makes them or are refused, troubles are told once, and a wire is opened by its name."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_peer import Troubled

from favor_stream.errors import ConfigError
from favor_stream.robot.wire import FULL_NAME, MOST_TOLD, Trouble, Troubles, dds_name, expanded, kind_of, open_wire
from favor_stream.robot.zenoh_wire import ZenohWire


@pytest.mark.parametrize(
    ("name", "namespace", "whole"),
    [
        ("chatter", "/", "/chatter"),
        ("chatter", "/robot1", "/robot1/chatter"),
        ("chatter", "robot1", "/robot1/chatter"),
        ("camera/image_raw", "/a/b/", "/a/b/camera/image_raw"),
        ("/chatter", "/robot1", "/chatter"),
        ("~/events", "/", "/agent/events"),
        ("~/events", "/robot1", "/robot1/agent/events"),
        ("~", "/robot1", "/robot1/agent"),
        ("_hidden", "", "/_hidden"),
    ],
)
def test_name_is_made_whole_as_ros_makes_it(name: str, namespace: str, whole: str) -> None:
    assert expanded(name, "agent", namespace) == whole


@pytest.mark.parametrize(
    "name", ["", "/", "a b", "a//b", "a/", "/a/", "1a", "a/1b", "~a", "a/~", "a-b", "~/", "ä", "a\n", "a" * 248]
)
def test_name_that_ros_refuses_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no name of a topic|shorten it"):
        expanded(name, "agent", "/")


@pytest.mark.parametrize(
    ("node", "namespace"), [("", "/"), ("a/b", "/"), ("1a", "/"), ("a-b", "/"), ("agent", "/a b"), ("agent", "//a//b")]
)
def test_node_or_namespace_that_ros_refuses_is_refused(node: str, namespace: str) -> None:
    with pytest.raises(ConfigError, match="no name for a node|no namespace"):
        expanded("chatter", node, namespace)


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("image", "/robot1/front/image_raw"),
        ("/robot1/image", "/robot1/front/image_raw"),
        ("~/ask", "/question"),
        ("/image", "/image"),
    ],
)
def test_remapping_meets_a_name_however_it_is_written(name: str, whole: str) -> None:
    remappings = {"image": "front/image_raw", "/robot1/agent/ask": "/question", "/robot1/image": "/too_late"}
    assert expanded(name, "agent", "/robot1", remappings) == whole


def test_remapping_to_what_ros_refuses_is_refused() -> None:
    with pytest.raises(ConfigError, match="'front image' is no name"):
        expanded("image", "agent", "/", {"image": "front image"})


@given(st.text("ab1_~/ ", max_size=12), st.text("ab1_/", max_size=8))
def test_whatever_is_not_refused_is_a_whole_name_that_stays_what_it_is(name: str, namespace: str) -> None:
    try:
        whole = expanded(name, "agent", namespace)
    except ConfigError:
        return
    assert FULL_NAME.fullmatch(whole)
    assert expanded(whole, "agent", namespace) == whole


def test_type_has_one_name_on_all_transports_and_back() -> None:
    assert dds_name("sensor_msgs/msg/Image") == "sensor_msgs::msg::dds_::Image_"
    assert kind_of("sensor_msgs::msg::dds_::Image_") == "sensor_msgs/msg/Image"
    assert kind_of("HelloWorld::Msg") == "HelloWorld::Msg"
    with pytest.raises(ConfigError, match="expected one such as sensor_msgs/msg/Image"):
        dds_name("sensor_msgs/Image")


def test_trouble_is_told_once_until_it_is_over_and_few_are_remembered() -> None:
    told = Troubled()
    troubles = Troubles(told.append)
    for _ in range(3):
        troubles.tell("unreadable", "/a", "one")
    troubles.over("unreadable", "/a")
    troubles.tell("unreadable", "/a", "two")
    assert told == [Trouble("unreadable", "one"), Trouble("unreadable", "two")]
    for number in range(2 * MOST_TOLD):
        troubles.tell("wrong_type", str(number), "many")
    assert len(troubles._told) == MOST_TOLD


def test_listener_that_raises_does_not_end_who_tells(caplog: pytest.LogCaptureFixture) -> None:
    def fail(trouble: Trouble) -> None:
        raise RuntimeError("not now")

    Troubles(fail).tell("no_router", "x", "no router of Zenoh at x")
    assert "no router of Zenoh at x" in caplog.text


def test_auto_takes_zenoh_where_ros_is_not_installed() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp/127.0.0.1:{probe.getsockname()[1]}"
    wire = open_wire("auto", "agent", "/", lambda kind: "", lambda trouble: None, router=address)
    wire.close()
    assert isinstance(wire, ZenohWire)


@pytest.mark.parametrize(
    ("name", "domain", "complaint"), [("ros1", 0, "expected one of auto, zenoh"), ("dds", 233, "expected 0 to 232")]
)
def test_wire_or_domain_that_is_none_is_refused(name: str, domain: int, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        open_wire(name, "agent", "/", lambda kind: "", lambda trouble: None, domain=domain)
