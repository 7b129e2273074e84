"""A store on disk: what is read is what was written, and damage is noticed."""

import pickle

import numpy as np
import pytest
from fakes import FakeTokenizer, Shape, number_of

from openlvm.sentences.grammar import ImageRef
from openlvm.store.format import Store, codes_dtype

BOTH = ("image", "depth")


@pytest.fixture
def store(make_store):
    """Three parts of annotated clips and plain pictures, 60 images."""
    rows = [
        Shape(num_frames=4, label="clip", slots=BOTH),
        Shape(),
        Shape(slots=BOTH),
        Shape(num_frames=9),
    ]
    return make_store([rows, rows[::-1], rows])


def test_codes_follow_references(store):
    refs = [ImageRef(0, "image", 3), ImageRef(0, "depth", 2), ImageRef(3, "image", 8), ImageRef(4, "image", 0)]
    codes = store.codes(refs)
    assert codes.dtype == np.int64
    assert number_of(codes).tolist() == [3, 4 + 2, 8 + 1 + 2 + 8, 20]


def test_read_equals_one_row_at_a_time(store):
    images = np.random.default_rng(0).integers(0, store.num_images, (7, 3))
    codes = store.read(images)
    assert number_of(codes).tolist() == images.tolist() and codes.shape == (7, 3, 4)


def test_store_roundtrips_to_another_process(store):
    again = pickle.loads(pickle.dumps(store))
    assert len(pickle.dumps(store)) < 1000, "the place is sent, not the data"
    assert np.array_equal(again.read(np.arange(60)), store.read(np.arange(60)))


def test_info_counts(store):
    info = store.info()
    assert (info["records"], info["images"], info["parts"], info["labels"]) == (12, 60, 3, 2)
    assert info["bytes"] < 5000 and info["tokenizer"]["codes_fingerprint"] == "fake-codes"


def test_codes_are_stored_in_two_bytes_up_to_65536():
    assert [codes_dtype(size).itemsize for size in (16, 65_536, 65_537)] == [2, 2, 4]


@pytest.mark.parametrize("tokenizer", [FakeTokenizer("other"), "other-codes"])
def test_store_rejects_another_tokenizer(store, tokenizer):
    Store.open(store.at, FakeTokenizer())
    with pytest.raises(
        ValueError, match="made with another tokenizer: its codes_fingerprint is fake-codes…, given other-"
    ):
        Store.open(store.at, tokenizer)


@pytest.mark.parametrize("name", ["parts/00001/codes.bin", "parts/00002/keys.bin", "records.bin", "labels.json"])
def test_store_rejects_truncated_file(store, name):
    data = (store.at / name).read_bytes()
    (store.at / name).write_bytes(data[:-1])
    with pytest.raises(ValueError, match=f"{name} has {len(data) - 1} bytes instead of {len(data)}: truncated"):
        Store.open(store.at)


def test_store_rejects_missing_part(store):
    (store.at / "parts/00001/codes.bin").unlink()
    with pytest.raises(ValueError, match="00001/codes.bin is missing from the store"):
        Store.open(store.at)


def test_store_rejects_other_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no store at .*nowhere"):
        Store.open(tmp_path / "nowhere")
    (tmp_path / "store.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="not a header of store format 1"):
        Store.open(tmp_path)


def test_verify_finds_one_changed_byte(store):
    store.verify()
    file = store.at / "parts/00002/codes.bin"
    data = bytearray(file.read_bytes())
    data[7] ^= 1
    file.write_bytes(data)
    assert [damage.split(":")[0] for damage in Store.open(store.at).damages()] == [str(file)]
    with pytest.raises(ValueError, match="1 files of the store .* are damaged: .*00002/codes.bin"):
        store.verify()


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        (ImageRef(12, "image", 0), "no record 12 in"),
        (ImageRef(-1, "image", 0), "no record -1 in"),
        (ImageRef(1, "depth", 0), "has 1 frames of image; there is no frame 0 of 'depth'"),
        (ImageRef(0, "image", 4), "has 4 frames of image, depth; there is no frame 4"),
    ],
)
def test_codes_reject_images_that_are_not_there(store, ref, words):
    with pytest.raises(ValueError, match=words):
        store.codes([ref])
