"""A tiny client of the server: the calls of `LVM`, over HTTP. Needs no package beside those of openlvm itself.

    client = Client("http://127.0.0.1:8000", token=...)
    done = client.analogy([(a, A), (b, B)], query=c, num_candidates=4, seed=0)
    done.images                     # uint8 [C, F, H, W, 3], as those of LVM.analogy

Letters beside the project's own: C candidates, F frames drawn.
"""

import base64
import http.client
import io
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from openlvm.core.images import Picture, read_image

Pair = tuple[Picture, Picture]
"""A picture and its answer."""
OnProgress = Callable[[Mapping[str, Any]], None]
"""Called with the data of each event of progress (`drawn`, `total`, `frames`, `images`, base64 PNGs)."""


class ServerError(Exception):
    """The server gave no answer.

    Args:
        status: of HTTP; 0 if the answer broke off.
        message: its words.
    """

    def __init__(self, status: int, message: str):
        super().__init__(f"{status}: {message}" if status else message)
        self.status, self.message = status, message


@dataclass(frozen=True, kw_only=True, eq=False)
class Reply:
    """What was drawn; the fields of `Answer` that travel."""

    images: np.ndarray
    """uint8 [C, F, H, W, 3]; candidates are ranked."""
    codes: np.ndarray
    """int64 [C, F, N]."""
    mean_log_probs: np.ndarray
    """float64 [C], nats a code."""
    numbers: np.ndarray
    """int64 [C]: which candidate of chance each one is."""
    gain: np.ndarray | None
    """float32 [C], nats a code, where there were examples."""
    log_probs: np.ndarray | None
    """float32 [C, F, N], if details were asked for."""
    entropies: np.ndarray | None
    """float32 [C, F, N], if details were asked for."""
    reuse_error: np.ndarray | None
    """float64 [n], with `reuse`: as in `Answer`."""
    lvm: str
    """Who answered."""
    seconds: float
    """From the whole request to the answer, on the server."""


