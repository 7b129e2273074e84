"""`openlvm store` beyond info and verify: merging, splitting, token files of others, duplicates and contamination."""

import json

import numpy as np
import pytest

from openlvm.cli.main import main
from openlvm.core.images import write_image
from openlvm.sources.pack import PackPhotos
from openlvm.store.format import Store


@pytest.fixture
def make(tokenizer_at, tmp_path, openlvm_json):
    """Tokenize clips of two noisy frames: make("a", 1, 2, 3) has three, from the seeds 1, 2, 3."""

    def make(name, *seeds):
        for seed in seeds:
            frames = np.random.default_rng(seed).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
            for number, pixels in enumerate(frames):
                write_image(tmp_path / "clips" / name / f"{name}{seed:03d}" / f"{number}.png", pixels)
        words = ["--at", tmp_path / "clips" / name, "--store", tmp_path / name, "--tokenizer", tokenizer_at]
        openlvm_json("tokenize", "frames", *words)
        return tmp_path / name

    return make


def keys(at):
    store = Store.open(at)
    return [store.key(record).split("#")[0] for record in range(store.num_records)]


def test_merge_joins_and_says_of_what(make, tmp_path, openlvm_json, capsys):
    first, second = make("a", 1, 2), make("b", 3)
    told = openlvm_json("store", "merge", first, second, "--store", tmp_path / "both")
    assert (told["records"], told["images"], told["clash"]) == (3, 6, "")
    assert openlvm_json("store", "verify", tmp_path / "both")["whole"]
    info = openlvm_json("store", "info", tmp_path / "both")
    assert [origin["name"] for origin in info["origins"]] == ["a", "b"] and info["passport"]["content_sha256"]
    assert main(["store", "info", str(tmp_path / "both")]) == 0
    printed = capsys.readouterr().out
    assert "origin" in printed and "codes_fingerprint" in printed
    assert main(["store", "merge", str(first), str(tmp_path / "both"), "--store", str(tmp_path / "more")]) == 0
    assert "both have a key 'a001" in capsys.readouterr().out


def test_split_and_sample_share_records_out(make, tmp_path, openlvm_json):
    store = make("a", *range(40))
    told = openlvm_json("store", "split", store, "--shares", "train=.75", "heldout=.25", "--store", tmp_path / "parts")
    assert sum(one["records"] for one in told["stores"]) == 40
    assert sorted(keys(tmp_path / "parts" / "train") + keys(tmp_path / "parts" / "heldout")) == keys(store)
    told = openlvm_json("store", "sample", store, "--records", 7, "--store", tmp_path / "some", "--seed", 3)
    assert told["records"] == 7 and set(keys(tmp_path / "some")) < set(keys(store))


@pytest.mark.parametrize("form", ["lvm-jsonl", "delvm-bin"])
def test_export_and_import_give_the_same_store(make, tokenizer_at, tmp_path, openlvm_json, form):
    store, words = make("a", 1, 2, 3), ["--format", form]
    told = openlvm_json("store", "export", store, *words, "--out", tmp_path / "out")
    assert told["lines"] == 3 and told["tokens"] == 24 and told["bytes_per_token"] > 1
    words += ["--tokenizer", tokenizer_at, "--dataset", "noise"]
    told = openlvm_json("store", "import", tmp_path / "out", *words, "--store", tmp_path / "again")
    assert (told["records"], told["skipped"], told["codes_left_over"]) == (3, 0, 0)
    assert keys(tmp_path / "again") == keys(store)
    assert (Store.open(tmp_path / "again").read(np.arange(6)) == Store.open(store).read(np.arange(6))).all()
    assert openlvm_json("store", "info", tmp_path / "again")["passport"]["dataset"] == "noise"
    told = openlvm_json("store", "import", tmp_path / "out", *words, "--stream", 5, "--store", tmp_path / "stream")
    assert (told["records"], told["images"], told["codes_left_over"]) == (1, 5, 4)


def test_export_writes_sentences_of_a_kind(make, tmp_path, openlvm_json, capsys):
    store = make("a", *range(16))
    words = ["--format", "lvm-jsonl", "--out"]
    told = openlvm_json("store", "export", store, "sequence", "--num-images", 2, *words, tmp_path / "out", "--seed", 5)
    assert (told["lines"], told["tokens"]) == (16, 16 * 2 * 4)
    lines = (tmp_path / "out").read_text().splitlines()
    assert {tuple(json.loads(line)) for line in lines} == {("tokens",)}
    openlvm_json("store", "export", store, "--tokens-only", *words, tmp_path / "records")
    assert sorted((tmp_path / "records").read_text().splitlines()) == sorted(lines)
    assert main(["store", "export", str(store), "single", *words, str(tmp_path / "text")]) == 0
    assert "sentences in a pass" in capsys.readouterr().out


