"""Rows of degraded pictures (slot "image") and what they should look like (slot "clean")."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from openlvm.sources.catalog.row import Row
from openlvm.sources.official.listed.sidd import SiddBlocks
from openlvm.sources.official.matched import MatchedFiles

_PAINTER = "https://github.com/baaivision/Painter/blob/main/Painter/docs/DATA.md"
SIDD_TILE = 256
"""Noise is of single pixels: SIDD's pictures of 16 million are read in squares of the tokenizers' size, as users do."""


def _pairs(image: str, clean: str, **options: Any) -> Callable[[Path], MatchedFiles]:
    return lambda at: MatchedFiles(at=at, files={"image": image, "clean": clean}, **options)


def _side_by_side(template: str) -> Callable[[Path], MatchedFiles]:
    """One file with the degraded picture on the left and the clean one on the right."""
    return _pairs(template, template, columns={"image": (0.0, 0.5), "clean": (0.5, 1.0)})


RESTORATION: tuple[Row, ...] = (
    Row(
        name="did_mdn",
        dataset="DID-MDN (Rain1200)",
        sentence="pairs",
        annotation="picture without rain",
        annotated_by="ground truth",
        tokens=35.06,
        licence="none stated; research",
        home="https://github.com/hezhangsprinter/DID-MDN",
        layout="""
DID-MDN-training/Rain_Heavy/train2018new/0.jpg, ..., Rain_Medium/, Rain_Light/   rainy left half, clean right half;
DID-MDN-test/0.jpg, ...                                                          the density is the label""",
        layout_source="https://github.com/hezhangsprinter/DID-MDN/blob/master/datasets/pix2pix.py",
        splits={
            "train": _side_by_side("DID-MDN-training/Rain_{label}/train2018new/{number}.jpg"),
            "test": _side_by_side("DID-MDN-test/{number}.jpg"),
        },
        promised={"train": 12_000, "test": 1_200},
    ),
    Row(
        name="sidd",
        dataset="SIDD-Medium, sRGB",
        sentence="pairs",
        annotation="picture without noise",
        annotated_by="ground truth",
        tokens=245.76,
        licence="MIT",
        home="https://abdokamel.github.io/sidd/",
        layout=f"""
Data/0001_001_S6_00100_00060_3200_L/0001_NOISY_SRGB_010.PNG, 0001_GT_SRGB_010.PNG, ..._011.PNG, ...
read in squares of {SIDD_TILE} pixels, each a record
ValidationNoisyBlocksSrgb.mat, ValidationGtBlocksSrgb.mat       32 squares of 256 pixels of each of 40 pictures""",
        layout_source="https://github.com/swz30/MIRNet/blob/master/generate_patches_SIDD.py",
        splits={
            "train": _pairs(
                "Data/{scene}/{number}_NOISY_SRGB_{take}.PNG",
                "Data/{scene}/{number}_GT_SRGB_{take}.PNG",
                tile=SIDD_TILE,
                records_per_part=4,  # each gives some 220 tiles
            ),
            "val": lambda at: SiddBlocks(at=at),
        },
        promised={"train": 320, "val": 1_280},
    ),
    Row(
        name="lol",
        dataset="LOL: low light",
        sentence="pairs",
        annotation="picture in normal light",
        annotated_by="ground truth",
        tokens=0.458,
        licence="none stated; research",
        home="https://daooshee.github.io/BMVC2018website/",
        layout="""
our485/low/2.png, our485/high/2.png, ...
eval15/low/1.png, eval15/high/1.png, ...""",
        layout_source=_PAINTER,
        splits={
            "train": _pairs("our485/low/{number}.png", "our485/high/{number}.png"),
            "test": _pairs("eval15/low/{number}.png", "eval15/high/{number}.png"),
        },
        promised={"train": 485, "test": 15},
    ),
    Row(
        name="rain13k",
        dataset="Rain13K",
        sentence="pairs",
        annotation="picture without rain",
        annotated_by="ground truth",
        paper="DeLVM",
        licence="a collection; each of its sets has its own terms",
        home="https://github.com/swz30/MPRNet",
        layout="""
train/input/1.jpg, ...     train/target/1.jpg, ...     the same name, .jpg or .png""",
        layout_source=_PAINTER,
        splits={"train": _pairs("train/input/{name}.*", "train/target/{name}.*")},
        promised={"train": 13_712},
    ),
    Row(
        name="test2800",
        dataset="Test2800 (Rain14000's test set)",
        sentence="pairs",
        annotation="picture without rain",
        annotated_by="ground truth",
        paper="DeLVM",
        licence="none stated; research",
        home="https://xueyangfu.github.io/projects/cvpr2017.html",
        layout="""
test/Test2800/input/901_1.jpg, ...       test/Test2800/target/901_1.jpg, ...      as MPRNet packs it: split "test"
testing/rainy_image/901_1.jpg, ..., 901_14.jpg   testing/ground_truth/901.jpg     as published: split "published" """,
        layout_source=_PAINTER,
        splits={
            "test": _pairs("test/Test2800/input/{name}.*", "test/Test2800/target/{name}.*"),
            "published": _pairs("testing/rainy_image/{scene}_{rain}.jpg", "testing/ground_truth/{scene}.jpg"),
        },
        promised={"test": 2_800, "published": 2_800},
    ),
    Row(
        name="gopro",
        dataset="GoPro (GOPRO_Large)",
        sentence="pairs",
        annotation="sharp picture",
        annotated_by="ground truth",
        paper="DeLVM",
        licence="CC-BY 4.0",
        home="https://seungjunnah.github.io/Datasets/gopro",
        layout="""
train/GOPR0372_07_00/blur/000047.png, train/GOPR0372_07_00/sharp/000047.png, ...; test the same""",
        layout_source="https://github.com/SeungjunNah/DeepDeblur-PyTorch/blob/master/src/data/gopro_large.py",
        splits={
            split: _pairs(f"{split}/{{clip}}/blur/{{frame}}.png", f"{split}/{{clip}}/sharp/{{frame}}.png")
            for split in ("train", "test")
        },
        promised={"train": 2_103, "test": 1_111},
    ),
)
