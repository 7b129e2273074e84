"""Overlap of masks and of class maps: as an episode's mean, accumulated by class, and over the classes of a picture.

A class map is int [H, W]; -1 is not labelled and does not count. Masks are read from pictures by nearest color.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from openlvm.core.records import Segmentation
from openlvm.evaluation.harness.questions import Metric, Question, Sums
from openlvm.sentences.palettes import pieces
from openlvm.sentences.render import read_segmentation

Read = Callable[[np.ndarray], np.ndarray]
"""A picture uint8 [H, W, 3] as a bool mask [H, W]."""


def white_on_black(picture: np.ndarray) -> np.ndarray:
    """Pixels nearer to white than to black (Bar et al. round to the nearer of two colors; ties go to black)."""
    return nearer(picture, (255, 255, 255), (0, 0, 0))


def nearer(picture: np.ndarray, to: Sequence[int], than: Sequence[int]) -> np.ndarray:
    """Pixels strictly nearer to one color than to another (Euclidean in RGB); bool [H, W]."""
    given = picture.astype(np.int64)
    return ((given - np.array(to)) ** 2).sum(-1) < ((given - np.array(than)) ** 2).sum(-1)


def overlap(given: np.ndarray, wanted: np.ndarray) -> float:
    """Intersection over union of bool masks of one shape; 1 where both are empty."""
    union = int((given | wanted).sum())
    return int((given & wanted).sum()) / union if union else 1.0


def episode_iou(read: Read = white_on_black, name: str = "IoU, mean of episodes") -> Metric:
    """The mean over episodes of the foreground's IoU, both pictures read alike (amirbar/visual_prompting).

    With `question.told["ignore"]` (bool [H, W]) these pixels do not count; the original counts them.
    """

    def sums(answer: np.ndarray, question: Question) -> Sums:
        given, wanted = _masks(read, answer, question)
        return {"sum": overlap(given, wanted), "answers": 1}

    return Metric(name, "higher", sums, lambda totals: totals["sum"] / totals["answers"])


def class_iou(read: Read = white_on_black, name: str = "mIoU, accumulated by class") -> Metric:
    """Intersections and unions of the foreground added up over all episodes of a class (`question.told["class"]`).

    Then the mean of the classes' quotients: the convention of few-shot segmentation (OSLSM, PANet and after).
    """

    def sums(answer: np.ndarray, question: Question) -> Sums:
        given, wanted = _masks(read, answer, question)
        name = question.told["class"]
        return {f"and {name}": int((given & wanted).sum()), f"or {name}": int((given | wanted).sum())}

    return Metric(name, "higher", sums, mean_of_classes)


def without_outlines(metric: Metric) -> Metric:
    """The same metric where pixels of `question.told["outlines"]` (bool [H, W]) do not count."""

    def sums(answer: np.ndarray, question: Question) -> Sums:
        told = {**question.told, "ignore": question.told["outlines"]}
        return metric.sums(answer, replace(question, told=told))

    return Metric(f"{metric.name}, without outlines", metric.better, sums, metric.value)


def overlaps(read: Read) -> tuple[Metric, Metric, Metric, Metric]:
    """`episode_iou`, `class_iou`, and both without VOC's outlines (255)."""
    both = episode_iou(read), class_iou(read)
    return *both, without_outlines(both[0]), without_outlines(both[1])


def _masks(read: Read, answer: np.ndarray, question: Question) -> tuple[np.ndarray, np.ndarray]:
    assert question.truth is not None
    given, wanted = read(answer), read(question.truth)
    ignored = question.told.get("ignore")
    counted = np.ones(given.shape, dtype=bool) if ignored is None else ~np.asarray(ignored)
    return given & counted, wanted & counted


