"""A thin pack holds what fits, in the order that was promised, and is a pack that the sources read."""

import json
import shutil
from pathlib import Path

import pytest
from scripts import script

from openlvm.sources.pack import PackGame, PackPoses, PackViews
from openlvm.sources.pack.files import open_pack

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "openlvm" / "assets" / "sample-pack"
OBJECTS = {f"chair-{number}" for number in range(6)}


thin_pack = script("tools/thin_pack.py")


def _object(key: str, split: str = "train") -> dict:
    return {"key": key, "object": key.split("#")[0], "label": "chair", "split": split}


@pytest.fixture
def pack(tmp_path):
    """A pack of 6 objects with 2 entries each, 2 photographs, 8 game films; every file has 1000 bytes."""
    entries = {
        "objects": [_object(f"{key}{variant}") for key in sorted(OBJECTS) for variant in ("", "#2")],
        "photos": [{"name": f"sea-{n}", "photograph": "sea", "split": s} for n, s in enumerate(("train", "heldout"))],
        "game": [{"name": f"map-{n}", "scenario": "map", "split": "train"} for n in range(8)],
    }
    entries["objects"].append(_object("lamp-0", "heldout"))
    for kind, listed in entries.items():
        for entry in listed:
            entry["credit"] = "x" * 500  # so that the listing weighs something
            for form in thin_pack.FILES[kind]:
                file = tmp_path / "pack" / form.format(**entry)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"x" * 1000)
    (tmp_path / "pack" / "pack.json").write_text(json.dumps({"version": 1, "size": 128, **entries}))
    return tmp_path / "pack"


def _names(kept: dict, kind: str, split: str = "train") -> list[str]:
    return [thin_pack.name_of(entry) for entry in kept[kind] if entry["split"] == split]


def test_every_object_comes_once_before_any_comes_twice(pack, tmp_path):
    kept = thin_pack.thin(pack, tmp_path / "thin", budget=50_000)
    names = _names(kept, "objects")
    assert set(names[:6]) == OBJECTS and 6 < len(names) < 12 and all(name.endswith("#2") for name in names[6:])


def test_a_kind_takes_its_share_and_the_rest_is_the_objects(pack, tmp_path):
    kept = thin_pack.thin(pack, tmp_path / "thin", budget=50_000)
    assert len(kept["game"]) == 2  # of 3 files and their line each, in 0.18 of 50 000 bytes
    assert _names(kept, "objects", "heldout") == ["lamp-0"] and _names(kept, "photos", "heldout") == ["sea-1"]


@pytest.mark.parametrize("budget", [48_000, 49_300, 51_500, 52_700])
def test_bytes_stay_within_the_budget_and_files_match_the_listing(pack, tmp_path, budget):
    kept = thin_pack.thin(pack, tmp_path / "thin", budget=budget)
    files = [file for file in (tmp_path / "thin").rglob("*") if file.is_file()]
    assert budget - 5_500 < sum(file.stat().st_size for file in files) <= budget
    listed = [file for kind, entries in kept.items() for e in entries for file in thin_pack.files_of(kind, e, pack)]
    copied = {file.relative_to(tmp_path / "thin") for file in files}
    assert copied == {*(file.relative_to(pack) for file in listed), Path("pack.json")}
    index = json.loads((tmp_path / "thin" / "pack.json").read_text())
    assert index["size"] == 128
    assert [e["key"] for e in index["objects"]] == sorted(entry["key"] for entry in kept["objects"])


def test_the_same_budget_gives_the_same_bytes(pack, tmp_path):
    for name in ("one", "two"):
        thin_pack.thin(pack, tmp_path / name, budget=50_000)
    assert (tmp_path / "one" / "pack.json").read_bytes() == (tmp_path / "two" / "pack.json").read_bytes()


def test_refusals_say_what_to_do(pack, tmp_path):
    with pytest.raises(ValueError, match="0.007 MB leave no room for train photos; give more --megabytes"):
        thin_pack.thin(pack, tmp_path / "thin", budget=7_000)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="holds something that is no pack"):
        thin_pack.thin(pack, tmp_path / "mine", budget=50_000)
    with pytest.raises(ValueError, match="is the pack that is read"):
        thin_pack.thin(pack, pack, budget=50_000)
    next(pack.glob("game/train/*.depth.webp")).unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks game/train/map-\d.depth.webp of 'map-\d'; build the pack anew"):
        thin_pack.thin(pack, tmp_path / "thin", budget=10**6)
    assert not (tmp_path / "thin").exists()


def test_sources_read_a_thin_sample_pack(tmp_path):
    at = shutil.copytree(SAMPLE, tmp_path / "sample")
    kept = thin_pack.thin(at, tmp_path / "thin", budget=2_800_000)
    assert 10 < len(_names(kept, "objects")) < len(open_pack().entries("objects", "train"))
    for kind in (PackViews, PackGame, PackPoses):
        source = kind(at=tmp_path / "thin")
        [part, *_] = source.parts()
        record = next(iter(source.read(part)))
        assert tuple(record.slots) == source.slots and record.slots["image"][0].std() > 5
