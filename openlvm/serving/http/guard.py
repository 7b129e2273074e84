"""What stands before every request: who asks, from where, how often; and what a client sees when something breaks."""

import hmac
import ipaddress
import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openlvm.serving.http.metrics import Metrics
from openlvm.serving.limits import Limits, Rates
from openlvm.serving.playground.login import Door

OPEN_PATHS = ("/", "/docs", "/openapi.json", "/v1/health")
"""Need no token: they tell nothing that the source does not."""
SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
]

log = logging.getLogger("openlvm.serving")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """An ASGI application before another one.

    Args:
        token: that clients must give; None for none.
        only_local: refuse requests whose Host is no name of this machine: a page elsewhere whose name was turned to
            127.0.0.1 (DNS rebinding) may not use a browser's way to a server without a token.
        door: where a person at a browser gives the token; None where there is no page.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        token: str | None,
        only_local: bool,
        metrics: Metrics,
        paths: Sequence[str] = (),
        door: Door | None = None,
    ):
        self.app, self.limits, self.token, self.only_local, self.metrics = app, limits, token, only_local, metrics
        self.paths = frozenset(paths)
        """Paths that are counted by name; all others are "other", so that a client cannot make the counts grow."""
        self.door = door
        self.rates = Rates(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        answer = _Watched(send)
        number = scope.setdefault("state", {})["id"] = uuid.uuid4().hex[:12]
        began = time.monotonic()
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self.app(scope, receive, answer)
            else:
                await _refuse(answer, number, *refusal)
        except Exception:
            log.exception("%s %s %s failed", number, scope["method"], scope["path"])
            if answer.status is None:
                await _refuse(answer, number, 500, f"something broke here; the log has it as {number}", {})
        finally:
            path = scope["path"] if scope["path"] in self.paths else "other"
            status, seconds = answer.status or 499, time.monotonic() - began  # 499: the client left, as nginx says
            self.metrics.add(path, status, seconds)
            log.info("%s %s %s %s %d %.3f s", number, _client_of(scope), scope["method"], path, status, seconds)

    def _refusal(self, scope: Scope) -> tuple[int, str, dict[bytes, bytes]] | None:
        """Status, words and headers for a request that goes no further."""
        headers = dict(scope["headers"])
        if self.only_local and not is_loopback(_host_of(headers.get(b"host", b"").decode("latin-1"))):
            return 403, "this server answers to names of this machine only, such as 127.0.0.1", {}
        if b"origin" in headers and not _same(headers[b"origin"], headers.get(b"host", b"")):
            return 403, "pages of other sites may not ask here", {}
        if not self._may_enter(scope["path"], headers):
            if self.door is not None and self.door.leads_to(scope):
                return 303, "give the token of this server first", {b"location": self.door.path.encode()}
            return 401, "give the token of this server: Authorization: Bearer ...", {b"www-authenticate": b"Bearer"}
        if scope["method"] == "POST":
            seconds = self.rates.wait(_client_of(scope), time.monotonic())
            if seconds:
                told = f"more than {self.limits.rate:g} requests a second; wait a moment"
                return 429, told, {b"retry-after": str(max(1, round(seconds))).encode()}
        return None

    def _may_enter(self, path: str, headers: Mapping[bytes, bytes]) -> bool:
        """The path is open to all, or the client has shown that it knows the token."""
        if self.token is None or path in OPEN_PATHS or (self.door is not None and path == self.door.path):
            return True
        if self.door is not None and self.door.lets_in(headers.get(b"cookie", b"")):
            return True
        return _has_token(headers.get(b"authorization", b""), self.token)


def _client_of(scope: Scope) -> str:
    """Its address; what proxies say about others is not believed."""
    return scope["client"][0] if scope.get("client") else "?"


def _host_of(header: str) -> str:
    """Without the port."""
    if header.startswith("["):
        return header.partition("]")[0][1:]
    return header.rpartition(":")[0] if ":" in header else header


def _same(origin: bytes, host: bytes) -> bool:
    return origin.partition(b"://")[2] == host


def _has_token(header: bytes, token: str) -> bool:
    """Compared in a time that does not tell how much of it is right."""
    kind, _, given = header.partition(b" ")
    return hmac.compare_digest(given.strip(), token.encode()) and kind.lower() == b"bearer"


class _Watched:
    """`send` that knows the status and adds safe headers."""

    def __init__(self, send: Send):
        self.send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            said = {name for name, _ in message.get("headers", [])}
            safe = [header for header in SAFE_HEADERS if header[0] not in said]
            message = {**message, "headers": [*message.get("headers", []), *safe]}
        await self.send(message)


async def _refuse(send: Any, number: str, status: int, error: str, headers: dict[bytes, bytes]) -> None:
    body = json.dumps({"error": error, "id": number}).encode()
    told = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})
