"""Bar et al. 2022, "Visual Prompting via Image Inpainting" (arXiv 2209.00647): three tasks, asked and scored as coded.

Source: github.com/amirbar/visual_prompting at 6351e0d, which lays an example, a query and a hole on one canvas. Here
there is no canvas: a model sees the pictures themselves, and its answer is brought to the cell that is scored there.
Episodes are the original's: the same calls of NumPy's old generator in the same order, which is why it is used here.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from openlvm.core.images import ImagePreparation
from openlvm.core.records import IMAGE, Boxes, Record, Segmentation
from openlvm.core.seeds import seed_of
from openlvm.evaluation.harness.classical import CLASSICAL
from openlvm.evaluation.harness.questions import Column, Episode, Question
from openlvm.evaluation.harness.records import items_of, record_of
from openlvm.evaluation.harness.scores import Reference
from openlvm.evaluation.harness.suite import Data, Plan, Suite
from openlvm.evaluation.measures.masks import (
    Read,
    box_iou,
    filled_box,
    filled_box_iou,
    largest_box,
    overlaps,
    white_on_black,
)
from openlvm.evaluation.measures.pictures import MSE, MSE_NORMALIZED
from openlvm.evaluation.published import packaged
from openlvm.sentences.render import resized
from openlvm.sources.catalog.table import CATALOG
from openlvm.sources.official.listed.folds import CLASSES, NUM_FOLDS, PICTURES, PascalFold
from openlvm.sources.official.matched import item_of, read_items, read_keys
from openlvm.sources.official.planes import VOC_CLASSES
from openlvm.sources.official.voc import VocBoxes, read_names, read_voc_boxes

ORIGINAL = "amirbar/visual_prompting at 6351e0d"
COUNT = 1000
"""Episodes of a fold, and of colorization."""
CELL = 111
"""Side of a cell of the canvas, pixels: half of 224, less one."""
SEEN = ImagePreparation(size=256, fit="squash", filter="bicubic")
"""What a model sees; shrunk to a cell, pictures would be blurred for models that draw larger ones."""
SCORED = ImagePreparation(size=CELL, fit="squash", filter="bicubic")
SCORED_BOXES = ImagePreparation(size=CELL, fit="squash", filter="bilinear")
"""torchvision resizes bilinearly unless told otherwise; the detection script does not tell it."""


def white(mask: np.ndarray) -> np.ndarray:
    """A mask bool [H, W] as white on black, uint8 [H, W, 3]."""
    return np.where(mask[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=-1)


def listed(at: Path, fold: int, support: str) -> list[str]:
    """Lines of a fold's list, "2007_000033__01" (picture and class): "val", or "train" for splits/pascal/trn."""
    if support == "val":
        return [item.split("//")[0] for item in items_of(PascalFold(at=at, fold=fold))]
    return read_keys(at / f"splits/pascal/trn/fold{fold}.txt")


def _picture_and_class(line: str) -> tuple[str, str]:
    picture, _, number = line.rpartition("__")
    return picture, VOC_CLASSES[int(number)]


def pascal_episodes(at: Path, fold: int, *, support: str, shots: int, count: int, seed: int) -> list[Episode]:
    """The original's list: queries in the order of their list, again and again; examples drawn from their class.

    Args:
        at: folder of `VOCdevkit` and `splits`.
        fold: 0 to 3.
        support: list of the examples, "val" (the original's) or "train" (of papers that retrieve prompts).
        shots, count, seed: examples (the original: 1; here all different), episodes (1000), seed of the generator (0).

    Raises:
        ValueError: a class has too few pictures.
    """
    queries = listed(at, fold, "val")
    pool: dict[str, list[str]] = {}
    for line in listed(at, fold, support):
        pool.setdefault(_picture_and_class(line)[1], []).append(line)
    chance = np.random.RandomState(seed)
    episodes = []
    for number in range(count):
        query = queries[number % len(queries)]
        picture, label = _picture_and_class(query)
        others = pool.get(label, [])
        if len([line for line in others if _picture_and_class(line)[0] != picture]) < shots:
            raise ValueError(f"{query} needs {shots} other pictures of {label!r} in the {support} list of fold {fold}")
        examples: list[str] = []
        while len(examples) < shots:
            line = others[chance.choice(len(others), 1, replace=False)[0]]
            if _picture_and_class(line)[0] != picture and line not in examples:
                examples.append(line)
        episodes.append(Episode(number=number, query=query, examples=tuple(examples), label=label, cluster=picture))
    return episodes


