"""msgpack (github.com/msgpack/msgpack, spec.md) read where it lies: bytes are views, nothing is copied.

Exactly what flax.serialization writes: maps, arrays, strings, bytes, numbers, and its own types as `Extension`.
"""

import struct
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 64  # flax nests its trees about ten deep; a file of a million opened arrays shall not end the interpreter


@dataclass(frozen=True)
class Extension:
    """A value of a type that the application defines."""

    code: int
    data: memoryview


def unpack(data: memoryview, at: int = 0, depth: int = 0) -> tuple[Any, int]:
    """The value that begins at byte `at`, and where it ends; bytes and extensions are views of `data`.

    Raises:
        ValueError: the bytes end too early, or are no msgpack; says where.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"byte {at}: nested more than {MAX_DEPTH} deep")
    first = int.from_bytes(_take(data, at, 1))
    at += 1
    if first < 0x80 or first >= 0xE0:
        return (first if first < 0x80 else first - 256), at
    if first < 0x90:
        return _map(data, at, first & 0x0F, depth)
    if first < 0xA0:
        return _array(data, at, first & 0x0F, depth)
    if first < 0xC0:
        return _text(data, at, first & 0x1F)
    if first in _CONSTANTS:
        return _CONSTANTS[first], at
    if first in _NUMBERS:
        size = struct.calcsize(_NUMBERS[first])
        return struct.unpack(_NUMBERS[first], _take(data, at, size))[0], at + size
    if 0xD4 <= first <= 0xD8:
        return _extension(data, at, 1 << (first - 0xD4))
    if first not in _SIZED:
        raise ValueError(f"byte {at - 1}: 0x{first:02x} begins no msgpack value")
    width, kind = _SIZED[first]
    size = int.from_bytes(_take(data, at, width))
    at += width
    if kind == "bytes":
        return _take(data, at, size), at + size
    if kind == "text":
        return _text(data, at, size)
    if kind == "extension":
        return _extension(data, at, size)
    return (_array if kind == "array" else _map)(data, at, size, depth)


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZED = {  # first byte -> (bytes of the length, what follows)
    0xC4: (1, "bytes"), 0xC5: (2, "bytes"), 0xC6: (4, "bytes"),
    0xC7: (1, "extension"), 0xC8: (2, "extension"), 0xC9: (4, "extension"),
    0xD9: (1, "text"), 0xDA: (2, "text"), 0xDB: (4, "text"),
    0xDC: (2, "array"), 0xDD: (4, "array"), 0xDE: (2, "map"), 0xDF: (4, "map"),
}  # fmt: skip


def _take(data: memoryview, at: int, size: int) -> memoryview:
    if at + size > len(data):
        raise ValueError(f"ends too early: {size} bytes are missing or cut at byte {at} of {len(data)}")
    return data[at : at + size]


def _text(data: memoryview, at: int, size: int) -> tuple[str, int]:
    raw = bytes(_take(data, at, size))
    try:
        return raw.decode(), at + size
    except UnicodeDecodeError:
        raise ValueError(f"byte {at}: a string that is no UTF-8") from None


def _extension(data: memoryview, at: int, size: int) -> tuple[Extension, int]:
    return Extension(int.from_bytes(_take(data, at, 1), signed=True), _take(data, at + 1, size)), at + 1 + size


def _array(data: memoryview, at: int, size: int, depth: int) -> tuple[list[Any], int]:
    _take(data, at, size)  # every value takes a byte: a length that lies is refused before anything is made
    values = []
    for _ in range(size):
        value, at = unpack(data, at, depth + 1)
        values.append(value)
    return values, at


def _map(data: memoryview, at: int, size: int, depth: int) -> tuple[dict[Any, Any], int]:
    flat, at = _array(data, at, 2 * size, depth)
    keys = [bytes(key).decode(errors="replace") if isinstance(key, memoryview) else key for key in flat[::2]]
    if not all(isinstance(key, str | int | float | bool | None) for key in keys):
        raise ValueError(f"a map that ends at byte {at} has a key that is neither text nor number")
    return dict(zip(keys, flat[1::2], strict=True)), at
