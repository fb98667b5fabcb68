"""Who may call: whoever has the token, from a page of this server. What comes is bounded; a page loads nothing from elsewhere."""

from __future__ import annotations

import json
import os
import secrets
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from favor_stream.errors import DeviceError

COOKIE = "favor_token"
OPEN = ("/healthz", "/readyz")  # of whom anybody may ask, and learn one word
MOST_BYTES = 64 * 1024  # of a request
HEADERS = [
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class Access:
    """Lets a call through or answers it with 401, 403 or 413, in the words of every other error here.

    The token comes as `Authorization: Bearer ...`, or once as `/?token=...`, which puts it into a cookie that other sites' pages
    cannot use.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # no other kind is served yet
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if "origin" in headers and urlsplit(headers["origin"]).netloc != headers.get("host"):
            await refuse(send, 403, "forbidden", f"the page of {headers['origin']} may not call; open this server's own page")
        elif scope["path"] == "/" and self._is_right(given):
            await enter(send, self._token)
        elif scope["path"] in OPEN or self._is_right(bearer(headers) or cookie(headers)):
            await self._pass(scope, receive, send)
        else:
            await refuse(send, 401, "no_token", "no token, or another one; open the link that favor-stream serve has printed")

    def _is_right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole(receive)
        if body is None:
            return await refuse(send, 413, "too_large", f"a request of more than {MOST_BYTES} bytes; send less")
        unread: list[Message] = [{"type": "http.request", "body": body}]

        async def again() -> Message:
            return unread.pop() if unread else await receive()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        await self._app(scope, again, with_headers)


async def whole(receive: Receive) -> bytes | None:
    """A request's body; None for one that is too large, of which no more is read."""
    body, is_more = b"", True
    while is_more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            return None
        is_more = message.get("more_body", False)
    return body


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
