"""From a press on the page to its answer: one LVM or two are asked as the API is asked, and told of as they draw."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any
from uuid import uuid4

from openlvm.prompting.answers import Answer, Choice
from openlvm.serving.http.body import Refused, Upload
from openlvm.serving.http.wire import Number, validated
from openlvm.serving.playground.answers import html, repeat
from openlvm.serving.playground.prompts import Prompt, read_prompt
from openlvm.serving.service import Asking, Service

NOBODY = "none"
"""Of the second LVM."""
SECONDS_A_LOOK = 1.0
"""At least as often somebody who left is noticed."""

log = logging.getLogger("openlvm.serving")


async def answer_of(
    service: Service, words: str, name: str, beside: str, candidates: int, frames: int, temperature: float,
    top_p: float, seed: int, exact: bool,
) -> AsyncGenerator[str, None]:  # fmt: skip
    """The answer of one LVM or two as HTML, anew whenever there is more of it; closing it cancels the drawing.

    Args:
        words: the page's, of the prompt.
        beside: a second LVM, or NOBODY.
    """
    try:
        names = [str(name)] if beside in (NOBODY, name) else [str(name), str(beside)]
        with _Admitted(service, len(str(words)), len(names)):
            prompt = await asyncio.to_thread(read_prompt, words)
            how = _how(prompt, candidates, frames, temperature, top_p, seed, exact)
            columns = [_Column(service, one, prompt, number) for number, one in enumerate(names)]
            async with aclosing(_answered(columns, prompt, how)) as parts:
                async for made in parts:
                    yield made
    except (Refused, ValueError) as error:
        yield html.problem(str(error))
    except Exception:
        yield _broken()


def _broken() -> str:
    """What a person sees of a failure here; its trace goes to the log."""
    number = uuid4().hex[:12]
    log.exception("%s playground failed", number)
    return html.problem(f"something broke here; the server's log has it as {number}")


def _how(
    prompt: Prompt, candidates: int, frames: int, temperature: float, top_p: float, seed: int, exact: bool
) -> dict[str, Any]:
    """Fields of the API's request."""
    if prompt.verb == "choose":
        return {}
    how = {"num_candidates": candidates, "seed": seed, "exact": exact, "temperature": temperature}
    how |= {} if temperature == 0 else {"top_p": top_p}
    return how | ({"num_frames": frames} if prompt.verb == "complete" else {})


class _Admitted:
    """Counts requests, and the bytes of their pictures, in and out."""

    def __init__(self, service: Service, num_bytes: int, count: int):
        self.service, self.num_bytes, self.count, self.taken = service, num_bytes, count, 0

    def __enter__(self) -> None:
        if not self.service.uploads.take(self.num_bytes):
            raise Refused(429, "too much is being uploaded at once; try again", retry_after=1)
        try:
            for _ in range(self.count):
                self.service.admit()
                self.taken += 1
        except Refused:
            self.__exit__()
            raise

    def __exit__(self, *_: Any) -> None:
        self.service.uploads.give_back(self.num_bytes)
        self.service.requests.give_back(self.taken)


class _Column:
    """One LVM that answers.

    Args:
        number: of the column, from 0.
    """

    def __init__(self, service: Service, name: str, prompt: Prompt, number: int):
        self.asking, self.name, self.prompt, self.number = Asking(service), name, prompt, number
        self.title, self.html = name, html.WAITING

    async def submit(self, how: Mapping[str, Any]) -> None:
        """Hand the prompt in."""
        request = validated(self.prompt.verb, self.prompt.request(lvm=self.name, **how), Number)
        await self.asking.submit(Upload(request, list(self.prompt.files)))

    async def grow(self, changed: asyncio.Event) -> None:
        """Tell of it as long as it is drawn, then of what came out."""
        seen: dict[tuple[int, int], str] = {}
        try:
            async for so_far in self.asking.progress():
                if so_far is None:
                    continue
                here = zip(so_far.frames, so_far.images, strict=True)
                seen |= {(c, frame): data for c, (frame, data) in enumerate(here) if data is not None}
                self.html = html.drawing(so_far, seen)
                changed.set()
            found = self.asking.result()
            self.title = f"{self.name}, {self.asking.seconds:.1f} s"
            self.html = await self.asking.service.in_threads(self._told, found)
        except Refused as error:
            self.html = html.problem(error.error)
        except Exception:
            self.html = _broken()
        changed.set()

    def _told(self, found: Answer | Choice) -> str:
        """What came out, as HTML."""
        asking, prompt = self.asking, self.prompt
        num_frames = getattr(asking.request, "num_frames", 1)
        program = repeat.call(prompt, self.name, asking.lvm, asking.job.way, num_frames=num_frames)
        taken = {"everything.zip": repeat.whole(prompt, program, found)}
        if isinstance(found, Choice):
            options = prompt.given["options"]
            return html.chosen(found, options, prompt.right, taken, program, number=self.number)
        taken["codes.npy"] = repeat.codes_file(found)
        query = getattr(asking.job.asked, "query", None)
        return html.drawn(found, query, taken, program, number=self.number)

    def leave(self) -> None:
        """Nobody waits any more."""
        if hasattr(self.asking, "job"):
            self.asking.job.cancel()


async def _answered(columns: list[_Column], prompt: Prompt, how: Mapping[str, Any]) -> AsyncGenerator[str, None]:
    """All columns beside one another, whenever one has more."""
    changed = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    try:
        for column in columns:
            await column.submit(how)
        tasks = [asyncio.create_task(column.grow(changed)) for column in columns]
        while True:
            changed.clear()
            is_done = all(task.done() for task in tasks)
            yield html.page(
                {column.title: column.html for column in columns},
                truths=prompt.truths if is_done else (),
                has_layers=is_done and prompt.verb != "choose",
            )
            if is_done:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), SECONDS_A_LOOK)
    finally:
        for column in columns:
            column.leave()
        for task in tasks:
            task.cancel()
