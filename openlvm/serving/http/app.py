"""The HTTP API: each verb reads a body within its limits, hands a job to the worker, and tells what came out."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.responses import StreamingResponse as Streaming
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from openlvm.prompting.answers import Answer, Choice
from openlvm.prompting.lvm import LVM
from openlvm.serving.http import describe, wire
from openlvm.serving.http.body import Refused, read_body, take_apart
from openlvm.serving.http.guard import Guard
from openlvm.serving.http.pictures import png_text
from openlvm.serving.http.stream import KEEP_ALIVE, event
from openlvm.serving.playground import mount as playground
from openlvm.serving.playground.login import Door
from openlvm.serving.service import Asking, Service

log = logging.getLogger("openlvm.serving")


async def _answer(service: Service, verb: str, request: Request) -> Response:
    """The response to a request; raises Refused where there is none."""
    service.admit()
    held = True
    try:
        asking = Asking(service)
        body = await read_body(request, service.limits, service.uploads)
        try:
            upload = await take_apart(verb, request.headers.get("content-type", ""), body, service.limits)
            await asking.submit(upload)
        finally:
            service.uploads.give_back(len(body))
        if getattr(asking.request, "stream", False):
            held = False
            return _Stream(_streamed(asking, request.state.id), on_end=lambda: _let_go(asking))
        return await _whole(asking, request)
    finally:
        if held:
            service.requests.give_back(1)


def _let_go(asking: Asking) -> None:
    """A stream is over, or its client has left."""
    asking.job.cancel()
    asking.service.requests.give_back(1)


async def _whole(asking: Asking, request: Request) -> Response:
    """The answer as one JSON; a client that leaves before it cancels it."""
    leaving = asyncio.create_task(_left(request))
    waiting = asyncio.create_task(asking.done())
    try:
        await asyncio.wait({leaving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done() and not asking.is_done:
            raise ClientDisconnect
        return Response((await _told(asking)).model_dump_json(), media_type="application/json")
    finally:
        asking.job.cancel()  # has no effect on what is done
        leaving.cancel()
        waiting.cancel()


async def _streamed(asking: Asking, number: str) -> AsyncIterator[bytes]:
    """The events, within the time that is granted; `number` is the request's."""
    async for made in asking.progress():
        yield KEEP_ALIVE if made is None else event("progress", asdict(made))
    try:
        yield event("answer", (await _told(asking)).model_dump())
    except Refused as error:
        yield event("error", {"error": error.error, "id": number})
    except Exception:
        log.exception("%s stream failed", number)
        yield event("error", {"error": f"something broke here; the log has it as {number}", "id": number})


async def _told(asking: Asking) -> Any:
    """The answer as a model of wire.py; raises what went wrong."""
    found, name = asking.result(), asking.name
    if isinstance(found, Answer):
        return await asking.service.in_threads(_drawn, name, found, asking.request.details, asking.seconds)
    if isinstance(found, Choice):
        free = None if found.context_free is None else list(found.context_free)
        return wire.Chosen(
            lvm=name, index=found.index, perplexities=list(found.perplexities), context_free=free,
            seconds=asking.seconds,
        )  # fmt: skip
    return wire.Scored(lvm=name, perplexity=found, seconds=asking.seconds)


def _drawn(name: str, answer: Answer, details: bool, seconds: float) -> wire.Drawn:
    return wire.Drawn(
        lvm=name,
        images=[[png_text(picture) for picture in frames] for frames in answer.images],
        codes=answer.codes.tolist(),
        mean_log_probs=answer.mean_log_probs.tolist(),
        numbers=answer.numbers.tolist(),
        num_codes=answer.num_codes,
        gain=None if answer.gain is None else answer.gain.tolist(),
        log_probs=answer.log_probs.tolist() if details else None,
        entropies=answer.entropies.tolist() if details else None,
        reuse_error=None if answer.reuse_error is None else list(answer.reuse_error),
        seconds=seconds,
    )


async def _left(request: Request) -> None:
    """Returns when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Stream(Streaming):
    """Events whose end is noticed, however it comes.

    Args:
        on_end: called once.
    """

    def __init__(self, parts: AsyncIterator[bytes], *, on_end: Callable[[], None]):
        super().__init__(parts, media_type="text/event-stream")
        self.on_end = on_end

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI says."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.on_end()


def application(service: Service, *, token: str | None, only_local: bool, has_page: bool = False) -> Any:
    """The ASGI application of a service; see `Guard` for the arguments.

    Args:
        has_page: with the playground, which needs Gradio.
    """
    app = FastAPI(title="openlvm", docs_url=None, redoc_url=None, openapi_url=None)
    told = describe.description(service.limits, has_token=token is not None)
    for verb in wire.VERBS:
        app.add_api_route(f"/v1/{verb}", _route(service, verb), methods=["POST"], name=verb)
    _add_gets(app, service, told, home=playground.PATH if has_page else "/docs")
    _add_problems(app)
    door = None
    if has_page and token is not None:
        door = Door(token, to=playground.PATH, limits=service.limits, uploads=service.uploads)
        door.add_to(app)
    return Guard(
        playground.mounted(app, service) if has_page else app,
        limits=service.limits, token=token, only_local=only_local, metrics=service.metrics, door=door,
        paths=[*told["paths"], "/docs", "/openapi.json", playground.PATH],
    )  # fmt: skip


def _route(service: Service, verb: str) -> Callable[[Request], Any]:
    async def route(request: Request) -> Response:
        return await _answer(service, verb, request)

    return route


def _add_gets(app: FastAPI, service: Service, told: Mapping[str, Any], *, home: str) -> None:
    text = describe.page(told, service.limits)

    @app.get("/")
    async def root() -> RedirectResponse:
        return RedirectResponse(home)

    @app.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(text, headers={"content-security-policy": describe.POLICY})

    @app.get("/openapi.json")
    async def openapi() -> JSONResponse:
        return JSONResponse(told)

    @app.get("/v1/models")
    async def models() -> JSONResponse:
        found = wire.Models(models=[_model(name, lvm) for name, lvm in service.lvms.items()])
        return JSONResponse(found.model_dump())

    @app.get("/v1/health")
    async def health() -> JSONResponse:
        status = "stopping" if service.is_stopping else "ok"
        return JSONResponse({"status": status}, status_code=503 if service.is_stopping else 200)

    @app.get("/v1/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(service.metrics.text(service.gauges()))


def _model(name: str, lvm: LVM) -> wire.Model:
    bundle = lvm.bundle
    return wire.Model(
        name=name,
        image_size=bundle.tokenizer.image_size,
        codes_per_image=bundle.tokenizer.codes_per_image,
        codebook_size=bundle.tokenizer.codebook_size,
        images_in_context=bundle.images_in_context,
        temperature=lvm.sampling.temperature,
        top_k=lvm.sampling.top_k,
        top_p=lvm.sampling.top_p,
        fingerprint=bundle.tokenizer.fingerprint,
    )


def _add_problems(app: FastAPI) -> None:
    """Every refusal as one line of words and the id of the request."""

    def problem(request: Request, status: int, error: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": error, "id": request.state.id}, status_code=status, headers=headers)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        wait = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
        return problem(request, error.status, error.error, wait)

    @app.exception_handler(HTTPException)
    async def not_found(request: Request, error: HTTPException) -> JSONResponse:
        return problem(request, error.status_code, str(error.detail).lower(), error.headers)

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it

    @app.exception_handler(Exception)
    async def broke(request: Request, error: Exception) -> JSONResponse:
        return problem(request, 500, f"something broke here; the log has it as {request.state.id}")
