"""The HTTP API: each verb reads a body within its limits, hands a job to the worker, and tells what came out."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.responses import StreamingResponse as Streaming
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from openlvm.core.picking import pick
from openlvm.prompting.answers import Answer, Choice
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import GREEDY, Sampling
from openlvm.serving.http import describe, wire
from openlvm.serving.http.body import Refused, read_body, take_apart, understand
from openlvm.serving.http.guard import Guard
from openlvm.serving.http.metrics import Metrics
from openlvm.serving.http.pictures import TooLarge, png_text
from openlvm.serving.http.stream import event, events
from openlvm.serving.limits import Budget, Limits
from openlvm.serving.work.asked import Job, Way
from openlvm.serving.work.worker import Worker

THREADS = 2
"""That decode and encode pictures; each may hold one of the largest size."""

log = logging.getLogger("openlvm.serving")


class Service:
    """What the routes share: the worker, what is granted and counted, and whether the server is stopping.

    Args:
        lvms: by the names that clients use; the first is the default.
    """

    def __init__(self, lvms: Mapping[str, LVM], limits: Limits):
        self.lvms, self.limits = dict(lvms), limits
        self.worker = Worker(lvms, max_bytes=limits.max_memory_bytes)
        self.metrics = Metrics()
        self.uploads = Budget(int(limits.max_uploads_mb * 2**20))
        self.requests = Budget(limits.max_requests)
        self.is_stopping = False
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="openlvm-pictures")

    async def answer(self, verb: str, request: Request) -> Response:
        """The response to a request; raises Refused where there is none."""
        if self.is_stopping:
            raise Refused(503, "the server is stopping", retry_after=10)
        if not self.requests.take(1):
            told = f"{self.limits.max_requests} requests are being answered; try again"
            raise Refused(429, told, retry_after=self.wait_seconds())
        held = True
        try:
            asking = _Asking(self, request.state.id)
            await asking.understand(verb, request)
            if getattr(asking.request, "stream", False):
                held = False
                return _Stream(asking.streamed(), on_end=lambda: self._let_go(asking.job))
            return await asking.whole(request)
        finally:
            if held:
                self.requests.give_back(1)

    def _let_go(self, job: Job) -> None:
        """A stream is over, or its client has left."""
        job.cancel()
        self.requests.give_back(1)

    def wait_seconds(self) -> int:
        """When to try again: as long as an answer takes these days."""
        return min(30, max(1, round(self.metrics.lately)))

    def gauges(self) -> dict[str, tuple[str, str, float]]:
        """What is going on now, for metrics."""
        state = self.worker.state()
        return {
            "requests_now": ("gauge", "Requests being uploaded, waiting or answered.", self.requests.taken),
            "upload_bytes_now": ("gauge", "Bytes of bodies being read or decoded.", self.uploads.taken),
            "jobs_waiting": ("gauge", "Jobs that are not drawn yet.", state["waiting"]),
            "rows_drawn_together": ("gauge", "Candidates that are drawn together now.", state["rows"]),
            "codes_total": ("counter", "Codes drawn.", self.worker.num_codes),
            "steps_total": ("counter", "Steps in which codes were drawn together.", self.worker.num_steps),
            "stopping": ("gauge", "1 while the server finishes its work and takes no new one.", self.is_stopping),
        }

    def close(self) -> None:
        """End the threads, after the work that was submitted."""
        self.worker.stop()
        self.threads.shutdown()


class _Asking:
    """One request on its way."""

    request: Any
    """A model of wire.py."""
    job: Job

    def __init__(self, service: Service, number: str):
        self.service, self.number = service, number
        self.began, self.changed = time.monotonic(), asyncio.Event()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    async def in_threads(self, act: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.service.threads, act, *given)

    async def understand(self, verb: str, request: Request) -> None:
        """Read the body, decode its pictures, and hand in a job that fits."""
        service, limits = self.service, self.service.limits
        body = await read_body(request, limits, service.uploads)
        try:
            upload = await take_apart(verb, request.headers.get("content-type", ""), body, limits)
            self.request = upload.request
            try:
                lvm = self._lvm()
                asked = await self.in_threads(understand, upload, lvm.bundle.tokenizer.preparation, limits)
                self.job = Job(self.name, asked, self._way(lvm), on_change=self._call_soon())
                service.worker.check(self.job)
            except TooLarge as error:
                raise Refused(413, str(error)) from None
            except ValueError as error:
                raise Refused(422, str(error)) from None
        finally:
            service.uploads.give_back(len(body))
        self.began = time.monotonic()
        self.job.result.add_done_callback(lambda _: self.job.tell())
        service.worker.submit(self.job)

    def _lvm(self) -> LVM:
        names = list(self.service.lvms)
        self.name = names[0] if self.request.lvm is None else self.request.lvm
        return pick(self.service.lvms, self.name, "LVM")

    def _way(self, lvm: LVM) -> Way | None:
        """How to draw; None for what is measured."""
        asked = self.request
        if not hasattr(asked, "num_candidates"):
            return None
        most = self.service.limits.max_candidates
        if asked.num_candidates > most:
            raise ValueError(f"num_candidates={asked.num_candidates}; this server draws at most {most}")
        given = {name: getattr(asked, name) for name in ("temperature", "top_k", "top_p")}
        start: Sampling = GREEDY if asked.temperature == 0 else lvm.sampling
        sampling = replace(start, **{name: value for name, value in given.items() if value is not None})
        return Way(sampling=sampling, num_candidates=asked.num_candidates, seed=asked.seed, exact=asked.exact)

    def _call_soon(self) -> Callable[[], None]:
        """Tells this event loop of a change; for the worker's thread."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self.changed.set)

        return tell

    async def whole(self, request: Request) -> Response:
        """The answer as one JSON; a client that leaves before it cancels it."""
        leaving = asyncio.create_task(_left(request))
        waiting = asyncio.create_task(self._done())
        try:
            left = self.service.limits.request_seconds - self.seconds
            await asyncio.wait({leaving, waiting}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not self.job.result.done():
                raise ClientDisconnect if leaving.done() else self._late()
            return Response((await self._told()).model_dump_json(), media_type="application/json")
        finally:
            self.job.cancel()  # has no effect on what is done
            leaving.cancel()
            waiting.cancel()

    async def _done(self) -> None:
        while not self.job.result.done():
            await self.changed.wait()
            self.changed.clear()

    def _late(self) -> Refused:
        told = f"the answer took longer than the {self.service.limits.request_seconds:g} s that this server grants"
        return Refused(503, told, retry_after=self.service.wait_seconds())

    async def streamed(self) -> AsyncIterator[bytes]:
        """The events, within the time that is granted."""
        lvm, num_frames = self.service.lvms[self.name], getattr(self.request, "num_frames", 1)
        left = self.service.limits.request_seconds - self.seconds
        async for one in events(self.job, self.changed, lvm.bundle, num_frames, seconds=left):
            yield one
        if not self.job.result.done():
            yield event("error", {"error": self._late().error, "id": self.number})
            return
        try:
            yield event("answer", (await self._told()).model_dump())
        except Exception:
            log.exception("%s stream failed", self.number)
            told = f"something broke here; the log has it as {self.number}"
            yield event("error", {"error": told, "id": self.number})

    async def _told(self) -> Any:
        """The answer as a model of wire.py; raises what went wrong."""
        found = self.job.result.result()
        self.service.metrics.took(self.seconds)
        if isinstance(found, Answer):
            return await self.in_threads(_drawn, self.name, found, self.request.details, self.seconds)
        if isinstance(found, Choice):
            free = None if found.context_free is None else list(found.context_free)
            return wire.Chosen(
                lvm=self.name, index=found.index, perplexities=list(found.perplexities), context_free=free,
                seconds=self.seconds,
            )  # fmt: skip
        return wire.Scored(lvm=self.name, perplexity=found, seconds=self.seconds)


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


def application(service: Service, *, token: str | None, only_local: bool) -> Any:
    """The ASGI application of a service; see `Guard` for the arguments."""
    app = FastAPI(title="openlvm", docs_url=None, redoc_url=None, openapi_url=None)
    told = describe.description(service.limits, has_token=token is not None)
    for verb in wire.VERBS:
        app.add_api_route(f"/v1/{verb}", _route(service, verb), methods=["POST"], name=verb)
    _add_gets(app, service, told)
    _add_problems(app)
    paths = [*told["paths"], "/docs", "/openapi.json"]
    return Guard(
        app, limits=service.limits, token=token, only_local=only_local, metrics=service.metrics, paths=paths
    )  # fmt: skip


def _route(service: Service, verb: str) -> Callable[[Request], Any]:
    async def route(request: Request) -> Response:
        return await service.answer(verb, request)

    return route


def _add_gets(app: FastAPI, service: Service, told: Mapping[str, Any]) -> None:
    text = describe.page(told, service.limits)

    @app.get("/")
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

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
