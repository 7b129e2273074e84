r"""A smaller copy of a pack, for a machine to which only so many bytes travel (docs/gpu.md).

    PYTHONPATH=. python tools/thin_pack.py --from /tmp/mini-data/pack --to data/mini --megabytes 28

Kept are all photographs, clips and drawings, some people and game films, and objects in the room that is left, one
entry of every object before a second of any. Of what is held out only what a tokenizer's training scores itself on: the
held-out report reads the sample pack. Which entries, depends on the pack and the budget alone.
"""

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from openlvm.core.files import atomic_folder, read_json

Entry = dict[str, Any]
MB = 10**6

FILES = {
    "clips": ("clips/{split}/{name}/*.webp",),
    "photos": ("photos/{split}/{name}.webp",),
    "stamps": ("stamps/{split}/{name}.webp",),
    "poses": tuple(f"poses/{{split}}/{{clip}}/{{name}}{ending}.webp" for ending in ("", ".depth")),
    "game": tuple(f"game/{{split}}/{{name}}{ending}.webp" for ending in ("", ".depth", ".parts")),
    "objects": tuple(
        f"objects/{{split}}/{{label}}/{{key}}{ending}.webp" for ending in ("", ".depth", ".normals", ".parts")
    ),
}
"""Kind -> files of an entry (openlvm/sources/pack/files.py)."""
GROUPS = {
    "clips": "name",
    "photos": "photograph",
    "stamps": "label",
    "poses": "clip",
    "game": "scenario",
    "objects": "object",
}
"""Kind -> of which groups one entry each is kept before a second of any; an object of the sample pack is its own."""
SHARES = {"clips": 1.0, "photos": 1.0, "stamps": 1.0, "poses": 0.07, "game": 0.18, "objects": 1.0}
"""Kind -> most of the budget it may take, in the order in which they take theirs."""
HELDOUT = {"objects": 30, "photos": 60, "poses": 40}
"""Kind -> held-out entries kept; as many objects as recipes/mini/tokenizer.py scores."""


def name_of(entry: Entry) -> str:
    """What names an entry within its kind."""
    return entry.get("key") or entry["name"]


def in_turn(entries: Iterable[Entry], group: str) -> list[Entry]:
    """The first entry of every group, then the second of each, and so on; groups in an order that mixes their names."""
    seen: Counter[str] = Counter()
    placed = []
    for entry in sorted(entries, key=name_of):
        mixed = sha256(str(entry.get(group, name_of(entry))).encode()).hexdigest()
        placed.append((seen[mixed], mixed, entry))
        seen[mixed] += 1
    return [entry for *_, entry in sorted(placed, key=lambda place: place[:2])]


def files_of(kind: str, entry: Entry, at: Path) -> list[Path]:
    """The files of an entry of the pack `at`.

    Raises:
        FileNotFoundError: one is missing.
    """
    found: list[Path] = []
    for form in FILES[kind]:
        path = at / form.format(**entry)
        files = sorted(path.parent.glob("*.webp")) if path.stem == "*" else [path]
        if not files or not all(file.is_file() for file in files):
            raise FileNotFoundError(f"{at} lacks {path.relative_to(at)} of {name_of(entry)!r}; build the pack anew")
        found += files
    return found


def as_listed(value: Any) -> str:
    """JSON in as few bytes as it goes: a listing is a good part of a thin pack."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def choose(pack: dict[str, Any], at: Path, budget: int) -> dict[str, list[Entry]]:
    """Kind -> entries that stay, within `budget` bytes of files and listing.

    Raises:
        ValueError: no room for one of the kinds.
    """
    kinds = [kind for kind in SHARES if kind in pack]
    kept: dict[str, list[Entry]] = {kind: [] for kind in kinds}
    left = budget - len(as_listed({name: value for name, value in pack.items() if name not in kinds}).encode())

    def take(kind: str, entries: Iterable[Entry], room: float) -> Iterator[int]:
        for entry in entries:
            size = len(as_listed(entry).encode()) + 1 + sum(file.stat().st_size for file in files_of(kind, entry, at))
            room -= size
            if room < 0:
                return
            kept[kind].append(entry)
            yield size

    scored = [("heldout", kind) for kind in kinds if kind in HELDOUT]
    for split, kind in [*scored, *(("train", kind) for kind in kinds)]:
        entries = in_turn((entry for entry in pack[kind] if entry["split"] == split), GROUPS[kind])
        entries = entries[: HELDOUT[kind]] if split == "heldout" else entries
        taken = list(take(kind, entries, min(left, SHARES[kind] * budget)))
        if entries and not taken:
            raise ValueError(f"{budget / MB:g} MB leave no room for {split} {kind}; give more --megabytes")
        left -= sum(taken)
    return kept


def thin(at: Path, to: Path, *, budget: int) -> dict[str, list[Entry]]:
    """Write the thin copy of the pack `at` into the folder `to`, whole or not at all; returns what it holds.

    Args:
        budget: bytes of all files together, at most.
    """
    if to.exists() and any(to.iterdir()) and not (to / "pack.json").is_file():
        raise ValueError(f"{to} holds something that is no pack; give another folder")
    if to.resolve() == at.resolve():
        raise ValueError(f"{to} is the pack that is read; give another folder")
    pack = read_json(at / "pack.json", "listing of a pack")
    kept = choose(pack, at, budget)
    with atomic_folder(to) as folder:
        for kind, entries in kept.items():
            for entry in entries:
                for file in files_of(kind, entry, at):
                    copy = folder / file.relative_to(at)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, copy)
        listed = {kind: sorted(entries, key=name_of) for kind, entries in kept.items()}
        (folder / "pack.json").write_bytes(as_listed(pack | listed).encode())
    return kept


def main() -> None:
    """Parse the command line, write the copy, say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="at", type=Path, required=True, help="folder of the pack to thin")
    parser.add_argument("--to", type=Path, required=True, help="folder of the copy; an older pack there is replaced")
    parser.add_argument("--megabytes", type=float, default=28.0, help="of all files together, at most; a MB is 10^6")
    options = parser.parse_args()
    for kind, entries in thin(options.at, options.to, budget=int(options.megabytes * MB)).items():
        size = sum(file.stat().st_size for entry in entries for file in files_of(kind, entry, options.to))
        heldout = sum(entry["split"] == "heldout" for entry in entries)
        print(f"{kind:8} {len(entries) - heldout:5} for training, {heldout:3} held out, {size / MB:6.2f} MB")
    total = sum(file.stat().st_size for file in options.to.rglob("*") if file.is_file())
    print(f"{options.to}: {total / MB:.2f} MB in all")


if __name__ == "__main__":
    main()
