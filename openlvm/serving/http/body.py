"""Bodies: read within bounds of size and time, taken apart as JSON or as multipart, and understood as what is asked."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from openlvm.core.images import ImagePreparation
from openlvm.serving.http.pictures import TooLarge, decoded_text, num_pixels, prepared
from openlvm.serving.http.wire import Inline, Number, validated
from openlvm.serving.limits import Budget, Limits
from openlvm.serving.work import asked

MAX_JSON_PART = 2**20
"""Bytes of the JSON part of a multipart body: it holds numbers of pictures, not pictures."""


class Refused(Exception):
    """A request that gets no answer.

    Args:
        status: of HTTP.
        error: one line.
        retry_after: seconds after which it may be tried again.
    """

    def __init__(self, status: int, error: str, *, retry_after: int | None = None):
        super().__init__(error)
        self.status, self.error, self.retry_after = status, error, retry_after


async def read_body(request: Request, limits: Limits, uploads: Budget) -> bytes:
    """The whole body; the caller gives its length back to `uploads` when it is done with it.

    Raises:
        Refused: too large (said or sent), too slow, or too much is being uploaded already.
        ClientDisconnect: the client left.
    """
    told = request.headers.get("content-length", "0")
    if told.isdecimal() and int(told) > limits.max_body_bytes:
        raise Refused(413, _too_large(limits))
    body = bytearray()
    try:
        async with asyncio.timeout(limits.upload_seconds), aclosing(_chunks(request)) as chunks:
            async for chunk in chunks:
                if len(body) + len(chunk) > limits.max_body_bytes:
                    raise Refused(413, _too_large(limits))
                if not uploads.take(len(chunk)):
                    raise Refused(429, "too much is being uploaded at once; try again", retry_after=1)
                body += chunk
        return bytes(body)
    except TimeoutError:
        uploads.give_back(len(body))
        raise Refused(408, f"the body took longer than {limits.upload_seconds:g} s") from None
    except BaseException:
        uploads.give_back(len(body))
        raise


def _too_large(limits: Limits) -> str:
    return f"the body has more than {limits.max_body_mb:g} MiB; shrink the pictures"


async def _chunks(request: Request) -> AsyncGenerator[bytes, None]:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


@dataclass(frozen=True)
class Upload:
    """A body taken apart."""

    request: Any
    """A model of wire.py."""
    files: list[bytes] | None
    """Uploaded pictures that the request names by numbers; None where it holds them itself."""


async def take_apart(verb: str, content_type: str, body: bytes, limits: Limits) -> Upload:
    """The request in a body, and the pictures beside it.

    Raises:
        Refused: 400 for what cannot be taken apart, 413 for too many parts, 415 for another content type, 422 for what
            does not say what the verb needs.
    """
    kind = content_type.split(";")[0].strip().lower()
    if kind == "application/json":
        return Upload(await asyncio.to_thread(_understood, verb, body, Inline), None)
    if kind != "multipart/form-data":
        raise Refused(415, "the content type must be application/json or multipart/form-data")
    text, files = await _parts(content_type, body, limits)
    found = await asyncio.to_thread(_understood, verb, text, Number)
    return Upload(found, files)


def _understood(verb: str, text: bytes | str, picture: Any) -> Any:
    """The request; what is no JSON at all is a 400, what says something else than the verb needs a 422."""
    try:
        return validated(verb, text, picture)
    except ValueError as error:
        status = 400 if str(error).startswith("the body: Invalid JSON") else 422
        raise Refused(status, str(error)) from None


async def _parts(content_type: str, body: bytes, limits: Limits) -> tuple[str, list[bytes]]:
    """The part `request` and the files `pictures`."""

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    request = Request({"type": "http", "headers": [(b"content-type", content_type.encode("latin-1"))]})
    parser = MultiPartParser(
        request.headers, chunks(), max_files=limits.max_pictures, max_fields=4, max_part_size=MAX_JSON_PART
    )
    parser.spool_max_size = len(body) + 1  # nothing that is uploaded touches a disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(413 if error.message.startswith("Too many") else 400, f"multipart: {error.message}") from None
    except Exception as error:  # python-multipart on damaged bytes: its own errors, KeyError, UnicodeDecodeError
        raise Refused(400, f"multipart: cannot be taken apart ({type(error).__name__})") from None
    try:
        unknown = set(form.keys()) - {"request", "pictures"}
        texts, uploads = form.getlist("request"), form.getlist("pictures")
        if unknown or len(texts) != 1 or any(isinstance(upload, str) for upload in uploads):
            raise Refused(422, "multipart: expected one part `request` (JSON) and files called `pictures`, no others")
        text = texts[0] if isinstance(texts[0], str) else (await texts[0].read()).decode("utf-8", "replace")
        return text, [await upload.read() for upload in uploads if not isinstance(upload, str)]
    finally:
        await form.close()


def understand(upload: Upload, preparation: ImagePreparation, limits: Limits) -> Any:
    """What is asked, its pictures decoded: a value of work/asked.py.

    Raises:
        TooLarge, ValueError: too much is asked for; a picture is too large, damaged, or not there.
    """
    request = upload.request
    _check_amount(request, limits)
    names = ("images", "pairs", "groups", "query", "context", "target", "options")
    given = {name: getattr(request, name) for name in names if hasattr(request, name)}
    num_given = sum(_count(value) for value in given.values())
    if num_given > limits.max_pictures:
        raise TooLarge(f"{num_given} pictures given; this server takes {limits.max_pictures} in one request")
    named: dict[int | str, str] = {}  # what is given twice is counted and decoded once
    for name, value in given.items():
        _mapped(value, named.setdefault, name)
    data = {value: _bytes_of(value, upload.files, name) for value, name in named.items()}
    pixels = sum(num_pixels(data[value], name=name, max_pixels=limits.max_pixels) for value, name in named.items())
    if pixels > limits.max_request_pixels:
        raise TooLarge(f"the pictures have {pixels:,} pixels; this server takes {limits.max_request_pixels:,}")
    if upload.files is not None and len(named) != len(upload.files):
        lost = min(set(range(len(upload.files))) - set(named))
        raise ValueError(f"pictures[{lost}] was uploaded but the request does not name it")
    decoded = {value: prepared(data[value], preparation, name=name) for value, name in named.items()}

    def picture(value: int | str, _: str) -> np.ndarray:
        """One upload is one object, as in a call in Python, where that is encoded once; a text is one each time."""
        return decoded[value].copy() if isinstance(value, str) else decoded[value]

    found = {name: _mapped(value, picture, name) for name, value in given.items()}
    return _value(type(request).__name__.split("[")[0], found, request)


def _check_amount(request: Any, limits: Limits) -> None:
    """Refuse more to draw than this server grants."""
    candidates, frames = getattr(request, "num_candidates", 1), getattr(request, "num_frames", 1)
    orders = getattr(request, "ensemble", 1)
    if candidates > limits.max_candidates:
        raise ValueError(f"num_candidates={candidates}; this server draws at most {limits.max_candidates}")
    if candidates * frames > limits.max_drawn:
        told = f"num_frames={frames} of num_candidates={candidates} are {candidates * frames} pictures"
        raise ValueError(f"{told}; this server draws at most {limits.max_drawn} for one request")
    if orders > limits.max_ensemble:
        raise ValueError(f"ensemble={orders}; this server asks in at most {limits.max_ensemble} orders")


def _value(kind: str, found: dict[str, Any], request: Any) -> Any:
    match kind:
        case "Complete":
            return asked.Complete(
                images=found["images"], num_frames=request.num_frames,
                slide=request.slide, keep=request.keep, reuse=request.reuse,
            )  # fmt: skip
        case "Analogy":
            return asked.Analogy(pairs=_as_pairs(found["pairs"]), query=found["query"], ensemble=request.ensemble)
        case "Compose":
            return asked.Compose(groups=[_as_pairs(group) for group in found["groups"]], query=found["query"])
        case "Score":
            return asked.Score(context=found["context"], target=found["target"], restrict=request.restrict)
    return asked.Choose(
        context=found["context"], options=found["options"], restrict=request.restrict, against=request.against
    )


def _as_pairs(rows: list[list[np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(picture, answer) for picture, answer in rows]


def _bytes_of(value: int | str, files: list[bytes] | None, name: str) -> bytes:
    if isinstance(value, str):
        return decoded_text(value, name)
    assert files is not None
    if value >= len(files):
        raise ValueError(f"{name} is picture {value}, but {len(files)} were uploaded (numbers begin at 0)")
    return files[value]


def _count(value: Any) -> int:
    return sum(map(_count, value)) if isinstance(value, list) else 1


def _mapped(value: Any, act: Callable[[Any, str], Any], name: str) -> Any:
    """`act` of every leaf of nested lists, with its name."""
    if isinstance(value, list):
        return [_mapped(inner, act, f"{name}[{number}]") for number, inner in enumerate(value)]
    return act(value, name)
