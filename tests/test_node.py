"""The agent as a node: what comes by topics is perceived, and what is told carries the stamp of what it rests on."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import pytest
from media import numbered

from favor_stream.agent import Agent
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.outlets import Robot
from favor_stream.records import RATE, Watch
from favor_stream.robot.incoming import Incoming, picture_kind
from favor_stream.robot.lifecycle import LifeCycle, State, Transition
from favor_stream.robot.node import Node
from favor_stream.robot.rmw_zenoh import NO_HASH
from favor_stream.robot.run import type_hash
from favor_stream.robot.simtime import SimTime
from favor_stream.robot.stamps import Stamp, Stamps
from favor_stream.robot.wire import Quality, Trouble
from favor_stream.ros.messages import Message, decode, encode, header, make

WAIT_S = 60.0
IMAGE, SOUND = "/camera/image_raw", "/microphone"
ROBOT = Robot(pictures=IMAGE, sound=SOUND)
BLOCK_S = 0.1


def image(number: int, stamp_ns: int, frame_id: str = "eye") -> bytes:
    picture = numbered(number, 32, 24)
    height, width = picture.shape[:2]
    fields = {"height": height, "width": width, "encoding": "rgb8", "step": 3 * width, "data": picture.reshape(-1)}
    return encode(make("sensor_msgs/msg/Image", header=header(stamp_ns, frame_id), **fields))


def sound(samples: int, stamp_ns: int) -> bytes:
    info = make("audio_common_msgs/msg/AudioInfo", channels=1, rate=RATE)
    data = make("audio_common_msgs/msg/AudioData", int16_data=np.zeros(samples, np.int16))
    audio = make("audio_common_msgs/msg/Audio", audio_data=data, info=info)
    return encode(make("audio_common_msgs/msg/AudioStamped", header=header(stamp_ns, "ear"), audio=audio))


@dataclass
class Desk:
    """A wire whose other end is the test."""

    subscribed: dict[tuple[str, str], Callable[[bytes], None]] = field(default_factory=dict)
    served: dict[str, tuple[str, Callable[[bytes], bytes]]] = field(default_factory=dict)
    told: dict[str, list[bytes]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    is_closed: bool = False

    def subscribe(
        self, topic: str, kind: str, take: Callable[[bytes], None], quality: Quality, also: Collection[str] = ()
    ) -> None:
        self.subscribed[topic, kind] = take

    def publisher(self, topic: str, kind: str, quality: Quality) -> Callable[[bytes], None]:
        return self.told.setdefault(topic, []).append

    def serve(self, service: str, kind: str, answer: Callable[[bytes], bytes]) -> bool:
        self.served[service] = kind, answer
        return True

    def close(self) -> None:
        self.is_closed = True

    # What the test does with it.

    def send(self, topic: str, kind: str, cdr: bytes) -> None:
        self.subscribed[topic, kind](cdr)

    async def call(self, service: str, **fields: object) -> Message:
        kind, answer = self.served[service]
        response = await asyncio.to_thread(answer, encode(make(f"{kind}_Request", **fields)))
        return decode(response, f"{kind}_Response")

    def said(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(decode(cdr, "std_msgs/msg/String").data) for cdr in self.told[topic]]

    @property
    def diagnostics(self) -> Message:
        return decode(self.told["/diagnostics"][-1], "diagnostic_msgs/msg/DiagnosticArray")

    @property
    def figures(self) -> dict[str, str]:
        return {each.key: each.value for each in self.diagnostics.status[0].values}


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():
            await asyncio.sleep(0.01)


def within(robot: Robot, config: Config, use: Callable[[Node, Desk], Awaitable[None]], *sources: str) -> Desk:
    desk = Desk()

    async def run() -> None:
        async with Node(robot, sources, config, lambda on_trouble: desk) as node:
            await use(node, desk)

    asyncio.run(run())
    return desk


class Publisher:
    """A camera and a microphone in a thread, whose stamps are their own clock's."""

    def __init__(self, desk: Desk, ahead_ns: int = 0) -> None:
        self._desk, self._ahead_ns, self._leaving = desk, ahead_ns, threading.Event()
        self.stamps = list[int]()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._leaving.set()
        self._thread.join()

    def _run(self) -> None:
        number, begun_s = 0, time.monotonic()
        while not self._leaving.wait(max(0.0, begun_s + number * BLOCK_S - time.monotonic())):
            stamp_ns = time.time_ns() + self._ahead_ns
            self._desk.send(
                SOUND, "audio_common_msgs/msg/AudioStamped", sound(round(BLOCK_S * RATE), stamp_ns - int(BLOCK_S * 1e9))
            )
            self._desk.send(IMAGE, "sensor_msgs/msg/Image", image(number % 20, stamp_ns))
            self.stamps.append(stamp_ns)
            number += 1


