"""Evaluation of tokenizers that are known: one that loses nothing, one that is gray, one that blurs."""

import numpy as np
import pytest
import torch

from openlvm.core.images import ImagePreparation, write_image
from openlvm.evaluation.metrics import psnr
from openlvm.evaluation.tokenizer_pictures import DrawnFigures, folder_collections, kmeans_floor, pack_collections
from openlvm.evaluation.tokenizers import evaluate_tokenizers, painted_examples
from openlvm.perceptual.frechet import FeatureStatistics, frechet_distance

SIZE = 32


class Remembering:
    """A tokenizer that paints what it saw, changed by `spoil`; its codes are 0 .. 3, one a picture, in turn."""

    image_size, codes_per_image, codebook_size = SIZE, 1, 8
    preparation = ImagePreparation(size=SIZE)
    fingerprint = codes_fingerprint = "remembering"

    def __init__(self, spoil=lambda pixels: pixels):
        self.spoil = spoil

    def encode(self, pixels):
        """uint8 [B, 32, 32, 3] -> int64 [B, 1]."""
        self.seen = pixels
        return torch.arange(len(pixels))[:, None] % 4

    def decode(self, codes):
        """int64 [B, 1] -> uint8 [B, 32, 32, 3]."""
        assert len(codes) == len(self.seen)
        return self.spoil(self.seen)


def gray(pixels):
    return pixels.float().mean(-1, keepdim=True).round().to(torch.uint8).expand_as(pixels)


def coarse(pixels):
    return pixels[:, ::8, ::8].repeat_interleave(8, 1).repeat_interleave(8, 2)


class MeanColor(torch.nn.Module):
    """Stands in for an Inception: three numbers, the mean color."""

    def forward(self, pixels):
        return pixels.float().mean((1, 2))


@pytest.fixture(scope="module")
def reports():
    """Name -> report over 4 records of each collection of the sample pack."""
    tokenizers = {"same": Remembering(), "gray": Remembering(gray), "coarse": Remembering(coarse)}
    found = evaluate_tokenizers(tokenizers, pack_collections(), limit=4, inception=MeanColor())
    return {report["name"]: report for report in found}


def test_a_tokenizer_that_loses_nothing_has_the_best_scores(reports):
    scores = reports["same"]["scores"]
    assert list(scores) == ["photos", "scenes", "mask", "depth", "normals", "edges", "keypoints"]
    assert all(kind["pictures"] == 4 and kind["psnr_mean"] is None for kind in scores.values())
    best = {
        "photos": {"ssim": 1, "saturation_kept": 1, "hue_error_degrees": 0, "feature distance (HED-VGG)": 0, "rFID": 0},
        "mask": {"mask_iou": 1},
        "depth": {"depth_abs_rel": 0, "depth_error": 0},
        "normals": {"normals_degrees": 0},
        "edges": {"edge_f1": 1},
        "keypoints": {"keypoint_recovery": 1},
    }
    for kind, measures in best.items():
        for name, value in measures.items():
            assert scores[kind][name] == pytest.approx(value, abs=0.05), (kind, name)  # arccos of rounded unit vectors


def test_a_gray_tokenizer_is_seen_by_color_normals_and_rfid_but_not_by_masks(reports):
    same, gray_scores = reports["same"]["scores"], reports["gray"]["scores"]
    assert gray_scores["scenes"]["saturation_kept"] == pytest.approx(0, abs=0.02)
    assert gray_scores["scenes"]["hue_error_degrees"] > 80
    assert gray_scores["normals"]["normals_degrees"] > 30
    assert gray_scores["mask"]["mask_iou"] == same["mask"]["mask_iou"] == 1
    assert gray_scores["scenes"]["rFID"] > 1
    assert gray_scores["keypoints"]["keypoint_recovery"] < 0.3


def test_a_coarse_tokenizer_loses_everywhere(reports):
    scores = reports["coarse"]["scores"]
    assert scores["mask"]["mask_iou"] < 0.95 and scores["edges"]["edge_f1"] < 0.9
    assert scores["depth"]["depth_abs_rel"] > 0.005 and scores["photos"]["ssim"] < 0.7
    assert scores["photos"]["feature distance (HED-VGG)"] > 0.005
    assert scores["photos"]["psnr_mean"] >= scores["photos"]["psnr_of_mean_error"]  # Jensen


