"""Tokenizing: the same bytes whatever is killed, full, unreadable or parallel; other requests are refused."""

import errno
import hashlib
import json
import logging
import multiprocessing
import random
import signal
import time

import numpy as np
import pytest
from comparing import files_of
from fakes import FakeSource, FakeTokenizer, Shape, number_of

from openlvm.core.records import BadRecord
from openlvm.sentences.grammar import ImageRef
from openlvm.store import part as part_module
from openlvm.store.format import Store
from openlvm.store.tokenize import tokenize

BOTH = ("image", "depth")
SOURCE = FakeSource(
    tuple(
        tuple(
            Shape(num_frames=1 + (part + row) % 3, label="ab"[row % 2], slots=BOTH[: 1 + row % 2]) for row in range(7)
        )
        for part in range(6)
    ),
    BOTH,
)


def test_pictures_survive_the_store(tmp_path):
    """Slot after slot, frame after frame, record after record: image i has the codes of picture number i."""
    store = tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s", batch_size=5)
    assert store.num_records == 42 and number_of(store.read(np.arange(store.num_images))).tolist() == list(
        range(store.num_images)
    )
    number = 0
    for record, shape in enumerate(shape for part in SOURCE.shapes for shape in part):
        assert (store.num_frames(record), store.label(record)) == (shape.num_frames, shape.label)
        assert store.slots_of(record) == shape.slots
        assert store.key(record) == f"{record // 7}-{record % 7}"
        number += len(shape.slots) * shape.num_frames
        assert store.records[record]["first_image"] + len(shape.slots) * shape.num_frames == number


def test_slots_are_stored_in_the_order_of_the_store(tmp_path):
    """Image 0 is this record's depth, because its source lists that first; the store puts the slot "image" first."""
    source = FakeSource(((Shape(num_frames=2, slots=("depth", "image")),),), BOTH)
    store = tokenize(source, tokenizer=FakeTokenizer(), at=tmp_path / "s")
    assert number_of(store.read(np.arange(4))).tolist() == [2, 3, 0, 1]
    assert number_of(store.codes([ImageRef(0, "depth", 1), ImageRef(0, "image", 1)])).tolist() == [1, 3]


def test_generated_slots_are_stored(tmp_path):
    store = tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s", generated=["inverted", "recolored:bgr"])
    plain = tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "plain")
    assert store.slots == ("image", "depth", "inverted", "recolored:bgr")
    assert store.num_images == plain.num_images + 2 * sum(plain.num_frames(record) for record in range(42))


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_tokenize_repeats_its_bytes(tmp_path, batch_size):
    for name in "ab":
        tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / name, batch_size=batch_size)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_tokenize_of_a_finished_store_does_nothing(tmp_path):
    tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "s").rglob("*")}
    told = []
    tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s", progress=told.append)
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "s").rglob("*")}
    assert [(standing.parts_done, standing.num_parts) for standing in told] == [(6, 6)]


def test_progress_begins_with_what_was_there(tmp_path):
    told = []

    def stop_after_two(standing):
        if standing.parts_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s", progress=stop_after_two)
    store = tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s", progress=told.append)
    assert [standing.parts_done for standing in told] == [2, 3, 4, 5, 6]
    assert told[0].records == 14 and 0 < told[0].images < told[1].images
    assert told[-1] == (6, 6, store.num_records, store.num_images, 0)


def test_tokenize_resumes_after_kill_with_the_same_bytes(tmp_path):
    """SIGKILL at random moments, again and again, until a run gets through."""
    start = time.monotonic()
    tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "whole", batch_size=4)
    seconds = time.monotonic() - start
    context, chance, kills = multiprocessing.get_context("fork"), random.Random(0), 0
    options = dict(tokenizer=FakeTokenizer(), at=tmp_path / "killed", batch_size=4)
    while kills < 12 and not (tmp_path / "killed" / "store.json").exists():
        running = context.Process(target=tokenize, args=(SOURCE,), kwargs=options)
        running.start()
        running.join(seconds * chance.uniform(0.02, 0.4))
        running.kill()
        running.join()
        kills += running.exitcode == -signal.SIGKILL
        if (tmp_path / "killed" / "tokenize.json").exists() and not (tmp_path / "killed" / "store.json").exists():
            with pytest.raises(FileNotFoundError, match="not finished; run the tokenize command"):
                Store.open(tmp_path / "killed")
    assert kills >= 1
    tokenize(SOURCE, **options)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_store_does_not_depend_on_workers(tmp_path, tiny_vqgan, picture_folder):
    options = dict(tokenizer=tiny_vqgan, generated=("noisy",), batch_size=2)
    tokenize(picture_folder, at=tmp_path / "alone", **options)
    tokenize(picture_folder, at=tmp_path / "pool", workers=2, **options)
    assert files_of(tmp_path / "alone") == files_of(tmp_path / "pool")


