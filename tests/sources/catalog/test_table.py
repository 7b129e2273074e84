"""The catalogue has every dataset of the papers, and its rows are honest about them."""

import json
import pickle
import re
from pathlib import Path

import pytest
from miniatures import labelled, moving, pictures, restoration

from openlvm.annotators.spec import read_spec
from openlvm.core.records import IMAGE
from openlvm.sentences.generated import check_generated
from openlvm.sources.catalog.labelled import LABELLED
from openlvm.sources.catalog.moving import MOVING
from openlvm.sources.catalog.pictures import PICTURES
from openlvm.sources.catalog.restoration import RESTORATION
from openlvm.sources.catalog.table import CATALOG

LVM = {
    "LAION-5B subset": ("laion",),
    "ImageNet-1k": ("imagenet",),
    "COCO detection": ("coco_detection",),
    "ADE20K": ("ade20k",),
    "Cityscapes": ("cityscapes",),
    "COCO and ImageNet segmentation": ("coco_segmentation_m2f", "imagenet_segmentation"),
    "COCO, LV-MHP, MPII, Unite pose": ("coco_pose", "lv_mhp", "mpii", "unite_the_people"),
    "COCO and ImageNet depth": ("coco_depth", "imagenet_depth"),
    "COCO and ImageNet normals": ("coco_normals", "imagenet_normals"),
    "COCO and ImageNet edges": ("coco_edges", "imagenet_edges"),
    "InstructPix2Pix": ("instruct_pix2pix",),
    "DID-MDN": ("did_mdn",),
    "SIDD": ("sidd",),
    "LOL": ("lol",),
    "ImageNet colorization": ("imagenet_colorization",),
    "ImageNet inpainting": ("imagenet_inpainting",),
    "KITTI stereo": ("kitti_stereo",),
    "UCF101": ("ucf101",),
    "DAVIS": ("davis",),
    "HMDB": ("hmdb51",),
    "ActivityNet": ("activitynet",),
    "Moments in Time": ("moments_in_time",),
    "Multi-Moments in Time": ("multi_moments",),
    "CO3D": ("co3d",),
    "Charades v1": ("charades",),
    "Something-Something v2": ("something_something_v2",),
    "YouCook": ("youcook",),
    "Kinetics-700": ("kinetics700",),
    "MSR-VTT": ("msr_vtt",),
    "YouTube-VOS": ("youtube_vos",),
    "Jester": ("jester",),
    "Diving48": ("diving48",),
    "MultiSports": ("multisports",),
    "CharadesEgo": ("charades_ego",),
    "AVA": ("ava",),
    "Ego4D": ("ego4d",),
    "VIPSeg": ("vipseg",),
    "Hand14K": ("hand14k",),
    "AVA detection": ("ava_detection",),
    "JHMDB flow": ("jhmdb_flow",),
    "JHMDB pose": ("jhmdb_pose",),
    "Objaverse": ("objaverse",),
}
"""What LVM's table names -> our rows."""
DELVM = ("sa1b", "rain13k", "gopro", "hd_vila_100m", "test2800", "laion400m")
EVALUATION = ("nyuv2", "voc2012_segmentation", "voc2012_detection", "pascal5i", "pascal3d")
TOTAL_TOKENS = 412_688
"""Million tokens that the entries of LVM's table sum up to."""

ALL = (*PICTURES, *RESTORATION, *LABELLED, *MOVING)


def test_catalog_has_every_dataset_of_the_papers_and_of_their_evaluations():
    named = [name for names in LVM.values() for name in names]
    assert sorted({*named, *DELVM, *EVALUATION} - set(CATALOG)) == []
    assert {CATALOG[name].paper for name in named} == {"LVM"}
    assert {CATALOG[name].paper for name in DELVM} == {"DeLVM"}
    assert {CATALOG[name].paper for name in EVALUATION} == {"evaluation"}


def test_catalog_rows_have_names_of_their_own():
    names = [row.name for row in ALL]
    assert len(names) == len(set(names)) == len(CATALOG)


def test_catalog_rows_have_a_miniature_each():
    built = [name for module in (pictures, restoration, labelled, moving) for name in module.MINIATURES]
    assert sorted(built) == sorted(CATALOG)


def test_catalog_tokens_sum_up_to_the_papers():
    """A number that several rows share counts once."""
    counted = [row for row in ALL if row.paper == "LVM" and row.tokens]
    shared = {(row.tokens, row.annotation) for row in counted if row.tokens_shared}
    total = sum(row.tokens for row in counted if not row.tokens_shared) + sum(tokens for tokens, _ in shared)
    assert total == pytest.approx(TOTAL_TOKENS, rel=1e-4)


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_row_says_all_that_is_known(row):
    assert row.name == row.name.lower() and re.fullmatch(r"[a-z0-9_]+", row.name)
    assert row.dataset and row.licence and row.layout.strip()
    assert row.home.startswith("http")
    assert row.layout_source == "" or row.layout_source.startswith("http")
    assert next(iter(row.splits)) in ("train", "test", "val", "fold0")
    assert set(row.promised) <= set(row.splits)
    assert all(count > 0 for count in row.promised.values())
    assert bool(row.annotation) == bool(row.annotated_by)
    if row.sentence in ("pairs", "clip_pairs"):
        assert row.annotation
    for other in filter(None, re.split(r",\s*", row.tokens_shared)):
        assert CATALOG[other].tokens == row.tokens, other


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_row_sources_can_be_sent_and_described(row):
    for split in row.splits:
        source = row.source(Path("somewhere"), split)
        assert source.slots[0] == IMAGE
        assert pickle.loads(pickle.dumps(source)) == source
        assert "somewhere" not in json.dumps(source.describe())
    assert row.source(Path("somewhere")) == row.source(Path("somewhere"), next(iter(row.splits)))
    with pytest.raises(ValueError, match=f"no split of {row.name} called 'trian'"):
        row.source(Path("somewhere"), "trian")


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_row_gives_what_its_sentence_needs(row):
    drawn = [read_spec(text).slot for text in row.annotators]
    slots = [*row.source(Path("somewhere")).slots, *drawn]
    assert len(set(slots)) == len(slots)
    check_generated(row.generated, slots)
    if row.sentence in ("pairs", "clip_pairs", "free_form"):
        assert len(slots) + len(row.generated) > 1
    assert set(row.styles) <= set(slots)
