"""From a source to a store: parts are tokenized, here or by many workers, and then bound together.

Killed at any moment, the same command goes on where it was and ends with the same bytes: a part is whole or absent, the
request (what was asked for) is written first and store.json last. The store depends neither on the number of workers
nor on the engine.
"""

import errno
import fcntl
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from openlvm.annotators.spec import slot_of
from openlvm.core.files import TEMPORARY, atomic_write, read_json, sweep, write_json
from openlvm.core.picking import pick
from openlvm.sentences.generated import check_generated
from openlvm.sentences.render import STYLES
from openlvm.sources.interface import Part, Source
from openlvm.store.bind import bind
from openlvm.store.engines.cluster import Actors
from openlvm.store.engines.crew import Crew, work_off
from openlvm.store.engines.local import Processes, in_turn
from openlvm.store.engines.worker import Loaded, Models, Precision
from openlvm.store.format import BAD, FORMAT, MAX_SLOTS, PART, PARTS, REQUEST, STORE, Passport, Store, codes_dtype
from openlvm.store.part import Job
from openlvm.tokenizer.interface import Tokenizer

log = logging.getLogger(__name__)

MAX_LOGGED = 5
"""Bad records that are logged one by one."""

Engine = Literal["local", "ray"]


ALONE = ("local", "cpu", "fp32")
"""Engine, device and precision of a tokenizer that is given as an object: whatever it is, it stays."""


class Standing(NamedTuple):
    """How far the work is."""

    parts_done: int
    num_parts: int
    records: int
    images: int
    bad: int
    """Records that could not be read."""


Progress = Callable[[Standing], None]
"""Told once of what was finished before, then after every part."""


def tokenize(
    source: Source,
    *,
    tokenizer: Tokenizer | Path | str,
    at: Path | str,
    generated: Sequence[str] = (),
    annotators: Sequence[str] = (),
    styles: Mapping[str, str] | None = None,
    passport: Passport | None = None,
    seed: int = 0,
    engine: Engine = "local",
    workers: int = 0,
    ray_address: str = "",
    workers_per_gpu: int = 8,
    device: str = "cpu",
    precision: Precision = "fp32",
    batch_size: int = 32,
    shard: tuple[int, int] = (0, 1),
    max_bad_share: float = 0.001,
    progress: Progress | None = None,
) -> Store:
    """Tokenize a source into the store `at`, or finish a store that was begun with the same arguments.

    Args:
        source: what is read.
        tokenizer: a tokenizer, its folder, or its name; an object works in this process alone, where it is.
        at: folder of the store; with several machines, one that all reach.
        generated: slots made from the pictures, names of `sentences/generated.py`.
        annotators: slots that models add, "slot=kind:what" each (`annotators/spec.py`).
        styles: slot -> how its annotation is drawn, where that is not the usual way (`sentences/render.py`).
        passport: where the data come from; kept in the store.
        seed: of the generated slots.
        engine: "local" is this machine; "ray" a Ray cluster, or one that is started here for the time.
        workers: processes of one thread each; 0 works in this one, with Ray on everything the cluster has.
        ray_address: of a running cluster; "auto" on one of its machines.
        workers_per_gpu: with Ray, processes that share one GPU.
        device: "cpu" or "cuda", of tokenizer and annotators. Part of the request, as are precision and batch_size: sums
            on another device, in another precision, of another batch may round otherwise.
        precision: "bf16" is faster and changes few codes (`tokenizer/speed/prepare.py`).
        batch_size: images encoded together.
        shard: (i, n) takes every n-th part from the i-th on, for n independent commands with a store each.
        max_bad_share: unreadable records are skipped and counted up to this share of all.
        progress: told how far the work is.

    Raises:
        ValueError: another request's store, a wrong argument, too many bad records.
        OSError: a full disk, or a part that failed again and again; what is finished stays.
    """
    at, given = Path(at), None if isinstance(tokenizer, str | Path) else tokenizer
    models = Models("" if given else str(tokenizer), tuple(annotators), device, precision)
    hands = Hands(engine, workers, ray_address, workers_per_gpu)
    slots = tuple(map(slot_of, annotators))
    job = Job(source, tuple(generated), seed, batch_size, at / PARTS, slots, dict(styles or {}))
    _check(job, models, hands, shard, max_bad_share)
    loaded = models.load(given) if hands.is_this_process else replace(models, device="cpu").load()
    parts = source.parts()[shard[0] :: shard[1]]
    request = _request(job, models, loaded, parts, shard, passport)
    _make(at, job, request, _Tally(parts, max_bad_share, progress, job.at), _writer(job, models, loaded, hands))
    return Store.open(at, loaded.tokenizer)


