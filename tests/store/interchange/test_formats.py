"""Lines of token files: written as the official readers want them, read back exactly, refused when damaged."""

import base64
import json

import numpy as np
import pytest

from openlvm.store.interchange.formats import FORMATS, BadLine, Line, meta_of, read_lines, writing

LINES = [np.arange(5), np.array([8191, 0, 7]), np.arange(300) % 256]


def written(at, form, lines=LINES, **told):
    with writing(at, FORMATS[form]) as file:
        for codes in lines:
            file.write(codes, **told)
    return file


def save_meta(at, rows, **options):
    with open(meta_of(at), "wb") as file:
        np.save(file, rows, **options)


def official_lvm(at):
    """What LVM's EasyLM/data.py makes of a file, by its own few calls."""
    for line in at.read_text().splitlines():
        yield np.frombuffer(base64.b64decode(json.loads(line)["tokens"]), dtype="i4").tolist()


def official_delvm(at):
    """What InternLM's JsonlDataset, which DeLVM uses, makes of a file and its meta."""
    with open(f"{at}.meta", "rb") as file:
        meta = np.load(file)
    with open(at, "rb") as file:
        for offset, length in zip(meta[:, 0], meta[:, -1], strict=True):
            file.seek(offset)
            tokens = json.loads(file.readline().decode("utf-8"))["tokens"]
            assert len(tokens) == length
            yield tokens


OFFICIAL = {"lvm-jsonl": official_lvm, "delvm-bin": official_delvm}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("told", [{}, {"key": "ä", "label": "x", "slots": ["image"]}])
def test_lines_are_read_by_the_official_readers_and_by_ours(tmp_path, form, told):
    at = tmp_path / "train.bin"
    file = written(at, form, **told)
    assert list(OFFICIAL[form](at)) == [codes.tolist() for codes in LINES]
    ours = list(read_lines(at, FORMATS[form]))
    assert [line.codes.tolist() for line in ours] == [codes.tolist() for codes in LINES]
    assert all(dict(line.told) == told for line in ours)
    assert (file.num_lines, file.num_tokens, file.num_bytes) == (3, 308, at.stat().st_size)


def test_delvm_lines_equal_the_official_writer(tmp_path):
    written(tmp_path / "train.bin", "delvm-bin")
    rows, offset, lines = [], 0, []
    for codes in LINES:  # img_to_token.py
        lines.append(str.encode(json.dumps(dict(tokens=codes.tolist())) + "\n"))
        rows.append((offset, len(codes)))
        offset += len(lines[-1])
    assert (tmp_path / "train.bin").read_bytes() == b"".join(lines)
    np.save(tmp_path / "meta.npy", np.array(rows, dtype=np.int64))
    assert (tmp_path / "train.bin.meta").read_bytes() == (tmp_path / "meta.npy").read_bytes()


def test_lvm_lines_take_five_and_a_third_bytes_a_token(tmp_path):
    file = written(tmp_path / "train.jsonl", "lvm-jsonl", [np.arange(4096)] * 10)
    assert 5.333 < file.num_bytes / file.num_tokens < 5.34


@pytest.mark.parametrize(
    ("form", "line", "reason"),
    [
        ("lvm-jsonl", '{"tokens": "AAAA', "not JSON"),
        ("lvm-jsonl", "[" * 100_000, "not JSON"),
        ("lvm-jsonl", "[1]", 'not a JSON object with "tokens"'),
        ("lvm-jsonl", '{"codes": ""}', 'not a JSON object with "tokens"'),
        ("lvm-jsonl", '{"tokens": [1, 2]}', "is it a delvm-bin file"),
        ("lvm-jsonl", '{"tokens": "!!!!"}', "not base64"),
        ("lvm-jsonl", '{"tokens": "AAAA"}', "3 bytes, no whole number of int32"),
        ("delvm-bin", '{"tokens": "AAAAAA=="}', "is it an lvm-jsonl file"),
        ("delvm-bin", '{"tokens": [1, 2.5]}', "not a list of integers"),
        ("delvm-bin", '{"tokens": [true]}', "not a list of integers"),
        ("delvm-bin", '{"tokens": [1, "2"]}', "not a list of integers"),
        ("delvm-bin", '{"tokens": [[1], [2]]}', "not a list of integers"),
        ("delvm-bin", '{"tokens": [[1], 2]}', "not a list of integers"),
        ("delvm-bin", '{"tokens": [99999999999999999999]}', "not a list of integers"),
    ],
)
def test_bad_lines_are_told_by_number(tmp_path, form, line, reason):
    at = tmp_path / "train"
    good = written(tmp_path / "good", form, [np.arange(4)])
    text = (tmp_path / "good").read_bytes()
    at.write_bytes(text + line.encode() + b"\n" + text)
    second = good.num_bytes + len(line) + 1
    save_meta(at, np.array([[0, 4], [good.num_bytes, 0], [second, 4]]))
    first, bad, last = read_lines(at, FORMATS[form])
    assert isinstance(first, Line) and isinstance(last, Line) and last.number == 2
    assert isinstance(bad, BadLine) and bad.number == 1 and reason in bad.reason


