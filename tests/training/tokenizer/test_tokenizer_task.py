"""Training a tokenizer: its pictures, its objective, and that it learns, repeats and resumes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openlvm.core.images import ImagePreparation
from openlvm.core.runs import read_metrics
from openlvm.sources.layouts import ImageFolder
from openlvm.tokenizer.folder import load_tokenizer
from openlvm.tokenizer.losses import ReconstructionWeights, reconstruction_loss
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.tokenizer.pictures import PictureSet, make_bank
from openlvm.training.tokenizer.task import (
    PatchStart,
    TokenizerTask,
    TokenizerTrainConfig,
    reconstruction_scores,
    train_tokenizer,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve 20 x 20 pictures, half of them flat, in strong colors."""
    chance = np.random.default_rng(5)
    at = tmp_path / "pictures"
    at.mkdir()
    for number in range(12):
        color = chance.integers(0, 256, (1, 1, 3))
        squares = chance.integers(0, 256, (5, 5, 3)).repeat(4, 0).repeat(4, 1)
        pixels = np.broadcast_to(color, (20, 20, 3)) if number % 2 else squares
        Image.fromarray(pixels.astype(np.uint8)).save(at / f"{number:02d}.png")
    return at


def config_for(folder: Path, **changes) -> TokenizerTrainConfig:
    pictures = PictureSet(name="all", source=ImageFolder(at=folder))
    config = TokenizerTrainConfig(
        model=VQGANConfig(
            image_size=16, width=8, multipliers=(1, 1, 1), num_res_blocks=1, latent_channels=12, code_channels=12,
            codebook_size=16, norm_groups=4, patch_shortcut=True,
        ),
        train=TrainConfig(
            steps=8, positions_per_step=4, positions_per_forward=2, optim=OptimConfig(lr=2e-3), log_every=1,
            checkpoint_every=4,
        ),
        mixture=(pictures, replace(pictures, name="gray", slots=("gray",), generated=("gray",), repeats=2)),
        heldout=(pictures,),
        margin=4,
        start=PatchStart(num_patches=200, iterations=3),
        loss=ReconstructionWeights(),
        revive_every=2,
    )  # fmt: skip
    return replace(config, **changes)


def losses(at: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(at)]


def test_bank_shows_every_picture_as_often_as_promised(folder, tmp_path):
    config = config_for(folder)
    bank = make_bank(config.mixture, preparation=ImagePreparation(size=16), margin=0, seed=1, at=tmp_path / "bank.npz")
    assert len(bank.pictures) == 24 and len(bank.shown) == 36
    for run in range(2):
        shown = bank.batch(range(36 * run, 36 * run + 36)).numpy()
        for number, picture in enumerate(bank.pictures):
            either = (shown == picture).all((1, 2, 3)) | (shown == picture[:, ::-1]).all((1, 2, 3))
            assert either.sum() >= (1 if number < 12 else 2)


def test_bank_repeats_from_its_file(folder, tmp_path):
    config = config_for(folder)
    at = tmp_path / "bank.npz"
    first = make_bank(config.mixture, preparation=ImagePreparation(size=16), margin=4, seed=1, at=at).batch(range(50))
    for file in folder.iterdir():
        file.unlink()
    again = make_bank(config.mixture, preparation=ImagePreparation(size=16), margin=4, seed=1, at=at).batch(range(50))
    assert first.shape == (50, 16, 16, 3) and torch.equal(first, again)


def test_bank_rejects_unreadable_pictures(folder, tmp_path):
    (folder / "03.png").write_bytes(b"")
    with pytest.raises(ValueError, match="03.*empty.*mend or remove it"):
        preparation = ImagePreparation(size=16)
        make_bank(config_for(folder).mixture, preparation=preparation, margin=0, seed=1, at=tmp_path / "bank.npz")
    assert not (tmp_path / "bank.npz").exists()


def test_loss_equals_the_mean_over_the_whole_batch(folder, tmp_path):
    config = config_for(folder)
    bank = make_bank(config.mixture, preparation=ImagePreparation(size=16), margin=4, seed=1, at=tmp_path / "bank.npz")
    task = TokenizerTask(VQGAN(config.model).eval(), bank, config)
    task.vqgan.quantize.train = lambda mode: task.vqgan.quantize  # keeps the codebook still
    split = sum(task.loss(batch).total for batch in task.micro_batches(0, range(4))) / 4
    pixels = bank.batch(range(4)).permute(0, 3, 1, 2).float() / 255
    painted, quantized = task.vqgan(pixels)
    whole = reconstruction_loss(painted, pixels, config.loss)[0] + quantized.loss
    assert split.item() == pytest.approx(whole.item(), rel=1e-5)