class Hands(NamedTuple):
    """Who works, as `tokenize` was told."""

    engine: Engine
    workers: int
    ray_address: str
    per_gpu: int

    @property
    def is_this_process(self) -> bool:
        """Nobody else; where others work, the models here are only asked who they are, and need no GPU."""
        return self.engine == "local" and not self.workers


Writer = Callable[[list[Part]], Generator[dict[str, Any], None, Any]]
"""Writes parts; what their part.json say, as they are finished."""


def _writer(job: Job, models: Models, loaded: Loaded, hands: Hands) -> Writer:
    def crew() -> Crew:
        if hands.engine == "local":
            return Processes(job, models, loaded.facts(), workers=hands.workers)
        address, per_gpu = hands.ray_address, hands.per_gpu
        return Actors(job, models, loaded.facts(), workers=hands.workers, address=address, workers_per_gpu=per_gpu)

    if hands.is_this_process:
        return lambda parts: in_turn(job, parts, loaded)
    return lambda parts: work_off(parts, crew())


def _make(at: Path, job: Job, request: dict[str, Any], tally: "_Tally", write: Writer) -> None:
    """Write the parts that are missing, then what a store has beside its parts."""
    with _full_disk_explained(at, tally), _claimed(at, request):
        (at / BAD).unlink(missing_ok=True)  # of a run that stopped
        done = _finished_parts(job.at, tally.parts)
        for told in done.values():
            tally.count(told)
        tally.tell()
        missing = [part for part in tally.parts if part.name not in done]
        if missing:
            with closing(write(missing)) as results:
                for told in results:
                    tally.count(told)
                    tally.tell()
            with suppress(OSError):  # on another machine a late attempt may still be writing; the next run sweeps again
                sweep(job.at)
        tally.finish()
        if not (at / STORE).is_file():
            bind(at, _header(request), [part.name for part in tally.parts])


@contextmanager
def _full_disk_explained(at: Path, tally: "_Tally") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"no space left on the disk of {at}; {tally.parts_done} of {len(tally.parts)} parts are done and stay. "
            "Free some space and run the same command again"
        ) from None


def _check(job: Job, models: Models, hands: Hands, shard: tuple[int, int], max_bad_share: float) -> None:
    """Refuse arguments that are out of range or contradict each other, before anything is loaded or written."""
    numbers = {"workers": hands.workers, "workers_per_gpu": hands.per_gpu, "batch_size": job.batch_size}
    if hands.workers < 0 or hands.per_gpu < 1 or job.batch_size < 1 or not 0 <= shard[0] < shard[1]:
        raise ValueError(f"one of {numbers}, shard={shard} is out of range")
    if not 0 <= max_bad_share <= 1:
        raise ValueError(f"max_bad_share={max_bad_share} must be a share, 0 to 1")
    if hands.engine not in get_args(Engine) or models.precision not in get_args(Precision):
        known = (*get_args(Engine), *get_args(Precision))
        raise ValueError(f"engine={hands.engine!r}, precision={models.precision!r}: known are {', '.join(known)}")
    if hands.ray_address and hands.engine != "ray":
        raise ValueError(f"ray_address={hands.ray_address!r} needs engine='ray'")
    if not models.tokenizer and (hands.workers or (hands.engine, models.device, models.precision) != ALONE):
        raise ValueError(
            f"with workers={hands.workers}, engine={hands.engine!r}, device={models.device!r}, "
            f"precision={models.precision!r} give the tokenizer's folder; an object works as it is, in this process"
        )
    _check_slots(job)


def _check_slots(job: Job) -> None:
    drawn = (*job.source.slots, *job.annotated)
    check_generated(job.generated, drawn)
    known = {style: None for styles in STYLES.values() for style in styles}
    for slot, style in job.styles.items():
        pick(dict.fromkeys(drawn), slot, "slot to draw in a style")
        pick(known, style, f"style for slot {slot!r}")
    twice = sorted({slot for slot in job.slots if job.slots.count(slot) > 1})
    if twice or len(job.slots) > MAX_SLOTS:
        raise ValueError(f"a store has at most {MAX_SLOTS} different slots, given {len(job.slots)}, twice: {twice}")


