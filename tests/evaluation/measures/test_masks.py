"""Overlaps equal torchmetrics and slow loops; empty masks, absent classes and ignored pixels are as stated."""

import numpy as np
import pytest
import torch

from openlvm.core.records import Segmentation
from openlvm.evaluation.harness.questions import Question
from openlvm.evaluation.measures.masks import (
    box_iou,
    class_iou,
    episode_iou,
    filled_box_iou,
    iou_of_boxes,
    largest_box,
    nearer,
    overlaps,
    semantic_iou,
    white_on_black,
)
from openlvm.sentences.render import draw_segmentation


def picture(mask):
    return np.where(np.asarray(mask, bool)[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=-1)


def random_masks(count=6, seed=0):
    chance = np.random.default_rng(seed)
    return [chance.random((9 + n, 12)) < chance.random() for n in range(count)]


def added(metric, rows):
    names = {name for row in rows for name in row}
    return float(metric.value({name: np.array([sum(row.get(name, 0) for row in rows)]) for name in names})[0])


def slow_iou(given, wanted):
    both = either = 0
    for a, b in zip(given.ravel(), wanted.ravel(), strict=True):
        both, either = both + (a and b), either + (a or b)
    return both / either if either else 1.0


def test_episode_iou_is_the_mean_of_slow_ious():
    given, wanted = random_masks(seed=1), random_masks(seed=2)
    metric = episode_iou()
    rows = [metric.sums(picture(g), Question(truth=picture(w))) for g, w in zip(given, wanted, strict=True)]
    assert added(metric, rows) == pytest.approx(np.mean([slow_iou(g, w) for g, w in zip(given, wanted, strict=True)]))


def test_empty_masks():
    nothing, all_of_it = picture(np.zeros((5, 5))), picture(np.ones((5, 5)))
    metric = episode_iou()
    assert added(metric, [metric.sums(nothing, Question(truth=nothing))]) == 1
    assert added(metric, [metric.sums(all_of_it, Question(truth=nothing))]) == 0


def test_colors_between_are_rounded_and_ties_are_background():
    gray = np.array([[[127, 127, 127], [128, 128, 128]]], np.uint8)
    assert white_on_black(gray).tolist() == [[False, True]]
    between = np.array([[[10, 20, 30]]], np.uint8)
    assert not nearer(between, (0, 20, 30), (20, 20, 30)).any()  # equally far: strictly nearer only


def test_class_iou_accumulates_within_classes_first():
    given, wanted = random_masks(seed=3), random_masks(seed=4)
    labels = ["cat", "dog", "cat", "cow", "dog", "cat"]
    metric = class_iou()
    rows = [metric.sums(picture(g), Question(truth=picture(w), told={"class": name}))
            for g, w, name in zip(given, wanted, labels, strict=True)]  # fmt: skip
    expected = []
    for name in sorted(set(labels)):
        mine = [n for n, label in enumerate(labels) if label == name]
        both = sum(int((given[n] & wanted[n]).sum()) for n in mine)
        expected.append(both / sum(int((given[n] | wanted[n]).sum()) for n in mine))
    assert added(metric, rows) == pytest.approx(np.mean(expected))


def test_ignored_pixels_do_not_count():
    wanted = np.zeros((4, 4), bool)
    wanted[:2] = True
    given = np.ones((4, 4), bool)
    ignore = np.zeros((4, 4), bool)
    ignore[2:] = True
    question = Question(truth=picture(wanted), told={"ignore": ignore, "class": "x"})
    for metric in (episode_iou(), class_iou()):
        assert added(metric, [metric.sums(picture(given), question)]) == 1


def test_outlines_are_told_apart_from_what_is_ignored():
    wanted = np.zeros((4, 4), bool)
    wanted[:2] = True
    outlines = np.zeros((4, 4), bool)
    outlines[3] = True
    question = Question(truth=picture(wanted), told={"outlines": outlines, "class": "x"})
    values = {
        metric.name: added(metric, [metric.sums(picture(wanted | outlines), question)])
        for metric in overlaps(white_on_black)
    }
    assert values == {
        "IoU, mean of episodes": pytest.approx(8 / 12),
        "mIoU, accumulated by class": pytest.approx(8 / 12),
        "IoU, mean of episodes, without outlines": 1,
        "mIoU, accumulated by class, without outlines": 1,
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_semantic_iou_equals_torchmetrics(seed):
    from torchmetrics.classification import MulticlassJaccardIndex

    chance = np.random.default_rng(seed)
    ids = (0, 1, 2, 3)
    metric, oracle = semantic_iou(ids), MulticlassJaccardIndex(4, average="none", ignore_index=-1)
    rows = []
    for side in (7, 9, 8):
        wanted = chance.integers(-1, 3, (side, side)).astype(np.int32)  # class 3 is never there
        given = chance.integers(0, 3, (side, side)).astype(np.int32)
        question = Question(truth=draw_segmentation(Segmentation(wanted)), payload=Segmentation(wanted))
        rows.append(metric.sums(draw_segmentation(Segmentation(given)), question))
        oracle.update(torch.from_numpy(given)[None], torch.from_numpy(wanted)[None])
    assert added(metric, rows) == pytest.approx(float(oracle.compute()[:3].mean()))


def test_boxes():
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True  # the largest
    mask[7:9, 0:2] = True
    assert largest_box(mask) == (3, 2, 9, 5)
    assert largest_box(np.zeros((3, 3), bool)) == (0, 0, 0, 0)
    assert iou_of_boxes((0, 0, 4, 4), (2, 2, 6, 6)) == pytest.approx(4 / 28)
    moved = np.roll(mask, 3, axis=1)
    metric = box_iou()
    row = metric.sums(picture(moved), Question(truth=picture(mask)))
    assert row["sum"] == pytest.approx(iou_of_boxes((3, 2, 9, 5), (6, 2, 12, 5)))
    assert metric.sums(picture(np.zeros((10, 12))), Question(truth=picture(mask)))["sum"] == 0


@pytest.mark.parametrize("seed", range(8))
def test_largest_box_equals_scipy(seed):
    """Areas that touch at corners are one, in noise around the share at which they begin to join."""
    from scipy.ndimage import find_objects, label

    chance = np.random.default_rng(seed)
    mask = chance.random((40, 50)) < chance.uniform(0.2, 0.6)
    areas, _ = label(mask, structure=np.ones((3, 3)))
    rows, columns = find_objects(areas)[int(np.bincount(areas[areas > 0]).argmax()) - 1]
    assert largest_box(mask) == (columns.start, rows.start, columns.stop, rows.stop)


def test_a_filled_box_is_compared_with_the_true_pixels():
    wanted = np.zeros((10, 12), bool)
    wanted[2:6, 3:9] = True
    wanted[2, 3] = wanted[2, 8] = wanted[5, 3] = wanted[5, 8] = False  # corners that shrinking took
    given = np.zeros((10, 12), bool)
    given[2, 3] = given[5, 8] = given[3:5, 4:8] = True  # joined at its corners
    given[8, 0:3] = True
    metric = filled_box_iou()
    assert metric.sums(picture(given), Question(truth=picture(wanted)))["sum"] == pytest.approx(20 / 24)
    assert metric.sums(picture(wanted), Question(truth=picture(wanted)))["sum"] == pytest.approx(20 / 24)
    assert metric.sums(picture(~wanted), Question(truth=picture(wanted)))["sum"] == pytest.approx(20 / 120)
    assert box_iou().sums(picture(wanted), Question(truth=picture(wanted)))["sum"] == 1
    assert metric.sums(picture(np.zeros((10, 12))), Question(truth=picture(wanted)))["sum"] == 0
