"""Decoders by name on the hub, which is not reached: a stand-in notes what it is asked for."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from openlvm import LVM, load_decoder
from openlvm.bundle import load_bundle
from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.folder import save_decoder
from openlvm.model.released.load import RELEASED, Release

SHAPE = DecoderConfig(vocab_size=1124, hidden_size=32, num_layers=1, num_heads=2, mlp_size=48, context=200)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for huggingface_hub with decoders in shards, in one .bin, and with nothing but a config."""
    decoder = Decoder(SHAPE, seed=4)
    save_decoder(decoder, tmp_path / "some" / "shards", max_shard_gb=1e-4)
    (tmp_path / "some" / "shards" / "generation_config.json").write_text('{"eos_token_id": 2}')
    save_decoder(decoder, tmp_path / "some" / "bin")
    (tmp_path / "some" / "bin" / "model.safetensors").unlink()
    torch.save(decoder.state_dict(), tmp_path / "some" / "bin" / "pytorch_model.bin")
    save_decoder(decoder, tmp_path / "some" / "nothing")
    (tmp_path / "some" / "nothing" / "model.safetensors").unlink()
    module, errors = types.ModuleType("huggingface_hub"), types.ModuleType("huggingface_hub.errors")
    asked: list[str] = []

    class EntryNotFoundError(Exception):
        pass

    def hf_hub_download(repository, file):
        if not (tmp_path / repository).is_dir():
            raise OSError(f"401 {repository}: no such repository\nmore")
        if not (tmp_path / repository / file).is_file():
            raise EntryNotFoundError(file)
        asked.append(file)
        return str(tmp_path / repository / file)

    module.hf_hub_download, errors.EntryNotFoundError = hf_hub_download, EntryNotFoundError
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    monkeypatch.chdir(tmp_path.parent)
    return asked


@pytest.mark.parametrize(("name", "num_files"), [("some/shards", 5), ("some/bin", 2)])
def test_decoder_on_the_hub_is_fetched_and_read(hub, name, num_files):
    again = load_decoder(name)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), Decoder(SHAPE, seed=4).parameters(), strict=True))
    assert len(hub) == num_files and "generation_config.json" not in hub


def test_released_decoder_brings_its_tokenizer(hub, monkeypatch):
    monkeypatch.setitem(RELEASED, "lvm_7b", Release(hub="some/shards", tokenizer="mini"))
    lvm = LVM.load("lvm_7b")
    assert lvm.bundle.special.bos is None and lvm.bundle.images_in_context == 3
    assert lvm.bundle.tokenizer.fingerprint == load_bundle("mini").tokenizer.fingerprint
    assert RELEASED.keys() == {"lvm_7b"}


def test_what_is_not_on_the_hub_is_refused_in_one_line(hub, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no decoder folder some/other, and not got from the hub: 401 .*tory$"):
        load_decoder("some/other")
    with pytest.raises(FileNotFoundError, match="some/nothing on the hub has no model.safetensors, pytorch_model"):
        load_decoder("some/nothing")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileNotFoundError, match="no decoder folder at some/other; were it on the hub: pip install"):
        load_decoder("some/other")


def test_paths_are_no_names(hub, tmp_path):
    for path in ("nowhere", tmp_path / "a" / "b"):
        with pytest.raises(FileNotFoundError, match="no decoder folder at"):
            load_decoder(path)
    assert hub == []


def test_hub_out_of_reach_is_one_line():
    """By the real huggingface_hub, told to ask nobody."""
    pytest.importorskip("huggingface_hub")
    code = "from openlvm import load_decoder; load_decoder('some/decoder')"
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    told = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True, check=False).stderr
    last = told.strip().splitlines()[-1]
    assert last == "FileNotFoundError: some/decoder on the hub has no config.json, or it is not in the cache"
