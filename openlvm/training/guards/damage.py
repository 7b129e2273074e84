"""Digests of a checkpoint's files: written when the files are there, compared before anything is made of them.

files.json   {"files": {"shards/__0_0.distcp": {"bytes": 123, "sha256": "5e88..."}, ...}, "sha256": "9f2c..."}: every
             file of the folder but itself, and the digest of "files" as JSON with sorted keys and no spaces

A byte that changes on a disk or on the way is found, not learned from. SHA-256 is the fastest of hashlib where
processors know it (MD5 and BLAKE2 take 2 to 5 times as long): 0.7 to 1.4 s a GiB of what a rank wrote, on a busy core.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

import torch.distributed as dist

from openlvm.core.files import read_json, sha256_of, write_json
from openlvm.training.parallel.collectives import gathered

FILES = "files.json"
GO_BACK = "delete that folder, and the run goes on from the checkpoint before, or begins anew if there is none"
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


def write_list(at: Path, known: Digests) -> None:
    """Write files.json: the digests known, and those of all other files, which are read."""
    files = {**known, **digests_of(at, (name for name in files_of(at) if name not in known))}
    write_json(at / FILES, {"files": files, "sha256": _digest_of(files)})


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
    found = [_damage_of(at, name, listed[name]) for name in share_of(listed)]
    for damage in gathered([one for one in found if one is not None]):
        raise damage


def refuse_changed(at: Path, name: str) -> None:
    """Refuse one file of the checkpoint folder `at` if it has changed; a rank may call this alone."""
    damage = _damage_of(at, name, _list_of(at)[name])
    if damage is not None:
        raise damage


def _damage_of(at: Path, name: str, written: dict[str, int | str]) -> Exception | None:
    file = at / name
    try:
        size = file.stat().st_size
        if size != written["bytes"]:
            return ValueError(f"{file} is damaged: {size} bytes, written were {written['bytes']}; {GO_BACK}")
        is_as_written = sha256_of(file) == written["sha256"]
    except FileNotFoundError:
        return FileNotFoundError(f"checkpoint {at} lacks {name}; copy it there, or {GO_BACK}")
    except OSError as error:  # what a failing disk says
        return ValueError(f"{file} cannot be read ({error.strerror}); mend that, or {GO_BACK}")
    if not is_as_written:
        return ValueError(f"{file} is damaged: its SHA-256 is not the one that was written to {FILES}; {GO_BACK}")
    return None


def _list_of(at: Path) -> Digests:
    try:
        found = read_json(at / FILES, "list of a checkpoint's files")
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"{error}; {GO_BACK}") from None
    listed: Digests = found.get("files", {}) if isinstance(found, dict) else {}
    if not listed or found.get("sha256") != _digest_of(listed):
        raise ValueError(f"{at / FILES} is damaged: it is not what was written; {GO_BACK}")
    return listed


def _digest_of(files: Digests) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