# ------------------------------------------------------------------------------------------------------------- request


def _request(
    job: Job, models: Models, loaded: Loaded, parts: list[Part], shard: tuple[int, int], passport: Passport | None
) -> dict[str, Any]:
    """What decides the bytes of the store, as JSON values; what was not asked for is not mentioned."""
    tokenizer = loaded.tokenizer
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
        "listing": _sha256_of_listing(parts),
        "generated": list(job.generated),
        "seed": job.seed,
        "batch_size": job.batch_size,
    }
    computed = (models.device.partition(":")[0], models.precision)
    asked = {
        "annotators": loaded.facts()["annotators"],
        "styles": job.styles,
        "passport": passport.values() if passport else {},
        "computed": {"device": computed[0], "precision": computed[1]} if computed != ("cpu", "fp32") else {},
        "shard": list(shard) if shard != (0, 1) else [],
    }
    request |= {name: value for name, value in asked.items() if value}
    return json.loads(json.dumps(request))  # tuples become lists, as they do on disk


def _sha256_of_listing(parts: list[Part]) -> str:
    """Of [[name, items], ...] as JSON, made piece by piece: the text of millions of names is not held at once."""
    digest = hashlib.sha256(b"[")
    for number, part in enumerate(parts):
        digest.update(b", " if number else b"")
        digest.update(json.dumps([part.name, part.items], ensure_ascii=False).encode(errors="surrogateescape"))
    digest.update(b"]")
    return digest.hexdigest()


def _header(request: dict[str, Any]) -> dict[str, Any]:
    """What store.json says besides counts: the request, and a passport wherever there is anything to say in one."""
    told = {**request.get("passport", {}), **{name: request[name] for name in ("annotators",) if name in request}}
    if not told:
        return request
    return {**request, "passport": {**told, "codes_fingerprint": request["tokenizer"]["codes_fingerprint"]}}


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


# ------------------------------------------------------------------------------------------------------------ counting


class _Tally:
    """Counts records and bad ones, and stops the work when there are too many."""

    def __init__(self, parts: list[Part], max_bad_share: float, progress: Progress | None, parts_at: Path):
        self.parts, self.max_bad_share, self.progress, self.parts_at = parts, max_bad_share, progress, parts_at
        self.num_items = sum(len(part.items) for part in parts)
        self.parts_done = self.images = self.records = self.bad = 0
        self.bad_parts: list[str] = []
        self.told: list[str] = []

    def count(self, told: dict[str, Any]) -> None:
        """Count a finished part, and stop if too much is bad; each item counts as one record until all are read."""
        self.parts_done += 1
        self.images += told["images"]
        self.records += told["records"]
        self.bad += told["skipped"]
        if told["skipped"]:
            self.bad_parts.append(told["name"])
        for key, reason in told["skipped_first"][: MAX_LOGGED - len(self.told)]:
            self.told.append(f"{key}: {reason}")
            log.warning("skipped record %s: %s", key, reason)
        self._check(max(self.num_items, self.records + self.bad))

    def tell(self) -> None:
        """How far the work is."""
        if self.progress:
            self.progress(Standing(self.parts_done, len(self.parts), self.records, self.images, self.bad))

    def finish(self) -> None:
        """Judge the share of bad records of the whole source."""
        self._check(self.records + self.bad)
        if not self.records:
            raise ValueError("the source gave no record that could be read; a store needs at least one")

    def _check(self, num_records: int) -> None:
        if self.bad <= self.max_bad_share * num_records:
            return
        report_at = self.parts_at.parent / BAD
        with atomic_write(report_at) as file:
            for lines_at in sorted(self.parts_at / name / BAD for name in self.bad_parts):
                file.write(lines_at.read_bytes() if lines_at.is_file() else b"")
        for name in self.bad_parts:  # so that mended records are read again
            shutil.rmtree(self.parts_at / name, ignore_errors=True)
        raise ValueError(
            f"{self.bad} of {num_records} records could not be read, more than max_bad_share={self.max_bad_share}; "
            f"first: {'; '.join(self.told)}. All are in {report_at}. "
            "Mend them or raise max_bad_share, then run the same command again"
        )
