"""One part: written twice at once it is there once; annotators and styles decide what is drawn."""

import threading

import numpy as np
import pytest
import torch
from comparing import files_of
from fakes import FakeSource, FakeTokenizer, Shape, numbered_picture
from PIL import Image

from openlvm.core.images import write_image
from openlvm.core.records import BadRecord, Edges, Record, Segmentation
from openlvm.sentences.render import draw
from openlvm.sources.interface import Part
from openlvm.sources.pairs import PairedFolders
from openlvm.store.engines import worker
from openlvm.store.format import Passport, Store
from openlvm.store.part import Job, write_part
from openlvm.store.tokenize import tokenize

PICTURE = {"image": [numbered_picture(1)]}
SOURCE = FakeSource(((Shape(num_frames=2), Shape(bad=True), Shape(label="b")),))


def test_part_written_by_two_at_once_is_there_once(tmp_path):
    """Both attempts are in the middle of it when the first ends; the second finds it there and leaves nothing."""
    job, tokenizer = Job(SOURCE, (), 0, 2, tmp_path / "parts"), FakeTokenizer()
    [part] = SOURCE.parts()
    both = threading.Barrier(2)

    class Meeting(FakeTokenizer):
        def encode(self, pixels):
            both.wait(10)
            return super().encode(pixels)

    told = [None, None]

    def write(place):
        told[place] = write_part(job, part, Meeting())

    threads = [threading.Thread(target=write, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    once = write_part(Job(SOURCE, (), 0, 2, tmp_path / "once"), part, tokenizer)
    assert told[0] == told[1] == once
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "once")


def test_part_that_is_there_is_not_written_again(tmp_path):
    job = Job(SOURCE, (), 0, 2, tmp_path / "parts")
    [part] = SOURCE.parts()
    first = write_part(job, part, FakeTokenizer())
    before = (tmp_path / "parts" / "00000" / "codes.bin").stat().st_mtime_ns
    assert write_part(job, part, None) == first
    assert (tmp_path / "parts" / "00000" / "codes.bin").stat().st_mtime_ns == before


def test_reasons_of_any_text_survive(tmp_path, monkeypatch):
    """Line ends of Unicode, quotes; names that are not UTF-8 are spelled out, and are no keys."""
    read = [
        BadRecord("a", "cannot\u2028be\x85read\r\n"),
        BadRecord("b", '"quoted" \\'),
        BadRecord("c\udcff", "its name"),
        Record(key="d\udcff", slots=PICTURE),
        Record(key="e", slots=PICTURE, label="f\udcff"),
        Record(key="g", slots=PICTURE),
    ]
    monkeypatch.setattr(FakeSource, "read", lambda self, part: iter(read))
    monkeypatch.setattr(FakeSource, "parts", lambda self: [Part("00000", ("c\udcff",))])
    store = tokenize(FakeSource(((Shape(),),)), tokenizer=FakeTokenizer(), at=tmp_path / "s", max_bad_share=1.0)
    bad = list(store.bad_records())
    assert bad[:3] == [*read[:2], BadRecord("c\\udcff", "its name")]
    assert [record.key for record in bad[3:]] == ["d\\udcff", "e"] and "f\\udcff" in bad[4].reason
    assert [store.key(record) for record in range(store.num_records)] == ["g"]


class Brightness:
    """An annotator whose edges are as strong as the picture is red; it cannot look at picture number 2."""

    slot, name, version = "edges", "brightness", "1"

    def describe(self):
        return {"slot": self.slot, "kind": "fake", "name": self.name, "version": self.version}

    def annotate(self, images):
        if any((image == numbered_picture(2)).all() for image in images):
            raise ValueError("it is picture 2")
        return [Edges(image[..., 0].astype(np.float32) / 255) for image in images]


@pytest.fixture
def brightness(monkeypatch):
    told = []

    def load(words, **options):
        told.append((words, options))
        return Brightness()

    monkeypatch.setattr(worker, "load_annotator", load)
    return told


def test_annotators_add_slots_and_are_named_in_the_passport(tmp_path, brightness):
    source = FakeSource((tuple(Shape() for _ in range(5)),))
    options = {"annotators": ["edges=fake:brightness"], "max_bad_share": 0.5, "generated": ["gray"], "batch_size": 2}
    store = tokenize(source, tokenizer=FakeTokenizer(), at=tmp_path / "s", passport=Passport(licence="CC0"), **options)
    assert brightness == [("edges=fake:brightness", {"device": "cpu", "precision": "float32"})]
    assert store.slots == ("image", "edges", "gray") and store.num_records == 4
    assert [(bad.key, bad.reason) for bad in store.bad_records()] == [
        ("0-2", "brightness cannot annotate it: it is picture 2")
    ]
    strengths = Edges(numbered_picture(4)[..., 0].astype(np.float32) / 255)
    picture = torch.from_numpy(draw(strengths, FakeTokenizer.preparation))[None]
    wanted = FakeTokenizer().encode(picture)[0].tolist()
    place = store.records[3]["first_image"] + 1
    assert store.key(3) == "0-4" and store.read(np.array([place]))[0].tolist() == wanted
    passport = store.header["passport"]
    assert passport["annotators"] == store.header["annotators"] == [Brightness().describe()]
    assert passport["licence"] == "CC0" and len(passport["content_sha256"]) == 64
    with pytest.raises(ValueError, match="annotators was"):
        tokenize(source, tokenizer=FakeTokenizer(), at=tmp_path / "s", **{**options, "annotators": []})


@pytest.fixture
def masks(tmp_path) -> PairedFolders:
    """Three pictures with ids 0 and 5."""
    for number in range(3):
        write_image(tmp_path / "pairs" / "image" / f"{number}.png", np.full((8, 8, 3), 70 * number, dtype=np.uint8))
        ids = np.zeros((8, 8), dtype=np.uint8)
        ids[: 2 * number + 2] = 5
        (tmp_path / "pairs" / "segmentation").mkdir(exist_ok=True)
        Image.fromarray(ids).save(tmp_path / "pairs" / "segmentation" / f"{number}.png")
    folders = {"image": "image", "segmentation": "segmentation"}
    return PairedFolders(at=tmp_path / "pairs", folders=folders, kinds={"segmentation": "segmentation"})


def test_styles_decide_how_a_slot_is_drawn(tmp_path, masks):
    usual = tokenize(masks, tokenizer=FakeTokenizer(), at=tmp_path / "usual")
    binary = tokenize(masks, tokenizer=FakeTokenizer(), at=tmp_path / "binary", styles={"segmentation": "binary"})
    ids = np.zeros((8, 8), dtype=np.int32)
    ids[:4] = 5
    for store, style in ((usual, ""), (binary, "binary")):
        picture = torch.from_numpy(draw(Segmentation(ids), FakeTokenizer.preparation, style))[None]
        assert (store.read(np.array([3]))[0] == FakeTokenizer().encode(picture)[0].numpy()).all()
    assert binary.header["styles"] == {"segmentation": "binary"} and "styles" not in usual.header
    with pytest.raises(ValueError, match="styles was .*binary.*, is null"):
        tokenize(masks, tokenizer=FakeTokenizer(), at=tmp_path / "binary")


def test_style_of_another_kind_makes_bad_records(tmp_path, masks):
    with pytest.raises(ValueError, match="no style of Segmentation called 'inverse'"):
        tokenize(masks, tokenizer=FakeTokenizer(), at=tmp_path / "s", styles={"segmentation": "inverse"})


def test_shards_share_the_parts_of_a_source(tmp_path, picture_folder):
    whole = tokenize(picture_folder, tokenizer=FakeTokenizer(), at=tmp_path / "whole")
    shards = [tokenize(picture_folder, tokenizer=FakeTokenizer(), at=tmp_path / f"{i}", shard=(i, 3)) for i in range(3)]
    assert [shard.part_names for shard in shards] == [["00000", "00003"], ["00001"], ["00002"]]
    keys = [shard.key(record) for shard in shards for record in range(shard.num_records)]
    assert sorted(keys) == sorted(whole.key(record) for record in range(whole.num_records))
    assert files_of(tmp_path / "1" / "parts" / "00001") == files_of(tmp_path / "whole" / "parts" / "00001")
    with pytest.raises(ValueError, match=r"shard was \[0, 3\], is \[1, 3\]"):
        tokenize(picture_folder, tokenizer=FakeTokenizer(), at=tmp_path / "0", shard=(1, 3))


def test_precision_is_part_of_the_request(tmp_path, picture_folder, tiny_vqgan):
    options = {"tokenizer": tiny_vqgan, "at": tmp_path / "s"}
    store = tokenize(picture_folder, precision="bf16", **options)
    assert store.header["computed"] == {"device": "cpu", "precision": "bf16"}
    with pytest.raises(ValueError, match="computed was .*bf16.*, is null"):
        tokenize(picture_folder, **options)


def test_passport_names_the_content(tmp_path):
    said = Passport(dataset="Noise", split="train", licence="CC0", home="https://example.org")
    first = tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "a", passport=said, max_bad_share=1.0)
    other = FakeSource(((Shape(num_frames=2), Shape(bad=True), Shape(label="b"), Shape()),))
    second = tokenize(other, tokenizer=FakeTokenizer(), at=tmp_path / "b", passport=said, max_bad_share=1.0)
    assert first.header["passport"].items() >= said.values().items()
    assert first.header["passport"]["codes_fingerprint"] == "fake-codes"
    assert first.header["passport"]["content_sha256"] != second.header["passport"]["content_sha256"]
    silent = tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "c", passport=Passport(), max_bad_share=1.0)
    assert "passport" not in silent.header and "passport" not in Store.open(tmp_path / "c").header
