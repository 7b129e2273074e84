"""The page among the paths of the server: of all that Gradio answers, only what the page needs is let through.

Gradio's own ways to give files (uploads, paths, URLs, a proxy) are closed: pictures come inside the words of the page,
as text, and are checked as those of the API are.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openlvm.serving.http.body import Refused, read_body
from openlvm.serving.http.wire import check_marks
from openlvm.serving.playground.listeners import Listeners
from openlvm.serving.service import Service

PATH = "/playground"
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; manifest-src 'self'; "
    "worker-src 'self' blob:; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""Content-Security-Policy: nothing comes from elsewhere. Gradio's templates are evaluated, so scripts may be."""
READ = ("", "/", "/theme.css")
"""Paths that are read, below PATH."""
READ_BELOW = ("/assets/", "/static/")
LISTENED = "/gradio_api/queue/data"
"""Path of the stream of events."""
CALLED = ("/gradio_api/queue/join", "/gradio_api/cancel")
"""Paths that are posted to."""
CALL_FIELDS = {"data", "fn_index", "session_hash", "trigger_id", "event_id", "event_data"}
MOST_LETTERS = 64
"""Letters of a session's or a call's name: Gradio remembers them, and gives 11 and 32."""
KEPT_SECONDS = 3600
"""How long a browser keeps Gradio's scripts and styles."""
SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",  # nothing is told to anybody
    "GRADIO_ANALYTICS_MAX_EVENTS": "100",  # nor kept here: a table of all calls, summed up after each one
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9),
}
"""Of Gradio, unless the environment says otherwise."""


def mounted(app: FastAPI, service: Service) -> ASGIApp:
    """An application that has the page at PATH, and `app` everywhere else."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)  # before Gradio's import, which reads them
    try:
        from openlvm.serving.playground.page import add_page
    except ImportError as error:
        raise ImportError(f"{error}; the page needs more packages: pip install 'openlvm[ui]'") from None

    inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    added = add_page(inner, PATH, service)
    return Gate(inner, app, service, handlers=added.handlers, listeners=added.listeners)


class Gate:
    """Sends what is below PATH to the page, as far as the page needs it, and all else to the API.

    Args:
        page: Gradio's application.
        api: the other.
        handlers: numbers of the page's handlers -> how many values each takes.
        listeners: to what Gradio tells.
    """

    def __init__(
        self, page: ASGIApp, api: ASGIApp, service: Service, *, handlers: Mapping[int, int], listeners: Listeners
    ):
        self.page, self.api, self.service, self.handlers, self.listeners = page, api, service, handlers, listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        if scope["type"] == "lifespan":
            await self.page(scope, receive, send)  # Gradio begins its queue here; the API needs nothing
            return
        path: str = scope["path"]
        if path != PATH and not path.startswith(PATH + "/"):
            await self.api(scope, receive, send)
            return
        try:
            await self.let_through(path.removeprefix(PATH), scope, receive, _with_policy(path, send))
        except Refused as error:
            told = {"error": error.error, "detail": error.error, "id": scope["state"]["id"]}
            wait = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
            await JSONResponse(told, status_code=error.status, headers=wait)(scope, receive, send)
        except ClientDisconnect:
            pass

    async def let_through(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """What the page needs; raises Refused for all else."""
        if scope["method"] in ("GET", "HEAD") and (path in READ or path.startswith(READ_BELOW)):
            await self.page(scope, receive, send)
        elif scope["method"] == "GET" and path == LISTENED:
            async with self.listeners.listening(Request(scope).query_params.get("session_hash", "")):
                await self.page(scope, receive, send)
        elif scope["method"] == "POST" and path in CALLED:
            body = await read_body(Request(scope, receive), self.service.limits, self.service.uploads)
            try:
                call = checked_call(body, self.handlers)
                self.listeners.expect(call["session_hash"])
                checked = json.dumps(call).encode()
                await self.page(_with_length(scope, len(checked)), _again(checked, receive), send)
            finally:
                self.service.uploads.give_back(len(body))
        else:
            raise Refused(404, "not found")


def checked_call(body: bytes, handlers: Mapping[int, int]) -> Mapping[str, Any]:
    """A call of the page: texts, numbers and truth values, nothing that Gradio would take for a file.

    Args:
        handlers: numbers that `fn_index` may have -> how many values go with each.

    Raises:
        Refused: it is something else.
    """
    try:
        check_marks(body)
    except ValueError as error:
        raise Refused(422, str(error)) from None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(found, dict) or not set(found) <= CALL_FIELDS:
        raise Refused(422, "the body is no call of the page")
    if found.get("fn_index") not in tuple(handlers):
        raise Refused(422, "the page has no such handler")
    if "data" in found and (not isinstance(found["data"], list) or len(found["data"]) != handlers[found["fn_index"]]):
        raise Refused(422, "the page's handler takes another number of values")
    found.pop("event_data", None)  # no handler reads it
    others = [value for name, value in found.items() if name != "data"]
    if not all(one is None or isinstance(one, str | int | float) for one in [*found.get("data", []), *others]):
        raise Refused(422, "a call of the page holds texts and numbers only")
    if not isinstance(found.get("session_hash"), str) or any(len(str(name)) > MOST_LETTERS for name in others):
        raise Refused(422, f"a call of the page has a session and names of at most {MOST_LETTERS} letters")
    return found


def _with_length(scope: Scope, length: int) -> Scope:
    headers = [
        (name, value) for name, value in scope["headers"] if name not in (b"content-length", b"transfer-encoding")
    ]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was read, once more; then whatever else the client sends, such as that it leaves."""
    told = False

    async def once_more() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once_more


def _with_policy(path: str, send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            more = [(b"content-security-policy", POLICY.encode())]
            if path.startswith((f"{PATH}/assets/", f"{PATH}/static/")) and message["status"] == 200:
                more.append((b"cache-control", f"private, max-age={KEPT_SECONDS}".encode()))
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return told
