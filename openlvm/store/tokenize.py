"""From a source to a store: parts are tokenized one by one or by a pool of processes, and then bound together.

Killed at any moment, the same command goes on where it was and ends with the same bytes: a part is whole or absent, the
request (what was asked for) is written first and store.json last. The store does not depend on the number of workers.
"""

import errno
import fcntl
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openlvm.core.files import TEMPORARY, atomic_write, read_json, sweep, write_json
from openlvm.core.picking import pick
from openlvm.sentences.generated import GENERATED
from openlvm.sources.interface import Part, Source
from openlvm.store.format import (
    FORMAT,
    LABELS,
    MAX_SLOTS,
    PART,
    PART_RECORD,
    PARTS,
    RECORD,
    RECORDS,
    REQUEST,
    STORE,
    Store,
    codes_dtype,
    describe_files,
)
from openlvm.store.part import Job, write_part
from openlvm.tokenizer.folder import load_tokenizer
from openlvm.tokenizer.interface import Tokenizer

log = logging.getLogger(__name__)

MAX_LOGGED = 5
"""Bad records that are logged one by one."""
_QUEUED = 4  # parts a worker may have waiting

Progress = Callable[[int, int, int], None]
"""Told (parts done, parts in all, images so far) after every part."""


def tokenize(
    source: Source,
    *,
    tokenizer: Tokenizer | Path | str,
    at: Path | str,
    generated: Sequence[str] = (),
    seed: int = 0,
    workers: int = 0,
    batch_size: int = 32,
    max_bad_share: float = 0.001,
    progress: Progress | None = None,
) -> Store:
    """Tokenize a source into the store `at`, or finish a store that was begun with the same arguments.

    Args:
        source: what is read.
        tokenizer: a tokenizer, its folder, or the name of an embedded one; with workers not an object.
        at: folder of the store.
        generated: slots made from the pictures, names of `generated.GENERATED`.
        seed: of the generated slots.
        workers: processes of one thread each; 0 works in this one, on one thread too.
        batch_size: images encoded together. Part of the request: sums of another batch may round otherwise.
        max_bad_share: unreadable records are skipped and counted up to this share of all.
        progress: told of every finished part.

    Raises:
        ValueError: another request's store, a wrong argument, too many bad records.
        OSError: a full disk; what is finished stays.
    """
    at = Path(at)
    if workers and not isinstance(tokenizer, str | Path):
        raise ValueError(f"with workers={workers} give the tokenizer's folder; an object cannot be sent to processes")
    if workers < 0 or batch_size < 1 or not 0 <= max_bad_share <= 1:
        raise ValueError(f"workers={workers}, batch_size={batch_size}, max_bad_share={max_bad_share} are out of range")
    loaded = load_tokenizer(tokenizer) if isinstance(tokenizer, str | Path) else tokenizer
    job = Job(source, tuple(generated), seed, batch_size, at / PARTS)
    _check_slots(job)
    parts = source.parts()
    request = _request(job, loaded, parts)
    tally = _Tally(parts, max_bad_share, progress, job.at)
    with _full_disk_explained(at, tally), _claimed(at, request):
        done = _finished_parts(job.at, parts)
        for told in done.values():
            tally.add(told)
        todo = [part for part in parts if part.name not in done]
        with closing(_in_pool(job, todo, tokenizer, workers) if workers else _in_turn(job, todo, loaded)) as results:
            for told in results:
                tally.add(told)
        tally.finish()
        if not (at / STORE).is_file():
            _bind(at, request, [read_json(job.at / part.name / PART, "part header") for part in parts])
    return Store.open(at, loaded)


@contextmanager
def _full_disk_explained(at: Path, tally: "_Tally") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"no space left on the disk of {at}; {tally.parts_done} of {tally.num_parts} parts are done and stay. "
            "Free some space and run the same command again"
        ) from None


def _check_slots(job: Job) -> None:
    for name in job.generated:
        pick(GENERATED, name, "generated slot")
    twice = sorted({slot for slot in job.slots if job.slots.count(slot) > 1})
    if twice or len(job.slots) > MAX_SLOTS:
        raise ValueError(f"a store has at most {MAX_SLOTS} different slots, given {len(job.slots)}, twice: {twice}")


# ------------------------------------------------------------------------------------------------------------- request


def _request(job: Job, tokenizer: Tokenizer, parts: list[Part]) -> dict[str, Any]:
    """What decides the bytes of the store, as JSON values."""
    listing = json.dumps([[part.name, part.items] for part in parts], ensure_ascii=False)
    request = {
        "format": FORMAT,
        "tokenizer": {
            "codes_fingerprint": tokenizer.codes_fingerprint,
            "codes_per_image": tokenizer.codes_per_image,
            "codebook_size": tokenizer.codebook_size,
            "preparation": asdict(tokenizer.preparation),
        },
        "dtype": codes_dtype(tokenizer.codebook_size).name,
        "slots": list(job.slots),
        "source": job.source.describe(),
        "listing": hashlib.sha256(listing.encode()).hexdigest(),
        "generated": list(job.generated),
        "seed": job.seed,
        "batch_size": job.batch_size,
    }
    return json.loads(json.dumps(request))  # tuples become lists, as they do on disk


