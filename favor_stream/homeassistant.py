"""How Home Assistant is told of a device: one retained message in its discovery's device form.

Source: home-assistant.io/integrations/mqtt, device discovery. It knows topics and names, and no connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from favor_stream.records import Watch

Json = dict[str, Any]
STATS_EVERY_S = 30.0
SUPPORT = "https://arxiv.org/abs/2310.05863"  # of the model; the project has no page of its own yet


def discovery(device: str, name: str, root: str, watches: Sequence[Watch], sources: Mapping[str, str], version: str) -> Json:
    """The message for `<prefix>/device/favor_<device>/config`.

    `root` is where the device's topics begin; `sources` are names by their part of a topic.
    """
    parts = general(root, [watch.name for watch in watches])
    for watch in watches:
        parts |= of_watch(root, watch)
    for topic, source in sources.items():
        parts[f"source_{topic}"] = {
            "platform": "binary_sensor",
            "name": source,
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": f"{root}/source/{topic}/status",
            "payload_on": "online",
            "payload_off": "offline",
        }
    for key, part in parts.items():
        part["unique_id"] = f"favor_{device}_{key}"
        part["default_entity_id"] = f"{part['platform']}.favor_{device.replace('-', '_')}_{key}"
    return {
        "device": {
            "identifiers": [f"favor_{device}"],
            "name": name,
            "manufacturer": "favor_stream",
            "model": "agent",
            "sw_version": version,
        },
        "origin": {"name": "favor_stream", "sw_version": version, "support_url": SUPPORT},
        "availability": [{"topic": f"{root}/availability", "payload_available": "online", "payload_not_available": "offline"}],
        "qos": 1,
        "components": parts,
    }


def general(root: str, names: list[str]) -> dict[str, Json]:
    diagnostic = {"entity_category": "diagnostic"}
    stats = {"platform": "sensor", "state_topic": f"{root}/stats", "expire_after": int(3 * STATS_EVERY_S), **diagnostic}
    return {
        "events": {
            "platform": "event",
            "name": "Events",
            "state_topic": f"{root}/event",
            "event_types": [*names, "answer", "error"],
        },
        "scene": sensor("Scene", f"{root}/scene"),
        "last_answer": sensor("Last answer", f"{root}/answer/last"),
        "last_event": {
            "platform": "image",
            "name": "Last event",
            "image_topic": f"{root}/snapshot",
            "content_type": "image/jpeg",
        },
        "ask": {"platform": "text", "name": "Ask", "command_topic": f"{root}/ask", "max": 255},
        "ask_long": {"platform": "notify", "name": "Ask at length", "command_topic": f"{root}/ask"},
        "privacy": {
            "platform": "switch",
            "name": "Privacy",
            "state_topic": f"{root}/privacy/state",
            "command_topic": f"{root}/cmd/privacy",
        },
        "pause": {
            "platform": "switch",
            "name": "Pause",
            "state_topic": f"{root}/paused/state",
            "command_topic": f"{root}/cmd/pause",
        },
        "status": {
            "platform": "sensor",
            "name": "Status",
            "state_topic": f"{root}/status",
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": f"{root}/status",
            **diagnostic,
        },
        "snapshot": {"platform": "button", "name": "Snapshot", "command_topic": f"{root}/cmd/snapshot"},
        "reset_memory": {
            "platform": "button",
            "name": "Forget",
            "command_topic": f"{root}/cmd/reset_memory",
            "entity_category": "config",
        },
        "lag": {
            **stats,
            "name": "Lag",
            "device_class": "duration",
            "unit_of_measurement": "s",
            "state_class": "measurement",
            "value_template": "{{ value_json.lag_s }}",
        },
        "latency": {
            **stats,
            "name": "Latency p95",
            "device_class": "duration",
            "unit_of_measurement": "ms",
            "state_class": "measurement",
            "value_template": "{{ value_json.latency_ms.p95 }}",
        },
        "dropped": {
            **stats,
            "name": "Pictures dropped",
            "state_class": "total_increasing",
            "value_template": "{{ value_json.pictures_dropped }}",
        },
        "tokens": {
            **stats,
            "name": "Tokens remembered",
            "state_class": "measurement",
            "value_template": "{{ value_json.tokens }}",
        },
    }


def sensor(name: str, topic: str) -> Json:
    return {"platform": "sensor", "name": name, "state_topic": topic, "json_attributes_topic": f"{topic}/attributes"}


def of_watch(root: str, watch: Watch) -> dict[str, Json]:
    """Whether it holds, a switch, its cooldown and threshold; a button, where it is fired by hand."""
    topic, name = f"{root}/trigger/{watch.name}", watch.name.replace("_", " ").capitalize()
    settable = {"entity_category": "config"}
    fire = {"platform": "button", "name": name, "command_topic": f"{topic}/fire"}
    return ({f"fire_{watch.name}": fire} if watch.by == "manual" else {}) | {
        f"holds_{watch.name}": {
            "platform": "binary_sensor",
            "name": name,
            "state_topic": f"{topic}/state",
            "json_attributes_topic": f"{topic}/attributes",
        },
        f"watch_{watch.name}": {
            "platform": "switch",
            "name": f"{name}: watch",
            "state_topic": f"{topic}/enabled/state",
            "command_topic": f"{topic}/enabled/set",
            **settable,
        },
        f"cooldown_{watch.name}": {
            **number(f"{name}: cooldown", f"{topic}/cooldown", 0, 86_400),
            "unit_of_measurement": "s",
        },
        f"threshold_{watch.name}": {**number(f"{name}: threshold", f"{topic}/threshold", 0.01, 0.99), "step": 0.01},
    }


def number(name: str, topic: str, least: float, most: float) -> Json:
    return {
        "platform": "number",
        "name": name,
        "state_topic": f"{topic}/state",
        "command_topic": f"{topic}/set",
        "min": least,
        "max": most,
        "mode": "box",
        "entity_category": "config",
    }
