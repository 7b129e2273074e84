"""Export and import: what comes back is what went out; what does not fit the tokenizer is refused."""

import json

import numpy as np
import pytest
from contents import contents, files_of
from fakes import FakeTokenizer, Shape, number_of

from openlvm.sentences.grammar import Pairs, Sequence
from openlvm.store.format import Passport, Store
from openlvm.store.interchange.formats import FORMATS, meta_of, writing
from openlvm.store.interchange.read import import_files
from openlvm.store.interchange.write import export_records, export_sentences
from openlvm.store.plan import Component, Plan

BOTH = ("image", "depth")
CROSSED = ("image", "normals", "depth")


@pytest.fixture(params=FORMATS)
def form(request):
    return request.param


@pytest.fixture
def store(make_store):
    rows = [Shape(4, "clip", BOTH), Shape(), Shape(slots=BOTH, label="ä")]
    return make_store([rows, [Shape(2, slots=CROSSED), *rows]])


def imported(files, at, form, **options):
    return import_files(files, at, form, tokenizer=FakeTokenizer(), **options)


def test_import_of_export_gives_the_same_records(store, form, tmp_path):
    told = export_records(store, tmp_path / "out", form)
    assert (told.lines, told.tokens) == (store.num_records, 4 * store.num_images)
    again = imported([tmp_path / "out"], tmp_path / "again", form).store
    assert contents(again) == contents(store) and list(contents(again)) == list(contents(store))
    again.verify()
    Store.open(again.at, FakeTokenizer())


def test_import_of_export_of_import_is_the_same_to_the_byte(store, form, tmp_path):
    export_records(store, tmp_path / "a" / "out", form)
    first = imported([tmp_path / "a" / "out"], tmp_path / "first", form, records_per_part=3).store
    export_records(first, tmp_path / "b" / "out", form)
    second = imported([tmp_path / "b" / "out"], tmp_path / "second", form, records_per_part=3).store
    assert (tmp_path / "a" / "out").read_bytes() == (tmp_path / "b" / "out").read_bytes()
    assert files_of(first) == files_of(second)


def test_import_gives_sentences_as_frames(store, form, make_store, tmp_path):
    pairs = make_store([[Shape(1, slots=BOTH)] * 40])
    plan = Plan([Component(pairs, Pairs(target="depth", pairs=2))], seed=3)
    told = export_sentences(plan, tmp_path / "out", form)
    made = imported([tmp_path / "out"], tmp_path / "made", form).store
    assert made.slots == ("image",) and made.num_records == told.lines == 20
    expected = [row for position in plan.read(range(plan.num_positions)) for row in position.codes]
    numbers = [number_of(codes.reshape(4, 4)).tolist() for codes in expected]
    assert [slots["image"] for _, slots in contents(made).values()] == numbers
    assert list(contents(made))[3] == "out#00000003"
    assert Plan([Component(made, Sequence(num_images=4))]).num_positions == 5


def test_export_of_an_imported_file_is_that_file(form, tmp_path):
    with writing(tmp_path / "a", FORMATS[form]) as lines:
        for number in range(7):
            lines.write(np.arange(number, number + 4 * (1 + number % 3)) % 16)
    made = imported([tmp_path / "a"], tmp_path / "made", form, records_per_part=2).store
    export_records(made, tmp_path / "b", form, described=False)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    if FORMATS[form].has_meta:
        assert meta_of(tmp_path / "a").read_bytes() == meta_of(tmp_path / "b").read_bytes()


def test_import_says_where_it_comes_from(form, tmp_path):
    with writing(tmp_path / "a.x", FORMATS[form]) as lines:
        lines.write(np.arange(8))
    made = imported([tmp_path / "a.x"], tmp_path / "made", form, passport=Passport(dataset="toys")).store
    assert made.header["source"]["layout"] == form and list(made.header["source"]["files"]) == ["a.x"]
    passport = made.header["passport"]
    assert passport["dataset"] == "toys" and passport["codes_fingerprint"] == "fake-codes"
    assert len(passport["content_sha256"]) == 64


def test_stream_cuts_lines_end_to_end(form, tmp_path):
    codes = np.arange(75) % 16
    for name, piece in [("a", codes[:33]), ("b", codes[33:])]:
        with writing(tmp_path / name, FORMATS[form]) as lines:
            for line in np.split(piece, [5, 6, 30]):
                if line.size:
                    lines.write(line)
    made, left_over = imported([tmp_path / "a", tmp_path / "b"], tmp_path / "made", form, stream=3)
    assert left_over == 75 - 6 * 12 and made.num_records == 6
    assert made.read(np.arange(18)).ravel().tolist() == codes[:72].tolist()
    assert made.key(5) == "stream#00000005" and made.num_frames(5) == 3


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        ([1, 2, 3], "3 codes are no whole number of images of 4 codes: another tokenizer, or a file for --stream"),
        ([1, 2, 16, 3], "code 16 at place 2 is outside the tokenizer's 0 .. 15: another tokenizer, or a special id"),
        ([1, 2, 3, -1], "code -1 at place 3"),
        ([], "it has no codes"),
    ],
)
def test_import_rejects_codes_of_another_tokenizer(form, tmp_path, codes, reason):
    with writing(tmp_path / "a", FORMATS[form]) as lines:
        lines.write(np.arange(4))
        lines.write(np.array(codes, dtype=np.int64))
        lines.write(np.arange(4))
    with pytest.raises(
        ValueError, match="1 of 3 lines could not be read, more than max_bad_share=0.001; first: a#0000"
    ):
        imported([tmp_path / "a"], tmp_path / "made", form)
    assert not (tmp_path / "made").exists()
    made = imported([tmp_path / "a"], tmp_path / "made", form, max_bad_share=0.5).store
    [bad] = made.bad_records()
    assert bad.key == "a#00000001" and reason in bad.reason
    assert made.num_records == 2 and made.info()["skipped"] == 1