@contextmanager
def _claimed(at: Path, request: dict[str, Any]) -> Iterator[None]:
    """Begin or go on with a store, alone; refuses the folder of another request or of something else."""
    at.mkdir(parents=True, exist_ok=True)
    if not (at / REQUEST).exists():
        found = sorted(path.name for path in at.iterdir() if not path.name.startswith(TEMPORARY))
        if found:
            raise ValueError(
                f"{at} is not a store and not empty (it holds {', '.join(found[:3])}); give another folder"
            )
        write_json(at / REQUEST, request)
    with open(at / REQUEST) as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is tokenizing into {at}; wait for it") from None
        begun = read_json(at / REQUEST, "tokenize request")
        differs = sorted(key for key in request.keys() | begun.keys() if request.get(key) != begun.get(key))
        if differs:
            told = "; ".join(f"{key} was {_short(begun.get(key))}, is {_short(request.get(key))}" for key in differs)
            raise ValueError(f"the store {at} was begun with another request: {told}. Give another folder or delete it")
        sweep(at)
        yield


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 160 else text[:157] + "..."


def _finished_parts(at: Path, parts: list[Part]) -> dict[str, dict[str, Any]]:
    """What the parts that are already whole say; leavings of killed writers are deleted."""
    at.mkdir(exist_ok=True)
    sweep(at)
    return {part.name: read_json(at / part.name / PART, "part header") for part in parts if (at / part.name).exists()}


# ------------------------------------------------------------------------------------------------------------- working


def _in_turn(job: Job, parts: list[Part], tokenizer: Tokenizer) -> Generator[dict[str, Any], None, None]:
    """Finished parts; on one thread, as in workers, because the order of a sum may depend on the number of threads."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for part in parts:
            yield write_part(job, part, tokenizer)
    finally:
        torch.set_num_threads(num_threads)


def _in_pool(job: Job, parts: list[Part], tokenizer: Any, workers: int) -> Generator[dict[str, Any], None, None]:
    """Finished parts in any order; an error ends the work of all."""
    if not parts:
        return
    context = multiprocessing.get_context("spawn")
    waiting = iter(parts)
    pool = ProcessPoolExecutor(min(workers, len(parts)), context, _start_worker, (job, str(tokenizer)))
    try:
        running: set[Future] = set()
        while True:
            for part in waiting:
                running.add(pool.submit(_work, part))
                if len(running) >= workers * _QUEUED:
                    break
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    except BrokenProcessPool:
        raise OSError(
            "a worker was killed, perhaps for memory; lower workers or batch_size and run the same command again"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}  # of a worker process: its job and its tokenizer


def _start_worker(job: Job, tokenizer: str) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _worker.update(job=job, tokenizer=load_tokenizer(tokenizer))


def _die_with_parent() -> None:
    """A parent that was killed cannot tell its workers; they must not go on writing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(part: Part) -> dict[str, Any]:
    return write_part(_worker["job"], part, _worker["tokenizer"])


class _Tally:
    """Counts records and bad ones, and stops the work when there are too many."""

    def __init__(self, parts: list[Part], max_bad_share: float, progress: Progress | None, parts_at: Path):
        self.num_parts = len(parts)
        self.num_items = sum(len(part.items) for part in parts)
        self.max_bad_share, self.progress, self.parts_at = max_bad_share, progress, parts_at
        self.parts_done = self.images = self.records = self.bad = 0
        self.bad_parts: list[str] = []
        self.told: list[str] = []

    def add(self, told: dict[str, Any]) -> None:
        """Count a finished part; every item of the source is taken to give one record until all are read."""
        self.parts_done += 1
        self.images += told["images"]
        self.records += told["records"]
        self.bad += told["skipped"]
        if told["skipped"]:
            self.bad_parts.append(told["name"])
        for key, reason in told["skipped_first"][: MAX_LOGGED - len(self.told)]:
            self.told.append(f"{key}: {reason}")
            log.warning("skipped record %s: %s", key, reason)
        if self.progress:
            self.progress(self.parts_done, self.num_parts, self.images)
        self._check(max(self.num_items, self.records + self.bad))

    def finish(self) -> None:
        """Judge the share of bad records of the whole source."""
        self._check(self.records + self.bad)
        if not self.records:
            raise ValueError("the source gave no record that could be read; a store needs at least one")

    def _check(self, num_records: int) -> None:
        if self.bad <= self.max_bad_share * num_records:
            return
        for name in self.bad_parts:  # so that mended records are read again
            shutil.rmtree(self.parts_at / name, ignore_errors=True)
        raise ValueError(
            f"{self.bad} of {num_records} records could not be read, more than max_bad_share={self.max_bad_share}; "
            f"first: {'; '.join(self.told)}. Mend them or raise max_bad_share, then run the same command again"
        )


# ------------------------------------------------------------------------------------------------------------- binding


def _bind(at: Path, request: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    """Join the columns of the parts, and write store.json last."""
    labels = sorted({label for part in parts for label in part["labels"]})
    places = {label: place for place, label in enumerate(labels)}
    first_image = 0
    with atomic_write(at / RECORDS) as file:
        for part in parts:
            columns = np.fromfile(at / PARTS / part["name"] / RECORDS, dtype=PART_RECORD)
            joined = np.zeros(len(columns), dtype=RECORD)
            joined["slots"], joined["num_frames"] = columns["slots"], columns["num_frames"]
            joined["label"] = np.array([places[label] for label in part["labels"]], dtype="<u4")[columns["label"]]
            images = np.bitwise_count(columns["slots"]).astype(np.uint64) * columns["num_frames"]
            joined["first_image"] = first_image + np.cumsum(images) - images
            first_image += part["images"]
            file.write(joined.tobytes())
    write_json(at / LABELS, labels)
    kept = ("name", "records", "images", "skipped", "files")
    write_json(
        at / STORE,
        {
            **request,
            "records": sum(part["records"] for part in parts),
            "images": first_image,
            "skipped": sum(part["skipped"] for part in parts),
            "skipped_first": [line for part in parts for line in part["skipped_first"]][:MAX_LOGGED],
            "parts": [{name: part[name] for name in kept} for part in parts],
            "files": describe_files(at, [RECORDS, LABELS]),
        },
    )