def _pascal_record(at: Path, line: str) -> Record:
    """A picture with VOC's class ids, outlines VOID."""
    picture, label = _picture_and_class(line)
    item = item_of(line, label, [f"{PICTURES}/{picture}.jpg", f"{CLASSES}/{picture}.png"])
    (found,) = read_items([item], at, (IMAGE, "classes"), kinds={"classes": "voc"})
    if not isinstance(found, Record):
        raise ValueError(f"{found.key}: {found.reason}. Mend it; an evaluation without it would be another one")
    return found


def pascal_question(at: Path, seen: ImagePreparation, scored: ImagePreparation, episode: Episode) -> Question:
    """Pictures and masks of the query's class as `seen`; the true mask, and where outlines are, as `scored`."""

    def shown(line: str) -> tuple[np.ndarray, np.ndarray, Segmentation]:
        record = _pascal_record(at, line)
        classes, picture = record.slots["classes"][0], record.slots[IMAGE][0]
        assert isinstance(classes, Segmentation) and isinstance(picture, np.ndarray)
        return picture, white(classes.ids == VOC_CLASSES.index(record.label)), classes

    query, mask, classes = shown(episode.query)
    cells = resized(classes, scored)
    assert isinstance(cells, Segmentation)
    return Question(
        examples=[(seen(picture), seen(answer)) for picture, answer, _ in map(shown, episode.examples)],
        query=seen(query),
        truth=scored(mask),
        told={"class": episode.label, "outlines": cells.ids == Segmentation.VOID},
    )


def foreground(
    data: Data, *, fold: int, name: str, shots: int, read: Read, seen: ImagePreparation, scored: ImagePreparation,
    protocol: str,
) -> Column:  # fmt: skip
    """One fold of Pascal-5i, or as many views of packaged objects, whose four draws stand for the folds."""
    metrics = overlaps(read)
    if data.is_packaged:
        pairs = packaged.view_pairs(
            data, "mask", shots=shots, styles={"mask": "binary"}, seed=seed_of("fold", data.seed, fold),
            told=lambda record, frame: {"class": record.label},
        )  # fmt: skip
        about = packaged.about("masks of objects of any class; each fold is another draw of the same views")
        return Column(name=name, metrics=metrics[:2], episodes=pairs.episodes, question=pairs.question, data=about,
                      protocol="Scored at the pictures' own size; there are no outlines. " + protocol)  # fmt: skip
    at = data.at("pascal5i")
    return Column(
        name=name,
        metrics=metrics,
        episodes=partial(
            pascal_episodes, at, fold, support=data.support, shots=shots, count=data.episodes or COUNT, seed=data.seed
        ),
        question=partial(pascal_question, at, seen, scored),
        data=f"Pascal-5i, fold {fold}, examples from its {data.support} list",
        protocol=protocol,
    )


def segmentation(data: Data, *, fold: int) -> Column:
    """One fold as the original asks and scores it."""
    return foreground(
        data, fold=fold, name=f"segmentation s{fold}", shots=1, read=white_on_black, seen=SEEN, scored=SCORED,
        protocol=f"{ORIGINAL}: {COUNT} episodes, one example of the query's class; masks "
        f"resized to {CELL} pixels, bicubic; answer and truth rounded to white or black; the first metric is the "
        "original's, which counts outlines (255) as background; two empty masks count 1 (there: undefined). "
        f"A model sees {SEEN.size} pixels and no canvas.",
    )  # fmt: skip


LARGEST_SHARE = 0.2
"""Of the picture; objects with a larger box are left out."""


