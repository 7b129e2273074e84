"""Decoder folders of others: LVM's release in shards, .safetensors or .bin; and what is no decoder, or damaged."""

import json
import os
import pickle

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from openlvm import load_decoder

CODES = torch.randint(0, 60, (2, 30), generator=torch.Generator().manual_seed(0))
SHARDS = ("00001-of-00003", "00002-of-00003", "00003-of-00003")


@pytest.fixture(scope="module")
def twin():
    """A Llama of transformers in float16, as LVM's release is, with the token ids it has by default."""
    config = transformers.LlamaConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=40, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return transformers.LlamaForCausalLM(config).half().eval()


def released(twin, at, *, kind: str):
    """The folder as it is released: three shards, an index, and a generation_config that calls code 2 the end."""
    twin.save_pretrained(at)
    state = load_file(at / "model.safetensors")
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(8)  # older versions of transformers kept it
    (at / "model.safetensors").unlink()
    stem, ending = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    where = {}
    for number, shard in enumerate(SHARDS):
        part = {name: value for n, (name, value) in enumerate(sorted(state.items())) if n % 3 == number}
        file = f"{stem}-{shard}.{ending}"
        save_file(part, at / file) if ending == "safetensors" else torch.save(part, at / file)
        where |= dict.fromkeys(part, file)
    (at / f"{stem}.{ending}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    assert json.loads((at / "generation_config.json").read_text())["eos_token_id"] == 2
    return at


@torch.no_grad()
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_released_shards_match_transformers(twin, tmp_path, kind):
    decoder = load_decoder(released(twin, tmp_path, kind=kind))
    wanted = transformers.LlamaForCausalLM(twin.config).eval()
    wanted.load_state_dict(twin.state_dict())  # float32
    assert torch.allclose(decoder(CODES), wanted(CODES).logits, atol=1e-5)
    assert {weight.data_ptr() % 64 for weight in decoder.parameters()} == {0}


@torch.no_grad()
@pytest.mark.parametrize("old_format", [False, True])
def test_one_bin_matches_transformers(twin, tmp_path, old_format):
    twin.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=not old_format)
    decoder = load_decoder(tmp_path, dtype=torch.float16)
    assert all(torch.equal(value, state[name]) for name, value in decoder.state_dict().items())


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_missing_and_damaged_shards_are_named(twin, tmp_path, kind):
    at = released(twin, tmp_path, kind=kind)
    shard = next(at.glob(f"*-00002-of-00003.{kind}"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"00002-of-00003\.\w+ is damaged"):
        load_decoder(at)
    shard.write_bytes(b"")
    with pytest.raises(ValueError, match=r"00002-of-00003\.\w+ is damaged"):
        load_decoder(at)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks .*00002-of-00003\.\w+, which its .*json lists; get it ag"):
        load_decoder(at)


def test_shard_without_its_tensors_is_refused(twin, tmp_path):
    at = released(twin, tmp_path, kind="safetensors")
    shard = at / "model-00003-of-00003.safetensors"
    kept = load_file(shard)
    lost = sorted(kept)[0]
    save_file({name: value for name, value in kept.items() if name != lost}, shard)
    with pytest.raises(ValueError, match=f"missing .'{lost}'., unexpected .."):
        load_decoder(at)


@pytest.mark.parametrize("index", [{"weight_map": {"a": "../a.bin"}}, {"weight_map": {}}, [], {"weight_map": 3}])
def test_index_may_only_name_files_beside_it(twin, tmp_path, index):
    at = released(twin, tmp_path, kind="bin")
    (at / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="is no index of weights: its weight_map must name files beside it"):
        load_decoder(at)


class Touch:
    """A pickle that makes a file when it is opened."""

    def __init__(self, at):
        self.at = at

    def __reduce__(self):
        return os.mkdir, (str(self.at),)


@pytest.mark.parametrize("old_format", [False, True])
def test_pickles_with_code_are_refused_and_not_run(twin, tmp_path, old_format):
    twin.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    evil = {"model.norm.weight": torch.ones(32), "x": Touch(tmp_path / "pwned")}
    torch.save(evil, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=not old_format)
    with pytest.raises(ValueError, match="is a pickle that would run code when opened .*mkdir.* It was not opened"):
        load_decoder(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(evil["x"]))
    with pytest.raises(ValueError, match="is damaged, or no file of weights|would run code"):
        load_decoder(tmp_path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([1, 2], "holds list, expected tensors by name"),
        ({"model": {"a": torch.ones(1)}}, "holds dict, expected tensors by name"),
        ({"a": torch.ones(2, dtype=torch.int8)}, "weights in .* are torch.int8; expected float32, float16 or bfloat16"),
        ({"a": torch.ones(2)}, r"missing .'lm_head.weight', .* more, unexpected \['a'\]"),
    ],
)
def test_bin_of_something_else_is_refused(twin, tmp_path, stored, message):
    twin.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(stored, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=message):
        load_decoder(tmp_path)


def test_foreign_architectures_and_files_are_refused(twin, tmp_path):
    twin.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"model.safetensors is one file of a decoder; give its folder"):
        load_decoder(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="num_heads=4, but .*config.json says 2; leave it out"):
        load_decoder(tmp_path, num_heads=4)
    config = json.loads((tmp_path / "config.json").read_text())
    for changes, message in (
        ({"model_type": "mistral"}, "model_type='mistral'; this decoder can only do 'llama'"),
        ({"num_key_value_heads": 1}, "num_key_value_heads=1; this decoder can only do 2"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(ValueError, match=message):
            load_decoder(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="config.json is no JSON object; expected the config of a LlamaForCausalLM"):
        load_decoder(tmp_path)


def test_context_may_be_said(twin, tmp_path):
    twin.save_pretrained(tmp_path)
    assert load_decoder(tmp_path).config.context == 40
    decoder = load_decoder(tmp_path, context=100)
    assert decoder.config.context == 100
    assert decoder(CODES.repeat(1, 3)).shape == (2, 90, 60)
