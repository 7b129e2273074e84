"""The data path: composed random sentences of 4096 codes per second, beside the official JSON lines and a memory map.

    python benchmarks/loader.py
    LVM_REPO=.../LVM python benchmarks/loader.py        # the official JsonDataset itself reads its lines

Every side is one process that makes batches of 64 sentences as int64 tensors; the sides take turns. Ours composes each
sentence from 16 pictures of a store while reading: `category` takes 16 records at random, `pairs` 8, `sequence` the
frames of one clip. The official path reads whole sentences that were frozen and shuffled beforehand. The memory map
reads whole random rows of 16-bit codes and does nothing else: the limit.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from measure import emit
from peers import jsonl

from openlvm.core.images import ImagePreparation
from openlvm.core.records import IMAGE, Record
from openlvm.sentences.grammar import MAX_IMAGES, Category, Kind, Pairs
from openlvm.sentences.grammar import Sequence as Frames
from openlvm.sources.interface import Part

SIDE, NUM_CODES = 16, 8192  # 256 codes an image, as LVM's
CODES_PER_IMAGE = SIDE**2
LENGTH = MAX_IMAGES * CODES_PER_IMAGE
LABELS = 20

KINDS: dict[str, Kind] = {"category": Category(), "pairs": Pairs(target="depth"), "sequence": Frames()}
PEERS = ("jsonl", "memmap")


@dataclasses.dataclass(frozen=True)
class PixelTokenizer:
    """Stands in for a tokenizer: a pixel's code is made of its red and green, so that random pictures cost nothing."""

    codes_per_image: int = CODES_PER_IMAGE
    codebook_size: int = NUM_CODES
    image_size: int = SIDE
    fingerprint: str = "pixels"
    codes_fingerprint: str = "pixels"

    @property
    def preparation(self) -> ImagePreparation:
        return ImagePreparation(size=SIDE)

    def encode(self, pixels: Any) -> Any:
        """uint8 [B, 16, 16, 3] -> int64 [B, 256]."""
        return (pixels[..., 0].long() + 256 * (pixels[..., 1] % (NUM_CODES // 256)).long()).flatten(1)

    def decode(self, codes: Any) -> Any:
        raise ValueError("the benchmark draws nothing")


@dataclasses.dataclass(frozen=True)
class RandomClips:
    """Clips of random pictures with an annotation."""

    num_records: int
    frames: int

    slots = (IMAGE, "depth")

    def describe(self) -> dict[str, Any]:
        return {"layout": "random", **dataclasses.asdict(self)}

    def parts(self) -> list[Part]:
        items = [str(number) for number in range(self.num_records)]
        return [Part(f"{index:05d}", tuple(items[index::4])) for index in range(4)]

    def read(self, part: Part) -> Iterator[Record]:
        for item in part.items:
            pixels = np.random.default_rng(int(item)).integers(0, 256, (2, self.frames, SIDE, SIDE, 3), dtype=np.uint8)
            slots = {IMAGE: list(pixels[0]), "depth": list(pixels[1])}
            yield Record(key=item, slots=slots, label=f"label-{int(item) % LABELS}")


def make_data(at: Path, sentences: int) -> None:
    """A store of `sentences` clips of 16 frames with annotations, and as many whole sentences in the peers' forms."""
    from openlvm.store.tokenize import tokenize

    tokenize(RandomClips(sentences, MAX_IMAGES), tokenizer=PixelTokenizer(), at=at / "store", batch_size=256)
    rows = np.random.default_rng(0).integers(0, NUM_CODES, (sentences, LENGTH), dtype=np.int32)
    jsonl.write(at / "sentences.jsonl", rows)
    rows.astype("<u2").tofile(at / "sentences.u16")


def composed(at: Path, kind: Kind, batch_size: int) -> Iterator[np.ndarray]:
    """Ours: batches int64 [batch_size, 4096], position after position of a plan."""
    from openlvm.store.format import Store
    from openlvm.store.plan import Component, Plan

    plan = Plan([Component(Store.open(at / "store"), kind)], seed=0)
    position = 0
    while True:
        found = plan.batch(range(position, position + batch_size))
        yield np.concatenate([sentences.codes for sentences in found])
        position = (position + batch_size) % (plan.num_positions - batch_size)


def raw_rows(at: Path, batch_size: int) -> Iterator[np.ndarray]:
    rows = np.memmap(at / "sentences.u16", dtype="<u2", mode="r").reshape(-1, LENGTH)
    chance = np.random.default_rng(1)
    while True:
        yield rows[chance.integers(0, len(rows), batch_size)]


def one_side(side: str, at: Path, seconds: float, batch_size: int) -> dict[str, Any]:
    """Sentences per second of one side, in this process."""
    import torch

    torch.set_num_threads(1)
    facts: dict[str, Any] = {}
    if side in KINDS:
        batches = composed(at, KINDS[side], batch_size)
    elif side == "memmap":
        batches = raw_rows(at, batch_size)
    else:
        is_official = bool(os.environ.get("LVM_REPO"))
        read = jsonl.read_official if is_official else jsonl.read_format
        batches = read(at / "sentences.jsonl", LENGTH, batch_size)
        facts["reader"] = "EasyLM.data.JsonDataset of LVM" if is_official else "own reader of the official format"
    for _ in range(3):
        torch.from_numpy(np.asarray(next(batches), dtype=np.int64))
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        codes = torch.from_numpy(np.asarray(next(batches), dtype=np.int64))
        assert codes.shape == (batch_size, LENGTH), codes.shape
        count += batch_size
    return {"rate": count / (time.perf_counter() - start), **facts}


def in_own_process(side: str, at: Path, seconds: float) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, "--at", str(at), "--seconds", str(seconds)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(printed.splitlines()[-1])


def options() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--sentences", type=int, default=2000, help="sentences of 16 images on disk")
    ask.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    ask.add_argument("--turns", type=int, default=5)
    ask.add_argument("--at", type=Path, help="folder of the data; a temporary one by default")
    ask.add_argument("--side", choices=[*KINDS, *PEERS], help=argparse.SUPPRESS)
    ask.add_argument("--tiny", action="store_true", help="a rehearsal of seconds")
    given = ask.parse_args()
    if given.tiny:
        given.seconds, given.turns = 0.2, 1
    return given


def main() -> None:
    given = options()
    if given.side:
        print(json.dumps(one_side(given.side, given.at, given.seconds, batch_size=64)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        at = given.at or Path(temporary)
        make_data(at, given.sentences)
        found: dict[str, list[dict[str, Any]]] = {side: [] for side in (*KINDS, *PEERS)}
        for turn in range(given.turns):
            for side in found if turn % 2 == 0 else reversed(found):
                found[side].append(in_own_process(side, at, given.seconds))
        report(found, given, {name: size_of(at / name) for name in ("store", "sentences.jsonl", "sentences.u16")})


def size_of(at: Path) -> int:
    return at.stat().st_size if at.is_file() else sum(path.stat().st_size for path in at.rglob("*") if path.is_file())


def report(found: dict[str, list[dict[str, Any]]], given: argparse.Namespace, sizes: dict[str, int]) -> None:
    codes = given.sentences * LENGTH
    per_code = {"jsonl": sizes["sentences.jsonl"] / codes, "memmap": sizes["sentences.u16"] / codes}
    for side, turns in found.items():
        rates = [turn["rate"] for turn in turns]
        facts = {key: value for key, value in turns[0].items() if key != "rate"}
        spread = round((max(rates) - min(rates)) / statistics.median(rates), 3)
        bytes_per_code = round(per_code.get(side, sizes["store"] / (2 * codes)), 3)
        value = round(statistics.median(rates), 1)
        emit(
            f"loader {side}",
            value,
            "sentences/s",
            turns=len(rates),
            spread=spread,
            bytes_per_code=bytes_per_code,
            **facts,
        )
    for side in KINDS:
        for peer in PEERS:
            pairs = zip(found[side], found[peer], strict=True)
            ratios = [ours["rate"] / theirs["rate"] for ours, theirs in pairs]
            low, high = round(min(ratios), 3), round(max(ratios), 3)
            emit(f"loader {side}/{peer}", round(statistics.median(ratios), 3), "ratio", low=low, high=high)


if __name__ == "__main__":
    main()
