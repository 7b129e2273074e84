"""The sample pack: what its files promise, and the sources that read it."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from openlvm.core.records import Depth, Normals, Record, Segmentation
from openlvm.sources import pack_files
from openlvm.sources.pack import PACK_SOURCES, PackClips, PackMotion, PackObjects, PackPhotos, PackTurns, PackViews

FREE = {"CC0-1.0", "PD", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-3.0-US", "CC-BY-4.0"}
BUDGET = 8 * 10**6


def first(source, count=1) -> list[Record]:
    records = []
    for record in source.read(source.parts()[0]):
        records.append(record)
        if len(records) == count:
            break
    return records


def same(a, b) -> bool:
    values = {Segmentation: "ids", Depth: "meters", Normals: "vectors"}
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return np.array_equal(getattr(a, values[type(a)]), getattr(b, values[type(b)]))


def listed_files() -> set[str]:
    index = pack_files.pack_index()
    kinds = ("", ".depth", ".normals", ".parts")
    objects = {f"objects/{o['split']}/{o['label']}/{o['key']}{kind}.webp" for o in index["objects"] for kind in kinds}
    photos = {f"photos/{p['split']}/{p['name']}.webp" for p in index["photos"]}
    clips = {f"clips/{c['split']}/{c['name']}/{n:04d}.webp" for c in index["clips"] for n in range(c["frames"])}
    return objects | photos | clips | {"pack.json"}


def test_pack_files_match_the_listing():
    folder = Path(str(pack_files.pack_folder()))
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == listed_files()


def test_pack_limits_its_size():
    folder = Path(str(pack_files.pack_folder()))
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= BUDGET


def test_pack_licences_are_free_and_credited():
    index = pack_files.pack_index()
    text = Path(str(pack_files.pack_folder())).with_name("ATTRIBUTION.md").read_text()
    for entry in index["objects"] + index["photos"] + index["clips"]:
        assert entry["license"] in FREE and entry["source"] in index["sources"]
        assert entry["credit"] and entry["credit"] in text


def test_splits_share_no_object_photograph_or_clip():
    index = pack_files.pack_index()
    for kind, names in (("objects", ("key",)), ("photos", ("name", "photograph")), ("clips", ("name",))):
        for name in names:
            train, heldout = ({e[name] for e in index[kind] if e["split"] == split} for split in ("train", "heldout"))
            assert train and heldout and not train & heldout


def test_every_heldout_label_is_in_train():
    labels = {split: {o["label"] for o in pack_files.entries("objects", split).values()} for split in pack_files.SPLITS}
    assert labels["heldout"] == labels["train"]


def test_all_objects_hold_consistent_annotations():
    """Depth, normals and parts are known exactly on the mask; depth is in range, normals are unit, facing us."""
    index = pack_files.pack_index()
    reach = np.tan(np.radians(index["fov_degrees"]) / 2)
    y, x = ((np.mgrid[: index["size"], : index["size"]] + 0.5) / index["size"] * 2 - 1) * reach
    rays = np.dstack([x, y, np.ones_like(x)])
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    chosen = index["annotated_views"]
    for entry in index["objects"][::7]:
        views = pack_files.object_views(entry)
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
    index = pack_files.pack_index()
    size, reach = index["size"], np.tan(np.radians(index["fov_degrees"]) / 2)
    y, x = ((np.mgrid[:size, :size] + 0.5) / size * 2 - 1) * reach
    angles = []
    for entry in index["objects"][::9]:
        views = pack_files.object_views(entry)
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


@pytest.mark.parametrize("name", sorted(PACK_SOURCES))
def test_source_repeats(name):
    source = PACK_SOURCES[name]()
    again = pickle.loads(pickle.dumps(source))
    assert source.parts() == again.parts() and source.describe() == again.describe()
    for a, b in zip(first(source, 2), first(again, 2), strict=True):
        assert a.key == b.key and a.label == b.label and tuple(a.slots) == source.slots
        for slot in source.slots:
            assert all(same(x, y) for x, y in zip(a.slots[slot], b.slots[slot], strict=True))


@pytest.mark.parametrize("name", sorted(PACK_SOURCES))
def test_source_records_equal_any_reading_order(name):
    """A record does not depend on which records were read before it."""
    source = PACK_SOURCES[name]()
    part = source.parts()[0]
    item = part.items[min(2, len(part.items) - 1)]
    alone = next(iter(source.read(type(part)("00000", (item,)))))
    among = next(record for record in source.read(part) if record.key == alone.key)
    assert alone.key == item and same(alone.slots["image"][0], among.slots["image"][0])


@pytest.mark.parametrize("name", sorted(PACK_SOURCES))
def test_source_keys_are_unique_and_parts_moderate(name):
    for split in ("train", "heldout"):
        parts = PACK_SOURCES[name](split=split).parts()
        keys = [key for part in parts for key in part.items]
        assert keys and len(set(keys)) == len(keys)
        assert max(len(part.items) for part in parts) <= 64


def test_objects_seed_changes_only_the_background():
    a, b = first(PackObjects(seed=0))[0], first(PackObjects(seed=1))[0]
    on = a.slots["mask"][0].ids == 1
    inside = np.abs(a.slots["image"][0][on].astype(int) - b.slots["image"][0][on]).mean()
    outside = np.abs(a.slots["image"][0][~on].astype(int) - b.slots["image"][0][~on]).mean()
    assert inside < 8 < 16 < outside


def test_turn_frames_share_one_background():
    record = first(PackTurns(background="plain"))[0]
    assert record.num_frames == 8
    empty = np.stack([mask.ids == 0 for mask in record.slots["mask"]]).all(0)
    empty[:, 1:] &= empty[:, :-1]
    empty[:, :-1] &= empty[:, 1:]
    frames = np.stack([image[empty] for image in record.slots["image"]]).astype(int)
    assert np.median(np.ptp(frames, axis=0)) == 0
    assert not np.array_equal(record.slots["image"][0], record.slots["image"][1])


def test_view_and_next_view_equal_consecutive_views_of_the_object():
    records = first(PackViews(background="plain"), 4)
    views = pack_files.object_views(pack_files.entries("objects", "train")[records[0].key.split("/")[0]])
    for record, view in zip(records, pack_files.pack_index()["annotated_views"], strict=True):
        for slot, number in (("image", view), ("next_view", view + 1)):
            solid = views.coverage[number] == 255
            assert np.array_equal(record.slots[slot][0][solid], views.color[number][solid])
        assert np.array_equal(record.slots["mask"][0].ids > 0, record.slots["depth"][0].meters > 0)


def test_motion_moves_smoothly_and_masks_the_object():
    for record in first(PackMotion(clips=16), 16):
        centers = [np.argwhere(mask.ids == 1).mean(0) for mask in record.slots["mask"]]
        steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
        assert record.num_frames == 8 and steps.max() < 20 and steps.sum() > 5
        assert all(mask.ids.mean() > 0.005 for mask in record.slots["mask"])


def test_clips_cover_every_frame_once():
    for clip in pack_files.entries("clips", "train").values():
        records = [r for part in PackClips(frames_per_record=16).parts() for r in PackClips().read(part)]
        lengths = [record.num_frames for record in records if record.label == clip["name"]]
        assert sum(lengths) == clip["frames"] and max(lengths) <= 16


def test_photos_vary():
    source = PackPhotos("heldout")
    photos = [record for part in source.parts() for record in source.read(part)]
    assert len({record.label for record in photos}) >= 3
    assert min(record.slots["image"][0].mean(-1).std() for record in photos) > 12


def test_pack_rejects_unknown_split_and_background():
    with pytest.raises(ValueError, match="split of the sample pack.*'test'"):
        PackPhotos("test").parts()
    with pytest.raises(ValueError, match="background"):
        PackObjects(background="foto")
    with pytest.raises(ValueError, match="scenes_per_object=0"):
        PackTurns(scenes_per_object=0)
