"""The decoder as a folder: what we write transformers reads, and the other way round."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.folder import load_decoder, save_decoder

CODES = torch.randint(0, 60, (2, 30), generator=torch.Generator().manual_seed(0))


def tiny(**changes) -> Decoder:
    shape = dict(vocab_size=60, hidden_size=32, num_layers=2, num_heads=2, mlp_size=48, context=40, rope_theta=300.0)
    return Decoder(DecoderConfig(**shape | changes), seed=1).eval()


SCALES = {"rope_scales": tuple(3.1 * 1.3**number for number in range(8)), "rope_theta": 10_000.0}


@pytest.mark.parametrize("changes", [{}, {"attention_bias": True}, {"tie_embeddings": True}, SCALES])
@torch.no_grad()
def test_decoder_folder_roundtrips_and_transformers_reads_it(tmp_path, changes):
    decoder = tiny(**changes)
    save_decoder(decoder, tmp_path / "d")
    again = load_decoder(tmp_path / "d")
    assert again.config == decoder.config
    assert torch.equal(again(CODES), decoder(CODES))
    twin, info = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "d", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert torch.allclose(twin(CODES).logits, decoder(CODES), atol=1e-5)
    if changes == SCALES:
        assert not torch.allclose(tiny()(CODES), decoder(CODES), atol=1e-4)  # the scales matter
    assert (twin.generation_config.eos_token_id, twin.generation_config.bos_token_id) == (None, None)


@pytest.mark.parametrize("changes", [{}, {"attention_bias": True}, {"tie_word_embeddings": True}])
@pytest.mark.parametrize("shard_size", ["10GB", "20KB"])
@torch.no_grad()
def test_load_decoder_matches_what_transformers_saved(tmp_path, changes, shard_size):
    config = transformers.LlamaConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=40,
        rope_parameters={"rope_type": "default", "rope_theta": 300.0},
        **changes,
    )
    twin = transformers.LlamaForCausalLM(config).eval()
    twin.save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard_size == "20KB")
    assert torch.allclose(load_decoder(tmp_path)(CODES), twin(CODES).logits, atol=1e-5)


@torch.no_grad()
def test_load_decoder_reads_older_configs_and_half_precision(tmp_path):
    decoder = tiny()
    save_decoder(decoder, tmp_path, dtype=torch.float16)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["dtype"] == "float16"
    del config["rope_parameters"], config["head_dim"]  # as transformers 4 wrote them
    (tmp_path / "config.json").write_text(json.dumps(config))
    state = load_file(tmp_path / "model.safetensors")
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(8)
    save_file(state, tmp_path / "model.safetensors")
    again = load_decoder(tmp_path)
    assert again.config == decoder.config
    assert {weight.dtype for weight in again.parameters()} == {torch.float32}
    assert torch.allclose(again(CODES), decoder(CODES), atol=2e-2)


def test_loaded_weights_are_aligned(tmp_path):
    """As torch's own are; else the same weights give other bits, loaded or not."""
    save_decoder(tiny(), tmp_path)
    assert {weight.data_ptr() % 64 for weight in load_decoder(tmp_path).parameters()} == {0}


def test_save_decoder_repeats_its_bytes(tmp_path):
    for name in ("a", "b"):
        save_decoder(tiny(), tmp_path / name)
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_load_decoder_rejects_folders_that_are_not_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="no decoder folder at .*nowhere"):
        load_decoder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no decoder config at"):
        load_decoder(tmp_path)
    save_decoder(tiny(), tmp_path / "decoder")
    with pytest.raises(FileNotFoundError, match="is a whole LVM; its decoder is the folder .*decoder"):
        load_decoder(tmp_path)
    (tmp_path / "decoder" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no decoder weights in .*; expected model.safetensors or pyt"):
        load_decoder(tmp_path / "decoder")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type='gpt2'; this decoder can only do 'llama'"),
        ({"num_key_value_heads": 1}, "num_key_value_heads=1; this decoder can only do 2"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type='yarn' with base 300; this decoder"),
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1.0, "short_factor": [1.0]}}, "'longrope' over"),
        ({"mlp_bias": True}, "mlp_bias=True; this decoder can only do False"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ],
)
def test_load_decoder_rejects_other_models(tmp_path, changes, message):
    save_decoder(tiny(), tmp_path)
    edit(tmp_path / "config.json", **changes)
    with pytest.raises(ValueError, match=message):
        load_decoder(tmp_path)


def test_load_decoder_rejects_weights_that_do_not_fit(tmp_path):
    save_decoder(tiny(), tmp_path)
    edit(tmp_path / "config.json", intermediate_size=64)
    with pytest.raises(ValueError, match=r"6 weights in .* shapes \(given, expected\) .*\[48, 32\], \[64, 32\]"):
        load_decoder(tmp_path)
    edit(tmp_path / "config.json", intermediate_size=48, num_hidden_layers=1)
    with pytest.raises(ValueError, match=r"missing \[\], unexpected \['model.layers.1.input_layernorm.weight'"):
        load_decoder(tmp_path)
    edit(tmp_path / "config.json", num_hidden_layers=2)
    state = load_file(tmp_path / "model.safetensors")
    del state["model.norm.weight"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing \['model.norm.weight'\], unexpected \[\]"):
        load_decoder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x10" * 100)
    with pytest.raises(ValueError, match="damaged or not a safetensors file"):
        load_decoder(tmp_path)
