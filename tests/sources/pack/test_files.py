"""The files of a pack: what the sample pack promises, and packs in other folders."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from openlvm.sources.pack import PackMotion, PackObjects, PackPhotos, PackViews
from openlvm.sources.pack.files import SPLITS, open_pack

FREE = {"CC0-1.0", "PD", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-3.0-US", "CC-BY-4.0", "Zlib", "BSD-3-Clause"}
BUDGET = 9 * 10**6
KINDS = {"objects": "object", "photos": "photograph", "clips": "name", "stamps": "name", "poses": "clip"}
KINDS |= {"game": "scenario"}


def listed_files() -> set[str]:
    index = open_pack().index
    kinds = ("", ".depth", ".normals", ".parts")
    objects = {f"objects/{o['split']}/{o['label']}/{o['key']}{kind}.webp" for o in index["objects"] for kind in kinds}
    photos = {f"photos/{p['split']}/{p['name']}.webp" for p in index["photos"]}
    clips = {f"clips/{c['split']}/{c['name']}/{n:04d}.webp" for c in index["clips"] for n in range(c["frames"])}
    stamps = {f"stamps/{s['split']}/{s['name']}.webp" for s in index["stamps"]}
    poses = {f"poses/{p['split']}/{p['clip']}/{p['name']}{kind}.webp" for p in index["poses"] for kind in kinds[:2]}
    layers = ("", ".depth", ".parts")
    game = {f"game/{g['split']}/{g['name']}{layer}.webp" for g in index["game"] for layer in layers}
    return objects | photos | clips | stamps | poses | game | {"pack.json"}


def test_pack_files_match_the_listing():
    folder = open_pack().folder
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == listed_files()


def test_pack_limits_its_size():
    folder = open_pack().folder
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= BUDGET


def test_pack_licences_are_free_and_credited():
    index = open_pack().index
    text = open_pack().folder.with_name("ATTRIBUTION.md").read_text()
    for entry in (entry for kind in KINDS for entry in index[kind]):
        assert entry["license"] in FREE and entry["source"] in index["sources"]
        credited = entry["credit"].removeprefix("openclipart.org, ").split(";")[0].split(", E. Coumans")[0]
        assert credited and credited in text and index["licenses"][entry["license"]] in text


def test_splits_share_no_object_photograph_film_drawing_motion_or_map():
    index = open_pack().index
    for kind, group in KINDS.items():
        name = "key" if kind == "objects" else "name"
        for field in (name, group if group != "object" else name):
            train, heldout = ({e[field] for e in index[kind] if e["split"] == split} for split in SPLITS)
            assert train and heldout and not train & heldout, kind


def test_every_heldout_label_is_in_train():
    labels = {split: {o["label"] for o in open_pack().entries("objects", split).values()} for split in SPLITS}
    assert labels["heldout"] == labels["train"]


def test_all_objects_hold_consistent_annotations():
    """Depth, normals and parts are known exactly on the mask; depth is in range, normals are unit, facing us."""
    index = open_pack().index
    reach = np.tan(np.radians(index["fov_degrees"]) / 2)
    y, x = ((np.mgrid[: index["size"], : index["size"]] + 0.5) / index["size"] * 2 - 1) * reach
    rays = np.dstack([x, y, np.ones_like(x)])
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    chosen = index["annotated_views"]
    for entry in index["objects"][::7]:
        views = open_pack().object_views(entry)
        for place, view in enumerate(chosen):
            on = views.masks[view].ids == 1
            meters, vectors = views.depths[place].meters, views.normals[place].vectors
            assert 0.05 < on.mean() < 0.95, entry["key"]
            assert np.array_equal(on, views.coverage[view] >= 128)
            assert np.array_equal(meters > 0, on) and np.array_equal(views.parts[place].ids > 0, on)
            assert meters[on].min() >= np.float32(entry["near"]) and meters[on].max() <= np.float32(entry["far"])
            np.testing.assert_allclose(np.linalg.norm(vectors[on], axis=-1), 1, atol=1e-5)
            assert not vectors[~on].any()
            toward = (vectors[on] * rays[on]).sum(
                -1
            )  # rendered below -0.03; a step of the stored grid is 10 degrees there
            assert toward.max() < 0.2 and toward.mean() < -0.3, entry["key"]


def test_normals_match_the_slope_of_depth():
    """On smooth surfaces the stored normals agree with those of the back-projected depth: same camera, same axes."""
    index = open_pack().index
    size, reach = index["size"], np.tan(np.radians(index["fov_degrees"]) / 2)
    y, x = ((np.mgrid[:size, :size] + 0.5) / size * 2 - 1) * reach
    angles = []
    for entry in index["objects"][::9]:
        views = open_pack().object_views(entry)
        meters, vectors, parts = views.depths[0].meters, views.normals[0].vectors, views.parts[0].ids
        points = np.dstack([x, y, np.ones_like(x)]) * meters[..., None]
        across = (points[4:-4, 8:] - points[4:-4, :-8]) / 8
        down = (points[8:, 4:-4] - points[:-8, 4:-4]) / 8
        slope = np.cross(down, across)
        slope /= np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-12)
        window = np.lib.stride_tricks.sliding_window_view(vectors, (9, 9), axis=(0, 1))
        flat = (np.ptp(window, axis=(-2, -1)).max(-1) < 0.06) & (parts[4:-4, 4:-4] > 0)
        angles.append(np.degrees(np.arccos(np.clip((slope * vectors[4:-4, 4:-4]).sum(-1)[flat], -1, 1))))
    angles = np.concatenate(angles)
    assert len(angles) > 1000 and np.median(angles) < 6


@pytest.fixture
def small_pack(tmp_path) -> Path:
    """A pack of two objects, three crops and two drawings of the sample pack in another folder."""
    sample = open_pack()
    index = dict(sample.index)
    counts = {"objects": 2, "photos": 3, "stamps": 2}
    for kind, count in counts.items():
        index[kind] = [entry for entry in sample.index[kind] if entry["split"] == "train"][:count]
        shutil.copytree(sample.folder / kind / "train", tmp_path / kind / "train")
    del index["poses"]
    (tmp_path / "pack.json").write_text(json.dumps(index))
    return tmp_path


def test_sources_read_the_pack_they_are_given(small_pack):
    keys = [key for part in PackViews(at=small_pack).parts() for key in part.items]
    assert len(keys) == 2 * 4
    photos = PackPhotos(at=small_pack)
    assert [record.key for record in photos.read(photos.parts()[0])] == list(
        open_pack(small_pack).entries("photos", "train")
    )
    here, sample = PackObjects(at=small_pack, seed=3), PackObjects(seed=3)
    given, expected = (next(iter(source.read(source.parts()[0]))) for source in (here, sample))
    on = given.slots["mask"][0].ids == 1
    assert given.key == expected.key
    assert np.array_equal(on, expected.slots["mask"][0].ids == 1)
    assert not np.array_equal(given.slots["image"][0], expected.slots["image"][0])  # other photographs to draw from


def test_description_names_the_pack_and_not_its_folder(small_pack):
    here, sample = PackObjects(at=small_pack).describe(), PackObjects().describe()
    assert "at" not in here and str(small_pack) not in str(here)
    assert here["pack"] != sample["pack"]
    assert {**here, "pack": ""} == {**sample, "pack": ""}


def test_stamps_move_too(small_pack):
    source = PackMotion(at=small_pack, things="stamps", clips=3)
    for record in source.read(source.parts()[0]):
        areas = [mask.ids.sum() for mask in record.slots["mask"]]
        assert record.key.split("/")[1] in open_pack(small_pack).entries("stamps", "train") and min(areas) > 200
        assert not np.array_equal(record.slots["mask"][0].ids, record.slots["mask"][-1].ids)


def test_absent_packs_and_kinds_are_named(tmp_path, small_pack):
    with pytest.raises(FileNotFoundError, match="no pack.json in .*nothing.*build_mini_data"):
        PackPhotos(at=tmp_path / "nothing").parts()
    with pytest.raises(ValueError, match="has no poses"):
        open_pack(small_pack).entries("poses", "train")
