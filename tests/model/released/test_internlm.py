"""DeLVM's decoders, exported and as its training leaves them, against a twin of InternLM built here."""

import json

import pytest
import torch
import torch.nn.functional as F

from openlvm import load_decoder
from openlvm.model.decoder import DecoderConfig
from openlvm.model.released import internlm

V, C, D, M, LAYERS, HEADS = 40, 6, 32, 48, 3, 2
CODES = torch.randint(0, V, (2, 20), generator=torch.Generator().manual_seed(0))


def trained() -> dict[str, torch.Tensor]:
    """Tensors of InternLM's training code at random; small numbers come in, so that eps matters."""
    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int, scale: float = 0.2, mean: float = 0.0) -> torch.Tensor:
        return mean + torch.randn(shape, generator=generator) * scale

    drawn = {
        "embedding.vq_model.quantize.embedding.weight": draw(V, C),
        "embedding.vq_model.encoder.conv_in.weight": draw(3, 3),
        "embedding.embed_proj.weight": draw(D, C, scale=0.01),
        "norm.weight": draw(D, mean=1.0),
        "head.weight": draw(V, D),
    }
    for layer in range(LAYERS):
        at = f"blocks.{layer}."
        drawn |= {f"{at}mixer.Wqkv.weight": draw(3 * D, D), f"{at}mixer.Wqkv.bias": draw(3 * D)}
        drawn |= {f"{at}mixer.out_proj.weight": draw(D, D), f"{at}mixer.out_proj.bias": draw(D)}
        drawn |= {f"{at}mlp.w1.weight": draw(M, D), f"{at}mlp.w2.weight": draw(M, D), f"{at}mlp.w3.weight": draw(D, M)}
        drawn |= {f"{at}norm1.weight": draw(D, mean=1.0), f"{at}norm2.weight": draw(D, mean=1.0)}
        drawn |= {f"{at}mixer.rotary_emb.inv_freq": draw(D // HEADS // 2)}
    return drawn


def reference(p: dict[str, torch.Tensor], codes: torch.Tensor, eps: float) -> torch.Tensor:
    """Logits as InternLM computes them from the tensors of its training."""
    p = {name: value.double() for name, value in p.items()}
    rows, length, size = *codes.shape, D // HEADS
    angles = torch.outer(torch.arange(length).double(), 1e4 ** -(torch.arange(0, size, 2).double() / size))
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]  # [T, 1, E / 2]

    def norm(x, weight):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight

    def turned(x):
        low, high = x.chunk(2, dim=-1)
        return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)

    codebook, projection = p["embedding.vq_model.quantize.embedding.weight"], p["embedding.embed_proj.weight"]
    x = F.linear(codebook[codes], projection)
    for layer in range(LAYERS):
        at = f"blocks.{layer}."
        h = F.linear(norm(x, p[at + "norm1.weight"]), p[at + "mixer.Wqkv.weight"], p[at + "mixer.Wqkv.bias"])
        q, k, v = h.view(rows, length, 3, HEADS, size).unbind(2)
        q, k, v = turned(q).transpose(1, 2), turned(k).transpose(1, 2), v.transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + F.linear(mixed, p[at + "mixer.out_proj.weight"], p[at + "mixer.out_proj.bias"])
        h = norm(x, p[at + "norm2.weight"])
        gated = F.silu(F.linear(h, p[at + "mlp.w1.weight"])) * F.linear(h, p[at + "mlp.w2.weight"])
        x = x + F.linear(gated, p[at + "mlp.w3.weight"])
    return F.linear(norm(x, p["norm.weight"]), p["head.weight"]).float()


