"""What a person sees while pictures are tokenized: a bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from openlvm.training.progress import say, spell_seconds

SECONDS_BETWEEN_LINES = 10.0


class TokenizeProgress:
    """A context that is told each `store.tokenize.Standing` and shows it on stderr; rates are those of this run."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.bar: Any = None
        self._first: Any = None
        self._begun = self._said = 0.0

    def __enter__(self) -> "TokenizeProgress":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            self.bar = Bar(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True))
            self.bar.start()
            self.bar.add_task("", total=None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, standing: Any) -> None:
        """The first call tells what was there before this run, each later one of a part more."""
        now = self.clock()
        if self._first is None:
            self._first, self._begun, self._said = standing, now, now
            if standing.parts_done:
                say(f"{standing.parts_done} of {standing.num_parts} parts are there already")
        text = self._text(standing, now)
        if self.bar is not None:
            task = self.bar.task_ids[0]
            self.bar.update(task, description=text, completed=standing.parts_done, total=standing.num_parts)
        elif standing.parts_done > self._first.parts_done and (
            standing.parts_done == standing.num_parts or now - self._said >= SECONDS_BETWEEN_LINES
        ):
            self._said = now
            say(text)

    def _text(self, standing: Any, now: float) -> str:
        seconds, parts = now - self._begun, standing.parts_done - self._first.parts_done
        text = f"{standing.parts_done}/{standing.num_parts} parts  {standing.images:,} images"
        if seconds > 0 and parts:
            rate = (standing.images - self._first.images) / seconds
            left = spell_seconds(seconds / parts * (standing.num_parts - standing.parts_done))
            text += f"  {rate:,.1f} images/s  {left} left"
        return f"{text}  {standing.bad} bad"