def _small(boxes: dict[str, Boxes]) -> list[str]:
    """Pictures with exactly one annotated object (difficult ones count), its box less than a fifth of the picture."""
    return [
        name
        for name, one in boxes.items()
        if len(one.ids) == 1
        and np.prod(one.corners[0, 2:].astype(float) - one.corners[0, :2]) / np.prod(one.size) < LARGEST_SHARE
    ]


def detection_episodes(source: Callable[[str], VocBoxes], *, count: int | None, seed: int) -> list[Episode]:
    """The original's list, with its detour: place n of a list is read at the picture of the n-th (picture, class).

    The pairs are those of the whole of val (its file 2012_val_flattened_set.pth), though the lists are the filtered
    ones of val and of train. So some queries come several times, and the end of the list never comes.

    Args:
        source: of a split, "val" (queries) or "train" (examples).
        count: at most so many episodes; None is the original's number, that of the filtered pictures of val.
        seed: of the generator; the original's default is 0.
    """

    def boxes_of(split: str) -> dict[str, Boxes]:
        where = source(split)
        names = [name for name, *_ in read_names(where.at / where.names)]
        return {name: read_voc_boxes(where.at / "Annotations" / f"{name}.xml") for name in names}

    val, train = boxes_of("val"), boxes_of("train")
    queries, pool = _small(val), _small(train)
    places = [place for place, boxes in enumerate(val.values()) for _ in set(boxes.ids.tolist())]
    chance = np.random.RandomState(seed)
    episodes = []
    for number in range(len(queries) if count is None else min(count, len(queries))):
        query = queries[places[number]]
        order = np.arange(len(pool))
        chance.shuffle(order)  # before it the original draws one of the query's labels: of one, which draws nothing
        drawn = (pool[places[place]] for place in order if place < len(places))
        example = next((name for name in drawn if train[name].ids[0] == val[query].ids[0]), None)
        label = VOC_CLASSES[val[query].ids[0]]
        if example is None:
            raise ValueError(f"{query} shows one small {label}, of which the train list has no picture as example")
        episodes.append(Episode(number=number, query=query, examples=(example,), label=label))
    return episodes


