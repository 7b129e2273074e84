"""EasyLM's files: written here as its checkpointer does, loaded, and compared with its way of computing."""

import json
import struct

import numpy as np
import pytest
import torch

from openlvm import load_decoder
from openlvm.cli.main import main
from openlvm.model.decoder import DecoderConfig
from openlvm.model.released import easylm
from openlvm.model.released.easylm import halves_from_neighbors, neighbors_from_halves, open_stream, our_name

V, D, F, LAYERS, HEADS = 50, 32, 40, 2, 2
CODES = torch.randint(0, V, (2, 24), generator=torch.Generator().manual_seed(0))


def packed(value) -> bytes:
    """The msgpack of a value, an array as flax.serialization writes it."""
    if isinstance(value, torch.Tensor):
        name = str(value.dtype).removeprefix("torch.")
        raw = packed([list(value.shape), name, value.contiguous().view(torch.uint8).numpy().tobytes()])
        return b"\xc9" + struct.pack(">Ib", len(raw), 1) + raw
    if isinstance(value, dict):
        return b"\xde" + struct.pack(">H", len(value)) + b"".join(packed(k) + packed(v) for k, v in value.items())
    if isinstance(value, list):
        return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(packed, value))
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xce" + struct.pack(">I", value)
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    return b"\xd9" + struct.pack(">B", len(value)) + value.encode()


def stream(params: dict[str, torch.Tensor], *before: str) -> bytes:
    """A stream of (key, tensor); keys as a.b.c."""
    return b"".join(packed([[*before, *key.split(".")], packed(value)]) for key, value in params.items())


