"""Writing a decoder: the bytes of safetensors, shards and index that transformers loads, one tensor in memory."""

import dataclasses
import json

import pytest
import torch
import transformers
from safetensors.torch import save

from openlvm import load_decoder
from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.folder import save_decoder
from openlvm.model.released.load import open_weights
from openlvm.model.released.weights import write_weights

CODES = torch.randint(0, 60, (2, 30), generator=torch.Generator().manual_seed(0))


def tiny(**changes) -> Decoder:
    shape = dict(vocab_size=60, hidden_size=32, num_layers=2, num_heads=2, mlp_size=48, context=40)
    return Decoder(DecoderConfig(**shape | changes), seed=1).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_bytes_match_safetensors(tmp_path, dtype):
    decoder = tiny(attention_bias=True)
    save_decoder(decoder, tmp_path, dtype=dtype)
    state = {name: value.to(dtype) for name, value in decoder.state_dict().items()}
    assert (tmp_path / "model.safetensors").read_bytes() == save(state, {"format": "pt"})


@torch.no_grad()
def test_shards_equal_one_file_and_transformers_loads_them(tmp_path):
    decoder = tiny()
    save_decoder(decoder, tmp_path, max_shard_gb=2e-5)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(files) > 2 and files == sorted(set(index["weight_map"].values()))
    assert all((tmp_path / name).stat().st_size < 2e-5 * 1e9 + 2000 for name in files)
    assert index["metadata"]["total_size"] == 4 * decoder.config.num_parameters
    assert torch.equal(load_decoder(tmp_path)(CODES), decoder(CODES))
    twin, told = transformers.LlamaForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert torch.allclose(twin(CODES).logits, decoder(CODES), atol=1e-5)


@torch.no_grad()
def test_a_folder_written_again_holds_the_new_weights_only(tmp_path):
    save_decoder(tiny(), tmp_path)
    other = tiny(num_layers=3)
    for gb, one_file in ((2e-5, False), (5.0, True), (3e-5, False)):
        save_decoder(other, tmp_path, max_shard_gb=gb)
        assert (tmp_path / "model.safetensors").exists() == one_file
        assert (tmp_path / "model.safetensors.index.json").exists() != one_file
        assert torch.equal(load_decoder(tmp_path)(CODES), other(CODES))
    named = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"].values()
    assert {path.name for path in tmp_path.glob("*.safetensors")} == set(named)


def test_a_tensor_larger_than_a_shard_stays_whole(tmp_path):
    save_decoder(tiny(), tmp_path, max_shard_gb=1e-9)
    assert len(list(tmp_path.glob("*.safetensors"))) == len(tiny().state_dict())


def test_converting_reads_one_tensor_at_a_time(tmp_path):
    """Nothing is kept: when a tensor is read, the one before it is gone."""
    import weakref

    save_decoder(tiny(), tmp_path / "a")
    weights = open_weights(tmp_path / "a")
    before: list[weakref.ref] = []

    def read(name):
        assert all(ref() is None for ref in before[:-1])  # the last may still be in the hands of the writer
        tensor = weights.read(name).clone()
        before.append(weakref.ref(tensor))
        return tensor

    write_weights(dataclasses.replace(weights, read=read), tmp_path / "b", dtype=torch.bfloat16, max_shard_gb=2e-5)
    assert len(before) == len(weights.shapes)


def test_write_rejects_what_cannot_be_stored(tmp_path):
    decoder = tiny()
    with torch.no_grad():
        decoder.model.norm.weight[3] = 1e6
    with pytest.raises(ValueError, match="model.norm.weight of .* has numbers that float16 cannot hold; store"):
        save_decoder(decoder, tmp_path, dtype=torch.float16)
    assert not (tmp_path / "model.safetensors").exists()
    save_decoder(decoder, tmp_path, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="weights are stored as torch.float32, .*, not as torch.int8"):
        save_decoder(decoder, tmp_path, dtype=torch.int8)
    with pytest.raises(ValueError, match="max_shard_gb=0 must be above 0"):
        save_decoder(decoder, tmp_path, max_shard_gb=0)
