"""`openlvm fit` on recolorings that no packaged model was trained on: makes the folders, fits, prints a line each.

    python benchmarks/fit.py --at runs/fit-new                  # all of MAPPINGS, some minutes of a CPU each
    python benchmarks/fit.py --at runs/fit-new --mapping duotone --seed 1

Pictures: 40 of the package's split "heldout", 24 drawings and 16 people before photographs. mini learned channel
orders, negatives and turned hues, none of these mappings; and none of these pictures. Results: docs/fit.md.
"""

import argparse
import json
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np

from openlvm.core.images import write_image
from openlvm.jobs.fit.config import FitConfig
from openlvm.jobs.fit.questions import NEW
from openlvm.jobs.fit.run import run_fit
from openlvm.sentences.generated import LUMA
from openlvm.sources.pack import PackPoses, PackStamps

NUM_POSES = 16  # of 60, evenly; stamps are 24
DARK, BRIGHT = np.array([20, 20, 110]), np.array([255, 190, 60])


def crossed(image: np.ndarray) -> np.ndarray:
    """Blue's negative becomes red, red green, green blue."""
    return np.stack([255 - image[..., 2], image[..., 0], image[..., 1]], axis=-1)


def duotone(image: np.ndarray) -> np.ndarray:
    """Luma from dark blue to light orange: colors are lost."""
    luma = (image @ LUMA)[..., None] / 255
    return np.rint((1 - luma) * DARK + luma * BRIGHT).clip(0, 255).astype(np.uint8)


def solarized(image: np.ndarray) -> np.ndarray:
    """Each channel rises to its middle and falls again."""
    wide = image.astype(int)
    return np.where(wide < 128, 2 * wide, 2 * (255 - wide)).astype(np.uint8)


MAPPINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "crossed": crossed,
    "duotone": duotone,
    "solarized": solarized,
}


def make_pairs(at: Path, mapping: str) -> Path:
    """Forty pairs in `at`/<mapping>/input and target."""
    records = []
    for source in (PackStamps(split="heldout"), PackPoses(split="heldout")):
        read = [record for part in source.parts() for record in source.read(part)]
        records += read[:: len(read) // NUM_POSES][:NUM_POSES] if isinstance(source, PackPoses) else read
    for record in records:
        name = record.key.replace("/", "-") + ".png"
        write_image(at / mapping / "input" / name, record.slots["image"][0])
        write_image(at / mapping / "target" / name, MAPPINGS[mapping](record.slots["image"][0]))
    return at / mapping


def main() -> None:
    """Make, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", type=Path, required=True)
    parser.add_argument("--mapping", choices=MAPPINGS, action="append")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for mapping in options.mapping or MAPPINGS:
        pairs = make_pairs(options.at / "pairs", mapping)
        before = resource.getrusage(resource.RUSAGE_SELF)
        out = options.at / f"{mapping}-{options.seed}"
        report = run_fit(pairs, FitConfig(seed=options.seed, variants=8), out=out)
        after = resource.getrusage(resource.RUSAGE_SELF)
        told = {name: value for name, value in report["tasks"][NEW].items() if name != "errors"}
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        line = {"mapping": mapping, "seed": options.seed, **told, "seconds": report["seconds"], "cpu_seconds": cpu}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