@pytest.fixture
def seeing(config: Config) -> Config:
    """Watches that hold from the first half second on."""
    return replace(
        config, watches=(Watch("dark", "it is dark", by="loudness", on=0.5, off=0.4), Watch("any", "x", on=1e-9, off=1e-10))
    )


def test_pictures_and_sound_by_topics_are_perceived_and_told_with_the_stamps_of_their_evidence(seeing: Config) -> None:
    stamps = list[int]()

    async def use(node: Node, desk: Desk) -> None:
        with Publisher(desk) as publisher:
            await until(
                lambda: (
                    desk.told["/favor/scene"] and any(event.get("event_type") == "any" for event in desk.said("/favor/events"))
                )
            )
            stamps.extend(publisher.stamps)

    desk = within(ROBOT, seeing, use)
    event = next(event for event in desk.said("/favor/events") if event.get("event_type") == "any")
    assert event["stamp"]["sec"] * 10**9 + event["stamp"]["nanosec"] in stamps
    assert event["frame_id"] == "eye"
    assert desk.said("/favor/scene")[0]["kind"] == "perceived"
    assert desk.is_closed


def test_stamps_by_a_clock_that_is_hours_off_come_back_as_they_were(config: Config) -> None:
    stamps = list[int]()

    async def use(node: Node, desk: Desk) -> None:
        with Publisher(desk, ahead_ns=-3 * 3600 * 10**9) as publisher:
            await until(lambda: desk.told["/favor/scene"])
            stamps.extend(publisher.stamps)

    desk = within(ROBOT, config, use)
    told = desk.said("/favor/scene")[0]["stamp"]
    assert told["sec"] * 10**9 + told["nanosec"] in stamps


def test_question_is_answered_by_service_and_by_topic(config: Config) -> None:
    async def use(node: Node, desk: Desk) -> None:
        with Publisher(desk):
            answer = await desk.call("/favor/ask", question="what do you see now?")
            assert answer.success
            assert answer.text
            refusal = await desk.call("/favor/ask", question=" ")
            assert not refusal.success
            assert "question" in refusal.text
            desk.send("/favor/question", "std_msgs/msg/String", encode(make("std_msgs/msg/String", data="what do you hear?")))
            await until(lambda: len(desk.told["/favor/answer"]) == 2)

    desk = within(ROBOT, config, use)
    assert [each["question"] for each in desk.said("/favor/answer")] == ["what do you see now?", "what do you hear?"]


def test_what_is_new_is_told_once(seeing: Config) -> None:
    async def use(node: Node, desk: Desk) -> None:
        with Publisher(desk):
            await until(lambda: any(event.get("event_type") == "any" for event in desk.said("/favor/events")))
            news = await desk.call("/favor/anything_new")
            assert (news.success, news.message) == (True, "x")
            assert not (await desk.call("/favor/anything_new")).success

    within(ROBOT, seeing, use)


