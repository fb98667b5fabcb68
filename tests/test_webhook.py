"""Events to a real web server: signed, in order, and kept while it is away."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from happenings import happening
from mosquitto import free_port

from favor_stream import retrying
from favor_stream.agent import Agent
from favor_stream.config import Config, load
from favor_stream.errors import ConfigError, DeviceError
from favor_stream.outbox import Message, Outbox
from favor_stream.outlets import Hook
from favor_stream.records import WatchEvent
from favor_stream.webhook import Webhook

SECRET = "s3cret"


class Server(ThreadingHTTPServer):
    """Takes what is posted, or answers with `refusals` first."""

    def __init__(self, port: int, *refusals: int) -> None:
        self.refusals, self.taken = list(refusals), list[tuple[dict[str, str], bytes]]()
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        body = self.rfile.read(int(self.headers["content-length"]))
        status = self.server.refusals.pop(0) if self.server.refusals else 204
        if status == 204:
            self.server.taken.append(({key.lower(): value for key, value in self.headers.items()}, body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAVOR_WEBHOOK_SECRET", SECRET)
    monkeypatch.setattr(retrying, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(retrying, "LONGEST_WAIT_S", 0.2)


def posted(
    config: Config, url: str, folder: Path, sent: list[WatchEvent], server: Server | None = None
) -> tuple[Server, list[str]]:
    """Publishes what is `sent`; a server that is not there yet comes half a second later. What else the agent told."""

    async def run() -> tuple[Server, list[str]]:
        async with asyncio.timeout(30), Agent("lavfi:testsrc=size=64x48:rate=4", config=config, perceive_every=0) as agent:
            running = asyncio.create_task(Webhook(agent, Hook(url), folder).run())
            news, told = agent.events(), list[str]()
            for event in sent:
                agent.publish(event)
            await asyncio.sleep(0.5)
            there = server or Server(int(url.rpartition(":")[2]))
            while len(there.taken) < len(sent) - (1 if server else 0):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)
            running.cancel()
            await asyncio.wait({running})
            while True:
                try:
                    async with asyncio.timeout(0.05):
                        heard = await anext(news)
                except TimeoutError:
                    return there, told
                told += [heard.text] if heard.kind in ("lost", "found", "error") else []

    return asyncio.run(run())


def test_events_wait_for_a_server_that_is_away_and_come_in_order(config: Config, tmp_path: Path) -> None:
    sent = [happening(number) for number in range(20)]
    server, told = posted(config, f"http://127.0.0.1:{free_port()}", tmp_path, sent)
    server.close()
    assert [json.loads(body)["id"] for _, body in server.taken] == [event.id for event in sent]
    assert len(told) == 2
    assert "cannot be told" in told[0]
    assert "is back" in told[1]


def test_disk_that_cannot_be_read_for_a_while_is_told_and_loses_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failing = Outbox.first, [DeviceError("outbox.sqlite: the outbox cannot be used (disk I/O error)")] * 2

    def first(outbox: Outbox) -> Message | None:
        if failing:
            raise failing.pop()
        return read(outbox)

    monkeypatch.setattr(Outbox, "first", first)
    sent = [happening(1), happening(2)]
    server, told = posted(config, f"http://127.0.0.1:{free_port()}", tmp_path, sent)
    server.close()
    assert [json.loads(body)["id"] for _, body in server.taken] == [event.id for event in sent]
    assert "disk I/O error" in told[0]
    assert "is back" in told[1]


def test_signature_is_that_of_standard_webhooks(config: Config, tmp_path: Path) -> None:
    port = free_port()
    server, _ = posted(config, f"http://127.0.0.1:{port}", tmp_path, [happening(1)])
    server.close()
    headers, body = server.taken[0]
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.new(SECRET.encode(), content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{signature}"


def test_what_a_server_does_not_want_is_told_once_and_the_rest_goes_on(config: Config, tmp_path: Path) -> None:
    port, sent = free_port(), [happening(1), happening(2)]
    server = Server(port, 503, 429, 400)  # tried again, tried again, given up
    _, told = posted(config, f"http://127.0.0.1:{port}", tmp_path, sent, server)
    server.close()
    assert [json.loads(body)["id"] for _, body in server.taken] == [sent[1].id]
    assert any("answered 400" in text for text in told)


def test_hook_that_cannot_be_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("", "ftp://x", "https://me:secret@host", "https://[::1", "https://host:99999"):
        with pytest.raises(ConfigError, match="expected https://HOST"):
            Hook(url)
    monkeypatch.delenv("FAVOR_WEBHOOK_SECRET")
    with pytest.raises(ConfigError, match="no secret to sign with"):
        Hook("https://host").secret()
    path = tmp_path / "agent.toml"
    path.write_text('[webhook]\nurl = "https://host/path"\nsecret_file = "secret"\n')
    hook = load(path).webhook
    assert hook == Hook("https://host/path", secret_file=tmp_path / "secret")
    with pytest.raises(ConfigError, match="cannot be read"):
        replace(hook, secret_file=tmp_path / "nothing").secret()
