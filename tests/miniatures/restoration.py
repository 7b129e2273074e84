"""Miniatures of the datasets of degraded pictures (openlvm/sources/catalog/restoration.py) as they are published."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from miniatures.files import Expected, picture, save_jpeg, save_png

from openlvm.sources.catalog.restoration import SIDD_TILE


def did_mdn(at: Path) -> Expected:
    """Each file has the rainy picture on the left and the clean one on the right; names come again in each density."""
    places = {f"DID-MDN-training/Rain_{density}/train2018new": "train" for density in ("Heavy", "Light", "Medium")}
    expected: Expected = {"train": {}, "test": {}}
    for folder, split in {**places, "DID-MDN-test": "test"}.items():
        for number in (0, 1):
            both = np.concatenate([picture(number, 16, 24), picture(9 + number, 16, 24)], axis=1)
            held = save_jpeg(at / folder / f"{number}.jpg", both)
            density = folder.split("/")[1][5:] + "/" if split == "train" else ""
            expected[split][f"{density}{number}"] = {"image": [held[:, :24]], "clean": [held[:, 24:]]}
    return expected


def sidd(at: Path) -> Expected:
    """One scene with both takes, large enough for two tiles side by side and a remainder."""
    scene, side = "0001_001_S6_00100_00060_3200_L", SIDD_TILE
    expected: Expected = {"train": {}}
    for take in ("010", "011"):
        both = {
            slot: save_png(
                at / f"Data/{scene}/0001_{kind}_SRGB_{take}.PNG", picture(number + int(take), side + 9, 2 * side)
            )
            for number, (slot, kind) in enumerate({"image": "NOISY", "clean": "GT"}.items())
        }
        for column in (0, 1):
            part = slice(column * side, (column + 1) * side)
            expected["train"][f"{scene}/0001/{take}#0-{column}"] = {
                slot: [pixels[:side, part]] for slot, pixels in both.items()
            }
    (at / "Scene_Instances.txt").write_text(scene + "\n")
    blocks = sidd_blocks(at)
    expected["val"] = {
        f"{number:02d}/{square:02d}": {slot: [squares[number, square]] for slot, squares in blocks.items()}
        for number, square in np.ndindex(*blocks["image"].shape[:2])
    }
    return expected


def sidd_blocks(at: Path, pictures: int = 2, squares: int = 2, side: int = 32) -> dict[str, np.ndarray]:
    """SIDD's two files of validation squares; slot -> uint8 [pictures, squares, side, side, 3]."""
    from scipy.io import savemat

    at.mkdir(parents=True, exist_ok=True)
    blocks = {}
    variables = (("image", "ValidationNoisyBlocksSrgb"), ("clean", "ValidationGtBlocksSrgb"))
    for seed, (slot, variable) in enumerate(variables):
        chance = np.random.default_rng(seed)
        blocks[slot] = chance.integers(0, 256, (pictures, squares, side, side, 3), dtype=np.uint8)
        savemat(at / f"{variable}.mat", {variable: blocks[slot]})
    return blocks


def _folders(at: Path, places: dict[str, tuple[str, str, tuple[str, ...]]]) -> Expected:
    """Split -> (degraded folder, clean folder, names with endings): the same name on both sides."""
    return {
        split: {
            name.rpartition(".")[0]: {
                slot: [
                    (save_png if name.endswith("png") else save_jpeg)(at / folder / name, picture(100 * side + place))
                ]
                for side, (slot, folder) in enumerate({"image": degraded, "clean": clean}.items())
            }
            for place, name in enumerate(names)
        }
        for split, (degraded, clean, names) in places.items()
    }


def lol(at: Path) -> Expected:
    """Low and normal light in two folders."""
    return _folders(
        at,
        {
            "train": ("our485/low", "our485/high", ("2.png", "10.png")),
            "test": ("eval15/low", "eval15/high", ("1.png",)),
        },
    )


def rain13k(at: Path) -> Expected:
    """Names of both endings, as the sets that it collects had them."""
    return _folders(at, {"train": ("train/input", "train/target", ("1.jpg", "2.jpg", "norain-5.png"))})


def test2800(at: Path) -> Expected:
    """MPRNet's packing, and the publisher's, where 14 rainy pictures share a clean one (here two)."""
    expected = _folders(at, {"test": ("test/Test2800/input", "test/Test2800/target", ("901_1.jpg", "901_2.jpg"))})
    expected["published"] = {}
    for scene in ("901", "902"):
        clean = save_jpeg(at / f"testing/ground_truth/{scene}.jpg", picture(int(scene)))
        for rain in ("1", "14"):
            rainy = save_jpeg(at / f"testing/rainy_image/{scene}_{rain}.jpg", picture(int(scene) + int(rain)))
            expected["published"][f"{scene}/{rain}"] = {"image": [rainy], "clean": [clean]}
    return expected


def gopro(at: Path) -> Expected:
    """Clips with a folder of blurred and one of sharp frames; the gamma-corrected third is not read."""
    expected: Expected = {"train": {}, "test": {}}
    for split, clip in {"train": "GOPR0372_07_00", "test": "GOPR0384_11_00"}.items():
        for number in (47, 48):
            planes = {
                kind: save_png(at / split / clip / kind / f"{number:06d}.png", picture(number + place))
                for place, kind in enumerate(("blur", "sharp", "blur_gamma"))
            }
            expected[split][f"{clip}/{number:06d}"] = {"image": [planes["blur"]], "clean": [planes["sharp"]]}
    return expected


MINIATURES: dict[str, Callable[[Path], Expected]] = {
    "did_mdn": did_mdn,
    "sidd": sidd,
    "lol": lol,
    "rain13k": rain13k,
    "test2800": test2800,
    "gopro": gopro,
}
"""Row -> what builds its miniature in a folder and returns what must be read of it."""