def test_bad_records_are_skipped_counted_and_logged(tmp_path, caplog):
    rows = tuple(Shape(bad=row % 5 == 0) for row in range(40))
    with caplog.at_level(logging.WARNING):
        store = tokenize(FakeSource((rows,)), tokenizer=FakeTokenizer(), at=tmp_path / "s", max_bad_share=0.25)
    assert store.num_records == 32 and store.info()["skipped"] == 8
    assert [r.getMessage() for r in caplog.records][:1] == ["skipped record 0-0: made to be bad"]
    assert len(caplog.records) == 5
    assert [store.key(0), store.key(4)] == ["0-1", "0-6"]


def test_every_bad_record_is_written_down(tmp_path):
    rows = tuple(Shape(bad=row % 4 == 0) for row in range(40))
    store = tokenize(FakeSource((rows, rows)), tokenizer=FakeTokenizer(), at=tmp_path / "s", max_bad_share=0.25)
    wanted = [BadRecord(f"{part}-{row}", "made to be bad") for part in "01" for row in range(0, 40, 4)]
    assert list(store.bad_records()) == wanted
    lines = (tmp_path / "s" / "parts" / "00001" / "bad.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"key": "1-0", "reason": "made to be bad"} and len(lines) == 10
    store.verify()


def test_too_many_bad_records_stop_and_are_read_again_when_mended(tmp_path):
    good, bad = tuple(Shape() for _ in range(10)), tuple(Shape(bad=row == 3) for row in range(10))
    options = dict(tokenizer=FakeTokenizer(), at=tmp_path / "s", max_bad_share=0.01)
    with pytest.raises(ValueError, match=r"1 of 20 records could not be read.*max_bad_share=0.01; first: 1-3: made to"):
        tokenize(FakeSource((good, bad)), **options)
    assert sorted(path.name for path in (tmp_path / "s" / "parts").iterdir()) == ["00000"]
    assert json.loads((tmp_path / "s" / "bad.jsonl").read_text()) == {"key": "1-3", "reason": "made to be bad"}
    assert tokenize(FakeSource((good, good)), **options).num_records == 20
    assert not (tmp_path / "s" / "bad.jsonl").exists()


def test_undrawable_annotation_is_a_bad_record(tmp_path, monkeypatch):
    def refuse_blue(payload, preparation, style):
        if payload[-1, -1, 2] > 200:
            raise ValueError("it is blue")
        return preparation(payload)

    monkeypatch.setattr(part_module, "draw", refuse_blue)
    store = tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s", max_bad_share=1.0)
    assert 0 < store.header["skipped"] < 42 and store.header["skipped_first"][0][1] == "it is blue"
    assert store.num_records + store.header["skipped"] == 42
    store.verify()


def test_full_disk_leaves_only_whole_parts(tmp_path, monkeypatch):
    encode, calls = part_module._encode, []

    def full_later(pictures, tokenizer, file):
        calls.append(len(pictures))
        encode(pictures, tokenizer, file)
        if len(calls) == 12:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(part_module, "_encode", full_later)
        with pytest.raises(
            OSError, match=r"no space left on the disk of .*; 2 of 6 parts are done and stay. Free some"
        ):
            tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s", batch_size=4)
    assert sorted(path.name for path in (tmp_path / "s" / "parts").iterdir()) == ["00000", "00001"]
    with pytest.raises(FileNotFoundError, match="not finished"):
        Store.open(tmp_path / "s")
    tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s", batch_size=4)
    tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "whole", batch_size=4)
    assert files_of(tmp_path / "s") == files_of(tmp_path / "whole")


