"""The page and the interface over a real connection: who may call, what is answered, what happens to bad calls."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from happenings import DOOR, happening

from favor_stream.agent import Agent
from favor_stream.config import Config
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.records import Event, Evidence, Watch

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

from serving import PICTURES, TOKEN, error, ran, streamed

from favor_stream.web import access, history, serve


def test_nobody_gets_in_without_the_token_or_from_another_page(config: Config) -> None:
    async def calls(agent: Agent, client: Any) -> list[Any]:
        foreign = {"origin": "http://elsewhere.example"}
        return [
            await client.get("/v1/status", headers={"authorization": "Bearer wrong"}),
            await client.get("/", headers={"authorization": ""}),
            await client.get("/?token=wrong", headers={"authorization": ""}),
            await client.post("/v1/forget", headers=foreign),
            await client.get("/healthz", headers={"authorization": ""}),
        ]

    wrong, none, guessed, foreign, alive = ran(config, calls)
    for answer in (wrong, none, guessed):
        assert error(answer)[:2] == (401, "no_token")
        assert "open the link" in error(answer)[2]
    assert error(foreign)[:2] == (403, "forbidden")
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
        ("/v1/watches", {"question": "somebody is at the door", "severity": "high"}, "severity: Input should be"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(config: Config, path: str, body: dict[str, Any], complaint: str) -> None:
    async def calls(agent: Agent, client: Any) -> tuple[Any, Any]:
        return await client.post(path, json=body), await client.post("/v1/ask", json={"question": "what?"})

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