def params(dtype=torch.float32, tied: bool = False) -> dict[str, torch.Tensor]:
    """A transformer of EasyLM at random, kernels [in, out]."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int, mean: float = 0.0) -> torch.Tensor:
        return (mean + torch.randn(shape, generator=generator) * 0.2).to(dtype)

    drawn = {"transformer.wte.embedding": draw(V, D), "transformer.ln_f.kernel": draw(D, mean=1.0)}
    for layer in range(LAYERS):
        at = f"transformer.h.{layer}."
        drawn |= {f"{at}attention.{name}.kernel": draw(D, D) for name in ("wq", "wk", "wv", "wo")}
        drawn |= {f"{at}feed_forward.{name}.kernel": draw(D, F) for name in ("w1", "w3")}
        drawn |= {f"{at}feed_forward.w2.kernel": draw(F, D)}
        drawn |= {f"{at}{name}.kernel": draw(D, mean=1.0) for name in ("attention_norm", "ffn_norm")}
    return drawn if tied else drawn | {"lm_head.kernel": draw(D, V)}


def reference(p: dict[str, torch.Tensor], codes: torch.Tensor) -> torch.Tensor:
    """Logits as EasyLM computes them: rotary positions on neighbors as complex numbers, kernels [in, out]."""
    p = {name: value.double() for name, value in p.items()}
    rows, length, size = *codes.shape, D // HEADS
    angles = torch.outer(torch.arange(length).double(), 1e4 ** -(torch.arange(0, size, 2).double() / size))
    turns = torch.polar(torch.ones_like(angles), angles)[:, None]  # [T, 1, E / 2]

    def norm(x, weight):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight

    def turned(x):
        pairs = torch.view_as_complex(x.view(rows, length, HEADS, size // 2, 2))
        return torch.view_as_real(pairs * turns).flatten(-2)

    x = p["transformer.wte.embedding"][codes]
    for layer in range(LAYERS):
        at = f"transformer.h.{layer}."
        h = norm(x, p[at + "attention_norm.kernel"])
        q, k, v = ((h @ p[f"{at}attention.{n}.kernel"]).view(rows, length, HEADS, size) for n in ("wq", "wk", "wv"))
        scores = torch.einsum("bqhe,bkhe->bhqk", turned(q), turned(k)) / size**0.5
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf).softmax(-1)
        x = x + torch.einsum("bhqk,bkhe->bqhe", scores, v).flatten(2) @ p[at + "attention.wo.kernel"]
        h = norm(x, p[at + "ffn_norm.kernel"])
        gate, up = (h @ p[f"{at}feed_forward.{name}.kernel"] for name in ("w1", "w3"))
        x = x + (torch.nn.functional.silu(gate) * up) @ p[at + "feed_forward.w2.kernel"]
    head = p.get("lm_head.kernel", p["transformer.wte.embedding"].T)
    return (norm(x, p["transformer.ln_f.kernel"]) @ head).float()


@pytest.fixture
def file(tmp_path):
    at = tmp_path / "streaming_params"
    at.write_bytes(stream(params(), "params"))
    return at


@torch.no_grad()
def test_stream_matches_easylm(file):
    decoder = load_decoder(file, num_heads=HEADS)
    assert decoder.config == DecoderConfig(
        vocab_size=V, hidden_size=D, num_layers=LAYERS, num_heads=HEADS, mlp_size=F, context=4096, rms_eps=1e-6
    )
    assert torch.allclose(decoder(CODES), reference(params(), CODES), atol=1e-5)
    wrong = load_decoder(file, num_heads=1)
    assert not torch.allclose(wrong(CODES), reference(params(), CODES), atol=1e-3)  # heads matter


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_stream_of_half_precision_matches_easylm(tmp_path, dtype):
    (tmp_path / "streaming_params").write_bytes(stream(params(dtype), "params"))
    weights = open_stream(tmp_path / "streaming_params", num_heads=HEADS)
    assert weights.dtype == dtype
    logits = load_decoder(tmp_path, num_heads=HEADS)(CODES)  # the folder, too
    assert torch.allclose(logits, reference(params(dtype), CODES), atol=1e-5)


@torch.no_grad()
def test_train_state_and_flax_tree_equal_the_stream(tmp_path, file):
    state = stream({"step": torch.tensor([3], dtype=torch.int32)})
    state += stream(params(), "params", "params")
    state += stream({name: value * 0 for name, value in params().items()}, "opt_state", "1", "0", "mu", "params")
    (tmp_path / "streaming_train_state").write_bytes(state)
    tree: dict = {}
    for key, value in params().items():
        *path, last = ["params", *key.split(".")]
        node = tree
        for name in path:
            node = node.setdefault(name, {})
        node[last] = value
    table = params()["transformer.wte.embedding"]
    tree["params"]["transformer"]["wte"]["embedding"] = {  # as flax cuts arrays above a GiB
        "__msgpack_chunked_array__": True,
        "shape": {"0": V, "1": D},
        "chunks": {"0": table.flatten()[:1000], "1": table.flatten()[1000:]},
    }
    (tmp_path / "flax_params").write_bytes(packed(tree))
    wanted = load_decoder(file, num_heads=HEADS)(CODES)
    for name in ("streaming_train_state", "flax_params"):
        assert torch.equal(load_decoder(tmp_path / name, num_heads=HEADS)(CODES), wanted)


@torch.no_grad()
def test_tied_stream_matches_easylm(tmp_path):
    (tmp_path / "p").write_bytes(stream(params(tied=True), "params"))
    decoder = load_decoder(tmp_path / "p", num_heads=HEADS)
    assert decoder.config.tie_embeddings
    assert torch.allclose(decoder(CODES), reference(params(tied=True), CODES), atol=1e-5)


def test_halves_and_neighbors_roundtrip():
    weight = torch.arange(24.0).view(12, 2)
    assert halves_from_neighbors(weight, 2)[:, 0].tolist() == [0, 4, 8, 2, 6, 10, 12, 16, 20, 14, 18, 22]
    assert torch.equal(neighbors_from_halves(halves_from_neighbors(weight, 3), 3), weight)


def test_keys_have_our_names():
    assert our_name(("params", "transformer", "h", "12", "feed_forward", "w2", "kernel")) == (
        "model.layers.12.mlp.down_proj.weight"
    )
    assert our_name(("params", "params", "lm_head", "kernel")) == "lm_head.weight"
    assert our_name(("opt_state", "1", "0", "mu", "params", "transformer", "wte", "embedding")) is None
    assert our_name(("transformer", "h", "0", "attention", "rotary")) is None


def test_published_sizes_need_no_heads(tmp_path, monkeypatch):
    small = DecoderConfig(vocab_size=V, hidden_size=D, num_layers=LAYERS, num_heads=4, mlp_size=F, context=9)
    monkeypatch.setitem(easylm.SIZES, "debug", small)
    (tmp_path / "p").write_bytes(stream(params(), "params"))
    assert open_stream(tmp_path / "p").config.num_heads == 4
    assert open_stream(tmp_path / "p", num_heads=2).config.num_heads == 2


def test_nothing_of_a_tensor_is_read_until_it_is_asked_for(file, monkeypatch):
    asked = []
    monkeypatch.setattr(easylm.Array, "read", lambda array: asked.append(array.shape) or torch.zeros(array.shape))
    weights = open_stream(file, num_heads=HEADS)
    assert asked == []
    assert weights.read("model.layers.1.mlp.up_proj.weight").shape == (F, D)
    assert asked == [(D, F)]


def test_convert_writes_a_llama_folder(tmp_path, file):
    assert main(["convert", "decoder", str(file), "--out", str(tmp_path / "hf"), "--heads", "2", "--json"]) == 0
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["num_attention_heads"] == HEADS
    first, again = load_decoder(file, num_heads=HEADS), load_decoder(tmp_path / "hf")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda raw: raw[:-10], "is damaged, or no stream of EasyLM: ends too early"),
        (lambda raw: b"", "is empty"),
        (lambda raw: b"\x05" + raw, "the value before byte 1 is no pair of key and tensor"),
        (lambda raw: packed(["a", b"x"]), "no pair of key and tensor"),
        (lambda raw: stream({"transformer.wte.embedding": torch.zeros(2, 2)}), "holds no transformer of EasyLM"),
        (lambda raw: packed([["transformer"], 3]), "transformer is no bytes"),
        (lambda raw: raw + stream({"lm_head.kernel": torch.zeros(D, V)}), "holds lm_head/kernel twice"),
        (lambda raw: raw.replace(b"wo", b"wx", 1), "missing .'model.layers.0.self_attn.o_proj.weight'., unexpected"),
        (lambda raw: raw.replace(b"float32", b"float16", 1), "has 6400 bytes for the shape .50, 32. of float16"),
        (lambda raw: raw.replace(b"float32", b"complex", 1), "weights in .* are torch.uint8; expected float32"),
    ],
)
def test_stream_rejects_what_is_damaged_or_foreign(file, cut, message):
    file.write_bytes(cut(file.read_bytes()))
    with pytest.raises(ValueError, match=message):
        load_decoder(file, num_heads=HEADS)


def test_stream_rejects_unknown_sizes_and_shapes(file):
    with pytest.raises(ValueError, match="width 32, MLP 40 and 2 layers, none of LVM's sizes; give the number of att"):
        load_decoder(file)
    with pytest.raises(ValueError, match="hidden_size=32 over num_heads=3"):
        load_decoder(file, num_heads=3)
    wrong = params() | {"transformer.h.1.attention.wo.kernel": torch.zeros(D, D + 2)}
    file.write_bytes(stream(wrong, "params"))
    with pytest.raises(ValueError, match=r"1 weights in .* shapes \(given, expected\) .*\[34, 32\], \[32, 32\]"):
        load_decoder(file, num_heads=HEADS)


def test_array_may_lie_at_an_odd_address(tmp_path):
    """As it does in a stream; a view of the file would not be aligned."""
    odd = np.frombuffer(b"\x00" + torch.arange(4.0).numpy().tobytes(), dtype=np.uint8)
    array = easylm.Array((4,), torch.float32, (memoryview(odd)[1:],))
    assert array.read().tolist() == [0, 1, 2, 3] and array.read().data_ptr() % 8 == 0