def test_empty_lines_are_passed_over(tmp_path):
    at = tmp_path / "train.jsonl"
    written(at, "lvm-jsonl", [np.arange(4)])
    text = at.read_bytes()
    at.write_bytes(b"\n" + text + b"\n\n" + text.rstrip())
    assert [line.number for line in read_lines(at, FORMATS["lvm-jsonl"])] == [1, 4]


def test_read_lines_rejects_a_meta_of_another_file(tmp_path):
    at = tmp_path / "train.bin"
    written(at, "delvm-bin")
    with open(meta_of(at), "rb") as file:
        meta = np.load(file)

    def read_with(rows):
        save_meta(at, rows)
        return list(read_lines(at, FORMATS["delvm-bin"]))

    assert len(read_with(meta)) == 3
    for rows, words in [
        (meta + [[0, 0], [1, 0], [0, 0]], r"row 1 of .*meta says .* the line begins at byte"),
        (meta + [[0, 0], [0, 0], [0, 1]], "row 2 of .* and has 300 tokens"),
        (meta[:2], "row 2 of .* says None"),
        (np.concatenate([meta, meta[:1]]), "has 4 rows, .* has 3 lines; one of them is truncated"),
        (meta.astype(float), r"does not hold int64 \[lines, 2\]"),
        (meta[:, :1], r"does not hold int64 \[lines, 2\]"),
    ]:
        with pytest.raises(ValueError, match=words):
            read_with(rows)
    meta_of(at).write_bytes(b"no numpy")
    with pytest.raises(ValueError, match="not a .npy file"):
        list(read_lines(at, FORMATS["delvm-bin"]))
    save_meta(at, np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="not a .npy file of numbers: .*Python objects"):
        list(read_lines(at, FORMATS["delvm-bin"]))


def test_read_lines_rejects_what_is_missing_or_endless(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no file .*none"):
        list(read_lines(tmp_path / "none", FORMATS["lvm-jsonl"]))
    written(tmp_path / "train.bin", "delvm-bin")
    meta_of(tmp_path / "train.bin").unlink()
    with pytest.raises(FileNotFoundError, match="has its .meta beside it"):
        list(read_lines(tmp_path / "train.bin", FORMATS["delvm-bin"]))
    monkeypatch.setattr("openlvm.store.interchange.formats.MAX_LINE", 100)
    with pytest.raises(ValueError, match="line 2 of .* is longer than 100 bytes"):
        written(tmp_path / "long", "lvm-jsonl")
        list(read_lines(tmp_path / "long", FORMATS["lvm-jsonl"]))


def test_writing_leaves_nothing_half_done(tmp_path):
    with pytest.raises(RuntimeError), writing(tmp_path / "a.bin", FORMATS["delvm-bin"]) as lines:
        lines.write(np.arange(4))
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    written(tmp_path / "a.bin", "delvm-bin")
    with pytest.raises(ValueError, match="a.bin exists; give another name"):
        written(tmp_path / "a.bin", "delvm-bin")
    (tmp_path / "a.bin").unlink()
    with pytest.raises(ValueError, match="a.bin.meta exists"):
        written(tmp_path / "a.bin", "delvm-bin")
