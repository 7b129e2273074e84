"""Annotations of a resized picture: where things go, and which values change with the size."""

import numpy as np
import pytest
from annotated import COLUMNS, HEIGHT, PREPARATIONS, ROWS, WIDTH, source_places

from openlvm.core.images import ImagePreparation
from openlvm.core.records import Disparity, Flow, Keypoints
from openlvm.sentences.annotations.resizing import resized


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_flow_moves_a_point_to_the_same_place_after_resizing(preparation):
    """Where a pixel of the first picture lands in the second does not depend on when both are resized."""
    vectors = np.stack([3 + COLUMNS / 32, 1 - ROWS / 24], axis=-1).astype(np.float32)
    rows, columns = source_places(preparation)
    left, top, right, bottom = preparation.region(HEIGHT, WIDTH)
    scale = np.array([preparation.size / (right - left), preparation.size / (bottom - top)])
    expected = np.stack(np.broadcast_arrays(3 + columns / 32, 1 - rows / 24), axis=-1) * scale
    shrunk = resized(Flow(vectors), preparation).vectors[2:-2, 2:-2]  # enlarging repeats the border
    np.testing.assert_allclose(shrunk, expected[2:-2, 2:-2], atol=0.02)


def test_flow_does_not_bleed_into_the_unknown():
    vectors = np.where(COLUMNS[..., None] < 64, 8.0, np.nan).repeat(2, axis=-1).astype(np.float32)
    shrunk = resized(Flow(vectors), ImagePreparation(size=32, fit="squash")).vectors
    known = np.isfinite(shrunk).all(axis=-1)
    assert set(known.sum(axis=1)) == {16}
    np.testing.assert_allclose(shrunk[known], [[2.0, 8 / 3]] * known.sum(), rtol=1e-6)


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_disparity_counts_pixels_of_the_square(preparation):
    pixels = np.full((HEIGHT, WIDTH), 12, np.float32)
    left, _, right, _ = preparation.region(HEIGHT, WIDTH)
    shrunk = resized(Disparity(pixels), preparation).pixels
    np.testing.assert_allclose(shrunk, 12 * preparation.size / (right - left), rtol=1e-6)
    assert not resized(Disparity(0 * pixels), preparation).pixels.any()


def test_keypoints_keep_their_set():
    keypoints = Keypoints(np.zeros((1, 16, 2), np.float32), np.ones((1, 16), bool), (HEIGHT, WIDTH), "mpii")
    assert resized(keypoints, PREPARATIONS[0]).joints == "mpii"
