"""Files that are no tokenizer, or a dangerous one, are refused with one clear line; the hub is asked for two files."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import record_golden as record
import torch
from safetensors.torch import save_file

from openlvm.tokenizer.folder import load_tokenizer, save_tokenizer
from openlvm.tokenizer.released.load import load_released, save_released
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig

GOLDEN = json.loads(Path(__file__).with_name("golden_muse.json").read_text())
TINY = VQGANConfig(
    image_size=16, width=8, multipliers=(1, 2), num_res_blocks=1, latent_channels=6, code_channels=4, codebook_size=24,
    norm_groups=4,
)  # fmt: skip


@pytest.fixture
def muse(tmp_path) -> Path:
    """A folder with config.json and pytorch_model.bin of open-muse's layout."""
    at = tmp_path / "muse"
    at.mkdir()
    (at / "config.json").write_text(json.dumps(GOLDEN["config"]))
    torch.save(record.numbered(GOLDEN["shapes"]), at / "pytorch_model.bin")
    return at


def refusal(at: Path | str, kind: type[Exception] = ValueError, **options) -> str:
    with pytest.raises(kind) as caught:
        load_released(at, **options) if options else load_tokenizer(at)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_and_extra_names_are_both_listed(muse):
    state = record.numbered(GOLDEN["shapes"])
    kept = {name: value for name, value in state.items() if not name.startswith("decoder.up.0.")}
    torch.save(kept | {f"more.{n}": torch.zeros(1) for n in range(7)}, muse / "pytorch_model.bin")
    lost = len(state) - len(kept)
    message = refusal(muse)
    assert "pytorch_model.bin does not fit its config.json" in message
    assert f"missing {lost} ['decoder.up.0.block.0.norm1.weight'," in message.replace("bias", "weight")
    assert message.endswith("unexpected 7 ['more.0', 'more.1', 'more.2', 'more.3', 'more.4'] ...")


def test_wrong_shapes_are_named(muse):
    state = record.numbered(GOLDEN["shapes"]) | {"quant_conv.bias": torch.zeros(7)}
    torch.save(state, muse / "pytorch_model.bin")
    assert "1 shapes (given, expected) {'quant_conv.bias': ([7], [6])}" in refusal(muse)


class Evil:
    """Makes a folder when unpickled."""

    def __init__(self, at: Path):
        self.at = at

    def __reduce__(self):
        return os.mkdir, (str(self.at),)


@pytest.mark.parametrize("packed", [True, False])
def test_code_in_a_pickle_is_not_run(packed, tmp_path):
    at, made = tmp_path / "vq.pth", tmp_path / "made"
    torch.save({"a": Evil(made)}, at, _use_new_zipfile_serialization=packed)
    assert "a pickle that would run code when opened (posix.mkdir)" in refusal(at)
    at.write_bytes(pickle.dumps(Evil(made), protocol=4))
    assert "damaged, or no file of weights that can be read without running its code" in refusal(at)
    assert not made.exists()
    pickle.loads(at.read_bytes())  # and it does so when let
    assert made.exists()


