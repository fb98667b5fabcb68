"""The page and the interface over a real connection: who may call, what is answered, what happens to bad calls."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import pytest
from happenings import DOOR, happening
from media import numbered_film
from mosquitto import certified, free_port
from real import require

from favor_stream.agent import Agent
from favor_stream.capture.container import Heard, Seen
from favor_stream.capture.file import File
from favor_stream.clip import picture_of
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.journal import Journal
from favor_stream.model.weights import read_manifest
from favor_stream.recall import journal_file
from favor_stream.records import Event, Evidence, Watch

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

import httpx2
from serving import PICTURES, TOKEN, error, ran, served, streamed

from favor_stream.web import access, history, serve
from favor_stream.web import streams as streams_module
from favor_stream.web.streams import Streams


def test_nobody_gets_in_without_the_token_or_from_another_page(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> list[Any]:
        return [
            await client.get("/v1/status", headers={"authorization": "Bearer wrong"}),
            await client.get("/", headers={"authorization": ""}),
            await client.get("/?token=wrong", headers={"authorization": ""}),
            *[await client.post("/v1/forget", headers={"origin": page}) for page in ("http://elsewhere.example", "http://[::1")],
            await client.get("/healthz", headers={"authorization": ""}),
        ]

    wrong, none, guessed, foreign, broken, alive = ran(config, calls)
    for answer in (wrong, none, guessed):
        assert error(answer)[:2] == (401, "no_token")
        assert "open the link" in error(answer)[2]
    assert error(foreign)[:2] == error(broken)[:2] == (403, "forbidden")
    assert alive.status_code == 200


def test_link_puts_the_token_into_a_cookie_and_out_of_sight(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> list[Any]:
        del client.headers["authorization"]
        return [await client.get(f"/?token={TOKEN}"), await client.get("/"), await client.get("/page.js")]

    entered, page, script = ran(config, calls)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=Strict"} <= set(entered.headers["set-cookie"].split("; "))
    assert page.status_code == script.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "<h1>favor_stream</h1>" in page.text


def test_page_loads_nothing_from_elsewhere_and_is_light() -> None:
    files = list((Path(serve.__file__).parent / "static").iterdir())
    assert {path.suffix for path in files} == {".html", ".css", ".js"}
    assert sum(path.stat().st_size for path in files) < 300_000
    assert not [path.name for path in files if "//" in path.read_text().replace("// ", "")]


def test_question_is_answered_at_once_or_piece_by_piece(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> tuple[Any, list[dict[str, Any]]]:
        whole = await client.post("/v1/ask", json={"question": "what do you see now?"})
        async with client.stream("POST", "/v1/ask", json={"question": "what do you see now?", "stream": True}) as answer:
            return whole.json(), await streamed(answer, 1000)

    whole, pieces = ran(config, calls)
    assert whole["heard_until_s"] > 0
    assert whole["text"]
    assert [set(piece) for piece in pieces[:-1]] == [{"piece"}] * (len(pieces) - 1)
    assert "".join(piece["piece"] for piece in pieces[:-1]).strip() == pieces[-1]["text"]


def test_who_leaves_in_the_middle_of_an_answer_holds_up_nobody(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> str:
        async with client.stream("POST", "/v1/ask", json={"question": "what do you see now?", "stream": True}) as answer:
            await streamed(answer, 1)
        return str((await client.post("/v1/ask", json={"question": "what do you see now?"})).json()["text"])

    assert ran(replace(config, max_answer_tokens=64), calls)


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        ("/v1/ask", {"question": " "}, "blank"),
        ("/v1/ask", {}, "question: Field required"),
        ("/v1/ask", {"question": 3}, "question: Input should be a valid string"),
        ("/v1/ask", {"question": "what?", "colour": "red"}, "colour: Extra inputs"),
        ("/v1/ask", {"question": "what?", "schema": {"type": "nonsense"}}, "schema"),
        ("/v1/watches", {"question": "!", "on": 2}, "on < 1"),
        ("/v1/watches", {"question": "a </s> appears"}, "control token"),
        ("/v1/watches", {"question": "a \ud800 appears"}, "half a character"),
        ("/v1/ask", {"question": "\ud800"}, "half a character"),
        ("/v1/ask", {"question": "what?", "between": ["0001-01-01T00:00:00+14:00", "2026-01-01T00:00:00Z"]}, "too far away"),
        ("/v1/watches", {"question": "somebody is at the door", "severity": "high"}, "severity: Input should be"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(config: Config, path: str, body: dict[str, Any], complaint: str) -> None:
    async def calls(agent: Agent, client: Any) -> tuple[Any, Any]:
        headers = {"content-type": "application/json"}  # written here: a client would not send half a character
        refused = await client.post(path, content=json.dumps(body), headers=headers)
        return refused, await client.post("/v1/ask", json={"question": "what?"})

    refused, next_one = ran(config, calls)
    status, kind, message = error(refused)
    assert (status, kind) == (400, "invalid_request")
    assert complaint in message
    assert "\n" not in message
    assert next_one.status_code == 200


def test_what_is_no_json_or_too_large_or_nowhere_is_refused_too(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> list[Any]:
        return [
            await client.post("/v1/ask", content=b"\xff{"),
            await client.post("/v1/ask", content=b"x" * 100_000),
            await client.get("/v1/nothing"),
            await client.delete("/v1/watches/window"),
            await client.get("/v1/events/01ABC/snapshot.jpg"),
            await client.get("/v1/events/..%2F..%2Fetc/snapshot.jpg"),
        ]

    no_json, large, nowhere, unknown, no_evidence, outside = ran(config, calls)
    assert error(no_json)[:2] == (400, "invalid_request")
    assert error(large)[:2] == (413, "too_large")
    assert {error(each)[0] for each in (nowhere, unknown, no_evidence, outside)} == {404}
    assert "no watch is called 'window'" in error(unknown)[2]


def test_events_are_listed_and_followed_from_where_somebody_was(config: Config, tmp_path: Path) -> None:
    snapshot = tmp_path / "one.jpg"
    snapshot.write_bytes(b"a picture")

    async def calls(agent: Agent, client: Any) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        before = (await client.get("/v1/events")).json()["events"]
        last = before[-1]["number"] if before else 0
        shown = replace(happening(1), snapshot=Evidence(str(snapshot), "hash"))
        agent.publish(shown)
        agent.publish(Event("perceived", 1.0, "a red circle"))
        listed = (await client.get("/v1/events", params={"after": last})).json()["events"]
        picture = await client.get(listed[0]["snapshot"]["url"])
        async with client.stream("GET", "/v1/events/stream", headers={"last-event-id": str(last)}) as answer:
            agent.publish(Event("perceived", 1.5, "nothing"))
            return last, listed, picture, await streamed(answer, 3)

    last, listed, picture, followed = ran(config, calls)
    assert [each["number"] for each in followed] == [last + 1, last + 2, last + 3]
    assert followed[:2] == listed
    assert followed[0]["kind"] == "watch"
    assert followed[2]["text"] == "nothing"
    assert (picture.content, picture.headers["content-type"]) == (b"a picture", "image/jpeg")


def test_watch_is_added_changed_and_removed(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> list[Any]:
        added = await client.post("/v1/watches", json={"question": "A bell sounds!"})
        twice = await client.post("/v1/watches", json={"question": "a bell sounds"})
        changed = await client.patch("/v1/watches/a_bell_sounds", json={"is_on": False, "cooldown_s": 3})
        names = [watch.name for watch in agent.watches]
        removed = await client.delete("/v1/watches/a_bell_sounds")
        left = (await client.get("/v1/watches")).json()["watches"]
        return [added, twice, changed, names, removed, left]

    added, twice, changed, names, removed, left = ran(replace(config, watches=(DOOR,)), calls)
    assert (added.status_code, added.json()["name"]) == (201, "a_bell_sounds")
    assert error(twice)[0] == 400
    assert (changed.json()["is_on"], changed.json()["cooldown_s"]) == (False, 3)
    assert names == ["door", "a_bell_sounds"]
    assert removed.status_code == 204
    assert [watch["name"] for watch in left] == ["door"]


def test_watch_that_is_added_is_watched(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> tuple[str, ...]:
        watch = {"question": "something is there", "on": 0.0002, "off": 0.0001}
        await client.post("/v1/watches", json=watch)
        async with client.stream("GET", "/v1/events/stream") as answer:
            began = (await streamed(answer, 1))[0]
        await client.delete("/v1/watches/something_is_there")
        async with client.stream("GET", "/v1/events/stream") as answer:
            phases = [each["phase"] for each in await streamed(answer, 3)]
        return began["event_type"], *phases

    assert ran(config, calls) == ("something_is_there", "new", "update", "end")


def test_gate_is_not_removed_while_something_is_behind_it(config: Config) -> None:
    behind = Watch("behind", "a bell sounds", gate="door")

    async def calls(agent: Agent, client: Any) -> Any:
        return await client.delete("/v1/watches/door")

    assert "is the gate of 'behind'" in error(ran(replace(config, watches=(DOOR, behind)), calls))[2]


def test_watch_by_speech_needs_somebody_who_hears_it(config: Config) -> None:
    with pytest.raises(ConfigError, match="start with --voice"):
        Agent(PICTURES, config=config).watch(Watch("talk", "somebody speaks", by="speech"))


def test_picture_is_there_until_privacy_is_on(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> list[Any]:
        picture = await client.get("/v1/picture.jpg")
        async with client.stream("GET", "/v1/picture.mjpeg") as moving:
            part = await anext(moving.aiter_bytes())
        held = await client.put("/v1/privacy", json={"on": True})
        dark, status = await client.get("/v1/picture.jpg"), await client.get("/v1/status")
        await client.put("/v1/privacy", json={"on": False})
        return [picture, part, held, dark, status, agent.is_held]

    picture, part, held, dark, status, is_held_later = ran(config, calls)
    assert picture.content.startswith(b"\xff\xd8")
    assert b"Content-Type: image/jpeg" in part
    assert held.json() == {"on": True}
    assert error(dark)[0] == 404
    assert (status.json()["state"], status.json()["reason"], is_held_later) == ("paused", "privacy", False)


def test_switches_and_figures(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> tuple[Any, Any, Any, float]:
        paused = (await client.put("/v1/pause", json={"on": True})).json()
        status = (await client.get("/v1/status")).json()
        await client.put("/v1/pause", json={"on": False})
        await agent.until(6.0)
        before = agent.tokens
        await client.post("/v1/forget")
        return paused, status, before, agent.tokens

    paused, status, before, after = ran(config, calls)
    assert paused == {"on": True}
    assert (status["state"], status["reason"]) == ("paused", "pause")
    assert 0 < status["real_time_factor"] < 1
    assert status["remembered_s"][1] > 0
    assert after < before


def test_interface_describes_itself(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> Any:
        return (await client.get("/openapi.json")).json()

    paths = ran(config, calls)["paths"]
    assert {"/v1/ask", "/v1/events", "/v1/watches", "/v1/status", "/v1/privacy"} <= set(paths)
    assert not [path for path in paths if path.startswith("/page")]


def test_two_hundred_at_once_are_answered_or_refused_and_all_is_well_after(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> tuple[list[int], int]:
        many: list[Coroutine[Any, Any, Any]] = [client.get("/v1/status") for _ in range(200)]
        codes = [answer.status_code for answer in await asyncio.gather(*many)]
        return codes, (await client.get("/v1/status")).status_code

    codes, after = ran(config, calls)
    assert set(codes) <= {200, 503}
    assert after == 200


def test_token_is_made_once_and_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    token = access.token_in(folder)
    assert len(token) >= 32
    assert access.token_in(folder) == token
    assert (folder / "token").stat().st_mode & 0o777 == 0o600
    (folder / "token").write_text("")
    with pytest.raises(DeviceError, match="delete it"):
        access.token_in(folder)


def test_port_that_is_taken_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(DeviceError, match="choose another with --port"):
        serve.listening("127.0.0.1", server.getsockname()[1])
    with pytest.raises(DeviceError, match="choose another with --port"):
        serve.listening("127.0.0.1", 99_999)


def test_history_keeps_the_last_and_wakes_whoever_follows(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", 3)
    monkeypatch.setattr(history, "QUIET_S", 0.01)

    async def run() -> tuple[list[int], list[int | None]]:
        async with Agent(PICTURES, config=config, perceive_every=0) as agent:
            kept = history.History(agent)
            running = asyncio.create_task(kept.run())
            for number in range(5):
                agent.publish(Event("lost", float(number), "gone"))
            await asyncio.sleep(0.05)
            followed: list[int | None] = []
            async for entry in kept.follow(3):
                followed.append(entry.number if entry else None)
                if len(followed) == 3:
                    break
            running.cancel()
            await asyncio.wait({running})
            return [entry.number for entry in kept.after(0)], followed

    assert asyncio.run(run()) == ([3, 4, 5], [4, 5, None])


# Several streams, several viewers.


def colours(answer: Any) -> list[float]:
    return [float(mean) for mean in picture_of(answer.content).mean((0, 1))]


def test_streams_are_added_and_removed_live_and_are_not_mixed_up(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> None:
        for name in ("red", "lime", "blue"):  # with the first, four streams
            source = f"lavfi:color=c={name}:size=64x48:rate=4"
            added = await client.post("/v1/sources", json={"sources": [source], "name": name})
            assert (added.status_code, added.json()["name"]) == (201, name)
        for light, name in enumerate(("red", "lime", "blue")):
            shown = colours(await client.get("/v1/picture.jpg", params={"stream": name}))
            assert [mean > 200 for mean in shown] == [each == light for each in range(3)]
        for name in ("red", "blue"):
            watch = {"question": f"{name} button", "by": "manual"}
            assert (await client.post("/v1/watches", json=watch, params={"stream": name})).status_code == 201
        assert error(await client.post("/v1/watches/red_button/fire", params={"stream": "blue"}))[0] == 404
        await client.post("/v1/watches/red_button/fire", params={"stream": "red"})
        await happened(client, "red", "red_button")
        for name in ("blue", "lime", "test"):
            told = (await client.get("/v1/events", params={"stream": name})).json()["events"]
            assert not [each for each in told if each["kind"] == "watch"]
        assert (await client.delete("/v1/sources/red")).status_code == 204
        assert error(await client.get("/v1/status", params={"stream": "red"}))[0] == 404
        assert error(await client.delete("/v1/sources/red"))[0] == 404
        assert [each["name"] for each in (await client.get("/v1/sources")).json()["sources"]] == ["test", "lime", "blue"]
        before_s = (await client.get("/v1/status", params={"stream": "blue"})).json()["heard_until_s"]
        await agent.until(agent.heard_until_s + 1.0)
        assert (await client.get("/v1/status", params={"stream": "blue"})).json()["heard_until_s"] > before_s

    ran(config, calls)


async def happened(client: Any, stream: str, watch: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            for each in (await client.get("/v1/events", params={"stream": stream})).json()["events"]:
                if each.get("event_type") == watch:
                    return dict(each)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("source", "status", "complaint"),
    [
        ({"sources": ["/nowhere/film.mp4"], "name": "film"}, 503, "give the path of a film"),
        ({"sources": [PICTURES], "name": "test"}, 400, "is called 'test' already"),
        ({"sources": [PICTURES], "name": "../evil"}, 400, "cannot be called"),
        ({"sources": []}, 400, "sources"),
        ({"sources": ["ftx://x"], "name": "film"}, 503, "unknown kind of address"),
    ],
)
def test_stream_that_cannot_be_is_refused_in_one_line(
    config: Config, source: dict[str, Any], status: int, complaint: str
) -> None:
    async def calls(agent: Agent, client: Any) -> list[Any]:
        return [await client.post("/v1/sources", json=source), (await client.get("/v1/sources")).json()["sources"]]

    refused, left = ran(config, calls)
    assert error(refused)[0] == status
    assert complaint in error(refused)[2]
    assert "\n" not in error(refused)[2]
    assert [each["name"] for each in left] == ["test"]


def test_stream_that_fails_is_removed_and_the_others_go_on(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    put = File._put

    def breaking(self: File, piece: Heard | Seen) -> None:
        if self.name.endswith("rate=5") and piece.time_s > 0.5:
            raise RuntimeError("it broke")
        put(self, piece)

    monkeypatch.setattr(File, "_put", breaking)

    async def calls(agent: Agent, client: Any) -> Any:
        await client.post("/v1/sources", json={"sources": ["lavfi:testsrc=rate=5"], "name": "broken"})
        await client.post("/v1/sources", json={"sources": ["lavfi:testsrc2=rate=5"], "name": "broken_too"})
        await agent.until(agent.heard_until_s + 1.5)
        removed = await client.delete("/v1/sources/broken")  # and the other one when the server ends
        await agent.until(agent.heard_until_s + 0.5)
        return removed

    assert ran(config, calls).status_code == 204


def on_film(config: Config, folder: Path, calls: Any) -> Any:
    """What `calls(client)` returns, once the whole of a short film, a stream of its own, was perceived."""
    path = numbered_film(folder / "film.mp4", seconds=1.5)

    async def with_film(agent: Agent, client: Any) -> Any:
        await client.post("/v1/sources", json={"sources": [str(path)], "name": "film"})
        async with asyncio.timeout(20):
            while "every source has ended" not in (await client.get("/v1/events", params={"stream": "film"})).text:
                await asyncio.sleep(0.05)
        return await calls(client)

    return ran(config, with_film)


async def asked(client: Any, question: str) -> Any:
    return await client.post("/v1/ask", json={"question": question}, params={"stream": "film"})


def test_four_viewers_at_once_are_answered_as_one_by_one(config: Config, tmp_path: Path) -> None:
    questions = ["what do you see now?", "what was said?", "what came first?", "do you hear a bell?"]

    async def calls(client: Any) -> tuple[list[str], list[str]]:
        alone = [(await asked(client, question)).json()["text"] for question in questions]
        together = await asyncio.gather(*(asked(client, question) for question in questions))
        return alone, [answer.json()["text"] for answer in together]

    alone, together = on_film(config, tmp_path, calls)
    assert alone == together
    assert len(set(alone)) > 1


def test_more_than_can_wait_are_told_to_ask_again(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "MOST_ASKING", 3)

    async def calls(client: Any) -> tuple[list[Any], Any]:
        many = await asyncio.gather(*(asked(client, "what do you see now?") for _ in range(9)))
        return many, await asked(client, "what do you see now?")

    many, later = on_film(replace(config, max_answer_tokens=64), tmp_path, calls)
    refused = [answer for answer in many if answer.status_code != 200]
    assert 9 - len(refused) >= 3
    assert refused
    for answer in refused:
        assert error(answer)[:2] == (429, "busy")
        assert "3 questions are being answered" in error(answer)[2]
    assert later.status_code == 200


def test_viewer_who_takes_an_answer_slowly_delays_no_other(config: Config, tmp_path: Path) -> None:
    async def calls(client: Any) -> tuple[int, str]:
        slow = {"question": "what do you see now?", "stream": True}
        async with client.stream("POST", "/v1/ask", json=slow, params={"stream": "film"}) as unread:
            other = await asyncio.wait_for(asked(client, "what do you see now?"), 20)
            pieces = await streamed(unread, 1000)
            return other.json()["text"], pieces[-1]["text"]

    other, slow = on_film(replace(config, max_answer_tokens=64), tmp_path, calls)
    assert other == slow


# The past.


def test_time_is_asked_about_and_its_answer_says_what_it_rests_on(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> None:
        await agent.until(2.5)
        begin, end = agent.utc(0.1).isoformat(), agent.utc(1.2).isoformat()
        await agent.until(4.0)
        past = (await client.post("/v1/ask", json={"question": "what?", "between": [begin, end]})).json()
        assert past["rests_on_s"] == pytest.approx([0.0, 2.0], abs=0.5)
        long_ago = ["2001-01-01T10:00:00Z", "2001-01-01T10:05:00Z"]
        gone = (await client.post("/v1/ask", json={"question": "what?", "between": long_ago})).json()
        assert gone["text"].startswith("I no longer remember that: what I remember is from")
        for between, complaint in (([end, begin], "earlier one first"), (["10:00", "11:00"], "between"), ([begin], "between")):
            refused = await client.post("/v1/ask", json={"question": "what?", "between": between})
            assert error(refused)[:2] == (400, "invalid_request")
            assert complaint in error(refused)[2]

    ran(config, calls)


def test_watch_is_tried_on_what_was_just_seen(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> None:
        await agent.until(1.5)
        moves = {"question": "something moves", "by": "motion", "on": 0.02, "off": 0.01}
        tried = (await client.post("/v1/watches/try", json={**moves, "last_s": 10})).json()
        assert len(tried["levels"]) >= 2
        assert [each["phase"] for each in tried["events"]][:1] == ["new"]
        assert agent.watches == []
        assert not [each for each in (await client.get("/v1/events")).json()["events"] if each["kind"] == "watch"]
        assert (await client.post("/v1/watches/try", json={"question": "a red circle appears"})).json()["levels"]
        for trial in ({**moves, "by": "manual"}, {**moves, "last_s": 0}, {**moves, "last_s": 1e9}, {**moves, "on": 2}):
            assert error(await client.post("/v1/watches/try", json=trial))[:2] == (400, "invalid_request")

    ran(config, calls)


def test_moment_is_a_film_as_long_as_it_is_kept(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def calls(agent: Agent, client: Any) -> None:
        await agent.until(2.5)
        made = await client.get("/v1/moment.mp4", params={"start_s": 0.5, "end_s": 2.0})
        assert made.headers["content-type"] == "video/mp4"
        with av.open(BytesIO(made.content), "r") as film:
            assert [stream.type for stream in film.streams] == ["video"]
            times_s = [float(frame.time or 0.0) for frame in film.decode(video=0)]
        assert len(times_s) == 6
        assert times_s[-1] - times_s[0] == pytest.approx(1.25, abs=0.05)
        files = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            await client.get("/v1/moment.mp4", params={"start_s": 0.5, "end_s": 1.0})
        assert len(list(Path("/proc/self/fd").iterdir())) < files + 10
        assert not list(tmp_path.glob("*.mp4"))
        for start_s, end_s in ((500, 600), (-9, -3), (2, 1)):
            gone = await client.get("/v1/moment.mp4", params={"start_s": start_s, "end_s": end_s})
            assert error(gone)[:2] == (404, "not_found")
        for wrong in ("nan", "inf", "1e300", "soon"):
            refused = await client.get("/v1/moment.mp4", params={"start_s": wrong, "end_s": 1})
            assert error(refused)[:2] == (400, "invalid_request")

    ran(config, calls)


# What lasts.


def test_figures_are_there_for_prometheus(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> Any:
        agent.publish(happening(1))
        return await client.get("/metrics")

    page = ran(replace(config, watches=(DOOR,)), calls)
    figures = dict(line.rsplit(" ", 1) for line in page.text.splitlines() if not line.startswith("#"))
    assert page.headers["content-type"].startswith("text/plain")
    assert float(figures["favor_stream_seconds_total"]) > 0
    assert float(figures["favor_memory_tokens"]) > 0


def test_watches_and_privacy_last_over_a_restart(config: Config, tmp_path: Path) -> None:
    given = replace(config, state=tmp_path, watches=(DOOR,))

    async def first() -> None:
        async with served(given) as (_, client):
            await client.post("/v1/watches", json={"question": "A bell sounds!", "on": 0.7})
            await client.post("/v1/watches", json={"question": "a whistle"})
            await client.delete("/v1/watches/a_whistle")
            await client.patch("/v1/watches/door", json={"is_on": False})
            await client.put("/v1/privacy", json={"on": True})

    async def second() -> tuple[list[Any], bool, float]:
        async with served(given) as (streams, client):
            agent = streams.find().agent
            kept = [(watch.name, watch.question, watch.is_on, watch.on) for watch in agent.watches]
            is_held, counts = agent.is_held, agent.counts
            await client.put("/v1/privacy", json={"on": False})
            await agent.until(agent.heard_until_s + 0.5)
            return kept, is_held, counts.pictures_in

    asyncio.run(first())
    assert asyncio.run(second()) == (
        [("door", DOOR.question, False, DOOR.on), ("a_bell_sounds", "A bell sounds!", True, 0.7)],
        True,
        0,
    )


@pytest.mark.parametrize("kept", ['{"added": 5, "watches": [], "paused": 0}', '{"added": [1, {}, {"name": "x"}]}', "[]", "{"])
def test_state_that_another_version_wrote_is_passed_over(config: Config, tmp_path: Path, kept: str) -> None:
    (tmp_path / "stream-test.json").write_text(kept)

    async def run() -> list[Watch]:
        async with served(replace(config, state=tmp_path, watches=(DOOR,))) as (streams, _):
            return streams.find().agent.watches

    assert asyncio.run(run()) == [DOOR]


@pytest.mark.device
@pytest.mark.alone
def test_certificate_makes_it_https(config: Config, tmp_path: Path) -> None:
    require(shutil.which("openssl"), "openssl is not installed (apt-get install openssl)")
    certified(tmp_path)
    tls = serve.Tls(tmp_path / "server.crt", tmp_path / "server.key")

    async def run() -> tuple[str, Any]:
        trusted = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        async with asyncio.timeout(60), Streams(replace(config, state=tmp_path)) as streams:
            with serve.listening("127.0.0.1", 0) as door:
                hosting = asyncio.create_task(serve.host(streams, TOKEN, door, tls))
                async with httpx2.AsyncClient(base_url=serve.address(door, tls), verify=trusted) as client:
                    answer = await client.get("/", headers={"authorization": f"Bearer {TOKEN}"})
                hosting.cancel()
                await asyncio.wait({hosting})
                return serve.address(door, tls), answer

    address, answer = asyncio.run(run())
    assert address.startswith("https://127.0.0.1:")
    assert answer.status_code == 200


def test_certificate_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; expected a PEM file"):
        serve.Tls(tmp_path / "none.crt", tmp_path / "none.key")


def test_process_that_is_told_to_end_ends_well_and_leaves_its_journal_usable(config: Config, tmp_path: Path) -> None:
    settings = tmp_path / "favor.toml"
    settings.write_text(f'weights = "{config.weights}"\nstate = "{tmp_path / "state"}"\nengine = "torch"\n')
    port = free_port()
    command = [sys.executable, "-m", "favor_stream", "--config", str(settings), "serve", PICTURES, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        link = process.stderr.readline().split()[1]
        token = link.split("token=")[1]
        headers = {"authorization": f"Bearer {token}"}
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client:
            give_up_s = time.monotonic() + 40
            while client.get("/v1/status").json()["heard_until_s"] < 2.5 and time.monotonic() < give_up_s:
                time.sleep(0.1)
            with client.stream("GET", "/v1/events/stream") as followed:  # who follows does not hold it up
                next(followed.iter_lines())
                begun_s = time.monotonic()
                process.send_signal(signal.SIGTERM)
                code = process.wait(20)
        assert code == 0
        assert time.monotonic() - begun_s < 10
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    sha256 = read_manifest(config.weights or tmp_path)["sha256"]
    left = Journal(journal_file(tmp_path / "state", [PICTURES]), sha256, 10**9, 1e9)
    assert left.last(9)
    left.close()
