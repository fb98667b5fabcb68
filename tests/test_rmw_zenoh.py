"""What rmw_zenoh writes on the wire is written and read: the literal examples are those of its docs/design.md."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore

from favor_stream.robot import rmw_zenoh
from favor_stream.robot.rmw_zenoh import Attachment, Entity, Token
from favor_stream.robot.wire import dds_name

STRING = "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
ADD = "RIHS01_e118de6bf5eeb66a2491b5bda11202e7b68f198d6f67922cf30364858239c81a"
STRING_TYPE, ADD_TYPE = "std_msgs::msg::dds_::String_", "example_interfaces::srv::dds_::AddTwoInts_"
NODE = "@ros2_lv/2/aac3178e146ba6f1fc6e6a4085e77f21/0/0/NN/%/%/listener"
ADDING = f"%add_two_ints/{ADD_TYPE}/{ADD}/::,10:,:,:,,"
TOKENS = {
    NODE: Token(2, "aac3178e146ba6f1fc6e6a4085e77f21", "0", "0", Entity.NODE, "/", "listener"),
    f"@ros2_lv/2/aac3178e146ba6f1fc6e6a4085e77f21/0/10/MS/%/%/listener/%chatter/{STRING_TYPE}/{STRING}/::,10:,:,:,,": Token(
        *(2, "aac3178e146ba6f1fc6e6a4085e77f21", "0", "10", Entity.SUBSCRIPTION, "/", "listener"),
        *("/chatter", STRING_TYPE, STRING, rmw_zenoh.qos_text(True, False, 10)),
    ),
    f"@ros2_lv/2/8b20917502ee955ac4476e0266340d5c/0/10/MP/%/%/talker/%chatter/{STRING_TYPE}/{STRING}/::,7:,:,:,,": Token(
        *(2, "8b20917502ee955ac4476e0266340d5c", "0", "10", Entity.PUBLISHER, "/", "talker"),
        *("/chatter", STRING_TYPE, STRING, rmw_zenoh.qos_text(True, False, 7)),
    ),
    f"@ros2_lv/2/f9980ee0495eaafb3e38f0d19e2eae12/0/10/SS/%/%/add_two_ints_server/{ADDING}": Token(
        *(2, "f9980ee0495eaafb3e38f0d19e2eae12", "0", "10", Entity.SERVICE, "/", "add_two_ints_server"),
        *("/add_two_ints", ADD_TYPE, ADD, rmw_zenoh.qos_text(True, False, 10)),
    ),
    f"@ros2_lv/2/e1dc8d1b45ae8717fce78689cc655685/0/10/SC/%/%/add_two_ints_client/{ADDING}": Token(
        *(2, "e1dc8d1b45ae8717fce78689cc655685", "0", "10", Entity.CLIENT, "/", "add_two_ints_client"),
        *("/add_two_ints", ADD_TYPE, ADD, rmw_zenoh.qos_text(True, False, 10)),
    ),
}


@pytest.mark.parametrize(
    ("domain", "name", "type_name", "type_hash", "key"),
    [
        (0, "/chatter", STRING_TYPE, STRING, f"0/chatter/{STRING_TYPE}/{STRING}"),
        (0, "/robot1/chatter", STRING_TYPE, STRING, f"0/robot1/chatter/{STRING_TYPE}/{STRING}"),
        (2, "/add_two_ints", ADD_TYPE, ADD, f"2/add_two_ints/{ADD_TYPE}/{ADD}"),
    ],
)
def test_key_of_each_example_of_the_design_is_made(domain: int, name: str, type_name: str, type_hash: str, key: str) -> None:
    assert rmw_zenoh.topic_key(domain, name, type_name, type_hash) == key


def test_types_and_hashes_of_the_examples_are_what_the_type_store_gives() -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    assert (dds_name("std_msgs/msg/String"), store.hash_rihs01("std_msgs/msg/String")) == (STRING_TYPE, STRING)
    assert dds_name("example_interfaces/srv/AddTwoInts") == ADD_TYPE


@pytest.mark.parametrize("key", TOKENS, ids=lambda key: key.split("/")[5])
def test_token_of_each_example_of_the_design_is_made_and_read(key: str) -> None:
    assert TOKENS[key].key == key
    assert rmw_zenoh.token_of(key) == TOKENS[key]


def test_namespace_and_enclave_are_mangled_and_read_back() -> None:
    token = Token(7, "ab", "0", "3", Entity.PUBLISHER, "/a/b", "eye", "/a/b/x", STRING_TYPE, STRING, "::,1:,:,:,,", "/safe/one")
    assert token.key == f"@ros2_lv/7/ab/0/3/MP/%safe%one/%a%b/eye/%a%b%x/{STRING_TYPE}/{STRING}/::,1:,:,:,,"
    assert rmw_zenoh.token_of(token.key) == token


@given(st.one_of(st.text(max_size=80), st.lists(st.text("@ros2_lv%:,0MPNS/", max_size=9), max_size=15).map("/".join)))
def test_key_that_is_no_token_is_none_and_no_error(key: str) -> None:
    for damaged in (key, f"@ros2_lv/{key}", f"@ros2_lv/0/a/0/0/NN/{key}"):
        token = rmw_zenoh.token_of(damaged)
        assert token is None or token.entity in Entity


@pytest.mark.parametrize(
    ("is_reliable", "is_latched", "depth", "text"),
    [
        (True, False, 42, "::,:,:,:,,"),
        (True, False, 10, "::,10:,:,:,,"),
        (False, False, 5, "2::,5:,:,:,,"),
        (True, True, 1, ":1:,1:,:,:,,"),
    ],
)
def test_qos_says_only_what_is_not_usual(is_reliable: bool, is_latched: bool, depth: int, text: str) -> None:
    assert rmw_zenoh.qos_text(is_reliable, is_latched, depth) == text


def test_attachment_is_33_bytes_as_the_design_lists_them() -> None:
    encoded = Attachment(1, 2, bytes(range(16))).encoded()
    assert encoded == bytes([1, *[0] * 7, 2, *[0] * 7, 16, *range(16)])


def test_attachment_before_0_2_4_has_each_value_s_name_before_it() -> None:
    gid = bytes(range(16))
    values = b"\x0fsequence_number" + (5).to_bytes(8, "little") + b"\x10source_timestamp" + (6).to_bytes(8, "little")
    encoded = values + b"\x0asource_gid\x10" + gid
    assert Attachment(5, 6, gid, is_named=True).encoded() == encoded
    assert rmw_zenoh.attachment_of(encoded) == Attachment(5, 6, gid, is_named=True)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 1), st.binary(min_size=16, max_size=16), st.booleans())
def test_attachment_is_read_as_it_was_written_and_answered_in_its_form(
    number: int, source_ns: int, gid: bytes, is_named: bool
) -> None:
    request = Attachment(number, source_ns, gid, is_named)
    assert rmw_zenoh.attachment_of(request.encoded()) == request
    assert rmw_zenoh.attachment_of(request.answered(77).encoded()) == Attachment(number, 77, gid, is_named)


def test_what_a_later_version_may_add_is_passed_over() -> None:
    attachment = Attachment(5, 6, bytes(range(16)))
    assert rmw_zenoh.attachment_of(attachment.encoded() + b"more") == attachment
    for key, token in TOKENS.items():
        assert rmw_zenoh.token_of(f"{key}/more") == token


@given(st.binary(max_size=90))
def test_attachment_that_is_none_is_none_and_no_error(encoded: bytes) -> None:
    for damaged in (encoded, rmw_zenoh.NAMES[0] + encoded):
        found = rmw_zenoh.attachment_of(damaged)
        assert found is None or len(found.gid) == 16
