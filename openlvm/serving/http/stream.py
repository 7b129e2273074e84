"""Server-sent events of a drawing: how far it is, with pictures of what is there, then the answer.

event: progress   {"drawn": 24, "total": 64, "frames": [0], "images": [partial picture, base64 PNG, or null]}
event: answer     as without streaming
event: error      {"error": ..., "id": ...}
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from openlvm.bundle import Bundle
from openlvm.serving.http.pictures import png_text
from openlvm.serving.work.asked import Job

SECONDS_BETWEEN = 0.1
"""At least so long between two events of progress: pictures in the making are decoded for people."""
KEEP_ALIVE_SECONDS = 10.0
"""After so long without progress (in the queue) a comment is sent, which also finds out whether the client is there."""
NOT_DRAWN = 128
"""Gray of what is not drawn yet."""


def event(name: str, data: Any) -> bytes:
    """One event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


KEEP_ALIVE = b": waiting\n\n"
"""A comment, which clients skip."""


@dataclass(frozen=True)
class Progress:
    """How far a drawing is."""

    drawn: int
    """Codes, of all candidates."""
    total: int
    frames: list[int]
    """Number of the frame that each candidate is at."""
    images: list[str | None]
    """That frame of each, PNG as base64; None where no row of codes is whole."""


async def progress(
    job: Job, changed: asyncio.Event, bundle: Bundle, num_frames: int, *, seconds: float
) -> AsyncIterator[Progress | None]:
    """Progress of a job until it has its result, or the time is over; who listens slowly misses some of it.

    Args:
        changed: set whenever the job has more codes or its result.
        seconds: that are left.

    Yields:
        How far it is; None after `KEEP_ALIVE_SECONDS` without news.
    """
    until = time.monotonic() + seconds
    each = bundle.tokenizer.codes_per_image
    total, told = each * num_frames * len(job.codes), 0
    while not job.result.done() and (left := until - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(min(KEEP_ALIVE_SECONDS, left)):
                await changed.wait()
        except TimeoutError:
            if left > KEEP_ALIVE_SECONDS:
                yield None
            continue
        changed.clear()
        codes = [list(row) for row in job.codes]
        drawn = sum(map(len, codes))
        if job.result.done() or drawn == told:
            continue
        told = drawn
        frames = [max(0, len(own) - 1) // each for own in codes]
        images = await asyncio.to_thread(pictures_so_far, bundle, codes, frames)
        yield Progress(drawn, total, frames, images)
        await asyncio.sleep(SECONDS_BETWEEN)


@torch.inference_mode()
def pictures_so_far(bundle: Bundle, codes: list[list[int]], frames: list[int]) -> list[str | None]:
    """The frame that each candidate is at, as far as whole rows of codes are drawn, gray below; None where none is.

    What is missing is decoded as if the last row went on, because the decoder looks around each code.

    Args:
        codes: drawn so far, of each candidate.
        frames: number of the one that each is at.
    """
    tokenizer = bundle.tokenizer
    each = tokenizer.codes_per_image
    side = math.isqrt(each)
    row_length = side if side * side == each else each
    rows = []
    for own, frame in zip(codes, frames, strict=True):
        here = own[frame * each : (frame + 1) * each]
        num_rows = len(here) // row_length
        whole = here[: num_rows * row_length]
        missing = (each - len(whole)) // row_length
        rows.append((num_rows, whole + whole[-row_length:] * missing))
    some = [row for num_rows, row in rows if num_rows]
    decoded = iter(tokenizer.decode(torch.tensor(some)).cpu().numpy() if some else ())
    found: list[str | None] = []
    for num_rows, _ in rows:
        if not num_rows:
            found.append(None)
            continue
        picture: np.ndarray = next(decoded).copy()
        picture[len(picture) * num_rows * row_length // each :] = NOT_DRAWN
        found.append(png_text(picture))
    return found
