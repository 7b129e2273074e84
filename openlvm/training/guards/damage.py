"""Digests of a checkpoint's files: written when the files are there, compared before anything is made of them.

files.json   {"shards/__0_0.distcp": {"bytes": 123, "sha256": "5e88..."}, ...}: every file of the folder but itself

A byte that changes on a disk or on the way is found, not learned from. SHA-256 is the fastest of hashlib where
processors know it (MD5 and BLAKE2 take 2 to 5 times as long): 0.7 to 1.4 s a GiB of what a rank wrote, on a busy core.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch.distributed as dist

from openlvm.core.files import read_json, sha256_of, write_json
from openlvm.training.parallel.collectives import gathered

FILES = "files.json"
GO_BACK = "delete that folder, and the run goes on from the checkpoint before"
_WRITER = re.compile(r"__(\d+)_.*\.distcp")  # rank that wrote a shard

Digests = dict[str, dict[str, int | str]]
"""Path below the checkpoint folder -> {"bytes": size, "sha256": hexadecimal}."""


def digests_of(at: Path, names: Iterable[str]) -> Digests:
    """Read files of the checkpoint folder `at`."""
    return {name: {"bytes": (at / name).stat().st_size, "sha256": sha256_of(at / name)} for name in names}


def files_of(at: Path) -> list[str]:
    """Every file of the checkpoint folder `at` but the list itself."""
    found = (file.relative_to(at).as_posix() for file in at.rglob("*") if file.is_file())
    return sorted(name for name in found if name != FILES)


def write_list(at: Path, known: Mapping[str, dict[str, int | str]]) -> None:
    """Write files.json: the digests known, and those of all other files, which are read."""
    write_json(at / FILES, {**known, **digests_of(at, (name for name in files_of(at) if name not in known))})


def share_of(names: Iterable[str]) -> list[str]:
    """The files that this rank digests; all ranks together have each once, and a shard has the rank that wrote it.

    As many ranks as wrote a checkpoint read the shards that they wrote: what was digested is then still in memory.
    """
    if not dist.is_initialized():
        return list(names)
    rank, world_size = dist.get_rank(), dist.get_world_size()
    share = []
    for place, name in enumerate(sorted(names)):
        shard = _WRITER.fullmatch(Path(name).name)
        if (int(shard[1]) if shard else place) % world_size == rank:
            share.append(name)
    return share


def refuse_damage(at: Path) -> None:
    """Refuse the checkpoint folder `at` if a file lacks or has changed; all ranks call this, each reads its share."""
    listed = _list_of(at)
    for name, entry in listed.items():
        if not (at / name).is_file():
            raise FileNotFoundError(f"checkpoint {at} lacks {name}; copy it there, or {GO_BACK}")
        size = (at / name).stat().st_size
        if size != entry.get("bytes"):
            raise ValueError(f"{at / name} is damaged: {size} bytes, written were {entry.get('bytes')}; {GO_BACK}")
    changed = [name for name in share_of(listed) if sha256_of(at / name) != listed[name].get("sha256")]
    for name in gathered(changed):
        raise _changed(at / name)


def refuse_changed(at: Path, name: str) -> None:
    """Refuse one file of the checkpoint folder `at` if it has changed; a rank may call this alone."""
    if sha256_of(at / name) != _list_of(at).get(name, {}).get("sha256"):
        raise _changed(at / name)


def _list_of(at: Path) -> Digests:
    try:
        listed: Digests = read_json(at / FILES, "list of a checkpoint's files")
    except ValueError as error:
        raise ValueError(f"{error}; {GO_BACK}") from None
    return listed


def _changed(file: Path) -> ValueError:
    return ValueError(f"{file} is damaged: its SHA-256 is not the one that was written to {FILES}; {GO_BACK}")