def mean_of_classes(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean over classes of "and NAME" / "or NAME"; a class whose union is empty does not count."""
    names = [name.removeprefix("or ") for name in sums if name.startswith("or ")]
    quotients = np.stack([sums[f"and {name}"] / np.where(sums[f"or {name}"] > 0, sums[f"or {name}"], np.nan)
                          for name in names])  # fmt: skip
    counted = np.isfinite(quotients).sum(axis=0)
    return np.nansum(quotients, axis=0) / np.where(counted > 0, counted, np.nan)


def semantic_iou(ids: Sequence[int], name: str = "mIoU") -> Metric:
    """Mean IoU over classes of class maps, pixels accumulated over all pictures (Pascal VOC, ADE20K, Cityscapes).

    Args:
        ids: the classes that an answer's colors are read as and that count; 0 among them if the background counts.
        name: as printed.

    The truth is `question.payload`, a `Segmentation` of the truth's size; its VOID does not count.
    """
    allowed = sorted(set(ids))

    def sums(answer: np.ndarray, question: Question) -> Sums:
        wanted = question.payload
        assert isinstance(wanted, Segmentation)
        given = read_segmentation(answer, allowed).ids
        counted = wanted.ids != Segmentation.VOID
        found: dict[str, float] = {}
        for label in allowed:
            here, there = (given == label) & counted, (wanted.ids == label) & counted
            union = int((here | there).sum())
            if union:
                found[f"and {label}"], found[f"or {label}"] = int((here & there).sum()), union
        return found

    return Metric(name, "higher", sums, _mean_of_present)


def _mean_of_present(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    if not any(name.startswith("or ") for name in sums):
        raise ValueError("no pixel is labelled in any picture; mIoU is not defined")
    return mean_of_classes(sums)


def largest_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (exclusive) of the largest connected area; zeros where there is none.

    Pixels that touch at a corner are connected, as for OpenCV's connectedComponents; of equal areas the first counts.
    """
    areas = _joined_at_corners(pieces(mask))
    if not areas.any():
        return 0, 0, 0, 0
    rows, columns = np.nonzero(areas == np.bincount(areas[areas > 0]).argmax())
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def _joined_at_corners(areas: np.ndarray) -> np.ndarray:
    """Numbered areas, int64 [H, W] with 0 outside; those that touch at a corner get the lowest of their numbers."""
    corners = [(areas[:-1, :-1], areas[1:, 1:]), (areas[:-1, 1:], areas[1:, :-1])]
    here, there = (np.concatenate([pair[side].ravel() for pair in corners]) for side in (0, 1))
    touch = (here > 0) & (there > 0) & (here != there)
    here, there = here[touch], there[touch]
    names = np.arange(areas.max() + 1)
    while (names[here] != names[there]).any():
        lowest = np.minimum(names[here], names[there])
        np.minimum.at(names, here, lowest)
        np.minimum.at(names, there, lowest)
    return names[areas]


def filled_box(box: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """The pixels of a box (left, top, right, bottom; the last two exclusive), bool [H, W] of `size` (H, W)."""
    left, top, right, bottom = box
    filled = np.zeros(tuple(size), dtype=bool)
    filled[top:bottom, left:right] = True
    return filled


def filled_box_iou(read: Read = white_on_black, name: str = "box IoU, mean of episodes") -> Metric:
    """IoU of the filled box around an answer's largest white area with the white pixels of the truth.

    Single-object detection as amirbar/visual_prompting codes it (evaluate_detection/box_ops.py). A truth that was
    shrunk may lack corners of its box: then no answer scores 1.
    """

    def sums(answer: np.ndarray, question: Question) -> Sums:
        assert question.truth is not None
        filled = filled_box(largest_box(read(answer)), answer.shape[:2])
        return {"sum": overlap(filled, read(question.truth)), "answers": 1}

    return Metric(name, "higher", sums, lambda totals: totals["sum"] / totals["answers"])


def box_iou(read: Read = white_on_black, name: str = "IoU of boxes, mean of episodes") -> Metric:
    """IoU of the boxes around the largest white area of answer and of truth: 1 for a perfect answer."""

    def sums(answer: np.ndarray, question: Question) -> Sums:
        assert question.truth is not None
        return {"sum": iou_of_boxes(largest_box(read(answer)), largest_box(read(question.truth))), "answers": 1}

    return Metric(name, "higher", sums, lambda totals: totals["sum"] / totals["answers"])


def iou_of_boxes(first: Sequence[float], second: Sequence[float]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom); 1 where both are empty."""
    width = max(0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    union = areas[0] + areas[1] - width * height
    return width * height / union if union else 1.0
