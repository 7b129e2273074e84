"""A run folder: what a training run was told, what it measured, and the checkpoints it left.

    run/
      config.json                  the resolved config, written once; a resumed run must bring the same
      metrics.jsonl                one JSON object a line, one line a step
      checkpoints/step-00001000/   whole or absent (`core.files.atomic_folder`)

Knows nothing of torch or of what is trained. A process may die at any moment (`kill -9`, power): whatever is found
afterwards under its final name is whole, and the metrics are cut back to the checkpoint from which the run goes on.
"""

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openlvm.core.files import TEMPORARY, atomic_write, read_json, sweep, write_json

_STEP_FOLDER = re.compile(r"step-(\d{8,})")
_ABSENT = "(absent)"


def as_json(config: Any) -> Any:
    """A config (nested dataclasses, mappings, sequences, paths) as the value its JSON file would give back.

    A dataclass becomes its fields and its `type`, so that two kinds with the same fields differ.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        values = {field.name: as_json(getattr(config, field.name)) for field in dataclasses.fields(config)}
        return {"type": type(config).__name__, **values}
    if isinstance(config, Mapping):
        return {str(name): as_json(value) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return [as_json(value) for value in config]
    if isinstance(config, Path):
        return str(config)
    if config is None or isinstance(config, bool | int | float | str):
        return config
    raise ValueError(
        f"a config may hold dataclasses, mappings, sequences, paths and numbers, not {type(config).__name__}"
    )


def differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted field name, old value, new value) wherever two JSON values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            inner = f"{name}.{key}" if name else key
            yield from differences(old.get(key, _ABSENT), new.get(key, _ABSENT), inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from differences(left, right, f"{name}[{index}]")
    elif old != new:
        yield name, old, new


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, by name; `open_run` makes or reopens one."""

    at: Path

    @property
    def config_at(self) -> Path:
        """The resolved config, JSON."""
        return self.at / "config.json"

    @property
    def metrics_at(self) -> Path:
        """The metrics, JSON lines, ascending in `step`."""
        return self.at / "metrics.jsonl"

    @property
    def checkpoints_at(self) -> Path:
        """The folder of checkpoint folders."""
        return self.at / "checkpoints"

    def checkpoint_at(self, step: int) -> Path:
        """Where the checkpoint after `step` optimizer steps lies, or will lie."""
        return self.checkpoints_at / f"step-{step:08d}"

    def checkpoints(self) -> dict[int, Path]:
        """The whole checkpoints, step -> folder, ascending; unfinished ones have other names and are not seen."""
        found = {}
        for folder in self.checkpoints_at.glob("step-*"):
            match = _STEP_FOLDER.fullmatch(folder.name)
            if match and folder.is_dir():
                found[int(match[1])] = folder
        return dict(sorted(found.items()))

    def latest_checkpoint(self) -> Path | None:
        """The whole checkpoint with the highest step; None when the run has none yet."""
        return next(reversed(self.checkpoints().values()), None)

    def keep_last(self, count: int) -> None:
        """Delete all but the last `count` checkpoints; one that is half deleted no longer bears its name."""
        for folder in list(self.checkpoints().values())[:-count]:
            aside = folder.with_name(f"{TEMPORARY}{os.getpid()}-old-{folder.name}")
            os.replace(folder, aside)
            shutil.rmtree(aside)

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Add one line; floats keep all their digits, NaN and infinity are an error."""
        text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
        with open(self.metrics_at, "a", encoding="utf-8") as file:
            file.write(text)

    def cut_metrics(self, step: int) -> None:
        """Drop the lines past `step` and a last line that was cut off by a kill."""
        if not self.metrics_at.exists():
            return
        kept = [line for line in _whole_lines(self.metrics_at) if line["step"] <= step]
        with atomic_write(self.metrics_at) as file:
            file.writelines((json.dumps(line, ensure_ascii=False) + "\n").encode() for line in kept)

    def sync_metrics(self) -> None:
        """Make the metrics written so far survive a power cut (before a checkpoint refers to them)."""
        if self.metrics_at.exists():
            with open(self.metrics_at, "rb") as file:
                os.fsync(file.fileno())


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last newline was never finished
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not a readable metrics file (JSON lines): {error}") from None


def read_metrics(at: Path | str) -> list[dict[str, Any]]:
    """The metrics of the run in the folder `at`, one dict a line; a run without any gives an empty list."""
    metrics_at = RunFolder(Path(at)).metrics_at
    return _whole_lines(metrics_at) if metrics_at.exists() else []


def open_run(at: Path | str, config: Any, *, resume: bool = False, may_differ: Collection[str] = ()) -> RunFolder:
    """Start a run in the folder `at`, or go on with the one that is there.

    Args:
        at: the run folder; made when absent.
        config: what the run is told, see `as_json`; written to config.json.
        resume: go on with a run that is there (a folder without one starts a new run, so that a job that is restarted
            by its cluster needs one command only). False refuses a folder that holds a run.
        may_differ: dotted field names that a resumed run may change; config.json then takes the new values.

    Raises:
        ValueError: the folder holds a run and `resume` is False, or its config differs; the fields are named.
    """
    run = RunFolder(Path(at))
    told = as_json(config)
    if run.config_at.exists():
        if not resume:
            raise ValueError(f"{run.at} already holds a run; resume it (--resume) or choose another folder")
        _refuse_differences(run.config_at, told, may_differ)
    run.checkpoints_at.mkdir(parents=True, exist_ok=True)
    sweep(run.at)
    sweep(run.checkpoints_at)
    write_json(run.config_at, told)
    return run


def _refuse_differences(config_at: Path, told: Any, may_differ: Collection[str]) -> None:
    found = differences(read_json(config_at, "run config"), told)
    changed = [f"{name}: {old!r} -> {new!r}" for name, old, new in found if name not in may_differ]
    if changed:
        shown = "; ".join(changed[:8]) + (f"; and {len(changed) - 8} more" if len(changed) > 8 else "")
        raise ValueError(
            f"{config_at} was made with another config ({shown}). Resume with the same, or start a new run"
        )
