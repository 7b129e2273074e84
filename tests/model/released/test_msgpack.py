"""msgpack is read as its specification says, and what is cut or no msgpack is refused."""

import pytest

from openlvm.model.released.msgpack import Extension, unpack

# Bytes by hand from spec.md of github.com/msgpack/msgpack.
EXAMPLES = [
    (b"\x07", 7),
    (b"\xe0", -32),
    (b"\xc0", None),
    (b"\xc2", False),
    (b"\xc3", True),
    (b"\xca\x3f\x80\x00\x00", 1.0),
    (b"\xcb\xbf\xf0\x00\x00\x00\x00\x00\x00", -1.0),
    (b"\xcc\xff", 255),
    (b"\xcd\x01\x00", 256),
    (b"\xce\x00\x01\x00\x00", 65536),
    (b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00", 2**32),
    (b"\xd0\x80", -128),
    (b"\xd1\xff\x00", -256),
    (b"\xd2\xff\xff\xff\xff", -1),
    (b"\xd3\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
    (b"\xa3abc", "abc"),
    (b"\xd9\x03abc", "abc"),
    (b"\xda\x00\x03abc", "abc"),
    (b"\xdb\x00\x00\x00\x02\xc3\xa4", "ä"),
    (b"\xc4\x02\x01\x02", b"\x01\x02"),
    (b"\xc5\x00\x02\x01\x02", b"\x01\x02"),
    (b"\xc6\x00\x00\x00\x00", b""),
    (b"\x92\x01\xa1x", [1, "x"]),
    (b"\xdc\x00\x02\x01\x02", [1, 2]),
    (b"\xdd\x00\x00\x00\x01\x90", [[]]),
    (b"\x81\xa1a\x01", {"a": 1}),
    (b"\xde\x00\x01\xa1a\x80", {"a": {}}),
    (b"\xdf\x00\x00\x00\x01\xc4\x01b\x02", {"b": 2}),
    (b"\xd4\x05\x09", Extension(5, memoryview(b"\x09"))),
    (b"\xd5\xff\x01\x02", Extension(-1, memoryview(b"\x01\x02"))),
    (b"\xd8\x01" + bytes(16), Extension(1, memoryview(bytes(16)))),
    (b"\xc7\x03\x01abc", Extension(1, memoryview(b"abc"))),
    (b"\xc8\x00\x01\x01a", Extension(1, memoryview(b"a"))),
    (b"\xc9\x00\x00\x00\x01\x02a", Extension(2, memoryview(b"a"))),
]


@pytest.mark.parametrize(("raw", "value"), EXAMPLES)
def test_unpack_matches_the_specification(raw, value):
    assert unpack(memoryview(b"\x00" + raw + b"\x00"), 1) == (value, 1 + len(raw))


@pytest.mark.parametrize("raw", [raw for raw, _ in EXAMPLES if len(raw) > 1])
def test_unpack_rejects_what_is_cut(raw):
    with pytest.raises(ValueError, match="ends too early: .* bytes are missing or cut at byte"):
        unpack(memoryview(raw[:-1]))


def test_unpack_copies_nothing():
    raw = bytearray(b"\xc4\x02\x01\x02")
    value, _ = unpack(memoryview(raw))
    raw[3] = 9
    assert bytes(value) == b"\x01\x09"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xc1", "byte 0: 0xc1 begins no msgpack value"),
        (b"\xdd\xff\xff\xff\xff\x00", "ends too early: 4294967295 bytes are missing"),
        (b"\xa1\xff", "byte 1: a string that is no UTF-8"),
        (b"\x81\x90\x01", "a key that is neither text nor number"),
        (b"\x91" * 1000, "nested more than 64 deep"),
        (b"", "ends too early"),
    ],
)
def test_unpack_rejects_what_is_none(raw, message):
    with pytest.raises(ValueError, match=message):
        unpack(memoryview(raw))
