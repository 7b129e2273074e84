"""DeLVM (Hao, Guo et al., ICML 2024, arXiv 2402.04841): likelihood of answers, and masks by a threshold.

Its release has no evaluation code. Known of the paper are the metrics and the held-out sets; what is not (which part of
SA-1B, how many pairs, which threshold) is chosen here and said. Its tables by data size, balance and distillation are
these columns over several LVMs; the same comparisons in miniature (docs/delvm.md) have columns of their own, on solids.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from openlvm.core.images import ImagePreparation
from openlvm.core.records import BadRecord, Record
from openlvm.evaluation.harness.classical import CLASSICAL
from openlvm.evaluation.harness.questions import Column, Episode
from openlvm.evaluation.harness.records import PairsOf, items_of
from openlvm.evaluation.harness.scores import Reference
from openlvm.evaluation.harness.suite import Data, Plan, Suite
from openlvm.evaluation.measures.codes import ACCURACY, LOSS, PERPLEXITY, PERPLEXITY_OF_MEAN
from openlvm.evaluation.published import packaged
from openlvm.evaluation.published.bar2022 import foreground
from openlvm.evaluation.published.painter import rain_scene
from openlvm.sources.catalog.table import CATALOG
from openlvm.sources.interface import Part, Source
from openlvm.sources.listing import folder_of, natural_order
from openlvm.sources.official.listed.folds import NUM_FOLDS
from openlvm.sources.worlds.primitives import PrimitivesWorld

SHOTS = 3
"""Pairs before the query: those of its demo, which fill its context of eight pictures."""
COUNT = 1000
"""Episodes of each column; the paper's number is not known."""
PREPARATION = ImagePreparation(size=256, fit="crop", filter="bilinear")
"""Resize and CenterCrop of its release."""
METRICS = (LOSS, ACCURACY, PERPLEXITY_OF_MEAN, PERPLEXITY)
_TEACHER_FORCED = (
    f"{SHOTS} pairs (as in the authors' demo) and a query; cross entropy, share of right codes and perplexity of the "
    "answer's codes, the true ones before them given. Examples are other held-out pictures. Losses compare only "
    "between models of one tokenizer"
)


def _likelihood(name: str, pairs: PairsOf, data: str, protocol: str) -> Column:
    return Column(name=name, asks="likelihood", metrics=METRICS, episodes=pairs.episodes, question=pairs.question,
                  data=data, protocol=protocol)  # fmt: skip


def _official(data: Data, source: Callable[[], Source], **options: Any) -> PairsOf:
    return PairsOf(source=source, shots=SHOTS, count=data.episodes or COUNT, preparation=PREPARATION, seed=data.seed,
                   **options)  # fmt: skip


@dataclass(frozen=True)
class LastFolder:
    """The unpacked pictures of SA-1B's last folder; archives and other folders are left to training."""

    source: Source

    @property
    def slots(self) -> tuple[str, ...]:
        """Those of the source."""
        return self.source.slots

    def describe(self) -> dict[str, Any]:
        """The source's own, and what of it is read."""
        return {**self.source.describe(), "only": "last folder"}

    def parts(self) -> list[Part]:
        """The folder's pictures.

        Raises:
            ValueError: no picture is unpacked.
        """
        unpacked = [item for item in items_of(self.source) if not item.endswith(".tar")]
        if not unpacked:
            raise ValueError(
                "the held-out pictures of SA-1B must be unpacked, and not be trained on: make a folder of its last "
                "archive (mkdir sa_000999; tar -xf sa_000999.tar -C sa_000999) and move the archive away"
            )
        last = max(map(folder_of, unpacked), key=natural_order)
        return [Part("00000", tuple(item for item in unpacked if folder_of(item) == last))]

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """The source's records."""
        return self.source.read(part)


def segmentation(data: Data) -> Column:
    """All masks of a picture, each in a color of its own."""
    if data.is_packaged:
        pairs = packaged.view_pairs(data, "parts", shots=SHOTS)
        return _likelihood("segmentation", pairs, packaged.about("parts of objects"), f"{_TEACHER_FORCED}.")
    pairs = _official(data, lambda: LastFolder(CATALOG["sa1b"].source(data.at("sa1b"))), asked="instances")
    return _likelihood(
        "segmentation", pairs, "SA-1B, the last folder of unpacked pictures (the paper's part is not known)",
        f"{_TEACHER_FORCED}. Masks have palette colors by size, smaller ones on top; DeLVM's are random and add up.",
    )  # fmt: skip


def pose(data: Data) -> Column:
    """Skeletons of people."""
    row = CATALOG["mpii_delvm"]
    if data.is_packaged:
        pairs = packaged.pose_pairs(data, shots=SHOTS, styles=row.styles)
        return _likelihood("pose", pairs, packaged.about("one person each"), f"{_TEACHER_FORCED}.")
    pairs = _official(data, lambda: row.source(data.at(row.name), "val"), asked="pose", styles=row.styles)
    return _likelihood("pose", pairs, "MPII validation",
                       f"{_TEACHER_FORCED}. True joints in OpenPose's style on black.")  # fmt: skip


