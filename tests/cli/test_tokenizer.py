"""`openlvm tokenizer encode|decode|train`: pictures into a file of codes and back; tokenizers that go on learning."""

import numpy as np
import pytest
import torch

from openlvm.core.images import read_image
from openlvm.core.runs import read_metrics
from openlvm.tokenizer.folder import load_tokenizer, save_tokenizer
from openlvm.tokenizer.vqgan import VQGAN


def test_codes_roundtrip_through_a_file(openlvm_json, tokenizer_at, pictures, tmp_path):
    words = ["--tokenizer", tokenizer_at, "--batch-size", 4]
    encoded = openlvm_json("tokenizer", "encode", pictures, "--out", tmp_path / "codes.npz", *words)
    assert (encoded["images"], encoded["codes_per_image"]) == (6, 4)
    tokenizer = load_tokenizer(tokenizer_at)
    pixels = np.stack([tokenizer.preparation(read_image(path)) for path in sorted(pictures.iterdir())])
    codes = tokenizer.encode(torch.from_numpy(pixels))
    with np.load(tmp_path / "codes.npz") as file:
        assert (file["codes"] == codes.numpy()).all()
        assert file["codes"].dtype == np.uint16
    decoded = openlvm_json("tokenizer", "decode", tmp_path / "codes.npz", "--out", tmp_path / "out", *words)
    assert [path.rsplit("-", 1)[1] for path in decoded["images"]] == [f"{name}.png" for name in "abcdef"]
    drawn = np.stack([read_image(path) for path in decoded["images"]])
    assert (drawn == tokenizer.decode(codes).numpy()).all()


def test_bf16_tells_what_it_changes(openlvm_json, tokenizer_at, pictures, tmp_path):
    words = [pictures, "--tokenizer", tokenizer_at]
    exact = openlvm_json("tokenizer", "encode", *words, "--out", tmp_path / "exact.npz")
    told = openlvm_json("tokenizer", "encode", *words, "--out", tmp_path / "fast.npz", "--precision", "bf16")
    assert "share_equal" not in exact
    with np.load(tmp_path / "exact.npz") as one, np.load(tmp_path / "fast.npz") as other:
        assert (one["codes"] == other["codes"]).mean() == told["share_equal"]
        assert one["codes_fingerprint"] == other["codes_fingerprint"]


def test_fine_tuning_keeps_the_codes(openlvm_json, openlvm_error, tokenizer_at, pictures, tmp_path):
    """Decoder only, on a folder of pictures; a broken wish is one line."""
    words = [
        "tokenizer",
        "train",
        "--from",
        tokenizer_at,
        "--pictures",
        pictures,
        "--no-rehearse",
        "--steps",
        2,
        "--heldout-share",
        0.5,
    ]
    told = openlvm_json(*words, "--batch", 2, "--run", tmp_path / "run")
    assert told["codes_are_the_same"]
    tuned = load_tokenizer(tmp_path / "run" / "tokenizer")
    assert tuned.codes_fingerprint == load_tokenizer(tokenizer_at).codes_fingerprint
    assert tuned.fingerprint != load_tokenizer(tokenizer_at).fingerprint
    whole = openlvm_json(*words, "--batch", 2, "--run", tmp_path / "whole", "--part", "whole")
    assert not whole["codes_are_the_same"]
    assert "no pictures on the side" in openlvm_error(*words[:-1], 0, "--run", tmp_path / "empty")
    assert "no folder" in openlvm_error("tokenizer", "train", "--from", tokenizer_at, "--pictures", tmp_path / "none")
    assert "tokenizer (folder" in openlvm_error("tokenizer", "train", "--from", "nothing")


def test_decode_rejects_codes_of_another_tokenizer(openlvm_json, openlvm_error, tokenizer_at, pictures, tmp_path):
    openlvm_json("tokenizer", "encode", pictures, "--out", tmp_path / "codes.npz", "--tokenizer", tokenizer_at)
    torch.manual_seed(1)
    save_tokenizer(VQGAN(load_tokenizer(tokenizer_at).config).eval(), tmp_path / "other")
    words = ["--tokenizer", tmp_path / "other", "--out", tmp_path / "out"]
    assert "was made with the tokenizer" in openlvm_error("tokenizer", "decode", tmp_path / "codes.npz", *words)
    assert not (tmp_path / "out").exists()


def test_decode_rejects_a_file_that_holds_no_codes(openlvm_error, tokenizer_at, tmp_path):
    (tmp_path / "codes.npz").write_bytes(b"no codes")
    words = ["--tokenizer", tokenizer_at, "--out", tmp_path / "out"]
    assert "is not a file of codes" in openlvm_error("tokenizer", "decode", tmp_path / "codes.npz", *words)
    assert "no file of codes at" in openlvm_error("tokenizer", "decode", tmp_path / "none.npz", *words)


def test_encode_rejects_an_unknown_tokenizer(openlvm_error, pictures):
    assert "no tokenizer" in openlvm_error("tokenizer", "encode", pictures, "--tokenizer", "dmo")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_torchrun_trains_tokenizers_as_one_process_does(openlvm_json, by_torchrun, tokenizer_at, pictures, tmp_path):
    """A recipe from its beginning, and one that goes on; one of the two processes writes and prints."""
    tune = ["--from", tokenizer_at, "--pictures", pictures, "--no-rehearse", "--steps", 2, "--batch", 2]
    for name, words in (("recipe", ["demo_tokenizer", "--tiny"]), ("tune", [*tune, "--heldout-share", 0.5])):
        openlvm_json("tokenizer", "train", *words, "--run", tmp_path / name)
        ended = by_torchrun("tokenizer", "train", *words, "--run", tmp_path / f"{name}2")
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.count(f"{name}2/tokenizer") == 1
        one, two = ([line["loss"] for line in read_metrics(tmp_path / at)] for at in (name, f"{name}2"))
        assert len(two) > 0 and two == pytest.approx(one, rel=1e-3)
