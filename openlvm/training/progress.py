"""What a person sees while a run trains: a bar on a terminal, plain lines elsewhere, nothing on ranks other than 0."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any


def spell_seconds(seconds: float) -> str:
    """90 -> '1:30', 3700 -> '1:01:40'."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def say(text: str) -> None:
    """One plain line on stderr, where progress is shown; stdout belongs to results."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """A context that is told each line of metrics and shows it on stderr."""

    def __init__(self, *, steps: int, first_step: int, unit: str, name: str, is_shown: bool):
        self.steps, self.first_step, self.unit, self.name, self.is_shown = steps, first_step, unit, name, is_shown
        self.start = time.perf_counter()
        self.bar: Any = None

    def __enter__(self) -> "Progress":
        if self.is_shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn(self.name), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
            self.bar = Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True))
            self.bar.start()
            self.bar.add_task(self.name, total=self.steps, completed=self.first_step, text="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()

    def step(self, step: int) -> None:
        """`step` optimizer steps are done."""
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=step)

    def line(self, line: Mapping[str, Any]) -> None:
        """A line of metrics was written."""
        if not self.is_shown:
            return
        text = f"loss {line['loss']:.4f}  {line['timing'][f'{self.unit}_per_second']:,.0f} {self.unit}/s"
        evaluated = "".join(
            f"  {name} {value}" if value is None else f"  {name} {value:.4g}"
            for name, value in line.get("evaluation", {}).items()
        )
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], text=text)
            if evaluated:
                self.bar.console.print(f"step {line['step']}{evaluated}", highlight=False)
            return
        step = line["step"]
        rate = (time.perf_counter() - self.start) / (step - self.first_step)
        left = spell_seconds(rate * (self.steps - step))
        print(f"{self.name} step {step}/{self.steps}  {text}  {left} left{evaluated}", file=sys.stderr, flush=True)