def test_privacy_closes_what_comes_in_and_forgetting_forgets(config: Config) -> None:
    async def use(node: Node, desk: Desk) -> None:
        with Publisher(desk):
            await until(lambda: desk.told["/favor/scene"])
            assert (await desk.call("/favor/set_privacy", data=True)).success
            assert node._active().is_held
            await asyncio.sleep(1.0)  # for what was under way
            held_s = node._active().heard_until_s
            assert (await desk.call("/favor/reset_memory")).success
            assert len(set(node._active().remembered_s)) == 1  # nothing
            assert node._active().heard_until_s == held_s
            assert (await desk.call("/favor/set_privacy", data=False)).success
            await until(lambda: node._active().heard_until_s > held_s)

    within(ROBOT, config, use)


def test_diagnostics_tell_ages_counts_and_troubles(config: Config) -> None:
    async def use(node: Node, desk: Desk) -> None:
        with Publisher(desk):
            desk.send(IMAGE, "sensor_msgs/msg/Image", b"\0\1\0\0nothing")
            await until(lambda: desk.told["/diagnostics"] and int(desk.figures["pictures_received"]) > 10)
        figures = desk.figures
        assert figures["life"] == "active"
        assert figures["pictures_unusable"] == "1"
        assert 0 <= float(figures["pictures_age_s"]) < WAIT_S
        assert "favor: bad_picture" in [status.name for status in desk.diagnostics.status]

    within(ROBOT, config, use)


def test_what_runs_beside_and_fails_is_told_in_the_diagnostics(config: Config) -> None:
    async def failing() -> None:
        raise DeviceError("metrics: 127.0.0.1:9464 cannot be listened to; choose another port")

    async def run() -> None:
        desk = Desk()
        async with Node(ROBOT, (), config, lambda on_trouble: desk, lambda agent: [failing]):
            await until(lambda: desk.told["/diagnostics"] and len(desk.diagnostics.status) > 1)
        assert {status.name: status.message for status in desk.diagnostics.status}["favor: outlet_failed"].startswith("metrics:")

    asyncio.run(run())


def test_topic_that_stops_is_lost_and_found(config: Config) -> None:
    def pictures_are(kind: str, desk: Desk) -> bool:
        return any(IMAGE in event["text"] for event in desk.said("/favor/events") if event["kind"] == kind)

    async def use(node: Node, desk: Desk) -> None:
        with Publisher(desk):
            await until(lambda: desk.told["/favor/scene"])
        await until(lambda: pictures_are("lost", desk))  # sound may be lost a moment before
        await until(lambda: "favor: source_stopped" in [status.name for status in desk.diagnostics.status])
        assert desk.diagnostics.status[0].message.startswith("degraded: lost")
        with Publisher(desk):
            await until(lambda: pictures_are("found", desk))

    within(ROBOT, config, use)


def test_managed_node_lives_as_its_manager_says(config: Config) -> None:
    async def use(node: Node, desk: Desk) -> None:
        async def change(way: Transition) -> tuple[bool, str]:
            changed = await desk.call("/favor/change_state", transition=make("lifecycle_msgs/msg/Transition", id=int(way)))
            return changed.success, (await desk.call("/favor/get_state")).current_state.label

        assert not (await desk.call("/favor/ask", question="what?")).success
        assert await change(Transition.ACTIVATE) == (False, "unconfigured")
        assert await change(Transition.CONFIGURE) == (True, "inactive")
        assert await change(Transition.ACTIVATE) == (True, "active")
        assert (await desk.call("/favor/ask", question="what do you see now?")).success
        assert await change(Transition.DEACTIVATE) == (True, "inactive")
        assert await change(Transition.CLEANUP) == (True, "unconfigured")
        assert await change(Transition.CONFIGURE) == (True, "inactive")
        assert await change(Transition.ACTIVATE) == (True, "active")
        assert await change(Transition.ACTIVE_SHUTDOWN) == (True, "finalized")
        await asyncio.wait_for(node.ended(), WAIT_S)

    within(replace(ROBOT, is_managed=True), config, use)


