"""Metrics by name, on answers whose value is known."""

import numpy as np
import pytest

from openlvm.core.records import Depth
from openlvm.evaluation.tasks import METRICS, Asked
from openlvm.sentences.render import draw_depth

BLACK, WHITE = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)


def test_changed_right_ignores_what_may_be_copied():
    truth = BLACK.copy()
    truth[0, :2] = 200
    asked = Asked(truth, query=BLACK)
    half = truth.copy()
    half[0, 1] = 200 - 33  # one gray level too far
    half[3] = 255  # wrong, but where query and truth agree
    assert METRICS["changed_right"](BLACK, asked) == 0 and METRICS["changed_right"](half, asked) == 0.5
    assert METRICS["pixels_right"](BLACK, asked) == 14 / 16
    assert METRICS["changed_right"](WHITE, Asked(BLACK, query=BLACK)) == 0


def test_abs_rel_is_told_the_range_of_the_truth():
    depth = Depth(np.array([[2.0, 4.0], [3.0, 0.0]], np.float32))
    truth = draw_depth(depth)
    near = np.full_like(truth, 255)
    asked = Asked(truth, query=BLACK, payload=depth)
    assert METRICS["abs_rel"](truth, asked) == pytest.approx(0, abs=0.01)
    assert METRICS["abs_rel"](near, asked) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3, abs=0.01)


def test_abs_rel_rejects_a_truth_without_meters():
    with pytest.raises(ValueError, match="needs the true depth in meters, given NoneType"):
        METRICS["abs_rel"](BLACK, Asked(BLACK, query=BLACK))
