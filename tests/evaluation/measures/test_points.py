"""PCK equals a slow loop; average precision equals pycocotools' own evaluation."""

import contextlib
import io

import numpy as np
import pytest

from openlvm.core.records import Keypoints
from openlvm.evaluation.harness.questions import Question
from openlvm.evaluation.measures.points import Figures, average_precision, oks_recall, pck, similarity


def figure(points, visible=None, size=(100, 100)):
    points = np.asarray(points, np.float32)[None]
    return Keypoints(points, np.ones(points.shape[:2], bool) if visible is None else np.asarray([visible]), size)


@pytest.mark.parametrize(("by", "told"), [("box", {}), ("box", {"size": 50.0}), ("head", {"head": 20.0})])
def test_pck_equals_a_slow_loop(by, told):
    chance = np.random.default_rng(0)
    right = joints = 0
    metric, rows = None, []
    for _ in range(20):
        truth, seen = chance.uniform(0, 100, (17, 2)), chance.random(17) < 0.7
        shown = chance.random(17) < 0.9
        answer = figure(truth + chance.normal(0, 6, (17, 2)), shown)
        metric = pck(
            lambda picture, question, answer=answer: answer, alpha=0.1 if by == "box" else 0.5, by=by, name="p"
        )
        rows.append(metric.sums(None, Question(payload=figure(truth, seen), told=told)))
        where = np.float32(truth)[seen]
        length = told.get("head") or told.get("size") or max(where.max(0) - where.min(0))
        for joint in np.flatnonzero(seen):
            far = np.hypot(*(answer.points[0, joint] - np.float32(truth)[joint]))
            right += bool(shown[joint] and far <= (0.1 if by == "box" else 0.5) * length)
            joints += 1
    total = {name: np.array([sum(row[name] for row in rows)]) for name in rows[0]}
    assert metric.value(total)[0] == pytest.approx(right / joints)
    assert 0 < right < joints


def test_a_figure_without_visible_joints_does_not_count():
    metric = pck(lambda picture, question: figure(np.zeros((17, 2))), alpha=0.1, by="box", name="p")
    hidden = figure(np.zeros((17, 2)), np.zeros(17, bool))
    assert metric.sums(None, Question(payload=hidden)) == {"right": 0, "joints": 0}


def test_a_figure_without_a_known_head_does_not_count():
    metric = pck(lambda picture, question: figure(np.zeros((17, 2))), alpha=0.5, by="head", name="p")
    shown = figure(np.zeros((17, 2)))
    assert metric.sums(None, Question(payload=shown, told={"head": 0.0})) == {"right": 0, "joints": 0}
    assert metric.sums(None, Question(payload=shown, told={"head": 1.0})) == {"right": 17, "joints": 17}


def coco_average_precision(found, truths):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, detections = [], []
    for image, (detected, true) in enumerate(zip(found, truths, strict=True), 1):
        for points, visible, area in zip(true.points, true.visible, true.areas, strict=True):
            flat = np.concatenate([points, 2.0 * visible[:, None]], axis=1).reshape(-1).tolist()
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": 1, "area": float(area), "iscrowd": 0,
                "bbox": [0, 0, 100, 100], "keypoints": flat, "num_keypoints": int(visible.sum()),
            })  # fmt: skip
        for points, score in zip(detected.points, detected.scores, strict=True):
            flat = np.concatenate([points, np.ones((len(points), 1))], axis=1).reshape(-1).tolist()
            detections.append({"image_id": image, "category_id": 1, "keypoints": flat, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        images = [{"id": image + 1, "width": 100, "height": 100} for image in range(len(found))]
        truth.dataset = {
            "info": {},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "p"}],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detections), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0]


@pytest.mark.parametrize("spread", [0.5, 4.0, 12.0])
def test_average_precision_equals_pycocotools(spread):
    chance = np.random.default_rng(int(spread))
    found, truths = [], []
    for _ in range(12):
        people = int(chance.integers(1, 4))
        points = chance.uniform(0, 100, (people, 17, 2))
        visible = chance.random((people, 17)) < 0.8
        visible[:, 0] = True
        truths.append(Figures(points, visible, areas=chance.uniform(1500, 6000, people)))
        keep = chance.random(people) < 0.8
        seen = points[keep] + chance.normal(0, spread, points[keep].shape)
        stray = chance.uniform(0, 100, (int(chance.integers(0, 3)), 17, 2))
        points = np.concatenate([seen, stray])
        found.append(Figures(points, np.ones(points.shape[:2], bool), scores=chance.random(len(points))))
    assert average_precision(found, truths) == pytest.approx(coco_average_precision(found, truths), abs=1e-9)


def test_average_precision_of_perfect_and_absent_answers():
    points, visible = np.random.default_rng(0).uniform(0, 100, (2, 17, 2)), np.ones((2, 17), bool)
    truth = Figures(points, visible, areas=np.array([2000.0, 3000.0]))
    assert average_precision([Figures(points, visible, scores=np.ones(2))], [truth]) == pytest.approx(1)
    nobody = Figures(points[:0], visible[:0], scores=np.ones(0), areas=np.ones(0))
    assert average_precision([nobody], [truth]) == 0
    assert np.isnan(average_precision([nobody], [nobody]))


def test_recall_of_one_figure_counts_thresholds_passed():
    truth = figure(np.random.default_rng(1).uniform(0, 100, (17, 2)))
    moved = figure(truth.points[0] + 3)
    alike = similarity(moved.points[0], truth.points[0], truth.visible[0], 2500.0)
    metric = oks_recall(lambda picture, question: moved)
    row = metric.sums(None, Question(payload=truth, told={"area": 2500.0}))
    value = metric.value({name: np.array([float(number)]) for name, number in row.items()})[0]
    assert value == pytest.approx(np.mean(alike >= np.linspace(0.5, 0.95, 10)))
    assert 0 < value < 1
    unseen = figure(truth.points[0], np.zeros(17, bool))
    assert set(
        oks_recall(lambda picture, question: unseen).sums(None, Question(payload=truth, told={"area": 1.0})).values()
    ) == {0, 1}


def test_a_truth_is_matched_once():
    points = np.random.default_rng(0).uniform(0, 100, (1, 17, 2))
    others = points + 500
    truths = [Figures(np.concatenate([points, others]), np.ones((2, 17), bool), areas=np.array([2000.0, 2000.0]))]
    twice = np.concatenate([points, points, others])
    found = [Figures(twice, np.ones((3, 17), bool), scores=np.array([0.9, 0.8, 0.7]))]
    assert average_precision(found, truths) == pytest.approx(coco_average_precision(found, truths))
    assert 0.5 < average_precision(found, truths) < 1
