"""Released tokenizers: weights named by the code of others give its codes and its pixels."""

import json
import os
from pathlib import Path

import pytest
import record_golden as record
import torch
from safetensors.torch import load_file, save_file

from openlvm.tokenizer.folder import load_tokenizer, save_tokenizer
from openlvm.tokenizer.released.assemble import shapes_of
from openlvm.tokenizer.released.configs import config_for
from openlvm.tokenizer.released.keys import LEFT_OUT, their_names
from openlvm.tokenizer.released.load import load_released, save_released
from openlvm.tokenizer.released.table import DEFAULTS, RELEASED

LAYOUTS = tuple(DEFAULTS)
REPOSITORIES = {"muse": "LVM_REPO", "vqvae": "LVM_REPO", "maskgit": "OPEN_MUSE_REPO", "taming": "TAMING_REPO",
                "llamagen": "LLAMAGEN_REPO", "diffusers": None}  # fmt: skip


def golden(layout: str) -> dict:
    return json.loads(Path(__file__).with_name(f"golden_{layout}.json").read_text())


def write(layout: str, at: Path) -> dict[str, torch.Tensor]:
    """The file of weights (and the config.json) of the small network of a layout, in the form it is released in."""
    known = golden(layout)
    state = record.numbered(known["shapes"])
    at.mkdir()
    if known["config"]:
        (at / "config.json").write_text(json.dumps(known["config"]))
    if layout == "diffusers":
        save_file(state, at / "diffusion_pytorch_model.safetensors")
    elif layout == "taming":
        torch.save({"state_dict": state | {"loss.logvar": torch.zeros(())}, "epoch": 3}, at / "last.ckpt")
    else:
        stored = {"model": state, "steps": 7} if layout == "llamagen" else state
        torch.save(stored, at / ("pytorch_model.bin" if known["config"] else "vq.pt"))
    return state