def test_way_that_fails_leaves_the_node_where_it_was() -> None:
    async def fail() -> None:
        raise DeviceError("no camera")

    async def run() -> None:
        life = LifeCycle({Transition.CONFIGURE: fail})
        assert await life.change(Transition.CONFIGURE) == "no camera"
        assert life.state is State.UNCONFIGURED
        assert "1 configure" in await life.change(99)

    asyncio.run(run())


def test_node_of_a_film_ends_with_it(config: Config, tmp_path: Any) -> None:
    from media import numbered_film

    numbered_film(tmp_path / "film.mp4", seconds=2.0)

    async def use(node: Node, desk: Desk) -> None:
        await asyncio.wait_for(node.ended(), WAIT_S)

    desk = within(Robot(), config, use, str(tmp_path / "film.mp4"))
    assert any(event["kind"] == "perceived" and event["stamp"]["sec"] > 0 for event in desk.said("/favor/events"))


def test_node_with_nothing_to_perceive_is_refused(config: Config) -> None:
    with pytest.raises(ConfigError, match="nothing to perceive"):
        Node(Robot(), (), config, lambda on_trouble: Desk())


def test_source_that_is_not_there_ends_the_node(config: Config) -> None:
    async def use(node: Node, desk: Desk) -> None: ...

    with pytest.raises(DeviceError, match=r"none\.mp4"):
        within(Robot(), config, use, "none.mp4")


def test_names_are_in_the_node_s_namespace_and_may_be_remapped(config: Config) -> None:
    robot = replace(
        ROBOT, namespace="/porch", node="eye", pictures="image", remap="image:=/camera/image_raw, ~/events:=/all/events"
    )

    async def use(node: Node, desk: Desk) -> None:
        assert ("/camera/image_raw", "sensor_msgs/msg/Image") in desk.subscribed
        assert {"/all/events", "/porch/eye/scene"} < desk.told.keys()
        assert "/porch/eye/ask" in desk.served

    within(robot, config, use)


def test_picture_is_told_with_words_on_it(config: Config) -> None:
    async def use(node: Node, desk: Desk) -> None:
        with Publisher(desk):
            await until(lambda: desk.told["/favor/annotated/compressed"])

    desk = within(replace(ROBOT, annotated=True), config, use)
    shown = decode(desk.told["/favor/annotated/compressed"][0], "sensor_msgs/msg/CompressedImage")
    assert shown.header.frame_id == "eye"
    assert cv2.imdecode(np.frombuffer(shown.data, np.uint8), cv2.IMREAD_COLOR) is not None


# What comes in.


def heard(incoming: Incoming) -> tuple[int, int]:
    return incoming.sound.messages, incoming.sound.unusable


def test_stamp_from_the_future_and_a_clock_that_goes_back_are_told_once() -> None:
    troubles, now_s = list[Trouble](), 1000.0
    incoming = Incoming(ROBOT, troubles.append, lambda: now_s, lambda: now_s)
    for second in (1000, 1005, 1006, 990, 991):
        incoming.see(image(1, second * 10**9), "sensor_msgs/msg/Image")
    assert [trouble.code for trouble in troubles] == ["stamp_in_future", "clock_jumped"]
    assert "5.0 s ahead" in troubles[0].text
    assert "16.0 s" in troubles[1].text


def test_wrong_encoding_is_told_once_and_again_after_it_was_right() -> None:
    troubles = list[Trouble]()
    incoming = Incoming(ROBOT, troubles.append)
    wrong = encode(make("sensor_msgs/msg/Image", header=header(1), height=1, width=1, encoding="rgb9", step=3, data=[0, 0, 0]))
    for cdr in (wrong, wrong, image(1, time.time_ns()), wrong):
        incoming.see(cdr, "sensor_msgs/msg/Image")
    assert [trouble.code for trouble in troubles if trouble.code == "bad_picture"] == ["bad_picture"] * 2
    assert "rgb9" in troubles[0].text
    assert (incoming.pictures.messages, incoming.pictures.unusable) == (4, 3)


