"""`openlvm tokenizer encode|decode`: pictures into a file of codes and back."""

import numpy as np
import torch

from openlvm.core.images import read_image
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
