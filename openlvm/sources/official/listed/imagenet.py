"""ImageNet's validation pictures, whose classes stand in the development kit of the challenge."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openlvm.core.images import MAX_PIXELS
from openlvm.core.records import IMAGE, BadRecord, Record
from openlvm.sources.interface import Part, describe_fields, require_positive, split_into_parts
from openlvm.sources.listing import PICTURE_ENDINGS, find_files, folder_of
from openlvm.sources.matlab import read_mat, structs
from openlvm.sources.official.matched import item_of, read_items

KIT = "ILSVRC2012_devkit_t12/data"
ANSWERS = f"{KIT}/ILSVRC2012_validation_ground_truth.txt"
SYNSETS = f"{KIT}/meta.mat"


@dataclass(frozen=True, kw_only=True)
class ImageNetValidation:
    """ILSVRC 2012's validation set, flat as it is published, or sorted into class folders as most users have it.

        val/ILSVRC2012_val_00000001.JPEG               with the development kit beside val/
        val/n01751748/ILSVRC2012_val_00000001.JPEG     needs no kit

    Either way the key is "ILSVRC2012_val_00000001" and the label "n01751748", the name of a training folder.
    """

    at: Path
    """Folder of `val` and of the development kit."""
    records_per_part: int = 1000
    """Pictures read and written as one unit of work."""
    max_pixels: int = MAX_PIXELS
    """Larger pictures are skipped and reported, before they are decoded."""

    def __post_init__(self) -> None:
        require_positive(records_per_part=self.records_per_part, max_pixels=self.max_pixels)

    @property
    def slots(self) -> tuple[str, ...]:
        """The picture alone."""
        return (IMAGE,)

    def describe(self) -> dict[str, Any]:
        """Layout and options, without the place on disk."""
        return describe_fields("imagenet_validation", self)

    def parts(self) -> list[Part]:
        """Pictures in the order of their numbers.

        Raises:
            FileNotFoundError: no `val`, or it is flat and the kit is missing.
            ValueError: pictures and answers differ in number, or an answer is no class.
            ImportError: scipy is not installed; the kit's table is a MATLAB file.
        """
        names = find_files(Path(self.at) / "val", PICTURE_ENDINGS, "pictures")
        flat = [name for name in names if not folder_of(name)]
        if flat and len(flat) < len(names):
            raise ValueError(
                f"{self.at}/val holds {len(flat)} pictures beside {len(names) - len(flat)} in class folders"
            )
        labels = validation_labels(Path(self.at), flat) if flat else {name: name.partition("/")[0] for name in names}
        by_stem = {Path(name).stem: name for name in names}
        if len(by_stem) < len(names):
            raise ValueError(f"{len(names) - len(by_stem)} pictures of {self.at}/val have the name of another one")
        items = [item_of(stem, labels[by_stem[stem]], [f"val/{by_stem[stem]}"]) for stem in sorted(by_stem)]
        return split_into_parts(items, self.records_per_part)

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """One record for each picture."""
        yield from read_items(part.items, Path(self.at), self.slots, max_pixels=self.max_pixels)


def validation_labels(at: Path, names: list[str]) -> dict[str, str]:
    """Picture -> WordNet id ("n01751748"), for pictures named ...val_00000001 to their last number.

    Args:
        at: folder of the development kit.
        names: of all the pictures; the number in a name is the line of its answer.
    """
    if not (at / ANSWERS).is_file():
        raise FileNotFoundError(
            f"no {at / ANSWERS}, which has the classes of the pictures in {at / 'val'}; unpack "
            f"ILSVRC2012_devkit_t12.tar.gz into {at}, or sort the pictures into class folders"
        )
    answers = [line.strip() for line in (at / ANSWERS).read_text().splitlines() if line.strip()]
    wordnet = {
        str(int(row["ILSVRC2012_ID"])): str(row["WNID"]) for row in structs(read_mat(at / SYNSETS).get("synsets"))
    }
    numbers = {name: Path(name).stem.rpartition("_")[2] for name in names}
    wrong = [name for name, number in numbers.items() if not number.isdigit() or not 0 < int(number) <= len(answers)]
    if wrong or len(names) != len(answers):
        raise ValueError(
            f"{len(names)} pictures but {len(answers)} answers in {at / ANSWERS}; without an answer: {wrong[:3]}"
        )
    strange = sorted({answer for answer in answers if answer not in wordnet})
    if strange:
        raise ValueError(f"{at / ANSWERS} has the classes {strange[:3]}, which {at / SYNSETS} does not know")
    return {name: wordnet[answers[int(number) - 1]] for name, number in numbers.items()}
