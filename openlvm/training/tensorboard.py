"""Lines of metrics as TensorBoard event files, by its own package (extra `tensorboard`)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol


class Writer(Protocol):
    """Is told each line of metrics."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Keep a line."""
        ...


class _Nothing:
    def line(self, line: Mapping[str, Any]) -> None: ...


class _Events:
    def __init__(self, writer: Any):
        self.writer = writer

    def line(self, line: Mapping[str, Any]) -> None:
        for name, value in scalars_of(line):
            self.writer.add_scalar(name, value, line["step"])
        for alarm in line.get("alarms", ()):
            self.writer.add_text("alarms", alarm, line["step"])
        self.writer.flush()


@contextmanager
def event_writer(at: Path, *, first_step: int, is_on: bool) -> Iterator[Writer]:
    """Event files in the folder `at`; what earlier files hold from `first_step` on is hidden by TensorBoard.

    Args:
        is_on: False writes nothing.
    """
    if not is_on:
        yield _Nothing()
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError("tensorboard=True needs TensorBoard: pip install openlvm[tensorboard]") from None
    writer: Any = SummaryWriter(str(at), purge_step=first_step)
    try:
        yield _Events(writer)
    finally:
        writer.close()


def scalars_of(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a line, nested names joined by "/"; the step itself and what is null are left out."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from scalars_of(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and prefix + name != "step":
            yield prefix + name, value