def deraining(data: Data) -> Column:
    """Pictures without their rain."""
    if data.is_packaged:
        pairs = packaged.photo_pairs(data, "rainy", shots=SHOTS)
        return _likelihood("deraining", pairs, packaged.about("photographs, rain drawn over"), f"{_TEACHER_FORCED}.")
    pairs = _official(
        data, lambda: CATALOG["test2800"].source(data.at("test2800"), "test"), asked="clean", cluster_of=rain_scene
    )
    return _likelihood("deraining", pairs, "Test2800",
                       f"{_TEACHER_FORCED}; none shows the query's scene, which comes with 14 rains.")  # fmt: skip


def bright(picture: np.ndarray) -> np.ndarray:
    """Pixels whose mean of the channels is above the middle, bool [H, W]; the paper's threshold is not known."""
    return np.asarray(picture.mean(axis=-1) > 127.5)


def pascal(data: Data, *, fold: int) -> Column:
    """One fold of Pascal-5i; masks are white on black, so that gray levels tell them from the background."""
    return foreground(
        data, fold=fold, name=f"Pascal-5i s{fold}", shots=SHOTS, read=bright, seen=PREPARATION, scored=PREPARATION,
        protocol=f"Queries and draws of bar2022, {SHOTS} examples of the query's class before a black background; "
        f"{PREPARATION.size} pixels, the middle square; foreground is where the answer's gray is above 127.5. The "
        "paper's number of examples, threshold and kind of mean are not known.",
    )  # fmt: skip


SOLIDS = PrimitivesWorld(split="heldout", count=160, size=64)
"""The held-out records of benchmarks/delvm.py."""


def solids(data: Data, *, task: str) -> Column:
    """An annotation of ray-cast solids as benchmarks/delvm.py measures it: sentences of two pairs, both answers."""
    pairs = PairsOf(source=lambda: SOLIDS, asked=task,
                    preparation=ImagePreparation(size=SOLIDS.size, fit="squash", filter="bilinear"))  # fmt: skip

    def episodes() -> list[Episode]:
        keys = items_of(SOLIDS)[: data.episodes]
        return [
            Episode(number=number, query=key, examples=(keys[number - 1],) if number % 2 else (),
                    label=f"{number % 2} examples", cluster=keys[number - number % 2])
            for number, key in enumerate(keys)
        ]  # fmt: skip

    return Column(
        name=f"solids {task}", asks="likelihood", metrics=METRICS, episodes=episodes, question=pairs.question,
        data=f"ray-cast solids of {SOLIDS.size} pixels, held out: kinds and colors that training does not show",
        protocol="Both answers of sentences of two pairs: the first without an example, the second with one. The rows "
        "of docs/delvm.md are of the tokenizer mini; losses compare only between models of one tokenizer.",
    )  # fmt: skip


_PAPER = "DeLVM (arXiv 2402.04841), second hand: pages that explain it"
_OURS = (
    "this project's miniature (docs/delvm.md), mean of three seeds, tokenizer mini; other pairs of the same pictures, "
    "and one more target a sentence, its end"
)
MINIATURE = {  # loss of masks, depth and normals, nats a code
    "miniature: raw mixture": (1.559, 1.260, 0.999),
    "miniature: duplication": (1.178, 1.448, 1.103),
    "miniature: augmentation": (1.003, 1.448, 1.088),
    "miniature: student from scratch": (1.005, 1.450, 1.087),
    "miniature: distilled student": (0.966, 1.371, 1.026),
    "miniature: teacher": (0.889, 1.031, 0.868),
}
TASKS = ("mask", "depth", "normals")

SUITE = Suite(
    name="delvm",
    about="DeLVM (Hao, Guo et al., ICML 2024): likelihood of masks, poses and rainless pictures, and Pascal-5i by a "
    "threshold. Values of its tables by balance and distillation were not found; those of a miniature stand beside",
    plans=(
        Plan(name="segmentation", datasets=("sa1b",), make=segmentation),
        Plan(name="pose", datasets=("mpii_delvm",), make=pose),
        Plan(name="deraining", datasets=("test2800",), make=deraining),
        *(
            Plan(name=f"Pascal-5i s{fold}", datasets=("pascal5i",), make=partial(pascal, fold=fold),
                 classical=lambda: [CLASSICAL["Otsu"]])
            for fold in range(NUM_FOLDS)
        ),
        *(Plan(name=f"solids {task}", make=partial(solids, task=task)) for task in TASKS),
    ),
    references=(
        Reference(name="DeLVM 300M, 1 % of SA-1B", values={"segmentation": 4.83},
                  source=f"{_PAPER}; 0.34 billion tokens of segmentation alone, perplexity 125.6"),
        Reference(name="DeLVM 300M, 10 % of SA-1B", values={"segmentation": 4.64},
                  source=f"{_PAPER}; 3.43 billion tokens of segmentation alone, perplexity 103.2"),
        Reference(name="DeLVM 300M, distilled and fine-tuned",
                  values={f"Pascal-5i s{fold}": iou for fold, iou in enumerate((0.1858, 0.2132, 0.1990, 0.2108))},
                  source=_PAPER),
        *(
            Reference(name=name, source=_OURS,
                      values={f"solids {task}": loss for task, loss in zip(TASKS, losses, strict=True)})
            for name, losses in MINIATURE.items()
        ),
    ),
)  # fmt: skip