def test_report_counts_codes_and_says_what_was_not_computed(reports):
    assert reports["same"]["codes"] == {"looked_at": 28, "used": 0.5, "perplexity": pytest.approx(4)}
    assert reports["same"]["scores"]["photos"]["LPIPS (VGG16)"].startswith("not computed: give --lpips-backbone")
    assert (reports["same"]["image_size"], reports["same"]["codes_per_image"]) == (SIZE, 1)


def test_a_folder_of_pictures_gives_the_numbers_computed_by_hand(tmp_path):
    chance = np.random.default_rng(0)
    pictures = [chance.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(19)]  # more than a batch
    for number, picture in enumerate(pictures):
        write_image(tmp_path / f"{number}.png", picture)
    tokenizer = Remembering(coarse)
    (report,) = evaluate_tokenizers(
        {"coarse": tokenizer}, folder_collections(tmp_path), inception=MeanColor(), lpips=_LumaDistance()
    )
    scores = report["scores"]["pictures"]
    painted = [coarse(torch.from_numpy(picture)[None])[0].numpy() for picture in pictures]
    values = [psnr(*pair) for pair in zip(painted, pictures, strict=True)]
    errors = [np.square(a.astype(float) - b).mean() for a, b in zip(painted, pictures, strict=True)]
    assert scores["pictures"] == 19
    assert scores["psnr_mean"] == pytest.approx(np.mean(values))
    assert scores["psnr_of_mean_error"] == pytest.approx(10 * np.log10(255**2 / np.mean(errors)))
    both = (FeatureStatistics(3), FeatureStatistics(3))
    for statistics, side in zip(both, (pictures, painted), strict=True):
        statistics.add(MeanColor()(torch.from_numpy(np.stack(side))))
    assert scores["rFID"] == pytest.approx(frechet_distance(*both), rel=1e-4)
    luma = np.mean([abs(a.mean() - b.mean()) / 255 for a, b in zip(painted, pictures, strict=True)])
    assert scores["LPIPS (VGG16)"] == pytest.approx(luma, rel=1e-4)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"broken.png.*evaluate again"):
        evaluate_tokenizers({"coarse": tokenizer}, folder_collections(tmp_path))


class _LumaDistance(torch.nn.Module):
    """Stands in for LPIPS: how far the mean values are apart."""

    name = "LPIPS (VGG16)"

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, first, second):
        return (first.mean((1, 2, 3)) - second.mean((1, 2, 3))).abs()


def test_limit_draws_by_seed_and_figures_are_the_same_again():
    photos = pack_collections()[0]
    drawn = {seed: [payload.tobytes() for _, payload in photos.payloads(limit=5, seed=seed)] for seed in (0, 1)}
    assert len(drawn[0]) == 5 and drawn[0] != drawn[1]
    assert drawn[0] == [payload.tobytes() for _, payload in photos.payloads(limit=5, seed=0)]
    source = DrawnFigures(count=3)
    first, again = ([r.slots["keypoints"][0].points for r in source.read(source.parts()[0])] for _ in range(2))
    assert np.array_equal(first, again) and not np.array_equal(first[0], first[1])
    assert np.min(first) > 0 and np.max(first) < 256


def test_examples_show_each_kind_beside_its_reconstructions():
    tokenizers = {"same": Remembering(), "gray": Remembering(gray)}
    names, rows = painted_examples(tokenizers, pack_collections(), each=2, limit=4, seed=0)
    assert sorted(set(names)) == sorted(["photos", "scenes", "mask", "depth", "normals", "edges", "keypoints"])
    assert all(names.count(name) == 2 for name in names)
    for true, same, gray_one in rows:
        assert np.array_equal(true, same) and np.ptp(gray_one.astype(int), axis=-1).max() == 0


def test_floor_paints_its_training_pictures_better_with_more_codes():
    few, many = (kmeans_floor(16, 8, size, records=12, patches=600, iterations=4) for size in (4, 64))
    assert (few.image_size, few.codes_per_image, few.codebook_size) == (16, 4, 4)
    found = evaluate_tokenizers({"few": few, "many": many}, pack_collections()[:1], limit=6)
    psnrs = [report["scores"]["photos"]["psnr_of_mean_error"] for report in found]
    assert psnrs[0] + 1 < psnrs[1]
    assert torch.equal(
        kmeans_floor(16, 8, 4, records=12, patches=600, iterations=4).quantize.embedding.weight,
        few.quantize.embedding.weight,
    )