class Client:
    """Asks a server.

    Args:
        url: where it is, such as "http://127.0.0.1:8000".
        token: if it wants one.
        lvm: name of the LVM to ask; by default the server's first.
        timeout: seconds without a byte after which a call fails.
        patience: seconds during which a call that is refused with 429 or 503 is tried again, each time after as long as
            the server says; 0 raises at once.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        lvm: str | None = None,
        timeout: float = 180.0,
        patience: float = 60.0,
    ):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url={url!r} must be http://HOST:PORT or https://HOST:PORT")
        self.url, self.token, self.lvm, self.timeout, self.patience = parts, token, lvm, timeout, patience

    def complete(
        self,
        images: Sequence[Picture],
        *,
        num_frames: int = 1,
        slide: bool = False,
        keep: int | None = None,
        reuse: bool = False,
        on_progress: OnProgress | None = None,
        **how: Any,
    ) -> Reply:
        """`LVM.complete`.

        Args:
            images: at least one.
            num_frames: F.
            slide, keep, reuse: as in `LVM.complete`.
            on_progress: asks for a stream, and is told of it.
            how: num_candidates, seed, temperature, top_k, top_p, exact, fast, ahead, details.
        """
        asked = {"num_frames": num_frames, "slide": slide, "keep": keep, "reuse": reuse, **how}
        return self._draw("complete", {"images": [*images]}, on_progress, asked)

    def analogy(
        self,
        pairs: Sequence[Pair],
        query: Picture,
        *,
        ensemble: int = 1,
        on_progress: OnProgress | None = None,
        **how: Any,
    ) -> Reply:
        """`LVM.analogy`; arguments as `complete`."""
        given = {"pairs": [[*pair] for pair in pairs], "query": query}
        return self._draw("analogy", given, on_progress, {"ensemble": ensemble, **how})

    def compose(
        self, groups: Sequence[Sequence[Pair]], query: Picture, *, on_progress: OnProgress | None = None, **how: Any
    ) -> Reply:
        """`LVM.compose`; arguments as `complete`."""
        shown = [[[*pair] for pair in group] for group in groups]
        return self._draw("compose", {"groups": shown, "query": query}, on_progress, how)

    def score(self, context: Sequence[Picture], target: Picture, *, restrict: bool = False) -> float:
        """`LVM.score`."""
        given = {"context": [*context], "target": target}
        return float(self._ask("score", given, {"restrict": restrict})["perplexity"])

    def choose(
        self,
        context: Sequence[Picture],
        options: Sequence[Picture],
        *,
        restrict: bool = False,
        against: str = "context",
    ) -> dict[str, Any]:
        """`LVM.choose`: index, perplexities, context_free."""
        given = {"context": [*context], "options": [*options]}
        return self._ask("choose", given, {"restrict": restrict, "against": against})

    def models(self) -> list[dict[str, Any]]:
        """What the server serves."""
        return self._get("models")["models"]

    def health(self) -> str:
        """Whether it takes work: "ok" or "stopping"."""
        return self._get("health")["status"]

    # ------------------------------------------------------------------------------------------------- below

    def _draw(self, verb: str, given: Mapping[str, Any], on_progress: OnProgress | None, how: dict[str, Any]) -> Reply:
        found = self._ask(verb, given, how if on_progress is None else {**how, "stream": True}, on_progress)
        arrays = {
            name: None if found[name] is None else np.array(found[name], dtype)
            for name, dtype in _ARRAYS.items()
        }  # fmt: skip
        images = np.stack([[_picture(text) for text in frames] for frames in found["images"]])
        return Reply(images=images, lvm=found["lvm"], seconds=found["seconds"], **arrays)  # type: ignore[arg-type]

    def _ask(
        self, verb: str, given: Mapping[str, Any], how: Mapping[str, Any], on_progress: OnProgress | None = None
    ) -> dict[str, Any]:
        """A POST, tried again while the server says so."""
        kind, body = _multipart(given, {**how, "lvm": self.lvm})
        end = time.monotonic() + self.patience
        while True:
            try:
                return self._once("POST", f"/v1/{verb}", body, kind, on_progress)
            except _TryLater as refusal:
                if time.monotonic() + refusal.seconds > end:
                    raise ServerError(refusal.status, refusal.message) from None
                time.sleep(refusal.seconds)

    def _get(self, name: str) -> Any:
        try:
            return self._once("GET", f"/v1/{name}", None, None, None)
        except _TryLater as refusal:
            if name == "health":
                return {"status": "stopping"}
            raise ServerError(refusal.status, refusal.message) from None

    def _once(
        self, method: str, path: str, body: bytes | None, kind: str | None, on_progress: OnProgress | None
    ) -> Any:
        made = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        assert self.url.hostname is not None
        connection = made(self.url.hostname, self.url.port, timeout=self.timeout)
        headers = {} if kind is None else {"Content-Type": kind}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, self.url.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            if response.status == 200 and response.getheader("content-type", "").startswith("text/event-stream"):
                return _answer_of(response, on_progress)
            text = response.read()
        finally:
            connection.close()
        if response.status == 200:
            return json.loads(text)
        told = _words(text)
        wait = response.getheader("retry-after")
        if response.status in (429, 503):
            raise _TryLater(response.status, told, float(wait or 1))
        raise ServerError(response.status, told)


_ARRAYS = {
    "codes": np.int64,
    "mean_log_probs": np.float64,
    "numbers": np.int64,
    "gain": np.float32,
    "log_probs": np.float32,
    "entropies": np.float32,
    "reuse_error": np.float64,
}


class _TryLater(Exception):
    def __init__(self, status: int, message: str, seconds: float):
        super().__init__(message)
        self.status, self.message, self.seconds = status, message, seconds


def _words(text: bytes) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:200].decode("utf-8", "replace")


def _answer_of(response: http.client.HTTPResponse, on_progress: OnProgress | None) -> Any:
    for name, data in _events(response):
        if name == "answer":
            return data
        if name == "error":
            raise ServerError(0, data["error"])
        if on_progress is not None:
            on_progress(data)
    raise ServerError(0, "the answer broke off; the server may have been stopped")


def _events(lines: Any) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


def _multipart(given: Mapping[str, Any], how: Mapping[str, Any]) -> tuple[str, bytes]:
    """Content type and body: each picture is sent once, however often it is named, and travels without loss."""
    files: list[bytes] = []
    place: dict[Any, int] = {}

    def number(value: Any) -> Any:
        if isinstance(value, list):
            return [number(inner) for inner in value]
        key = str(value) if isinstance(value, str | Path) else id(value)
        if key not in place:
            place[key] = len(files)
            files.append(_file(value))
        return place[key]

    request = {name: number(value) for name, value in given.items()}
    request |= {name: value for name, value in how.items() if value is not None}
    border = f"openlvm-{uuid.uuid4().hex}"
    parts = [f'--{border}\r\nContent-Disposition: form-data; name="request"\r\n\r\n{json.dumps(request)}\r\n'.encode()]
    for at, data in enumerate(files):
        head = f'--{border}\r\nContent-Disposition: form-data; name="pictures"; filename="{at}"\r\n'
        parts.append(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + data + b"\r\n")
    return f"multipart/form-data; boundary={border}", b"".join([*parts, f"--{border}--\r\n".encode()])


def _file(picture: Picture) -> bytes:
    """The bytes of a picture file: as they are if they are what a server reads, else a PNG."""
    data = picture if isinstance(picture, bytes) else None
    if isinstance(picture, str | Path):
        data = Path(picture).read_bytes()
    if data is not None and (data[:4] in (b"\x89PNG", b"RIFF") or data[:3] == b"\xff\xd8\xff"):
        return data
    file = io.BytesIO()
    Image.fromarray(read_image(picture)).save(file, format="PNG")
    return file.getvalue()


def _picture(text: str) -> np.ndarray:
    return read_image(base64.b64decode(text))