def test_duplicates_are_told_by_key(make, tokenizer_at, tmp_path, openlvm_json, capsys):
    both = tmp_path / "both"
    openlvm_json("store", "merge", make("a", 1, 2, 3), make("b", 2, 9), "--store", both)
    told = openlvm_json("store", "duplicates", both, "--exact", "--out", tmp_path / "found.jsonl")
    assert (told["exact_groups"], told["exact_copies"], told["near_groups"]) == (1, 1, 0)
    [group] = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert told["groups"] == [group] and [key.split("#")[0] for key in group["keys"]] == ["a002", "b002"]
    assert main(["store", "duplicates", str(both), "--tokenizer", str(tokenizer_at)]) == 0
    assert "1 repeat the codes of another (1 groups)" in capsys.readouterr().out


def test_contamination_is_told_by_key(tmp_path, openlvm_json, capsys, monkeypatch):
    monkeypatch.setattr("openlvm.store.likeness.looks.MAX_DECODED", 0)
    monkeypatch.setattr("openlvm.store.likeness.looks.NUM_SAMPLED", 64)
    source = PackPhotos(split="heldout")
    photos = {record.key: record.slots["image"][0] for record in source.read(source.parts()[0])}
    names = list(photos)[::7][:6]
    for name in names[:4]:
        write_image(tmp_path / "pictures" / "train" / f"{name}.png", photos[name])
    write_image(tmp_path / "pictures" / "train" / "turned.png", photos[names[4]][:, ::-1])
    for name in names[3:]:
        write_image(tmp_path / "pictures" / "asked" / f"{name}.png", photos[name])
    for split in ("train", "asked"):
        openlvm_json("tokenize", "images", "--at", tmp_path / "pictures" / split, "--store", tmp_path / split)
    words = [tmp_path / "train", "--against", tmp_path / "asked"]
    told = openlvm_json("store", "contamination", *words, "--out", tmp_path / "found.jsonl")
    assert (told["evaluation_records"], told["contaminated"], told["train_records"]) == (3, 2, 2)
    found = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert told["records"] == found
    assert [(one["key"], one["train"][0]["key"], one["train"][0]["seen"]) for one in found] == [
        (f"{names[3]}.png", f"{names[3]}.png", "as it is"),
        (f"{names[4]}.png", "turned.png", "mirrored"),
    ]
    assert main(list(map(str, ["store", "contamination", *words]))) == 0
    assert "shows 2 of the 3 records of" in capsys.readouterr().out


def test_store_verbs_reject_bad_input(make, tokenizer_at, tmp_path, openlvm_error):
    store, new = make("a", 1, 2), ["--store", tmp_path / "new"]
    assert "at least two stores" in openlvm_error("store", "merge", store, *new)
    assert "no store at" in openlvm_error("store", "merge", store, tmp_path / "none", *new)
    assert "not an empty folder" in openlvm_error("store", "sample", store, "--records", 1, "--store", store)
    assert "has 2 records" in openlvm_error("store", "sample", store, "--records", 9, *new)
    assert "train=.98 heldout=.02" in openlvm_error("store", "split", store, "--shares", "train", *new)
    assert "names 'a' twice" in openlvm_error("store", "split", store, "--shares", "a=.5", "a=.5", *new)
    assert "sum to 1" in openlvm_error("store", "split", store, "--shares", "a=.5", "b=.6", *new)
    export = ["--format", "lvm-jsonl", "--out", tmp_path / "out"]
    assert "did you mean sequence" in openlvm_error("store", "export", store, "sequnce", *export)
    assert "'depth'" in openlvm_error("store", "export", store, "pairs", "--target", "depth", *export)
    (tmp_path / "out").write_text("{}\n")
    assert "out exists" in openlvm_error("store", "export", store, *export)
    words = ["--format", "lvm-jsonl", "--tokenizer", tokenizer_at, *new]
    assert '"tokens"' in openlvm_error("store", "import", tmp_path / "out", *words)
    assert "--tokenizer" in openlvm_error("store", "import", tmp_path / "out", "--format", "lvm-jsonl", *new)
    assert "lvm-jsonl" in openlvm_error("store", "export", store, "--format", "csv", "--out", tmp_path / "x")
    assert "another tokenizer" in openlvm_error("store", "duplicates", store)
    assert "another tokenizer" in openlvm_error("store", "contamination", store, "--against", store)
    assert not (tmp_path / "new").exists()
