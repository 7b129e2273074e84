r"""Build the large pack that the embedded model `mini` is trained on: as the sample pack, from the same free sources.

    PYTHONPATH=. pack/bin/python tools/build_mini_data.py --at /tmp/mini-data/pack --cache /tmp/debs

`pack` is the environment of tools/build_sample_pack.py with vizdoom==1.3.2 and pybullet==3.2.7 (Python 3.11). What is
held out of the sample pack is held out here too. The large pack is not shipped; the sources of openlvm.sources.pack
read it with `at`.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

from build_sample_pack import HELDOUT_PHOTOGRAPHS, WALLPAPERS, write_clips, write_photos
from mini_data import game, objects, people, stamps
from sample_pack import photos, rendering, strips
from sample_pack.attribution import LICENSES, sources
from sample_pack.packages import debian_package

from openlvm.core.files import read_json, write_json

ASSETS = Path(__file__).parents[1] / "openlvm" / "assets"
PEOPLE = {"train": 115, "heldout": 55}  # pictures of each motion
CROPS = 60  # of each photograph, at most; the sample pack has 15, which are the first of these


def header(seed: int) -> dict[str, Any]:
    """What pack.json says of the whole pack."""
    head: dict[str, Any] = {"version": 1, "size": rendering.SIZE, "seed": seed, "num_views": rendering.NUM_VIEWS}
    head |= {"step_degrees": rendering.STEP_DEGREES, "fov_degrees": rendering.FOV_DEGREES}
    return head | {"annotated_views": list(strips.ANNOTATED_VIEWS), "licenses": LICENSES, "sources": sources()}


def build_photos(at: Path, *, cache: Path, work: Path, seed: int, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """The sample pack's photographs, cut into up to CROPS crops each."""
    del sample
    trees = [(debian_package(name, cache=cache, at=work), name) for name in WALLPAPERS]
    found = [photo for tree, name in trees for photo in photos.wallpapers(tree, name, HELDOUT_PHOTOGRAPHS)]
    found += photos.library_photographs(HELDOUT_PHOTOGRAPHS)
    return write_photos(at, iter(found), count=CROPS, seed=seed)


def build_clips(at: Path, *, cache: Path, work: Path, seed: int, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """The sample pack's three films, as they are there."""
    del seed, sample
    return write_clips(at, cache=cache, work=work)


def build_objects(at: Path, *, cache: Path, work: Path, seed: int, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """Every usable object, most of them three times."""
    chosen = objects.catalogue(cache=cache, work=work, pack=sample)
    entries = []
    for entry in objects.write_objects(chosen, at, seed=seed, pack=sample, pack_at=ASSETS / "sample-pack"):
        entries.append(entry)
        if len(entries) % 100 == 0:
            print(f"{len(entries)} entries of objects, the last is {entry['key']}", flush=True)
            extend(at, seed, "objects", entries)
    return entries


def build_stamps(at: Path, *, cache: Path, work: Path, seed: int, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """Drawings with exact outlines."""
    del seed, sample
    return stamps.write_stamps(at, stamps.stamps(debian_package(stamps.PACKAGE, cache=cache, at=work)))


def build_poses(at: Path, *, cache: Path, work: Path, seed: int, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """Pictures of people in motion; three whole motions are held out."""
    del cache, work, sample
    return people.write_people(at, people.people(PEOPLE, seed=seed))


def build_game(at: Path, *, cache: Path, work: Path, seed: int, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """First-person films; whole maps are held out."""
    del cache, work, sample
    entries = []
    for place in game.PLACES:
        made = game.write_films(at, place, game.films(place, seed=seed))
        print(f"{place.scenario} {place.map}: {len(made)} of {place.films} films", flush=True)
        entries += made
    return entries


STEPS = {"photos": build_photos, "clips": build_clips, "objects": build_objects}
STEPS |= {"stamps": build_stamps, "poses": build_poses, "game": build_game}
"""What the pack holds -> how it is made, in this order."""


def extend(at: Path, seed: int, kind: str, entries: list[dict[str, Any]]) -> None:
    """Put one kind of entries into pack.json; the other kinds stay."""
    listing = at / "pack.json"
    pack = read_json(listing, "listing of a pack") if listing.exists() else {}
    write_json(listing, pack | header(seed) | {kind: sorted(entries, key=lambda e: e.get("key") or e["name"])})


def main() -> None:
    """Parse the command line and build the kinds asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", type=Path, required=True, help="folder of the pack; other kinds in it are kept")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/debs"), help="downloaded packages, used first")
    parser.add_argument("--work", type=Path, default=Path("/tmp/mini-data/work"), help="folder for unpacked packages")
    parser.add_argument("--kinds", nargs="+", choices=sorted(STEPS), default=list(STEPS), help="what to build")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    sample = read_json(ASSETS / "sample-pack" / "pack.json", "listing of a pack")
    for kind in (kind for kind in STEPS if kind in options.kinds):
        shutil.rmtree(options.at / kind, ignore_errors=True)
        made = STEPS[kind](options.at, cache=options.cache, work=options.work, seed=options.seed, sample=sample)
        extend(options.at, options.seed, kind, made)
        heldout = sum(entry["split"] == "heldout" for entry in made)
        print(f"{kind}: {len(made)} entries, {heldout} held out", flush=True)


if __name__ == "__main__":
    main()