def test_classes_of_a_trainer_beside_the_tensors_are_dropped(muse, monkeypatch):
    """taming's checkpoints hold a class of pytorch_lightning, which need not be installed to read them."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    for part in ("pytorch_lightning", "pytorch_lightning.callbacks", name):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    callback = type("ModelCheckpoint", (), {"__module__": name})
    sys.modules[name].ModelCheckpoint = callback
    state = torch.load(muse / "pytorch_model.bin", weights_only=True)
    (muse / "pytorch_model.bin").unlink()
    torch.save({"state_dict": state, "callbacks": {callback: {"best": 1.0}}}, muse / "last.ckpt")
    monkeypatch.undo()
    assert torch.equal(load_tokenizer(muse).quant_conv.weight, state["quant_conv.weight"])


def test_damaged_and_foreign_files(muse, tmp_path):
    whole = (muse / "pytorch_model.bin").read_bytes()
    for content in (b"", b"<html>not found</html>", whole[:-500], whole[:200] + b"x" * 50 + whole[250:]):
        (muse / "pytorch_model.bin").write_bytes(content)
        assert "pytorch_model.bin is damaged, or no file of weights" in refusal(muse)
    (muse / "pytorch_model.bin").unlink()
    assert "should hold one file of weights" in refusal(muse, release="lvm")
    (muse / "model.safetensors").write_bytes(b"12345678")
    assert "damaged or not a safetensors file" in refusal(muse)
    torch.save([1, 2], tmp_path / "list.pt")
    assert "holds list; expected named tensors" in refusal(tmp_path / "list.pt")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    assert "does not tell by its 1 tensors what it is; put its config.json beside it" in refusal(
        tmp_path / "other.safetensors"
    )
    assert "no tokenizer folder at" in refusal(tmp_path / "absent" / "x.bin", FileNotFoundError)


def test_a_huge_file_is_not_read(muse):
    with open(muse / "pytorch_model.bin", "r+b") as file:
        file.truncate(5 * 2**30)  # sparse: takes no disk
    assert "has 5,368,709,120 bytes; a tokenizer has at most 4,294,967,296" in refusal(muse)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"hidden_channels": 10**9}, "width=1000000000; expected a whole number from 1 to 4,096"),
        ({"num_embeddings": 10**12}, "codebook_size=1000000000000; expected"),
        ({"num_res_blocks": "2"}, "num_res_blocks='2'; expected a whole number"),
        ({"channel_mult": [1] * 1000}, "expected 1 to 8 whole numbers"),
        ({"hidden_channels": 4096, "channel_mult": [1, 64]}, "shapes (given, expected)"),
        ({"resolution": 33}, "image_size=33 is not divisible by 2"),
        ({"channel_mult": 3}, "does not tell the shape"),
        ({"_class_name": "AutoencoderKL"}, "_class_name 'AutoencoderKL'; known are VQGANModel, MaskGitVQGAN, VQModel"),
        ({"num_channels": 1}, "num_channels=1, which is not supported; only 3 is"),
        ({"num_res_blocks": 1}, "attn_resolutions=[16] with num_res_blocks=1"),
    ],
)
def test_config_is_read_and_not_trusted(said, words, muse):
    (muse / "config.json").write_text(json.dumps(GOLDEN["config"] | said))
    assert words in refusal(muse)


def test_config_must_be_whole(muse):
    config = {name: value for name, value in GOLDEN["config"].items() if name != "z_channels"}
    (muse / "config.json").write_text(json.dumps(config))
    assert "'z_channels' is missing" in refusal(muse)


def test_own_folders_are_not_trusted_either(tmp_path):
    save_tokenizer(VQGAN(TINY), tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(stored | {"codebook_size": 10**13}))
    assert "codebook_size=10000000000000; expected a whole number from 1 to 1,048,576" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(stored | {"kind": "jukebox"}))
    assert "kind 'jukebox'; expected 1 and one of ['vqgan', 'maskgit']" in refusal(tmp_path)


def test_what_lies_beside_a_file(muse, tmp_path):
    (muse / "config.json").write_text('{"model_type": "llama"}')
    said = refusal(muse / "pytorch_model.bin")
    assert "does not tell by its" in said and said.endswith(
        "or give load_released(..., release='taming-f16-1024') if it is that"
    )
    named = load_released(muse / "pytorch_model.bin", release="taming-f16-1024", image_size=32)
    assert (named.config.pixel_range, named.config.mid_attention) == ("-1..1", True)
    save_tokenizer(VQGAN(TINY), tmp_path / "ours")
    assert refusal(tmp_path / "ours" / "model.safetensors").endswith(f"give the folder {tmp_path / 'ours'}")


def test_a_release_of_another_layout_is_refused(muse):
    assert "has the layout of 'lvm', not of 'maskgit'" in refusal(muse, release="maskgit")
    assert "no released tokenizer called 'delvn'; did you mean delvm" in refusal(muse, release="delvn")


@pytest.mark.parametrize(
    "change", [{"pixel_range": "-1..1"}, {"patch_shortcut": True}, {"norm_groups": 4}, {"attention_at": (8,)}]
)
def test_a_layout_cannot_hold_everything(change, tmp_path):
    network = VQGAN(replace(TINY, width=32, **({"norm_groups": 32} | change)))
    with pytest.raises(ValueError, match=f"the layout 'muse' cannot hold a tokenizer with .*{next(iter(change))}"):
        save_released(network, tmp_path / "out", layout="muse")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def hub(monkeypatch, muse):
    """A stand-in for huggingface_hub that has `muse` under three names, and notes what it is asked for."""
    module, errors = types.ModuleType("huggingface_hub"), types.ModuleType("huggingface_hub.errors")
    errors.EntryNotFoundError = type("EntryNotFoundError", (Exception,), {})
    asked = []

    def hf_hub_download(repository, file, subfolder=None):
        asked.append((repository, subfolder, file))
        if repository.startswith("nobody/"):
            raise OSError("404 Client Error\nRepository Not Found")
        if not (muse / file).is_file():
            raise errors.EntryNotFoundError(file)
        return str(muse / file)

    module.hf_hub_download = hf_hub_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    return asked


def test_names_of_the_hub(hub, muse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_tokenizer("Emma02/vqvae_ckpts").preparation.fit == "squash"
    files = ["config.json", "model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin"]
    assert hub == [("Emma02/vqvae_ckpts", None, file) for file in files]
    assert load_tokenizer("delvm").preparation.fit == "crop" and hub[-1][0] == "openMUSE/vqgan-f16-8192-laion"
    assert load_tokenizer("someone/else").fingerprint == load_tokenizer("lvm").fingerprint
    assert "several tokenizers; name one: llamagen-vq16, llamagen-vq8" in refusal("FoundationVision/LlamaGen")
    assert refusal("nobody/nothing", FileNotFoundError).endswith("not got from the hub: 404 Client Error")
    assert "FoundationVision/LlamaGen on the hub has none of vq_ds8_c2i.pt" in refusal(
        "llamagen-vq8", FileNotFoundError
    )
    assert "taming-f16-1024 is not on the Hugging Face hub" in refusal("taming-f16-1024", FileNotFoundError)


def test_a_folder_of_ours_on_the_hub(hub, muse):
    shutil.rmtree(muse)
    save_tokenizer(VQGAN(TINY), muse)
    assert load_tokenizer("someone/else").config == TINY


def test_without_huggingface_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "for that: pip install huggingface_hub" in refusal("Emma02/vqvae_ckpts", ImportError)


def test_offline_is_obeyed(tmp_path):
    """The real package, in a process of its own, with HF_HUB_OFFLINE and an empty cache."""
    pytest.importorskip("huggingface_hub")
    code = "from openlvm.tokenizer.folder import load_tokenizer; load_tokenizer('Emma02/vqvae_ckpts')"
    settings = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, timeout=60)
    assert "FileNotFoundError: no tokenizer folder Emma02/vqvae_ckpts, and not got from the hub" in ended.stderr
