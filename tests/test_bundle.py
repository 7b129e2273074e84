"""A bundle: what is saved comes back and answers alike; parts that do not belong together are refused."""

import json
import shutil

import numpy as np
import pytest
import torch

from openlvm import LVM
from openlvm.bundle import Bundle, SpecialIds, load_bundle, save_bundle, vocab_size_for
from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.tokenizer.folder import save_tokenizer
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig

SHAPE = VQGANConfig(
    image_size=16, width=8, multipliers=(1, 2, 2), num_res_blocks=1, latent_channels=6, code_channels=4,
    codebook_size=24, norm_groups=4,
)  # fmt: skip


def tokenizer(seed: int = 0) -> VQGAN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return VQGAN(SHAPE).eval()


def decoder(**changes) -> Decoder:
    shape = dict(vocab_size=124, hidden_size=32, num_layers=2, num_heads=2, mlp_size=48, context=8 * 16 + 1)
    return Decoder(DecoderConfig(**shape | changes), seed=1).eval()


@pytest.fixture
def saved(tmp_path):
    at = tmp_path / "lvm"
    save_bundle(
        at,
        tokenizer=tokenizer(),
        decoder=decoder(),
        special=SpecialIds.after(24),
        card="# A card\n",
        meta={"recipe": "none"},
    )
    return at


def edit(at, **changes):
    path = at / "lvm.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_special_ids_follow_the_codes():
    assert SpecialIds.after(8192) == SpecialIds(bos=8192, eos=8193, pad=8194)
    assert vocab_size_for(8192) == 8292


def test_bundle_roundtrips_and_says_what_it_is(saved):
    stored = json.loads((saved / "lvm.json").read_text())
    facts = dict(format=1, image_size=16, codes_per_image=16, codebook_size=24, vocab_size=124, bos=24, eos=25, pad=26)
    assert stored | facts == stored and stored["context"] == 129
    assert stored["tokenizer_fingerprint"] == tokenizer().fingerprint
    assert (saved / "README.md").read_text() == "# A card\n"
    bundle = load_bundle(saved)
    assert (bundle.special, bundle.context, bundle.meta) == (SpecialIds.after(24), 129, {"recipe": "none"})
    assert bundle.images_in_context == 8
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    before = Bundle(tokenizer=tokenizer(), decoder=decoder(), special=SpecialIds.after(24), context=129)
    first, again = LVM(before).complete([picture], seed=4), LVM.load(saved).complete([picture], seed=4)
    assert np.array_equal(first.images, again.images) and np.array_equal(first.log_probs, again.log_probs)


def test_bundle_without_special_ids_roundtrips(tmp_path):
    save_bundle(
        tmp_path / "b",
        tokenizer=tokenizer(),
        decoder=decoder(vocab_size=24),
        special=SpecialIds(),
        card="",
        context=128,
    )
    bundle = load_bundle(tmp_path / "b")
    assert bundle.special == SpecialIds(bos=None, eos=None, pad=None)
    assert bundle.images_in_context == 8


def test_rounded_bundle_has_the_fingerprint_of_what_is_stored(tmp_path):
    save_bundle(
        tmp_path / "b", tokenizer=tokenizer(), decoder=decoder(), special=SpecialIds.after(24), card="",
        tokenizer_dtype=torch.bfloat16, decoder_dtype=torch.bfloat16,
    )  # fmt: skip
    bundle = load_bundle(tmp_path / "b")
    stored = json.loads((tmp_path / "b" / "lvm.json").read_text())
    assert stored["tokenizer_fingerprint"] == bundle.tokenizer.fingerprint != tokenizer().fingerprint
    assert json.loads((tmp_path / "b" / "decoder" / "config.json").read_text())["dtype"] == "bfloat16"


def test_saving_replaces_whole_or_not_at_all(saved):
    before = {path: path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="the decoder knows 20 ids, too few for the tokenizer's 24 codes"):
        save_bundle(saved, tokenizer=tokenizer(), decoder=decoder(vocab_size=20), special=SpecialIds(), card="")
    with pytest.raises(TypeError):
        save_bundle(
            saved, tokenizer=tokenizer(), decoder=decoder(), special=SpecialIds(), card="new", meta={"x": object()}
        )
    assert {path: path.read_bytes() for path in saved.rglob("*") if path.is_file()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["lvm"]
    save_bundle(saved, tokenizer=tokenizer(), decoder=decoder(), special=SpecialIds(), card="new")
    assert (saved / "README.md").read_text() == "new"


def test_load_bundle_rejects_another_tokenizer(saved):
    shutil.rmtree(saved / "tokenizer")
    save_tokenizer(tokenizer(seed=1), saved / "tokenizer")
    with pytest.raises(
        ValueError, match="does not fit together: its parts have tokenizer_fingerprint .* lvm.json says"
    ):
        load_bundle(saved)


def test_load_bundle_rejects_what_is_none(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="no LVM bundle at .*: there is no such folder"):
        load_bundle(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no LVM description at .*lvm.json"):
        load_bundle(saved / "decoder")
    edit(saved, format=2)
    with pytest.raises(ValueError, match="has format 2; this openlvm reads format 1"):
        load_bundle(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bos": 3}, "bos=3 must be null or lie in 24 .. 123, behind the codes"),
        ({"eos": 124}, "eos=124 must be null or lie in 24 .. 123"),
        ({"context": 500}, "context=500 is more than the decoder's 129 positions"),
        ({"codes_per_image": 64}, "its parts have codes_per_image 16, its lvm.json says 64"),
    ],
)
def test_load_bundle_rejects_a_description_that_does_not_fit(saved, changes, message):
    edit(saved, **changes)
    with pytest.raises(ValueError, match=message):
        load_bundle(saved)


def test_load_bundle_rejects_an_incomplete_description(saved):
    stored = json.loads((saved / "lvm.json").read_text())
    del stored["context"]
    (saved / "lvm.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="lacks 'context'"):
        load_bundle(saved)
