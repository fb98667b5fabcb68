"""Discovery by Home Assistant's rules: what it would drop, or show wrongly, is not sent."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from favor_stream.homeassistant import discovery
from favor_stream.records import Watch

WATCHES = [Watch("front_door", "the door opens"), Watch("bell", "a bell sounds")]
FOUND = discovery("porch-2", "Porch", "favor/porch-2", WATCHES, {"rtsp_cam": "rtsp://cam"}, "0.1.0")
PARTS: dict[str, dict[str, Any]] = FOUND["components"]
# What each platform needs beside platform and unique_id (home-assistant.io/integrations, MQTT platforms).
NEEDED = {
    "event": {"state_topic", "event_types"},
    "binary_sensor": {"state_topic"},
    "sensor": {"state_topic"},
    "image": {"image_topic"},
    "text": {"command_topic"},
    "notify": {"command_topic"},
    "button": {"command_topic"},
    "switch": {"command_topic"},
    "number": {"command_topic"},
}


def test_root_has_what_the_device_form_requires() -> None:
    assert FOUND["device"]["identifiers"]
    assert FOUND["origin"]["name"] == "favor_stream"
    assert FOUND["availability"][0]["topic"] == "favor/porch-2/availability"
    assert json.loads(json.dumps(FOUND)) == FOUND


@pytest.mark.parametrize("key", PARTS)
def test_component_has_what_its_platform_needs(key: str) -> None:
    part = PARTS[key]
    assert part.keys() >= NEEDED[part["platform"]] | {"unique_id", "name", "default_entity_id"}
    assert "object_id" not in part  # deprecated in 2025.10
    assert re.fullmatch(rf"{part['platform']}\.[a-z0-9_]+", part["default_entity_id"])
    assert re.fullmatch(r"[A-Za-z0-9_-]+", part["unique_id"])
    assert "Porch" not in part["name"]  # the device's name is put before it


def test_no_two_entities_share_an_id() -> None:
    assert len({part["unique_id"] for part in PARTS.values()}) == len(PARTS)
    assert len({part["default_entity_id"] for part in PARTS.values()}) == len(PARTS)


def test_events_are_declared_by_the_names_they_are_sent_under() -> None:
    assert PARTS["events"]["event_types"] == ["front_door", "bell", "answer", "error"]


def test_each_watch_has_a_state_a_switch_and_a_cooldown() -> None:
    for watch in WATCHES:
        platforms = {part["platform"] for key, part in PARTS.items() if key.endswith(f"_{watch.name}")}
        assert platforms == {"binary_sensor", "switch", "number"}


def test_watch_by_hand_has_a_button() -> None:
    found = discovery("a", "A", "favor/a", [Watch("look", "look here", by="manual")], {}, "0.1.0")
    assert found["components"]["fire_look"]["command_topic"] == "favor/a/trigger/look/fire"


def test_figures_that_no_longer_come_expire() -> None:
    assert all(part["expire_after"] == 90 for part in PARTS.values() if part.get("state_topic") == "favor/porch-2/stats")


def test_each_source_says_whether_it_is_connected() -> None:
    part = PARTS["source_rtsp_cam"]
    assert (part["device_class"], part["payload_on"], part["payload_off"]) == ("connectivity", "online", "offline")
    assert part["state_topic"] == "favor/porch-2/source/rtsp_cam/status"
