"""What comes back from a GPU machine loads as it stands, and is the LVM that was trained, in bfloat16."""

import json
from pathlib import Path

import pytest
import torch
from scripts import script

from openlvm.bundle import SpecialIds, load_bundle, save_bundle
from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.tokenizer.folder import load_tokenizer

ROOT = Path(__file__).parents[2]


export_bundle = script("tools/export_bundle.py")


@pytest.fixture
def bundle(tmp_path):
    tokenizer = load_tokenizer("demo")
    shape = DecoderConfig(
        vocab_size=tokenizer.codebook_size + 100, hidden_size=128, num_layers=2, num_heads=2, mlp_size=256, context=513
    )
    save_bundle(
        tmp_path / "bundle",
        tokenizer=tokenizer,
        decoder=Decoder(shape, seed=3),
        special=SpecialIds.after(tokenizer.codebook_size),
        card="# A card\n",
        context=257,
        meta={"recipe": "x"},
    )
    return tmp_path / "bundle"


def test_shards_are_small_and_load_as_the_rounded_decoder(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(export_bundle, "MIB", 2**15)
    files = export_bundle.export(bundle, tmp_path / "out", shard_bytes=400_000)
    shards = [file for file in files if file.parent.name == "decoder" and file.suffix == ".safetensors"]
    assert len(shards) > 2 and all(file.stat().st_size <= 400_000 for file in shards)
    index = json.loads((tmp_path / "out" / "decoder" / "model.safetensors.index.json").read_text())
    assert {tmp_path / "out" / "decoder" / name for name in index["weight_map"].values()} == set(shards)
    before, after = load_bundle(bundle), load_bundle(tmp_path / "out")
    rounded = {name: value.bfloat16().float() for name, value in before.decoder.state_dict().items()}
    assert rounded.keys() == after.decoder.state_dict().keys()
    assert all(torch.equal(value, rounded[name]) for name, value in after.decoder.state_dict().items())
    assert after.context == 257 and after.meta == {"recipe": "x"}


def test_a_small_decoder_stays_one_file_and_the_card_shows_the_run(bundle, tmp_path):
    (tmp_path / "run").mkdir()
    with open(tmp_path / "run" / "metrics.jsonl", "w") as file:
        for step in range(1, 101):
            file.write(json.dumps({"step": step, "loss": float(step), "timing": {"seconds": 2.0}}) + "\n")
    export_bundle.export(bundle, tmp_path / "out", shard_bytes=2**24, run=tmp_path / "run")
    assert [file.name for file in (tmp_path / "out" / "decoder").glob("*.safetensors")] == ["model.safetensors"]
    card = (tmp_path / "out" / "README.md").read_text().splitlines()
    assert card[0] == "# A card" and card[4] == "| 3 | 2.0000 | 6 |" and card[-1] == "| 100 | 100.0000 | 200 |"


def test_refusals_say_what_to_do(bundle, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="give more --shard-mib"):
        export_bundle.export(bundle, tmp_path / "out", shard_bytes=2**18 + 1000)
    fine = load_tokenizer("demo")
    fine.quantize.embedding.weight.data += 1e-4  # no longer what bfloat16 can hold
    loaded = load_bundle(bundle)
    save_bundle(bundle, tokenizer=fine, decoder=loaded.decoder, special=loaded.special, card="")
    with pytest.raises(ValueError, match="bfloat16 changes the codes"):
        export_bundle.export(bundle, tmp_path / "out", shard_bytes=2**24)
