"""Token files of others, line by line: what LVM and DeLVM train on.

    lvm-jsonl   one JSON object a line: {"tokens": base64 of little-endian int32}; 5.33 bytes a token
                https://github.com/ytongbai/LVM EasyLM/data.py (TextProcessor, JsonDataset)
    delvm-bin   FILE.bin, one JSON object a line: {"tokens": [12, 7, ...]}; beside it FILE.bin.meta, a .npy of int64
                [lines, 2]: where each line begins (bytes), and its tokens
                https://github.com/ggjy/DeLVM data_generation/generate/img_to_token.py

Both readers look at "tokens" alone, so a line may say more: ours can say "key", "label" and "slots". The files know
neither the tokenizer nor how many codes an image has. Letters: T codes of a line.
"""

import base64
import binascii
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from openlvm.core.files import atomic_write

MAX_LINE = 1 << 26
"""Bytes of the longest line that is read: 12 million tokens of LVM."""


@dataclass(frozen=True)
class Format:
    """How a file of lines writes the tokens of a line."""

    name: str
    to_json: Callable[[np.ndarray], Any]
    """Codes int [T] as a JSON value."""
    from_json: Callable[[Any], np.ndarray]
    """The codes of a JSON value, int [T]; a ValueError says what is wrong with it."""
    has_meta: bool
    """Whether a file of offsets lies beside it."""


class Line(NamedTuple):
    """A line that could be read."""

    number: int
    """Of the line in its file, from 0; empty lines count."""
    codes: np.ndarray
    """int [T]."""
    told: Mapping[str, Any]
    """What it says besides "tokens"."""


class BadLine(NamedTuple):
    """A line that could not be read."""

    number: int
    reason: str


def _to_base64(codes: np.ndarray) -> str:
    return base64.b64encode(codes.astype("<i4").tobytes()).decode()


def _from_base64(value: Any) -> np.ndarray:
    if not isinstance(value, str):
        raise ValueError(f'"tokens" is {_short(value)}, not a text of base64; is it a delvm-bin file?')
    try:
        data = base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f'"tokens" is not base64: {error}') from None
    if len(data) % 4:
        raise ValueError(f'"tokens" holds {len(data)} bytes, no whole number of int32')
    return np.frombuffer(data, dtype="<i4")


def _from_list(value: Any) -> np.ndarray:
    if not isinstance(value, list):
        raise ValueError(f'"tokens" is {_short(value)}, not a list; is it an lvm-jsonl file?')
    try:
        codes = np.array(value if value else [], dtype=None if value else np.int64)
    except ValueError:  # lists in the list
        codes = np.array([], dtype=object)
    if codes.ndim != 1 or codes.dtype.kind != "i":
        raise ValueError('"tokens" is not a list of integers')
    return codes


FORMATS = {
    "lvm-jsonl": Format("lvm-jsonl", _to_base64, _from_base64, has_meta=False),
    "delvm-bin": Format("delvm-bin", lambda codes: codes.tolist(), _from_list, has_meta=True),
}
"""Token files of others by name."""


class LineWriter:
    """Writes lines; made by `writing`."""

    def __init__(self, file: IO[bytes], rows: IO[bytes] | None, form: Format):
        self.file, self.rows, self.form = file, rows, form
        self.num_lines = self.num_tokens = self.num_bytes = 0

    def write(self, codes: np.ndarray, **told: Any) -> None:
        """Add a line of codes int [T]; `told` are JSON values that its readers do not look at."""
        line = json.dumps({"tokens": self.form.to_json(codes), **told}, ensure_ascii=False).encode() + b"\n"
        if self.rows is not None:
            self.rows.write(np.array([self.num_bytes, codes.size], dtype="<i8").tobytes())
        self.file.write(line)
        self.num_lines += 1
        self.num_tokens += codes.size
        self.num_bytes += len(line)


@contextmanager
def writing(at: Path, form: Format) -> Iterator[LineWriter]:
    """A writer of a new file; the file, and its meta, appear under their names when the block ends well."""
    for there in [at, meta_of(at)] if form.has_meta else [at]:
        if there.exists():
            raise ValueError(f"{there} exists; give another name, or delete it")
    with atomic_write(at) as file, tempfile.TemporaryFile() if form.has_meta else nullcontext() as rows:
        lines = LineWriter(file, rows, form)
        yield lines
        if rows is not None:
            rows.seek(0)
            with atomic_write(meta_of(at)) as meta:
                header = {"descr": "<i8", "fortran_order": False, "shape": (lines.num_lines, 2)}
                np.lib.format.write_array_header_1_0(meta, header)
                shutil.copyfileobj(rows, meta)


def meta_of(at: Path) -> Path:
    """The file of offsets beside a .bin file."""
    return at.with_name(f"{at.name}.meta")


def read_lines(at: Path, form: Format) -> Iterator[Line | BadLine]:
    """The lines of a file, one at a time; empty ones are passed over, as LVM's reader does.

    Raises:
        FileNotFoundError: the file or its meta is not there.
        ValueError: the meta belongs to another file.
    """
    rows = _read_meta(at) if form.has_meta else None
    if not at.is_file():
        raise FileNotFoundError(f"no file {at}")
    offset = place = 0
    with open(at, "rb") as file:
        for number in range(1 << 62):
            text = file.readline(MAX_LINE)
            if not text:
                break
            if len(text) == MAX_LINE and not text.endswith(b"\n"):
                raise ValueError(
                    f"line {number} of {at} is longer than {MAX_LINE:,} bytes; it is not a {form.name} file"
                )
            if text.strip():
                line = _parse(text, number, form)
                if rows is not None:
                    _check_row(at, rows, place, offset, line)
                yield line
                place += 1
            offset += len(text)
    if rows is not None and place != len(rows):
        raise ValueError(f"{meta_of(at)} has {len(rows)} rows, {at} has {place} lines; one of them is truncated")


def _parse(text: bytes, number: int, form: Format) -> Line | BadLine:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return BadLine(number, "it is not JSON; a truncated line, perhaps")
    if not isinstance(value, dict) or "tokens" not in value:
        return BadLine(number, 'it is not a JSON object with "tokens"')
    try:
        return Line(number, form.from_json(value.pop("tokens")), value)
    except ValueError as error:
        return BadLine(number, str(error))


def _read_meta(at: Path) -> np.ndarray:
    meta = meta_of(at)
    try:
        rows = np.load(meta, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {meta}; a .bin file of DeLVM has its .meta beside it") from None
    except (ValueError, EOFError) as error:
        raise ValueError(f"{meta} is not a .npy file of numbers: {error}") from None
    if not isinstance(rows, np.ndarray) or rows.dtype.kind != "i" or rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(f"{meta} does not hold int64 [lines, 2]")
    return rows


def _check_row(at: Path, rows: np.ndarray, place: int, offset: int, line: Line | BadLine) -> None:
    """A meta that does not fit would let DeLVM's reader begin in the middle of lines: it belongs to another file."""
    told = tuple(rows[place].tolist()) if place < len(rows) else None
    if told is None or told[0] != offset or (isinstance(line, Line) and told[1] != line.codes.size):
        size = line.codes.size if isinstance(line, Line) else "?"
        raise ValueError(
            f"row {place} of {meta_of(at)} says {told}, but the line begins at byte {offset} and has {size} tokens; "
            "the two files do not belong together"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 30 else text[:27] + "..."
