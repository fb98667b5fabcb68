"""Who may call: whoever has the token, from a page of this server. What comes is bounded; a page loads nothing from elsewhere."""

from __future__ import annotations

import json
import os
import secrets
import time
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from favor_stream.errors import DeviceError

COOKIE = "favor_token"
OPEN = ("/healthz", "/readyz")  # of whom anybody may ask, and learn one word
MOST_BYTES = 64 * 1024  # of a request
MEDIA, MEDIA_BYTES = ("/v1/chat/completions",), 16 * 1024 * 1024  # of one that may bring pictures and sound
MOST_PER_S = 200  # calls, of all callers
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; media-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"permissions-policy", b"camera=(self), microphone=(self)"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class Access:
    """Lets a call through or answers it with 401, 403, 413 or 429, in the words of every other error here.

    The token comes as `Authorization: Bearer ...`, or once as `/?token=...`, which puts it into a cookie that other sites' pages
    cannot use.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token, self._bucket = app, token, Bucket(MOST_PER_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        refusal = self._refusal(scope)
        if refusal:
            await (refuse if scope["type"] == "http" else refuse_connection)(send, *refusal)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif scope["path"] == "/" and self._is_right(parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]):
            await enter(send, self._token)
        else:
            await self._pass(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Status, kind and message; None for a call that may go through."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        is_entering = scope["path"] == "/" and self._is_right(given)
        if "origin" in headers and headers["origin"].partition("://")[2] != headers.get("host"):
            return 403, "forbidden", f"the page of {headers['origin']} may not call; open this server's own page"
        if not (is_entering or scope["path"] in OPEN or self._is_right(bearer(headers) or cookie(headers))):
            return 401, "no_token", "no token, or another one; open the link that favor-stream serve has printed"
        if not self._bucket.takes():
            return 429, "busy", f"more than {MOST_PER_S} calls a second; call less often"
        return None

    def _is_right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = MEDIA_BYTES if scope["path"] in MEDIA else MOST_BYTES
        body = await whole(receive, most)
        if body is None:
            return await refuse(send, 413, "too_large", f"a request of more than {most} bytes; send less")
        unread: list[Message] = [{"type": "http.request", "body": body}]

        async def again() -> Message:
            return unread.pop() if unread else await receive()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        await self._app(scope, again, with_headers)


class Bucket:
    """Lets so many through in a second, and twice as many at once after a quiet while."""

    def __init__(self, per_s: float) -> None:
        self._per_s, self._left, self._looked_s = per_s, 2 * per_s, time.monotonic()

    def takes(self) -> bool:
        """Whether one more may pass now."""
        now_s = time.monotonic()
        self._left = min(2 * self._per_s, self._left + (now_s - self._looked_s) * self._per_s)
        self._looked_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


async def whole(receive: Receive, most: int) -> bytes | None:
    """A request's body; None for one that is too large, of which no more is read."""
    body, is_more = bytearray(), True
    while is_more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > most:
            return None
        is_more = message.get("more_body", False)
    return bytes(body)


def bearer(headers: dict[str, str]) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" else ""


def cookie(headers: dict[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


async def refuse(send: Send, status: int, kind: str, message: str) -> None:
    body = json.dumps({"error": {"type": kind, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse_connection(send: Send, status: int, kind: str, message: str) -> None:
    """Of a WebSocket, before it is one."""
    body = json.dumps({"error": {"type": kind, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


async def enter(send: Send, token: str) -> None:
    """To the page itself, without the token in its address, where it would be seen and kept."""
    kept = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict".encode()
    headers = [(b"location", b"/"), (b"set-cookie", kept), (b"content-length", b"0"), *HEADERS]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def token_in(folder: Path) -> str:
    """The token that is kept there, made at the first start; only this user may read it. DeviceError where it cannot be kept."""
    path = folder / "token"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(secrets.token_urlsafe(32))
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DeviceError(f"{path}: cannot be read or written ({error.strerror}); choose another folder with `state`") from error
    if not token:
        raise DeviceError(f"{path}: is empty; expected a token in it; delete it, and another is made")
    return token
