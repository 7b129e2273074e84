"""What tokenizing costs as a dataset grows: CPU seconds per image and peak memory at 1,000 and 10,000 pictures.

    OMP_NUM_THREADS=1 python benchmarks/tokenizing.py
    OMP_NUM_THREADS=1 python benchmarks/tokenizing.py --images 1000 100000 --tokenizer mini

Goal: cost per image within 10 %, memory flat. Pictures are JPEGs of 256 x 256 pixels, 200 different ones under many
names; reading, drawing, encoding, writing and binding are in. Each run is a process of its own. The smaller one is run
again and again while the larger one runs, because neighbours on the machine change the speed of a core by the minute.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from measure import emit, peak_mb, resident_mb

DIFFERENT = 200
RECORDS_PER_PART = 250


def options() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--images", type=int, nargs=2, default=[1000, 10_000])
    ask.add_argument("--tokenizer", default="demo")
    ask.add_argument("--tiny", action="store_true", help="40 and 400 pictures: a rehearsal of seconds")
    ask.add_argument("--only", type=int, help=argparse.SUPPRESS)
    ask.add_argument("--at", help=argparse.SUPPRESS)
    return ask.parse_args()


def make_pictures(at: Path, count: int) -> None:
    """Smooth random pictures; from the 201st on a name more for one of the 200."""
    from PIL import Image

    at.mkdir(parents=True)
    chance = np.random.default_rng(0)
    for number in range(min(count, DIFFERENT)):
        coarse = chance.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC).save(at / f"{number}.jpg", quality=90)
    for number in range(DIFFERENT, count):
        os.link(at / f"{number % DIFFERENT}.jpg", at / f"{number}.jpg")


def tokenize_once(count: int, at: Path, tokenizer: str) -> dict[str, float]:
    """CPU and wall seconds, and memory beyond what the models take, of tokenizing `count` pictures in this process."""
    from openlvm.sources.layouts import ImageFolder
    from openlvm.store.tokenize import tokenize

    stores = Path(tempfile.mkdtemp(dir=at))
    options = {"tokenizer": tokenizer, "batch_size": 32}
    tokenize(ImageFolder(at=at / "warm-up", records_per_part=32), at=stores / "warm-up", **options)
    before = resident_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    store = tokenize(ImageFolder(at=at / str(count), records_per_part=RECORDS_PER_PART), at=stores / "all", **options)
    told = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "mb": peak_mb() - before}
    assert store.num_images == count
    shutil.rmtree(stores)
    return told


def begin(count: int, at: str) -> subprocess.Popen:
    """`tokenize_once` as a process of its own."""
    command = [sys.executable, *sys.argv, "--only", str(count), "--at", at]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> dict[str, float]:
    printed, _ = process.communicate()
    assert process.returncode == 0, process.returncode
    return json.loads(printed.splitlines()[-1])


def main() -> None:
    given = options()
    few, many = (40, 400) if given.tiny else given.images
    if given.only:
        print(json.dumps(tokenize_once(given.only, Path(given.at), given.tokenizer)))
        return
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        make_pictures(at / "warm-up", 64)
        for count in (few, many):
            make_pictures(at / str(count), count)
        runs: dict[int, list[dict[str, float]]] = {few: [], many: []}
        larger = begin(many, folder)
        while larger.poll() is None or not runs[few]:
            runs[few].append(ended(begin(few, folder)))
        runs[many].append(ended(larger))
    per_image = {}
    for count, told in runs.items():
        per_image[count] = statistics.mean(run["cpu"] for run in told) / count
        facts = {"tokenizer": given.tokenizer, "images": count, "runs": len(told)}
        rate = count / statistics.mean(run["wall"] for run in told)
        emit("tokenize cpu", round(1000 * per_image[count], 3), "ms/image", images_per_second=round(rate, 1), **facts)
        emit("tokenize peak-memory", round(max(run["mb"] for run in told), 1), "MB", **facts)
    emit("tokenize cpu many/few", round(per_image[many] / per_image[few], 4), "ratio", images=[few, many])


if __name__ == "__main__":
    main()
