"""`openlvm tokenize`, `store` and `look`: from a folder of pictures to a store, and what is said of it."""

import shutil

import numpy as np
import pytest

from openlvm.cli.main import main
from openlvm.core.images import read_image, write_image
from openlvm.store.format import Store
from openlvm.tokenizer.folder import load_tokenizer


@pytest.fixture
def clips(tmp_path):
    """Sixteen clips, a to p, of twelve frames, frame1.png to frame12.png."""
    folder = tmp_path / "clips"
    for place, clip in enumerate("abcdefghijklmnop"):
        for frame in range(1, 13):
            write_image(folder / clip / f"frame{frame}.png", np.full((16, 16, 3), 20 * frame + place, dtype=np.uint8))
    return folder


@pytest.fixture
def store_at(clips, tokenizer_at, tmp_path, openlvm_json):
    at = tmp_path / "store"
    openlvm_json("tokenize", "frames", "--at", clips, "--store", at, "--tokenizer", tokenizer_at)
    return at


def test_tokenize_writes_the_codes_of_every_frame(store_at, tokenizer_at, clips, openlvm_json):
    import torch

    tokenizer, store = load_tokenizer(tokenizer_at), Store.open(store_at)
    pictures = np.stack([read_image(clips / "b" / f"frame{frame}.png") for frame in range(1, 13)])
    codes = store.read(np.arange(12, 24))
    assert (codes == tokenizer.encode(torch.from_numpy(pictures)).numpy()).all()
    info = openlvm_json("store", "info", store_at)
    assert (info["records"], info["images"], info["slots"]) == (16, 192, ["image"])
    assert openlvm_json("store", "verify", store_at)["images"] == 192


def test_tokenize_repeats_with_generated_slots(store_at, clips, tokenizer_at, tmp_path, openlvm_json):
    words = ["--tokenizer", tokenizer_at, "--generated", "gray", "inverted"]
    result = openlvm_json("tokenize", "frames", "--at", clips, "--store", tmp_path / "more", *words)
    assert result["images"] == 3 * 192
    again = openlvm_json("tokenize", "frames", "--at", clips, "--store", tmp_path / "more", *words)
    assert again == result


def test_tokenize_rejects_bad_input(store_at, clips, tokenizer_at, tmp_path, openlvm_error):
    told = ["--tokenizer", tokenizer_at]
    new = ["--store", tmp_path / "new", *told]
    assert "did you mean frames" in openlvm_error("tokenize", "frame", "--at", clips, *new)
    assert "no folder" in openlvm_error("tokenize", "frames", "--at", tmp_path / "none", *new)
    (tmp_path / "empty").mkdir()
    assert "no " in openlvm_error("tokenize", "frames", "--at", tmp_path / "empty", *new)
    assert "--at" in openlvm_error("tokenize", "frames", *new)
    assert "did you mean gray" in openlvm_error("tokenize", "frames", "--at", clips, *new, "--generated", "grey")
    other = ["--at", clips, "--store", store_at, *told, "--seed", 1]
    assert "seed" in openlvm_error("tokenize", "frames", *other)
    assert not (tmp_path / "new" / "store.json").exists()


def test_store_rejects_what_is_damaged(store_at, tmp_path, openlvm_error):
    assert "no store at" in openlvm_error("store", "info", tmp_path / "none")
    truncated, flipped = tmp_path / "truncated", tmp_path / "flipped"
    for copy in (truncated, flipped):
        shutil.copytree(store_at, copy)
    [codes_at] = truncated.glob("parts/*/codes.bin")
    codes_at.write_bytes(codes_at.read_bytes()[:-1])
    assert "truncated" in openlvm_error("store", "info", truncated)
    [codes_at] = flipped.glob("parts/*/codes.bin")
    data = codes_at.read_bytes()
    codes_at.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "codes.bin" in openlvm_error("store", "verify", flipped)


def test_look_draws_the_sentence_asked_for(store_at, tokenizer_at, tmp_path, openlvm_json):
    words = ["--tokenizer", tokenizer_at, "--out", tmp_path / "sheet.png"]
    shown = openlvm_json("look", store_at, *words)
    assert shown["kind"] == "sequence"
    assert read_image(tmp_path / "sheet.png").shape[1] > 8 * 16
    whole = openlvm_json("look", store_at, "sequence", "--num-images", 12, "--index", 1, *words)
    assert whole["header"].count("record") == 1
    single = openlvm_json("look", store_at, "single", *words)
    assert single["kind"] == "single"


def test_look_rejects_what_is_not_there(store_at, tokenizer_at, tmp_path, openlvm_error):
    words = ["--tokenizer", tokenizer_at, "--out", tmp_path / "sheet.png"]
    assert "no sentence 99" in openlvm_error("look", store_at, "--index", 99, *words)
    assert "did you mean sequence" in openlvm_error("look", store_at, "sequnce", *words)
    assert "'depth'" in openlvm_error("look", store_at, "pairs", "--target", "depth", *words)
    assert "too short" in openlvm_error("look", store_at, "sequence", "--num-images", 13, *words)
    assert "the store is missing" in openlvm_error("look", "--index", 3)
    assert not (tmp_path / "sheet.png").exists()


def test_text_output_is_for_people(store_at, capsys):
    assert main(["store", "info", str(store_at)]) == 0
    printed = capsys.readouterr().out
    assert "records" in printed
    assert "192" in printed