def exported(p: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same as DeLVM's exporter names them, the embedding folded."""
    codebook, projection = p["embedding.vq_model.quantize.embedding.weight"], p["embedding.embed_proj.weight"]
    out = {"model.embed_tokens.weight": codebook @ projection.T, "model.norm.weight": p["norm.weight"]}
    out["lm_head.weight"] = p["head.weight"]
    names = {"mixer.out_proj": "self_attn.o_proj", "mlp.w1": "mlp.gate_proj", "mlp.w2": "mlp.up_proj"}
    names |= {"mlp.w3": "mlp.down_proj", "norm1": "input_layernorm", "norm2": "post_attention_layernorm"}
    for layer in range(LAYERS):
        for what in ("weight", "bias"):
            for name, part in zip("qkv", p[f"blocks.{layer}.mixer.Wqkv.{what}"].chunk(3), strict=True):
                out[f"model.layers.{layer}.self_attn.{name}_proj.{what}"] = part.clone()
            for theirs, ours in names.items():
                if (full := f"blocks.{layer}.{theirs}.{what}") in p:
                    out[f"model.layers.{layer}.{ours}.{what}"] = p[full]
        out[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.zeros(D // HEADS // 2)
    return out


CONFIG = {
    "_name_or_path": "", "architectures": ["InternLMForCausalLM"], "model_type": "internlm", "bias": True,
    "auto_map": {"AutoModel": "modeling_internlm.InternLMForCausalLM"}, "vocab_size": V, "hidden_size": D,
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": M, "hidden_act": "silu",
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "torch_dtype": "float16",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    torch.save(exported(trained()), tmp_path / "pytorch_model.bin")
    return tmp_path


@torch.no_grad()
def test_exported_decoder_matches_internlm(folder):
    decoder = load_decoder(folder)
    assert decoder.config == DecoderConfig(
        vocab_size=V, hidden_size=D, num_layers=LAYERS, num_heads=HEADS, mlp_size=M, context=2048, rms_eps=1e-5,
        attention_bias=True,
    )  # fmt: skip
    assert torch.allclose(decoder(CODES), reference(trained(), CODES, 1e-5), atol=1e-5)


@torch.no_grad()
def test_rms_eps_is_that_of_the_training_unless_asked(folder):
    as_exported = load_decoder(folder, rms_eps=1e-6)
    assert torch.allclose(as_exported(CODES), reference(trained(), CODES, 1e-6), atol=1e-5)
    assert not torch.allclose(as_exported(CODES), load_decoder(folder)(CODES), atol=1e-3)  # eps matters


@torch.no_grad()
@pytest.mark.parametrize("num_stages", [1, 2])
def test_checkpoint_of_training_matches_internlm(tmp_path, num_stages):
    cut = LAYERS if num_stages == 1 else 2
    stages: list[dict] = [{} for _ in range(num_stages)]
    for name, value in trained().items():
        parts = name.split(".")
        stage = int(num_stages > 1 and parts[0] == "blocks" and int(parts[1]) >= cut)
        stage = num_stages - 1 if parts[0] in ("head", "norm") else stage
        if parts[0] == "blocks":
            parts[1] = str(int(parts[1]) - stage * cut)  # every stage counts from 0
        stages[stage][".".join(["model", *parts])] = value
    for number, state in enumerate(stages):
        torch.save(state, tmp_path / f"model_tp0_pp{number}.pt")
    decoder = load_decoder(tmp_path, num_heads=HEADS)
    assert torch.allclose(decoder(CODES), reference(trained(), CODES, 1e-5), atol=1e-5)
    assert decoder.config.context == 2048


def test_checkpoint_of_a_published_size_needs_no_heads(tmp_path, monkeypatch):
    torch.save(trained(), tmp_path / "model_tp0_pp0.pt")
    with pytest.raises(ValueError, match="width 32, MLP 48 and 3 layers, none of DeLVM's sizes; give the number"):
        load_decoder(tmp_path)
    small = DecoderConfig(vocab_size=V, hidden_size=D, num_layers=LAYERS, num_heads=4, mlp_size=M, context=9)
    monkeypatch.setitem(internlm.SIZES, "delvm_1b", small)
    assert load_decoder(tmp_path).config.num_heads == 4


def test_checkpoint_rejects_what_is_incomplete(tmp_path):
    torch.save(trained(), tmp_path / "model_tp0_pp0.pt")
    torch.save({}, tmp_path / "model_tp0_pp2.pt")
    with pytest.raises(FileNotFoundError, match="lacks model_tp0_pp1.pt, a stage before model_tp0_pp2.pt"):
        load_decoder(tmp_path)
    torch.save({}, tmp_path / "model_tp1_pp0.pt")
    with pytest.raises(ValueError, match="is cut for tensor parallelism"):
        load_decoder(tmp_path)
    for name in ("model_tp1_pp0.pt", "model_tp0_pp2.pt"):
        (tmp_path / name).unlink()
    lacking = trained()
    del lacking["blocks.1.mixer.Wqkv.bias"]
    torch.save(lacking, tmp_path / "model_tp0_pp0.pt")
    with pytest.raises(ValueError, match="missing .'model.layers.1.self_attn.k_proj.bias'"):
        load_decoder(tmp_path, num_heads=HEADS)
    del lacking["embedding.embed_proj.weight"]
    torch.save(lacking, tmp_path / "model_tp0_pp0.pt")
    with pytest.raises(ValueError, match="is no decoder of DeLVM: it lacks embedding.embed_proj.weight"):
        load_decoder(tmp_path)
