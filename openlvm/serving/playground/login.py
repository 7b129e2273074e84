"""The token of a server, given once on a page and kept by the browser as a cookie that tells it to nobody."""

import hashlib
import hmac
from dataclasses import replace
from html import escape
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from openlvm.serving.http.body import read_body
from openlvm.serving.limits import Budget, Limits

PATH = "/login"
COOKIE = "openlvm"
SECONDS = 30 * 24 * 3600
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
MAX_BYTES = 4096
"""Of what is posted by those who have no token yet."""
STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:15vh auto;padding:0 1rem}
input,button{font:inherit;width:100%;padding:.5rem;margin:.3rem 0;box-sizing:border-box}.problem{color:#c22}
"""


class Door:
    """Where a person gives the token of the server.

    Args:
        token: of the server.
        to: path that a browser is sent to afterwards.
    """

    path = PATH

    def __init__(self, token: str, *, to: str, limits: Limits, uploads: Budget):
        self.token, self.to, self.uploads = token, to, uploads
        self.limits = replace(limits, max_body_mb=MAX_BYTES / 2**20)
        self.proof = hmac.new(token.encode(), b"openlvm playground", hashlib.sha256).hexdigest()
        """What the cookie holds: the browser knew the token, which cannot be told from it."""

    def leads_to(self, scope: Scope) -> bool:
        """Whether a request is a person's, who comes from outside to where the door leads."""
        path = scope["path"]
        return scope["method"] == "GET" and (path == self.to or path == f"{self.to}/")

    def lets_in(self, cookies: bytes) -> bool:
        """Whether a Cookie header has the proof; compared in a time that does not tell how much of it is right.

        Other servers of this address set cookies too, of any form; `http.cookies` gives up at the first odd one.
        """
        own = f"{COOKIE}={self.proof}".encode()
        return any(hmac.compare_digest(one.strip(), own) for one in cookies.split(b";"))

    def add_to(self, app: FastAPI) -> None:
        """Its routes."""
        app.add_api_route(self.path, self.shown, methods=["GET"])
        app.add_api_route(self.path, self.answer, methods=["POST"])

    async def shown(self) -> HTMLResponse:
        """The page that asks for the token."""
        return _page("")

    async def answer(self, request: Request) -> Response:
        """A cookie for who knows the token, the page again for who does not."""
        body = await read_body(request, self.limits, self.uploads)
        self.uploads.give_back(len(body))
        given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
        if not hmac.compare_digest(given.strip().encode(), self.token.encode()):
            return _page("That is not the token of this server.", status=401)
        response = RedirectResponse(self.to, status_code=303)
        response.set_cookie(COOKIE, self.proof, max_age=SECONDS, path="/", httponly=True, samesite="strict")
        return response


def _page(problem: str, *, status: int = 200) -> HTMLResponse:
    told = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>openlvm: the token</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head><body><main>'
        f'<h1>openlvm</h1>{told}<form method="post" action="{PATH}"><label for="token">The token of this server</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>'
        "<button>Go on</button></form></main></body></html>",
        status_code=status,
        headers={"content-security-policy": POLICY},
    )