def test_both_audio_packages_on_one_topic_are_told() -> None:
    troubles = list[Trouble]()
    incoming = Incoming(ROBOT, troubles.append)
    incoming.hear(sound(160, time.time_ns()), "audio_common_msgs/msg/AudioStamped")
    other = make("audio_common_msgs/msg/AudioData", data=np.zeros(320, np.uint8))
    incoming.hear(encode(other), "audio_common_msgs/msg/AudioData")
    assert [trouble.code for trouble in troubles] == ["bad_sound"]
    assert "at once" in troubles[0].text
    assert heard(incoming) == (2, 1)


def test_topic_s_name_tells_whether_pictures_are_compressed() -> None:
    assert picture_kind("/camera/image_raw/compressed") == "sensor_msgs/msg/CompressedImage"
    assert picture_kind("/camera/image_raw") == "sensor_msgs/msg/Image"


def test_newest_stamp_before_a_moment_is_found() -> None:
    stamps = Stamps()
    for second in range(5):
        stamps.note(float(second), Stamp(second, "eye"))
    assert stamps.newest(3.5) == Stamp(3, "eye")
    assert stamps.newest(0.0) is None


def test_simulated_time_stands_still_between_ticks_and_tells_when_it_begins_anew() -> None:
    begun = list[int]()
    sim = SimTime(lambda: begun.append(1))
    for second in (10, 11, 2):
        sim.take(encode(make("rosgraph_msgs/msg/Clock", clock=header(second * 10**9).stamp)))
    assert sim() == 2.0
    assert len(begun) == 1


def test_simulated_time_is_what_the_agent_goes_by(config: Config) -> None:
    """At five times the speed: ten simulated seconds take two of the world's."""

    async def use(node: Node, desk: Desk) -> None:
        def tick(now_ns: int) -> None:
            desk.send("/clock", "rosgraph_msgs/msg/Clock", encode(make("rosgraph_msgs/msg/Clock", clock=header(now_ns).stamp)))

        for step in range(100):
            tick(5 * 10**9 + step * 10**8)
            desk.send(IMAGE, "sensor_msgs/msg/Image", image(step % 20, 5 * 10**9 + step * 10**8))
            await asyncio.sleep(0.02)
        await until(lambda: node._active().heard_until_s >= 9.0)

    within(replace(ROBOT, sound="", use_sim_time=True), config, use)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"domain": 300}, "domain is 300"),
        ({"distro": "noetic"}, "distro is 'noetic'"),
        ({"pictures": "/a", "sound": "/a"}, "a topic of its own"),
        ({"remap": "a:=b, c"}, "remap has 'c'"),
    ],
)
def test_setting_of_a_robot_that_cannot_be_is_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Robot(**settings)


def test_nodes_of_humble_are_spoken_to_without_hashes_of_types() -> None:
    assert type_hash(Robot(distro="humble"))("std_msgs/msg/String") == NO_HASH
    assert type_hash(Robot())("std_msgs/msg/String").startswith("RIHS01_")


def test_node_whose_model_hangs_is_not_well(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(node: Node, desk: Desk) -> None:
        assert node.is_well
        monkeypatch.setattr(Agent, "lag_s", 31.0)
        assert not node.is_well

    within(ROBOT, config, use)


def test_domain_comes_from_the_environment_where_no_setting_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    assert (Robot().ros_domain(), Robot(domain=3).ros_domain()) == (7, 3)
    monkeypatch.setenv("ROS_DOMAIN_ID", "seven")
    with pytest.raises(ConfigError, match="ROS_DOMAIN_ID"):
        Robot().ros_domain()
