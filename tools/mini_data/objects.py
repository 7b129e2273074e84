"""Every usable object of the furniture libraries, several times over: other sides, heights of the camera and lights.

An object of the sample pack keeps its key, its split and its first picture; a further entry is called "<object>#2".
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sample_pack import furniture, rendering, strips
from sample_pack.packages import debian_package, unzip

from openlvm.core.seeds import rng, seed_of

LEFT_OUT = (  # banknotes, trade-marked devices, flat signs and mats, pictures of pictures, see-through glass
    r"bill .*|apple .*|playstation|mp3 .*|.*\bplug|.*\bsocket|.*\bswitch|arrow .*|parking .*|pedestrian crossing|"
    r"rail.*|.*sign|.*carpet|.*rug|.*mat|tatami|frame .*|newspaper|card game|calendar|.*glass|"
    r".*glasses|.*swimming pool|concrete sidewalk|smoke detector|contemporary living room|glass door|"
    r"entry .*|dvd player"
)
NEW_HELDOUT = 0.065  # of the objects that the sample pack lacks: with its 41, about a tenth of all
OVERSAMPLING = 2  # samples along each side of a pixel; 4 in the sample pack, which costs three times as much
ENTRIES = {"train": 3, "heldout": 1}  # times that a labelled object is shown; unlabelled ones once less, at least once


def catalogue(*, cache: Path, work: Path, pack: dict[str, Any]) -> list[tuple[furniture.Furniture, str]]:
    """All objects with their splits, those of the sample pack first, so that a double of them is the one left out."""
    libraries = debian_package("sweethome3d-furniture", cache=cache, at=work) / "usr/share/sweethome3d/furniture"
    items = [
        item
        for name in furniture.LIBRARIES
        for item in furniture.furniture_of(unzip(libraries / f"{name}.sh3f", work / name), other=LEFT_OUT)
    ]
    known = {entry["key"]: entry["split"] for entry in pack["objects"]}
    unique = {item.key: item for item in items}
    order = sorted(unique.values(), key=lambda item: (known.get(item.key, "new") != "heldout", item.key not in known))
    return [(item, known.get(item.key) or _split(item.key)) for item in order]


def _split(key: str) -> str:
    return "heldout" if seed_of("mini heldout", key) % 1000 < 1000 * NEW_HELDOUT else "train"


def write_objects(
    chosen: list[tuple[furniture.Furniture, str]], at: Path, *, seed: int, pack: dict[str, Any], pack_at: Path
) -> Iterator[dict[str, Any]]:
    """Put every object below `at`/objects; yields pack.json's entries, one or more for each usable object.

    The sample pack's own pictures are copied. A mesh that occurs again under another name is left out.
    """
    renderer, meshes_seen = rendering.Renderer(OVERSAMPLING), set()
    known = {entry["key"]: entry for entry in pack["objects"]}
    for item, split in chosen:
        try:
            meshes = rendering.load_meshes(item)
        except (ValueError, OSError) as error:
            print(f"{item.key} cannot be read: {error}", flush=True)
            continue
        shape = rendering.shape_of(meshes)
        if shape in meshes_seen and item.key not in known:
            continue
        meshes_seen.add(shape)
        if item.key in known:
            yield _copied(known[item.key], pack_at, at)
        wanted = max(1, ENTRIES[split] - item.label.startswith("other-"))
        for number in range(2 if item.key in known else 1, wanted + 1):
            entry = _rendered(renderer, meshes, item, split, number, at, seed)
            if entry is None:
                break
            yield entry


def _copied(entry: dict[str, Any], pack_at: Path, at: Path) -> dict[str, Any]:
    folder = Path("objects") / entry["split"] / entry["label"]
    (at / folder).mkdir(parents=True, exist_ok=True)
    for kind in ("", ".depth", ".normals", ".parts"):
        shutil.copy(pack_at / folder / f"{entry['key']}{kind}.webp", at / folder)
    return {**entry, "object": entry["key"]}


def _rendered(
    renderer: rendering.Renderer,
    meshes: list[Any],
    item: furniture.Furniture,
    split: str,
    number: int,
    at: Path,
    seed: int,
) -> dict[str, Any] | None:
    """Render the object once more and write its strips; None when it does not make a good picture."""
    key = item.key if number == 1 else f"{item.key}#{number}"
    chance = rng("object", seed, key)
    light = np.array([0.3, 0.75, 0.6]) + chance.uniform([-0.9, -0.4, -0.3], [0.5, 0.2, 0.3])
    azimuth, elevation = float(chance.uniform(0, 360)), float(chance.uniform(8, 45))
    views = renderer.views(meshes, azimuth=azimuth, elevation=elevation, light=light)
    if not rendering.is_good(views):
        return None
    measured = strips.write_views(views, at / "objects" / split / item.label / key, method=1)
    credit = {"source": "sweethome3d-furniture", "credit": item.creator, "license": item.license}
    names = {"label": item.label, "name": item.name, "category": item.category, "library": item.library}
    return {"key": key, "object": item.key, "split": split, **names, **credit, **measured, "camera": views.camera}
