"""Training a tokenizer: its pictures, its objective, and that it learns, repeats and resumes."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import Forked, joined
from PIL import Image

from openlvm.core.images import ImagePreparation
from openlvm.core.runs import read_metrics
from openlvm.sources.layouts import ImageFolder
from openlvm.tokenizer.folder import load_tokenizer
from openlvm.tokenizer.losses import ReconstructionWeights, reconstruction_loss
from openlvm.tokenizer.vqgan import VQGAN, VQGANConfig
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.tokenizer.adversarial import AdversarialConfig
from openlvm.training.tokenizer.config import (
    LatentStart,
    PatchStart,
    PerceptualConfig,
    TokenizerStart,
    TokenizerTrainConfig,
)
from openlvm.training.tokenizer.pictures import PictureSet, make_bank
from openlvm.training.tokenizer.task import TokenizerTask
from openlvm.training.tokenizer.train import reconstruction_scores, train_tokenizer

START = PatchStart(num_patches=200, iterations=3)
ADVERSARY = AdversarialConfig(start_step=2, ramp_steps=2, channels=8, layers=1, patience=0)


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
        start=START,
        loss=ReconstructionWeights(),
        revive_every=2,
    )  # fmt: skip
    return replace(config, **changes)


def losses(at: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(at)]


def test_bank_shows_every_picture_as_often_as_promised(folder, tmp_path):
    config = config_for(folder)
    bank = make_bank(config.mixture, preparation=ImagePreparation(size=16), margin=0, seed=1, at=tmp_path / "bank")
    assert len(bank.pictures) == 24 and len(bank.shown) == 36
    for run in range(2):
        shown = bank.batch(range(36 * run, 36 * run + 36)).numpy()
        for number, picture in enumerate(bank.pictures):
            either = (shown == picture).all((1, 2, 3)) | (shown == picture[:, ::-1]).all((1, 2, 3))
            assert either.sum() >= (1 if number < 12 else 2)


def test_bank_repeats_from_its_file(folder, tmp_path):
    config = config_for(folder)
    at = tmp_path / "bank"
    first = make_bank(config.mixture, preparation=ImagePreparation(size=16), margin=4, seed=1, at=at).batch(range(50))
    for file in folder.iterdir():
        file.unlink()
    again = make_bank(config.mixture, preparation=ImagePreparation(size=16), margin=4, seed=1, at=at).batch(range(50))
    assert first.shape == (50, 16, 16, 3) and torch.equal(first, again)


def test_bank_rejects_unreadable_pictures(folder, tmp_path):
    (folder / "03.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"11 pictures, 1 records that could not be read.*03.*empty.*Mend or remove"):
        preparation = ImagePreparation(size=16)
        make_bank(config_for(folder).mixture, preparation=preparation, margin=0, seed=1, at=tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


def test_loss_equals_the_mean_over_the_whole_batch(folder, tmp_path):
    config = config_for(folder)
    bank = make_bank(config.mixture, preparation=ImagePreparation(size=16), margin=4, seed=1, at=tmp_path / "bank")
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
    config = replace(config, train=settings, mixture=config.mixture[:1], start=replace(START, frozen_codes_steps=30))
    at = train_tokenizer(config, tmp_path / "run")
    found = [loss for _, loss in losses(tmp_path / "run")]
    assert min(found[20:30]) < 0.9 * found[0] and min(found[50:]) < 0.8 * found[0]
    line = read_metrics(tmp_path / "run")[-1]
    preparation = load_tokenizer(at).preparation
    drawn = tmp_path / "run" / "pictures" / "heldout-0"
    pictures = make_bank(config.heldout, preparation=preparation, margin=0, seed=0, at=drawn).pictures
    scores = dict(reconstruction_scores(load_tokenizer(at), "all", pictures))
    assert scores["all/psnr"] == pytest.approx(line["evaluation"]["all/psnr"], abs=0.5)  # rounding to bfloat16


def test_codes_stay_while_they_are_frozen(folder, tmp_path):
    config = config_for(folder, start=replace(START, frozen_codes_steps=8))
    train_tokenizer(replace(config, train=replace(config.train, steps=1, checkpoint_every=1)), tmp_path / "one")
    train_tokenizer(config, tmp_path / "eight")
    one, eight = (load_tokenizer(tmp_path / name / "tokenizer") for name in ("one", "eight"))
    assert one.codes_fingerprint == eight.codes_fingerprint and one.fingerprint != eight.fingerprint


def whole_objective(folder: Path) -> TokenizerTrainConfig:
    """Everything that has a state: discriminator, anchors, averages, revived codes, codes that begin late."""
    return config_for(
        folder,
        model=replace(config_for(folder).model, patch_shortcut=False),
        start=LatentStart(unquantized_steps=2, num_latents=100, iterations=2),
        perceptual=PerceptualConfig(weight=0.1),
        adversarial=ADVERSARY,
        average_decay=0.9,
    )


@pytest.mark.parametrize("make_config", [config_for, whole_objective])
def test_training_repeats_and_resumes_to_the_bit(folder, tmp_path, make_config):
    config = make_config(folder)
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


@pytest.mark.parametrize(
    ("adversary", "within"),
    # The adaptive weight is one per forward, so it may differ; and with a norm Adam makes much of gradients of biases
    # that are 0 but for rounding.
    [(None, 1e-4), (replace(ADVERSARY, adaptive=False, norm="none"), 1e-3)],
)
def test_two_processes_match_one(folder, tmp_path, adversary, within):
    """gloo: k-means, codebook, revival, averages and anchors agree; losses differ by the order of float sums only."""
    config = replace(whole_objective(folder), adversarial=adversary)
    train_tokenizer(config, tmp_path / "one")
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    running = [
        Forked(
            train_tokenizer, config, tmp_path / "two",
            environment={**where, "RANK": str(rank)},
            words_at=tmp_path / f"rank-{rank}.txt",
        )
        for rank in range(2)
    ]  # fmt: skip
    joined(running)
    one, two = (read_metrics(tmp_path / name) for name in ("one", "two"))
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=within)
    for left, right in zip(one, two, strict=True):
        assert right["parts"].keys() == left["parts"].keys()
        # lecam is left out: a small difference of logits and anchors, which float noise moves by a fifth in eight steps
        for name in {"absolute", "commitment", "discriminator", "usage", "perplexity"} & left["parts"].keys():
            assert right["parts"][name] == pytest.approx(left["parts"][name], rel=5 * within, abs=1e-4)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_whole_objective_trains_on_a_gpu_as_on_the_cpu(folder, tmp_path):
    """Everything that has a state finds its device; the first losses agree."""
    config = whole_objective(folder)
    for device in ("cpu", "cuda"):
        train_tokenizer(config, tmp_path / device, device=device)
    cpu, cuda = (losses(tmp_path / device) for device in ("cpu", "cuda"))
    assert [loss for _, loss in cuda[:2]] == pytest.approx([loss for _, loss in cpu[:2]], rel=1e-3)
    assert all(np.isfinite(loss) for _, loss in cuda)


def test_resume_is_as_exact_inside_the_unquantized_steps_as_after(folder, tmp_path):
    """A run that is cut before its codes begin draws the same codes from k-means later."""
    config = replace(whole_objective(folder), start=LatentStart(unquantized_steps=6, num_latents=100, iterations=2))
    whole = train_tokenizer(config, tmp_path / "whole")
    short = replace(config, train=replace(config.train, steps=8, checkpoint_every=4))
    train_tokenizer(short, tmp_path / "cut")
    for file in sorted((tmp_path / "cut" / "checkpoints" / "step-00000008").iterdir()):
        file.unlink()
    (tmp_path / "cut" / "checkpoints" / "step-00000008").rmdir()
    assert (
        load_tokenizer(train_tokenizer(config, tmp_path / "cut", resume=True)).fingerprint
        == load_tokenizer(whole).fingerprint
    )


def test_discriminator_learns_from_its_start_and_not_before(folder, tmp_path):
    config = replace(whole_objective(folder), start=None)
    train_tokenizer(config, tmp_path / "run")
    lines = read_metrics(tmp_path / "run")
    assert all("discriminator" not in line["parts"] for line in lines[:2])
    assert all(np.isfinite(line["parts"]["discriminator"]) for line in lines[2:])
    assert lines[2]["parts"]["adaptive"] == 1 and lines[4]["parts"]["adaptive"] != 1  # the ramp begins at 0


def test_adversarial_term_leaves_the_discriminator_alone(folder, tmp_path):
    """Its gradient is that of its own loss, though both losses go backward at once."""
    config = replace(whole_objective(folder), start=None, adversarial=replace(ADVERSARY, lecam=0.0))
    preparation = ImagePreparation(size=16)
    bank = make_bank(config.mixture, preparation=preparation, margin=4, seed=1, at=tmp_path / "bank")
    gradients = []
    for weight in (1e-9, 10.0):
        torch.manual_seed(0)
        config = replace(config, adversarial=replace(config.adversarial, weight=weight, adaptive=False))
        task = TokenizerTask(VQGAN(config.model), bank, config)
        task.loss(task.micro_batches(5, range(4))[0]).total.backward()
        gradients.append(
            [
                p.grad.clone()
                for name in ("discriminator", "vqgan")
                for p in task.modules[name].parameters()
                if p.grad is not None
            ]
        )
        count = len(list(task.discriminator.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*(g[:count] for g in gradients), strict=True))
    assert not all(torch.allclose(a, b) for a, b in zip(*(g[count:] for g in gradients), strict=True))


def test_a_diverging_discriminator_is_caught_and_rolled_back(folder, tmp_path):
    """Its logits run away at an absurd rate; the run goes back, notes it, and stops when it has done so too often."""
    config = replace(whole_objective(folder), start=None)
    wild = replace(ADVERSARY, discriminator_lr=3e4, start_step=4, lecam=0.0, adaptive=False, weight=1e-6)
    train = replace(config.train, steps=16, checkpoint_every=4, max_roll_backs=1, keep_checkpoints=9)
    with pytest.raises(ValueError, match="logit .* ran beyond.* Lower optim.lr"):
        train_tokenizer(replace(config, train=train, adversarial=wild), tmp_path / "run")
    noted = [line["rolled_back"] for line in read_metrics(tmp_path / "run") if "rolled_back" in line]
    assert len(noted) == 1 and noted[0]["to"] == 4 and "logit" in noted[0]["reason"]


def test_fine_tuning_the_decoder_keeps_the_codes_and_improves_its_pictures(folder, tmp_path):
    first = train_tokenizer(config_for(folder), tmp_path / "first")
    before = load_tokenizer(first)
    start = TokenizerStart(tokenizer=str(first), part="decoder")
    train = replace(
        config_for(folder).train, steps=40, positions_per_step=12, optim=OptimConfig(lr=3e-3), checkpoint_every=40
    )
    config = config_for(folder, start=start, train=train, margin=0, mixture=config_for(folder).mixture[:1])
    after = load_tokenizer(train_tokenizer(config, tmp_path / "decoder"))
    assert after.codes_fingerprint == before.codes_fingerprint and after.fingerprint != before.fingerprint
    pictures = make_bank(
        config.heldout, preparation=before.preparation, margin=0, seed=0, at=tmp_path / "bank"
    ).pictures
    scores = [dict(reconstruction_scores(tokenizer, "x", pictures))["x/psnr"] for tokenizer in (before, after)]
    assert scores[1] > scores[0] + 0.3
    whole = replace(config, start=replace(start, part="whole"))
    assert load_tokenizer(train_tokenizer(whole, tmp_path / "all")).codes_fingerprint != before.codes_fingerprint


def test_fine_tuning_refuses_to_round_codes_away(folder, tmp_path):
    first = train_tokenizer(config_for(folder), tmp_path / "first")
    config = config_for(folder, start=TokenizerStart(tokenizer=str(first)), keep="bfloat16")
    with pytest.raises(ValueError, match="would round .* and so change the codes; use keep='float32'"):
        train_tokenizer(config, tmp_path / "second")


def test_split_by_key_is_a_partition(folder, tmp_path):
    whole = config_for(folder).mixture[0]
    sides = [replace(whole, keep=side, heldout_share=0.3) for side in ("train", "heldout")]
    kept = [{key for key in map(str, range(1000)) if side.keeps(key)} for side in sides]
    assert not kept[0] & kept[1] and len(kept[0] | kept[1]) == 1000 and 250 < len(kept[1]) < 350