def test_bad_lines_after_the_last_record_are_told_too(form, tmp_path):
    with writing(tmp_path / "a", FORMATS[form]) as lines:
        for codes in ([1, 2, 3, 4], [1], [1, 2, 3, 4], [2]):
            lines.write(np.array(codes))
    made = imported([tmp_path / "a"], tmp_path / "made", form, max_bad_share=0.5, records_per_part=1).store
    assert [record.key for record in made.bad_records()] == ["a#00000001", "a#00000003"]
    assert made.num_records == 2 and made.read(np.arange(2)).tolist() == [[1, 2, 3, 4]] * 2
    made.verify()


def test_import_stops_early_when_nearly_all_is_bad(tmp_path):
    with writing(tmp_path / "a", FORMATS["lvm-jsonl"]) as lines:
        for _ in range(5000):
            lines.write(np.arange(3))
    with pytest.raises(ValueError, match="1000 of 1000 lines"):
        imported([tmp_path / "a"], tmp_path / "made", "lvm-jsonl")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"key": 7}, '"key" 7 and "label" .* are not texts'),
        ({"label": None}, "are not texts"),
        ({"slots": []}, r'"slots" \[\] are not a list of names'),
        ({"slots": ["image", 1]}, "are not a list of names"),
        ({"slots": ["image", "image"]}, "no whole number of images of 4 codes in the slots"),
        ({"slots": ["image", "depth", "edges"]}, "8 codes are no whole number of images of 4 codes in the slots"),
    ],
)
def test_import_rejects_lines_that_describe_themselves_wrongly(tmp_path, told, words):
    with writing(tmp_path / "a", FORMATS["lvm-jsonl"]) as lines:
        lines.write(np.arange(8), **told)
    with pytest.raises(ValueError, match=words):
        imported([tmp_path / "a"], tmp_path / "made", "lvm-jsonl")


def test_import_rejects_bad_files(form, tmp_path):
    with pytest.raises(ValueError, match="different names, given none"):
        imported([], tmp_path / "made", form)
    with pytest.raises(ValueError, match="different names"):
        imported([tmp_path / "a" / "x", tmp_path / "b" / "x"], tmp_path / "made", form)
    with pytest.raises(FileNotFoundError, match="no file"):
        imported([tmp_path / "none"], tmp_path / "made", form)
    with pytest.raises(ValueError, match="did you mean lvm-jsonl"):
        imported([tmp_path / "none"], tmp_path / "made", "lvm-json")
    with pytest.raises(ValueError, match="stream=-1"):
        imported([tmp_path / "none"], tmp_path / "made", form, stream=-1)
    (tmp_path / "empty").write_bytes(b"")
    with open(meta_of(tmp_path / "empty"), "wb") as meta:
        np.save(meta, np.zeros((0, 2), dtype=np.int64))
    with pytest.raises(ValueError, match="no line of .*empty could be read"):
        imported([tmp_path / "empty"], tmp_path / "made", form)
    for name in "ab":
        with writing(tmp_path / name, FORMATS[form]) as lines:
            lines.write(np.arange(4), key="same")
    with pytest.raises(ValueError, match="two lines have the key 'same'"):
        imported([tmp_path / "a", tmp_path / "b"], tmp_path / "made", form)
    assert not (tmp_path / "made").exists()


def test_a_slot_that_comes_later_keeps_the_order_of_the_store(tmp_path):
    lines = [(["image"], [1]), (["depth", "image"], [2, 3]), (["image", "edges", "depth"], [4, 5, 6])]
    with writing(tmp_path / "a", FORMATS["lvm-jsonl"]) as file:
        for slots, numbers in lines:
            file.write(np.array([[0, 0, 0, number] for number in numbers]).ravel(), slots=slots)
    made = imported([tmp_path / "a"], tmp_path / "made", "lvm-jsonl", records_per_part=2).store
    assert made.slots == ("image", "depth", "edges")
    found = [slots for _, slots in contents(made).values()]
    assert found == [{slot: [n] for slot, n in zip(slots, numbers, strict=True)} for slots, numbers in lines]


def test_our_bytes_per_token_are_two_and_a_bit(make_store, tmp_path):
    """Of 256 codes an image, columns and keys included; the header counts for little in a store that is not tiny."""
    store = make_store([[Shape()] * 500])
    columns = sum(file.stat().st_size for file in store.at.rglob("*.bin"))
    per_image_beside_codes = columns / store.num_images - 2 * store.codes_per_image
    assert 2 <= 2 + per_image_beside_codes / 256 < 2.25
    assert json.loads((store.at / "store.json").read_text())["images"] == 500
