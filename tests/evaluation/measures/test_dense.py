"""Depth, normals and edges equal slow loops over known pixels."""

import numpy as np
import pytest

from openlvm.core.records import Depth, Edges, Normals
from openlvm.evaluation.harness.questions import Question
from openlvm.evaluation.measures.dense import (
    EDGE_F1,
    NORMAL_ANGLE,
    NORMAL_WITHIN,
    aligned,
    depth_metrics,
    metric_depth,
    relative_to_truth,
)
from openlvm.sentences.render import draw_depth, draw_edges, draw_normals, read_normals


def added(metric, rows):
    names = {name for row in rows for name in row}
    return float(metric.value({name: np.array([sum(row.get(name, 0) for row in rows)]) for name in names})[0])


def depths(count=4, seed=0):
    chance = np.random.default_rng(seed)
    for number in range(count):
        meters = chance.uniform(1, 9, (6 + number, 8)).astype(np.float32)
        meters[chance.random(meters.shape) < 0.3] = 0
        yield Depth(meters)


@pytest.mark.parametrize("over", ["pictures", "pixels"])
def test_depth_equals_a_slow_loop(over):
    metrics = depth_metrics(metric_depth(), over=over, far=10.0)
    chance = np.random.default_rng(9)
    rows, values = {metric.name: [] for metric in metrics}, []
    for truth in depths():
        answer = chance.integers(0, 256, (*truth.meters.shape, 3), dtype=np.uint8)
        for metric in metrics:
            rows[metric.name].append(metric.sums(answer, Question(payload=truth)))
        mine = []
        for gray, meters in zip(answer.reshape(-1, 3), truth.meters.ravel(), strict=True):
            if meters > 0:
                given = min(max(float(gray.mean()) / 255 * 10, 1e-3), 10)
                wanted = float(meters)
                mine.append(
                    (abs(given - wanted) / wanted, max(given / wanted, wanted / given) < 1.25, (given - wanted) ** 2)
                )
        values.append(mine)
    if over == "pictures":
        means = [[np.mean([pixel[place] for pixel in mine]) for mine in values] for place in range(3)]
        expected = [np.mean(means[0]), np.mean(means[1]), np.mean(np.sqrt(means[2]))]
    else:
        flat = [pixel for mine in values for pixel in mine]
        expected = [
            np.mean([p[0] for p in flat]),
            np.mean([p[1] for p in flat]),
            np.sqrt(np.mean([p[2] for p in flat])),
        ]
    assert [added(metric, rows[metric.name]) for metric in metrics] == pytest.approx(expected, rel=1e-5)


def test_perfect_depth_is_nearly_perfect_by_every_reading():
    for read in (relative_to_truth, aligned):
        for truth in depths():
            truth = Depth(np.where(truth.meters > 0, truth.meters, 0))
            picture = draw_depth(truth)
            if read is aligned:  # nearness is linear in the inverse
                known = truth.meters > 0
                inverse = np.where(known, 1 / np.maximum(truth.meters, 1), 0)
                picture = np.rint(255 * inverse)[..., None].repeat(3, -1).astype(np.uint8)
            values = [added(m, [m.sums(picture, Question(payload=truth))]) for m in depth_metrics(read)]
            assert values[0] < 0.02 and values[1] == 1 and values[2] < 0.2


def test_unknown_depth_does_not_count():
    empty = Question(payload=Depth(np.zeros((3, 3), np.float32)))
    for metric in depth_metrics():
        assert metric.sums(np.zeros((3, 3, 3), np.uint8), empty)["count"] == 0


def test_normals_equal_a_slow_loop():
    chance = np.random.default_rng(2)
    rows, within, angles = [], [], []
    for side in (5, 7):
        vectors = chance.normal(size=(side, 6, 3))
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        vectors[chance.random((side, 6)) < 0.3] = 0
        truth = Normals(vectors.astype(np.float32))
        answer = draw_normals(Normals(np.roll(vectors, 1, axis=0).astype(np.float32)))
        rows.append(NORMAL_ANGLE.sums(answer, Question(payload=truth)))
        within.append(NORMAL_WITHIN.sums(answer, Question(payload=truth)))
        given = read_normals(answer).vectors
        for a, b in zip(given.reshape(-1, 3), truth.vectors.reshape(-1, 3), strict=True):
            if b.any():
                angles.append(np.degrees(np.arccos(np.clip(np.dot(a, b), -1, 1))) if a.any() else 90.0)
    assert added(NORMAL_ANGLE, rows) == pytest.approx(np.mean(angles), abs=1e-3)
    assert added(NORMAL_WITHIN, within) == pytest.approx(np.mean(np.array(angles) < 11.25))


def test_edges_of_perfect_and_shifted_answers():
    strength = np.zeros((20, 20), np.float32)
    strength[5], strength[:, 12] = 1, 1
    picture = draw_edges(Edges(strength))
    question = Question(truth=picture)
    assert added(EDGE_F1, [EDGE_F1.sums(picture, question)]) == 1
    far = draw_edges(Edges(np.roll(strength, 3, axis=(0, 1))))
    assert added(EDGE_F1, [EDGE_F1.sums(far, question)]) < 0.5


def test_normals_within_count_angles_below_eleven_and_a_quarter():
    degrees = np.radians(np.array([[0.0, 8.0, 10.5, 12.0, 40.0]]))
    vectors = np.stack([np.sin(degrees), np.zeros_like(degrees), -np.cos(degrees)], axis=-1).astype(np.float32)
    truth = Normals(np.broadcast_to(np.array([0, 0, -1], np.float32), vectors.shape).copy())
    sums = NORMAL_WITHIN.sums(draw_normals(Normals(vectors)), Question(payload=truth))
    assert sums == {"sum": 3, "pixels": 5}
