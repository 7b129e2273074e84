"""Shards give the records whose members share a stem; one that is cut off never reads as whole."""

import gzip
import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from miniatures.files import picture
from PIL import Image

from openlvm.core.records import BadRecord
from openlvm.sources.official import tars
from openlvm.sources.official.tars import Tars, label_of, read_tar


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(number)).save(file, format="PNG")
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def read_all(source):
    return [record for part in source.parts() for record in source.read(part)]


def test_tars_read_pictures_by_stem_wherever_the_members_lie(tmp_path):
    write_tar(tmp_path / "a/1.tar", {"x/1.png": png(1), "x/2.PNG": png(2), "x/1.json": b"{}", "x/2.txt": b"words"})
    write_tar(tmp_path / "10.tar", {"./3.png": png(3), "._3.png": b"a Mac's", ".hidden": b""})
    write_tar(tmp_path / "2.tar", {"4.png": png(4)}, format=tarfile.GNU_FORMAT)
    source = Tars(at=tmp_path)
    assert [part.items for part in source.parts()] == [("2.tar",), ("10.tar",), ("a/1.tar",)]
    found = read_all(source)
    assert [record.key for record in found] == ["2.tar/4", "10.tar/3", "a/1.tar/x/1", "a/1.tar/x/2"]
    for record, number in zip(found, (4, 3, 1, 2), strict=True):
        np.testing.assert_array_equal(record.slots["image"][0], picture(number))
    assert pickle.loads(pickle.dumps(source)).parts() == source.parts()
    assert "at" not in source.describe()


@pytest.mark.parametrize(
    ("where", "label"), [("cls", "7"), ("json/class", "cat"), ("json/number", "3"), ("txt", "a cat, sleeping")]
)
def test_tars_labels(where, label, tmp_path):
    said = json.dumps({"class": "cat", "number": 3}).encode()
    write_tar(tmp_path / "1.tar", {"1.png": png(1), "1.cls": b"7\n", "1.json": said, "1.txt": b"a cat, sleeping"})
    (record,) = read_all(Tars(at=tmp_path, label=where))
    assert record.label == label


@pytest.mark.parametrize(
    ("members", "where", "words"),
    [
        ({"cls": b"7"}, "txt", "no member .txt with its label; its members: ['cls']"),
        ({"json": b"[]"}, "json/class", "its JSON has no field 'class'"),
        ({"json": b"{"}, "json/class", "its JSON cannot be read: Expecting property name"),
        ({"txt": b"word " * 50}, "txt", "its label has 249 characters; expected 1 to 200"),
        ({"cls": b" \n"}, "cls", "its label has 0 characters"),
    ],
)
def test_tars_reject_labels(members, where, words):
    with pytest.raises(ValueError) as caught:
        label_of(members, where)
    assert words in str(caught.value)


def test_tars_report_bad_records_by_key_and_read_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "MAX_MEMBER_BYTES", 4000)
    members = {"1.png": b"no picture", "2.json": b"{}", "3.png": png(3), "4.png": png(4), "4.webp": png(4),
               "5.png": png(5) + bytes(4000), "6.png": png(6)}  # fmt: skip
    write_tar(tmp_path / "0.tar", members)
    with tarfile.open(tmp_path / "0.tar", "a") as archive:  # the same name a second time
        archive.addfile(tarfile.TarInfo("6.png"), io.BytesIO(b""))
    bad = {record.key: record.reason for record in read_all(Tars(at=tmp_path)) if isinstance(record, BadRecord)}
    words = {
        "0.tar/1": "cannot be read",
        "0.tar/2": "it has 0 pictures, expected one; its members: ['json']",
        "0.tar/4": "it has 2 pictures",
        "0.tar/5": "a member has 4,",
        "0.tar/6": "a member is there twice: ['png', 'png']",
    }
    assert set(bad) == set(words)
    assert all(words[key] in reason for key, reason in bad.items())


def test_tars_read_no_picture_above_the_limit(tmp_path):
    write_tar(tmp_path / "0.tar", {"1.png": png(1)})
    (bad,) = read_all(Tars(at=tmp_path, max_pixels=24 * 32 - 1))
    assert "has 32 x 24 pixels; the limit is 767" in bad.reason


def test_tar_that_is_cut_off_anywhere_is_reported_after_its_whole_records(tmp_path):
    write_tar(tmp_path / "whole.tar", {f"{number}.png": png(number) for number in range(3)})
    whole = (tmp_path / "whole.tar").read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as archive:
        ends = [member.offset_data + member.size for member in archive]
    for cut in [*range(1, ends[-1] + 511, 97), *(end + shift for end in ends for shift in (-1, 0, 1))]:
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        *good, last = read_tar(tmp_path / "cut.tar", "cut.tar")
        assert isinstance(last, BadRecord) and last.key == "cut.tar", cut
        assert "cannot be read to its end" in last.reason
        num_whole = sum(end <= cut for end in ends)
        assert [key for key, _ in good] == [f"cut.tar/{number}" for number in range(num_whole)], cut
        assert all(members["png"] == png(number) for number, (_, members) in enumerate(good))
    assert len(list(read_tar(tmp_path / "whole.tar", "whole.tar"))) == 3


def test_tars_report_compressed_and_missing_archives(tmp_path):
    write_tar(tmp_path / "1.tar", {"1.png": png(1)})
    source = Tars(at=tmp_path)
    parts = source.parts()
    (tmp_path / "1.tar").write_bytes(gzip.compress((tmp_path / "1.tar").read_bytes()))
    (bad,) = read_all(source)
    assert bad.key == "1.tar" and "compressed or cut off" in bad.reason
    (tmp_path / "1.tar").unlink()
    (bad,) = source.read(parts[0])
    assert bad.key == "1.tar" and "No such file" in bad.reason


@pytest.mark.parametrize("label", ["json", "a/b"])
def test_tars_reject_options(tmp_path, label):
    with pytest.raises(ValueError, match='must be the ending of a member, or "json/" and a field of it'):
        Tars(at=tmp_path, label=label)