def detection_question(source: Callable[[str], VocBoxes], episode: Episode) -> Question:
    """The box of the one object, white on black: corners are cut to whole pixels before the picture is resized."""

    def shown(split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        record = record_of(source(split), name)
        picture, boxes = record.slots[IMAGE][0], record.slots["boxes"][0]
        assert isinstance(picture, np.ndarray) and isinstance(boxes, Boxes)
        return picture, white(filled_box(boxes.corners[0].astype(int), boxes.size))

    query, box = shown("val", episode.query)
    return Question(
        examples=[(SEEN(picture), SEEN(answer)) for picture, answer in (shown("train", episode.examples[0]),)],
        query=SEEN(query),
        truth=SCORED_BOXES(box),
        told={"class": episode.label},
    )


def _boxed(question: Question) -> Question:
    """Masks, white on black, replaced by the filled boxes around their largest areas."""

    def box(mask: np.ndarray) -> np.ndarray:
        return white(filled_box(largest_box(white_on_black(mask)), mask.shape[:2]))

    assert question.truth is not None
    return replace(
        question, examples=[(picture, box(answer)) for picture, answer in question.examples], truth=box(question.truth)
    )


def detection(data: Data) -> Column:
    """Single objects in Pascal VOC 2012."""
    metrics = filled_box_iou(), box_iou()
    if data.is_packaged:
        pairs = packaged.view_pairs(data, "mask", shots=1, styles={"mask": "binary"})
        return Column(
            name="detection", metrics=metrics, episodes=pairs.episodes,
            question=lambda episode: _boxed(pairs.question(episode)),
            data=packaged.about("boxes around objects of any class"),
            protocol="One example; boxes of any size, white on black; the answer's is around its largest white area.",
        )  # fmt: skip

    def source(split: str) -> VocBoxes:
        found = CATALOG["voc2012_detection"].source(data.at("voc2012_detection"), split)
        assert isinstance(found, VocBoxes)
        return found

    return Column(
        name="detection",
        metrics=metrics,
        episodes=partial(detection_episodes, source, count=data.episodes, seed=data.seed),
        question=partial(detection_question, source),
        data="Pascal VOC 2012 val, examples from train",
        protocol=f"{ORIGINAL}: pictures with one annotated object whose box is below "
        f"{LARGEST_SHARE:.0%} of them; one example of its class; both read through the table of val's (picture, class) "
        f"pairs; {CELL} pixels, bilinear; answer and truth rounded to white or black; the box around the answer's "
        "largest white area over the white pixels of the truth. The code knows no folds and one pool of examples. "
        f"A model sees {SEEN.size} pixels and no canvas. The second metric compares two boxes: 1 when perfect.",
    )


COLOR_SEED = 5
"""The original's, whatever its --seed; seed n here is 5 + n."""
NUM_FIRST = 999
"""Pictures among which examples are drawn: the first of the folders, which are those of 20 classes."""


def center(pixels: np.ndarray, side: int = CELL) -> np.ndarray:
    """The middle square of a picture, its own pixels; black around a smaller one (torchvision's CenterCrop)."""
    lacking = [max(side - length, 0) for length in pixels.shape[:2]]
    padded = np.pad(pixels, [*((lack // 2, lack - lack // 2) for lack in lacking), (0, 0)])
    top, left = (round((length - side) / 2) for length in padded.shape[:2])
    return padded[top : top + side, left : left + side]


def gray(pixels: np.ndarray) -> np.ndarray:
    """Luma of ITU-R 601 as Pillow rounds it, in three channels."""
    return np.asarray(Image.fromarray(pixels).convert("L"))[..., None].repeat(3, axis=-1)


def colorization_episodes(folders: Callable[[], Sequence[str]], *, count: int, seed: int) -> list[Episode]:
    """The original's list: 1000 queries without repetition, each with one example, which may be the query itself.

    Args:
        folders: names of the pictures in the order of torchvision's ImageFolder.
        count: the first so many of the 1000.
        seed: 0 is the original's.
    """
    names = folders()
    chance = np.random.RandomState(COLOR_SEED + seed)
    queries = chance.choice(len(names) - 1, size=min(COUNT, len(names) - 1), replace=False)[:count]
    return [
        Episode(number=number, query=names[query], examples=(names[chance.choice(min(NUM_FIRST, len(names)))],))
        for number, query in enumerate(queries)
    ]


def colorization(data: Data) -> Column:
    """Gray pictures of ImageNet in color."""
    metrics = MSE_NORMALIZED, MSE
    if data.is_packaged:
        pairs = packaged.photo_pairs(data, "gray", shots=1)
        return Column(name="colorization", metrics=metrics, episodes=pairs.episodes, question=pairs.question,
                      data=packaged.about("photographs"), protocol="One example, of another photograph.")  # fmt: skip
    source = CATALOG["imagenet"].source(data.at("imagenet"), "val")

    @cache
    def items() -> dict[str, str]:
        """Name -> item, in the order of class folders."""
        split = [(item, *item.split("//")[:2]) for item in items_of(source)]
        return {name: item for item, name, _ in sorted(split, key=lambda one: (one[2], one[1]))}

    def question(episode: Episode) -> Question:
        pictures = [record_of(source, items()[name]).slots[IMAGE][0] for name in (episode.query, *episode.examples)]
        query, example = (center(np.asarray(picture)) for picture in pictures)
        return Question(examples=[(gray(example), example)], query=gray(query), truth=query)

    return Column(
        name="colorization",
        metrics=metrics,
        episodes=partial(
            colorization_episodes, lambda: list(items()), count=data.episodes or COUNT, seed=data.seed
        ),
        question=question,
        data="ImageNet validation, examples from the first 999 of its pictures",
        protocol=f"{ORIGINAL}: {COUNT} pictures drawn with seed {COLOR_SEED}, the middle "
        f"{CELL} pixels; one example; squared error after dividing by ImageNet's deviations, so that 0.67 is no error "
        "in 0..1. The code has one pool of examples, and no LPIPS, which papers report.",
    )  # fmt: skip


_LVM_TABLE = "LVM (arXiv 2312.00785), Table 1, taken from notes of it"
_RERUN = "result tables in the repositories of SupPR and InMeMo; other runs than the paper's"
_LAVIN = "LaVin-DiT (arXiv 2411.11505), second hand: pages that quote it"
REPORTED = (  # name, IoU of the folds in %, detection in %, squared error of colorization, source
    ("MAE (ImageNet)", (1.92, 6.76, 3.85, 4.57), (1.37, 1.98, 1.62, 1.62), 1.13, _LVM_TABLE),
    ("MAE-VQGAN (ImageNet)", (2.22, 7.07, 5.48, 6.28), (3.34, 3.21, 2.80, 2.80), 3.31, _LVM_TABLE),
    ("MAE (figures)", (17.42, 25.70, 18.64, 16.53), (5.49, 4.98, 5.24, 5.84), 0.43, _LVM_TABLE),
    ("MAE-VQGAN (figures)", (27.83, 30.44, 26.15, 24.25), (24.19, 25.20, 25.36, 25.23), 0.67, _LVM_TABLE),
    ("MAE-VQGAN, random prompts", (28.66, 30.21, 27.81, 23.55), (25.45,), 0.67, _RERUN),
    ("UnsupPR", (34.75, 35.92, 32.41, 31.16), (26.84,), 0.63, f"{_RERUN}; examples retrieved from train lists"),
    ("SupPR", (37.08, 38.43, 34.40, 32.32), (28.22,), 0.63, f"{_RERUN}; examples retrieved from train lists"),
    ("prompt-SelF", (42.48, 43.34, 39.76, 38.50), (29.83,), None, "result table in InMeMo's repository; ensembles"),
    ("InMeMo", (41.65, 47.68, 42.43, 40.80), (43.21,), None, "result table in its repository; learned frames"),
    ("LVM", (48.94, 51.29, 47.66, 50.82), (48.25, 49.60, 50.08, 48.92), 0.51,
     f"{_LVM_TABLE}; how many examples and how masks are read is not stated"),
    ("DeLVM 300M, distilled", (18.58, 21.32, 19.90, 21.08), (), None,
     "DeLVM (arXiv 2402.04841), second hand; fine-tuned, and scored otherwise (suite delvm)"),
    ("LaVin-DiT 3.4B", (67.87, 75.80, 66.98), (68.88,), 0.24, f"{_LAVIN}, without fold 3; detection is split 4 alone"),
)  # fmt: skip


def _reference(
    name: str, folds: Sequence[float], boxes: Sequence[float], color: float | None, source: str
) -> Reference:
    values = {f"segmentation s{fold}": value / 100 for fold, value in enumerate(folds)}
    if boxes:
        values["detection"] = round(float(np.mean(boxes)) / 100, 4)
    if len(boxes) > 1:
        source += "; detection is the mean of four splits, which the code does not have"
    return Reference(name=name, values=values | ({} if color is None else {"colorization": color}), source=source)


SUITE = Suite(
    name="bar2022",
    about="Bar et al. 2022 (Visual Prompting via Image Inpainting): foreground segmentation, single-object detection "
    "and colorization from one example, by the authors' code",
    plans=(
        *(
            Plan(name=f"segmentation s{fold}", datasets=("pascal5i",), make=partial(segmentation, fold=fold),
                 classical=lambda: [CLASSICAL["Otsu"]])
            for fold in range(NUM_FOLDS)
        ),
        Plan(name="detection", datasets=("voc2012_detection",), make=detection, classical=lambda: [CLASSICAL["Otsu"]]),
        Plan(name="colorization", datasets=("imagenet",), make=colorization),
    ),
    references=tuple(_reference(*row) for row in REPORTED),
)  # fmt: skip