def test_reconstruction_loss_sees_color():
    """A gray answer to a picture of changing hue has right luminance everywhere and must still cost."""
    hues = torch.eye(3).repeat_interleave(4, 0)[None, :, :, None].expand(1, 12, 3, 12).permute(0, 2, 1, 3)
    gray = torch.full_like(hues, 1 / 3)
    total, parts = reconstruction_loss(gray, hues, ReconstructionWeights())
    assert float(parts["shrunken"]) == pytest.approx(2 / 9) and float(total) == pytest.approx(4 / 9 + 10 * 2 / 9)
    assert reconstruction_loss(hues, hues, ReconstructionWeights())[0] == 0


def test_training_learns_its_pictures_beyond_k_means(folder, tmp_path):
    """The same twelve pictures at every step; step 1 is what k-means gives."""
    config = config_for(folder, margin=0)
    optim = OptimConfig(lr=5e-3, betas=(0.9, 0.99), weight_decay=0.0)
    settings = TrainConfig(
        steps=60, positions_per_step=12, positions_per_forward=12, optim=optim, log_every=1, checkpoint_every=60
    )
    config = replace(config, train=settings, mixture=config.mixture[:1], frozen_codes_steps=30)
    at = train_tokenizer(config, tmp_path / "run")
    found = [loss for _, loss in losses(tmp_path / "run")]
    assert min(found[20:30]) < 0.9 * found[0] and min(found[50:]) < 0.8 * found[0]
    line = read_metrics(tmp_path / "run")[-1]
    pictures = np.load(tmp_path / "run" / "pictures" / "heldout-0.npz")["pictures"]
    scores = dict(reconstruction_scores(load_tokenizer(at), "all", pictures))
    assert scores["all/psnr"] == pytest.approx(line["evaluation"]["all/psnr"], abs=0.5)  # rounding to bfloat16


def test_codes_stay_while_they_are_frozen(folder, tmp_path):
    config = config_for(folder, frozen_codes_steps=8)
    train_tokenizer(replace(config, train=replace(config.train, steps=1, checkpoint_every=1)), tmp_path / "one")
    train_tokenizer(config, tmp_path / "eight")
    one, eight = (load_tokenizer(tmp_path / name / "tokenizer") for name in ("one", "eight"))
    assert one.codes_fingerprint == eight.codes_fingerprint and one.fingerprint != eight.fingerprint


def test_training_repeats_and_resumes_to_the_bit(folder, tmp_path):
    config = config_for(folder)
    whole = train_tokenizer(config, tmp_path / "whole")
    again = train_tokenizer(config, tmp_path / "again")
    assert losses(tmp_path / "whole") == losses(tmp_path / "again")
    for stale in (again.parent / "checkpoints").glob("step-00000008"):
        for file in stale.iterdir():
            file.unlink()
        stale.rmdir()
    lines = (again.parent / "metrics.jsonl").read_text().splitlines()
    (again.parent / "metrics.jsonl").write_text("\n".join(lines[:6]) + "\n" + lines[6][:9])  # as a kill leaves it
    resumed = train_tokenizer(config, again.parent, resume=True)
    assert losses(tmp_path / "whole") == losses(tmp_path / "again")
    assert load_tokenizer(resumed).fingerprint == load_tokenizer(whole).fingerprint
    stored = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert stored["model"]["codebook_size"] == 16


def test_training_rejects_several_processes(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="runs in one process"):
        train_tokenizer(config_for(folder), tmp_path / "run")


def test_scores_match_scikit_image(folder, tmp_path):
    from skimage.metrics import peak_signal_noise_ratio

    vqgan = VQGAN(config_for(folder).model).eval()
    pictures = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), dtype=np.uint8)
    scores = dict(reconstruction_scores(vqgan, "x", pictures))
    back = vqgan.decode(vqgan.encode(torch.from_numpy(pictures))).numpy()
    codes = vqgan.encode(torch.from_numpy(pictures)).flatten().numpy()
    assert scores["x/psnr"] == pytest.approx(peak_signal_noise_ratio(pictures, back), abs=1e-4)
    share = np.bincount(codes)[np.bincount(codes) > 0] / codes.size
    assert scores["x/perplexity"] == pytest.approx(np.prod(share**-share), rel=1e-6)
    assert scores["x/used"] == pytest.approx(len(share) / 16)
