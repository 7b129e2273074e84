"""`openlvm convert`: decoders in and out, bundles from parts, what a checkpoint tells; and mistakes, in one line."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file

from openlvm import LVM, load_decoder
from openlvm.bundle import SpecialIds, load_bundle, save_bundle
from openlvm.cli.main import main
from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.folder import save_decoder
from openlvm.tokenizer.folder import save_tokenizer
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig

SHAPE = VQGANConfig(
    image_size=16, width=8, multipliers=(1, 2, 2), num_res_blocks=1, latent_channels=6, code_channels=4,
    codebook_size=24, norm_groups=4,
)  # fmt: skip
CODES = torch.randint(0, 24, (2, 30), generator=torch.Generator().manual_seed(0))


def tokenizer(seed: int = 0) -> VQGAN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return VQGAN(SHAPE).eval()


def decoder(**changes) -> Decoder:
    shape = dict(vocab_size=124, hidden_size=32, num_layers=2, num_heads=2, mlp_size=48, context=8 * 16 + 1)
    return Decoder(DecoderConfig(**shape | changes), seed=1).eval()


@pytest.fixture
def lvm(tmp_path):
    at = tmp_path / "lvm"
    save_bundle(
        at, tokenizer=tokenizer(), decoder=decoder(attention_bias=True), special=SpecialIds.after(24), card="",
        context=120, meta={"sampling": {"top_k": 3}}, tokenizer_dtype=torch.bfloat16, decoder_dtype=torch.bfloat16,
    )  # fmt: skip
    return at


def files(at):
    return {path.relative_to(at).as_posix(): path.read_bytes() for path in at.rglob("*") if path.is_file()}


@torch.no_grad()
def test_bundle_to_transformers_and_back_is_identical(lvm, tmp_path, openlvm_json):
    out, back = tmp_path / "hf", tmp_path / "back"
    told = openlvm_json("convert", "decoder", lvm, "--out", out, "--max-shard-gb", "2e-5")
    assert told["dtype"] == "bfloat16" and len(told["written"]) > 4
    twin, info = transformers.LlamaForCausalLM.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    wanted = load_bundle(lvm).decoder(CODES)
    assert torch.allclose(twin(CODES).logits, wanted, atol=1e-5)
    assert (twin.generation_config.bos_token_id, twin.generation_config.eos_token_id) == (None, None)
    told = openlvm_json("convert", "bundle", "--tokenizer", lvm / "tokenizer", "--decoder", out, "--out", back)
    assert (told["bos"], told["images_in_context"]) == (24, 7)
    before, after = files(lvm), files(back)
    assert set(before) == set(after)
    assert [name for name in before if before[name] != after[name]] == ["README.md"]
    assert LVM.load(back).sampling.top_k == 3


@torch.no_grad()
def test_release_of_others_becomes_a_bundle_without_special_ids(tmp_path, openlvm_json):
    config = transformers.LlamaConfig(
        vocab_size=124, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(config).half()
    theirs.save_pretrained(tmp_path / "theirs")
    save_tokenizer(tokenizer(), tmp_path / "tokenizer")
    parts = ("--tokenizer", tmp_path / "tokenizer", "--decoder", tmp_path / "theirs")
    told = openlvm_json("convert", "bundle", *parts, "--out", tmp_path / "a")
    assert [told[name] for name in ("bos", "eos", "pad", "images_in_context")] == [None, None, None, 4]
    stored = load_file(tmp_path / "a" / "decoder" / "model.safetensors")
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in stored.items())  # float16 as it was
    told = openlvm_json("convert", "bundle", *parts, "--out", tmp_path / "b", "--bos", "30", "--dtype", "float32")
    assert [told[name] for name in ("bos", "eos", "images_in_context")] == [30, None, 3]
    assert json.loads((tmp_path / "b" / "decoder" / "config.json").read_text())["dtype"] == "float32"
    picture = torch.zeros(16, 16, 3, dtype=torch.uint8).numpy()
    straight = LVM.load(tmp_path / "theirs", tokenizer=tmp_path / "tokenizer").complete([picture], seed=1)
    assert (straight.codes == LVM.load(tmp_path / "a").complete([picture], seed=1).codes).all()


def test_dtype_eps_and_context_are_written(tmp_path, openlvm_json):
    save_decoder(decoder(), tmp_path / "d")
    out = tmp_path / "out"
    words = ("--dtype", "float16", "--rms-eps", "1e-4", "--context", "99")
    told = openlvm_json("convert", "decoder", tmp_path / "d", "--out", out, *words)
    assert (told["rms_eps"], told["context"], told["kind"]) == (1e-4, 99, "LlamaForCausalLM")
    assert load_decoder(out).config == decoder(rms_eps=1e-4, context=99).config
    assert {value.dtype for value in load_file(out / "model.safetensors").values()} == {torch.float16}


def test_inspect_says_what_a_decoder_is_and_which_ids_were_trained(tmp_path, openlvm_json, capsys):
    with torch.no_grad():
        marked = decoder()
        for table, number in ((marked.model.embed_tokens, 24), (marked.lm_head, 25)):
            table.weight[:24] *= 8
            table.weight[number] *= 8
            table.weight[30] *= 9
    save_decoder(marked, tmp_path / "d")
    config = tmp_path / "d" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"bos_token_id": 1, "eos_token_id": 2}))
    told = openlvm_json("convert", "inspect", tmp_path / "d")
    assert (told["codes"], told["claimed"], told["parameters"]) == (24, {"bos": 1, "eos": 2}, 25504)
    assert {name: set(one["ids"]) for name, one in told["trained"].items()} == {"embedding": {24, 30}, "head": {25, 30}}
    assert main(["convert", "inspect", str(tmp_path / "d")]) == 0
    text = capsys.readouterr().out
    for line in (
        "2 layers of width 32 with 2 heads and an MLP of 48, 124 ids, context 129, rms_eps 1e-06, stored as float32",
        "its files name bos 1, eos 2; bos, eos being codes of pictures: ignored",
        "24 comes in and is never asked for, as a BOS",
        "25 is asked for and never comes in, as an EOS",
        "30 does both, as ids in a stream of sentences",
    ):
        assert line in text
    told = openlvm_json("convert", "inspect", tmp_path / "d", "--codes", "120")
    assert told["trained"]["head"]["doubt"] == "4 spare rows, too few to compare"


def test_inspect_of_the_embedded_lvm_finds_its_bos_and_eos(openlvm_json):
    told = openlvm_json("convert", "inspect", "mini")
    assert set(told["trained"]["both"]["ids"]) == {told["claimed"]["bos"], told["claimed"]["eos"]}


def test_mistakes_are_one_line(lvm, tmp_path, openlvm_error):
    out = tmp_path / "out"
    assert "is not empty; name a new folder" in openlvm_error("convert", "decoder", lvm, "--out", lvm)
    assert "no decoder folder at" in openlvm_error("convert", "decoder", tmp_path / "no", "--out", out)
    assert "no decoder config at" in openlvm_error("convert", "inspect", tmp_path)
    assert "expected the config of a LlamaForCausalLM" in openlvm_error("convert", "inspect", lvm / "tokenizer")
    assert "max_shard_gb=-1.0 must be above 0" in openlvm_error(
        "convert", "decoder", lvm, "--out", out, "--max-shard-gb=-1"
    )
    parts = ("convert", "bundle", "--decoder", lvm / "decoder", "--out", out)
    save_tokenizer(tokenizer(seed=1), tmp_path / "other")
    assert "no tokenizer folder at" in openlvm_error(*parts, "--tokenizer", tmp_path / "none")
    told = openlvm_error(*parts, "--tokenizer", tmp_path / "other", "--bos", "3")
    assert "bos=3 must be null or lie in 24 .. 123, behind the codes" in told
    save_decoder(decoder(vocab_size=20), tmp_path / "small")
    words = ("--tokenizer", tmp_path / "other", "--decoder", tmp_path / "small", "--out", out)
    told = openlvm_error("convert", "bundle", *words)
    assert "the decoder knows 20 ids, too few for the tokenizer's 24 codes" in told
    assert not out.exists()


def test_a_decoder_of_another_tokenizer_is_refused(lvm, tmp_path, openlvm_json, openlvm_error):
    openlvm_json("convert", "decoder", lvm, "--out", tmp_path / "hf")
    save_tokenizer(tokenizer(seed=1), tmp_path / "other")
    words = ("--tokenizer", tmp_path / "other", "--decoder", tmp_path / "hf", "--out", tmp_path / "out")
    told = openlvm_error("convert", "bundle", *words)
    assert "was trained on the codes of another tokenizer than" in told and "give that one" in told


def test_a_decoder_alone_is_no_lvm(lvm):
    with pytest.raises(FileNotFoundError, match="this is a decoder alone. Give its tokenizer too, LVM.load"):
        LVM.load(lvm / "decoder")