def load_small(layout: str, at: Path):
    known = golden(layout)
    return load_released(at, image_size=None if known["config"] and layout != "diffusers" else known["image_size"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_codes_and_pixels_are_theirs(layout, tmp_path):
    write(layout, tmp_path / "theirs")
    ours, known = load_small(layout, tmp_path / "theirs"), golden(layout)
    codes = ours.encode(record.pictures(known["image_size"]))
    assert codes.tolist() == known["codes"] and codes.unique().numel() > 10
    grid = ours.config.grid
    with torch.inference_mode():
        pixels = ours.paint(ours.quantize.vectors(codes).view(2, grid, grid, -1).permute(0, 3, 1, 2))
    assert torch.allclose(pixels[:, :, ::7, ::7].flatten(), torch.tensor(known["pixels"]), atol=1e-4)
    drawn = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    assert torch.equal(ours.decode(codes), drawn)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_released_size_has_their_names_and_shapes(layout):
    """On the meta device: no memory for weights, every tensor of their class at its released size."""
    known = golden(layout)
    left_out = LEFT_OUT.get(layout, ("nothing",))
    theirs = {n: tuple(shape) for n, shape in known["full_shapes"].items() if not n.startswith(left_out)}
    tensors = {name: torch.empty(shape, device="meta") for name, shape in theirs.items()}
    stored = {"resolution": 256} | (known["full_config"] or {})
    config = config_for(layout, stored, tensors, RELEASED[DEFAULTS[layout]], Path("file"))
    ours = shapes_of(config)
    names = their_names(ours, layout, levels=len(config.multipliers), num_res_blocks=config.num_res_blocks)
    assert {names[name]: shape for name, shape in ours.items()} == theirs
    parameters = sum(torch.Size(shape).numel() for shape in ours.values())
    assert parameters == known["full_parameters"]


def test_counts_of_lvm():
    """The figures of the release: vqvae_ckpts in both namings, and the legacy VQVAE."""
    counts = {}
    for layout in ("muse", "diffusers", "vqvae"):
        shapes = golden(layout)["full_shapes"].values()
        counts[layout] = (sum(torch.Size(shape).numel() for shape in shapes), len(shapes))
    assert counts == {"muse": (146_244_675, 277), "diffusers": (146_244_675, 277), "vqvae": (64_349_219, 168)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_released_tokenizer_becomes_a_folder_of_ours(layout, tmp_path):
    write(layout, tmp_path / "theirs")
    first = load_small(layout, tmp_path / "theirs")
    save_tokenizer(first, tmp_path / "ours")
    again = load_tokenizer(tmp_path / "ours")
    assert again.config == first.config and again.preparation == first.preparation
    assert (again.fingerprint, again.codes_fingerprint) == (first.fingerprint, first.codes_fingerprint)
    codes = again.encode(record.pictures(again.image_size))
    assert codes.tolist() == golden(layout)["codes"]
    with torch.no_grad():
        again.decoder.conv_out.bias.add_(1)
    assert again.codes_fingerprint == first.codes_fingerprint and again.fingerprint != first.fingerprint


WRITTEN = {"muse": "pytorch_model.bin", "diffusers": "diffusion_pytorch_model.safetensors"}


@pytest.mark.parametrize(("layout", "file"), WRITTEN.items())
def test_conversion_back_is_exact(layout, file, tmp_path):
    state = write(layout, tmp_path / "theirs")
    save_released(load_small(layout, tmp_path / "theirs"), tmp_path / "back", layout=layout)
    at = tmp_path / "back" / file
    back = load_file(at) if layout == "diffusers" else torch.load(at, weights_only=True)
    assert set(back) == set(state) and all(torch.equal(back[name], value) for name, value in state.items())
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    given = golden(layout)["config"]
    extra = {"_version", "_diffusers_version", "scaling_factor"}
    assert {k: v for k, v in config.items() if k not in extra} == {k: v for k, v in given.items() if k not in extra}


def test_one_tokenizer_in_both_namings(tmp_path):
    write("muse", tmp_path / "muse")
    first = load_released(tmp_path / "muse", release="delvm")
    save_released(first, tmp_path / "diffusers", layout="diffusers")
    again = load_released(tmp_path / "diffusers", image_size=32)
    assert again.config == first.config and again.fingerprint == first.fingerprint


def test_preparation_is_that_of_the_project(tmp_path):
    write("muse", tmp_path / "muse")
    lvm, delvm = load_released(tmp_path / "muse"), load_released(tmp_path / "muse", release="delvm")
    assert (lvm.preparation.fit, lvm.preparation.filter) == ("squash", "bicubic")
    assert (delvm.preparation.fit, delvm.preparation.filter) == ("crop", "bilinear")
    assert lvm.codes_fingerprint != delvm.codes_fingerprint  # stores made by one are not for the other


def test_another_image_size_keeps_attention_at_its_level(tmp_path):
    state = write("muse", tmp_path / "muse")
    wide = load_released(tmp_path / "muse", image_size=64)
    assert wide.config.attention_at == (32,) and wide.codes_per_image == 1024
    assert torch.equal(wide.encoder.down[1].attn[0].q.weight, state["encoder.down.1.attn.0.q.weight"])


def test_resolution_is_read_from_the_yaml_beside_a_checkpoint(tmp_path):
    write("taming", tmp_path / "theirs")
    (tmp_path / "theirs" / "model.yaml").write_text("model:\n  params:\n    ddconfig:\n      resolution: 64\n")
    assert load_released(tmp_path / "theirs" / "last.ckpt").image_size == 64


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_golden_files_are_what_their_code_does(layout):
    repository = REPOSITORIES[layout]
    if layout == "diffusers":
        pytest.importorskip("diffusers")
    elif repository not in os.environ:
        pytest.skip(f"{repository} names no checkout")
    try:
        found = record.record(layout, Path(os.environ.get(repository or "", ".")))
    except ImportError as error:
        pytest.skip(f"their code needs {error.name}")
    assert found["codes"] == golden(layout)["codes"] and found["shapes"] == golden(layout)["shapes"]
    assert found["pixels"] == pytest.approx(golden(layout)["pixels"], abs=1e-5)