def test_store_of_before_has_the_same_bytes(tmp_path):
    """The hash is that of commit 113d47a: what is not asked for (styles, a passport, a shard) leaves no trace."""
    tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s", generated=("gray", "noisy"), batch_size=5)
    digest = hashlib.sha256()
    for name, data in files_of(tmp_path / "s").items():
        digest.update(name.encode() + hashlib.sha256(data).digest())
    assert digest.hexdigest() == "6fef438d0ae4528cb39059f805c6c070e10d706f4ce4885d28bd76faad374d69"


def test_store_is_gone_on_with_by_a_tokenizer_that_paints_otherwise(tmp_path):
    repainted = FakeTokenizer()
    repainted.fingerprint = "other-all"
    tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s")
    before = files_of(tmp_path / "s")
    tokenize(SOURCE, tokenizer=repainted, at=tmp_path / "s")
    assert files_of(tmp_path / "s") == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tokenizer": FakeTokenizer("other")}, 'tokenizer was .*"fake-codes".* is .*"other-codes"'),
        ({"source": FakeSource(SOURCE.shapes, BOTH, "elsewhere")}, "source was .*fake.* is .*elsewhere"),
        ({"source": FakeSource(SOURCE.shapes[:3], BOTH)}, "listing was"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"batch_size": 2}, "batch_size was 32, is 2"),
        ({"generated": ["gray"]}, r"generated was \[\], is \[\"gray\"\]"),
    ],
)
def test_store_rejects_another_request(tmp_path, change, words):
    tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s")
    arguments = {"source": SOURCE, "tokenizer": FakeTokenizer(), **change}
    with pytest.raises(ValueError, match=f"begun with another request: .*{words}"):
        tokenize(arguments.pop("source"), at=tmp_path / "s", **arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"workers": 2}, "with workers=2, .* give the tokenizer's folder"),
        ({"engine": "ray"}, "engine='ray', .* give the tokenizer's folder"),
        ({"precision": "bf16"}, "precision='bf16' give the tokenizer's folder"),
        ({"engine": "slurm"}, "engine='slurm'.*known are local, ray"),
        ({"ray_address": "auto"}, "ray_address='auto' needs engine='ray'"),
        ({"batch_size": 0}, "'batch_size': 0"),
        ({"shard": (2, 2)}, r"shard=\(2, 2\)"),
        ({"max_bad_share": 2}, "max_bad_share=2"),
        ({"styles": {"deph": "linear"}}, "no slot to draw in a style called 'deph'; did you mean depth"),
        ({"styles": {"image": "linaer"}}, "did you mean linear"),
        ({"annotators": ["depth"]}, "'depth' is no annotator; write slot=kind:what"),
        ({"generated": ["grey"]}, "no generated slot called 'grey'; did you mean gray"),
        ({"generated": ["gray", "gray"]}, r"twice: \['gray'\]"),
    ],
)
def test_tokenize_rejects_arguments(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        tokenize(SOURCE, **{"tokenizer": FakeTokenizer(), "at": tmp_path / "s", **change})
    assert not (tmp_path / "s").exists()


def test_tokenize_rejects_folder_of_something_else(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not a store and not empty .it holds thesis.txt."):
        tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_tokenize_rejects_a_source_without_good_records(tmp_path):
    with pytest.raises(ValueError, match="gave no record that could be read"):
        tokenize(FakeSource(((Shape(bad=True),),)), tokenizer=FakeTokenizer(), at=tmp_path / "s", max_bad_share=1.0)


def test_tokenize_rejects_a_key_given_twice(tmp_path, monkeypatch):
    twice = FakeSource(((Shape(), Shape()),))
    monkeypatch.setattr(FakeSource, "parts", lambda self: [part_module.Part("00000", ("same", "same"))])
    with pytest.raises(ValueError, match="two records with the key 'same'"):
        tokenize(twice, tokenizer=FakeTokenizer(), at=tmp_path / "s")


def test_tokenize_rejects_two_writers(tmp_path):
    def second(standing):
        with pytest.raises(ValueError, match="another process is tokenizing"):
            tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s")

    assert tokenize(SOURCE, tokenizer=FakeTokenizer(), at=tmp_path / "s", progress=second).num_records == 42
