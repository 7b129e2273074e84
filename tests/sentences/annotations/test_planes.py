"""Annotations with a value for each pixel survive being drawn and read back, at full size and after resizing."""

import numpy as np
import pytest
from annotated import COLUMNS, HEIGHT, PREPARATIONS, ROWS, WIDTH, source_places

from openlvm.core.images import ImagePreparation
from openlvm.core.records import Depth, Disparity, Edges, Normals, Segmentation
from openlvm.sentences.annotations.planes import (
    depth_range,
    disparity_range,
    draw_depth,
    draw_disparity,
    draw_edges,
    draw_normals,
    draw_segmentation,
    read_depth,
    read_disparity,
    read_edges,
    read_normals,
    read_segmentation,
)
from openlvm.sentences.annotations.resizing import resized
from openlvm.sentences.render import draw

# segmentation: ids exact


@pytest.fixture
def segmentation():
    ids = np.random.default_rng(0).integers(-1, 256, (HEIGHT, WIDTH)).astype(np.int32)
    return Segmentation(ids)


def test_segmentation_roundtrips_exactly(segmentation):
    np.testing.assert_array_equal(
        read_segmentation(draw_segmentation(segmentation), range(-1, 256)).ids, segmentation.ids
    )


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_segmentation_roundtrips_exactly_after_resizing(segmentation, preparation):
    rows, columns = source_places(preparation)
    expected = segmentation.ids[rows.astype(int), columns.astype(int)]
    np.testing.assert_array_equal(read_segmentation(draw(segmentation, preparation), range(-1, 256)).ids, expected)


def test_segmentation_survives_noise_among_allowed_ids():
    ids = np.random.default_rng(1).integers(0, 8, (32, 32)).astype(np.int32)
    drawn = draw_segmentation(Segmentation(ids)).astype(int)
    noise = np.random.default_rng(2).integers(-60, 61, drawn.shape)
    read = read_segmentation((drawn + noise).clip(0, 255).astype(np.uint8), range(8))
    np.testing.assert_array_equal(read.ids, ids)


def test_binary_segmentation_is_white_on_black():
    drawn = draw_segmentation(Segmentation(np.array([[0, 1, 7, -1]])), colors="binary")
    assert drawn[0].tolist() == [[gray] * 3 for gray in (0, 255, 255, 128)]
    np.testing.assert_array_equal(draw_segmentation(Segmentation(np.array([[0, 1]])))[0, :, 1], [0, 255])


def test_segmentation_rejects_ids_without_color():
    with pytest.raises(ValueError, match="ids from 0 to 256 cannot be drawn; the palette has 0 to 255"):
        draw_segmentation(Segmentation(np.array([[0, 256]])))
    with pytest.raises(ValueError, match="ids from -2 to 0 cannot be drawn"):
        draw_segmentation(Segmentation(np.array([[0, -2]])))


# depth: below 1 % of the range


@pytest.fixture
def depth():
    meters = (1 + COLUMNS / 64 + ROWS / 50).astype(np.float32)
    meters[20:40, 30:60], meters[50:60, 80:90] = 0, np.nan
    return Depth(meters)


def test_depth_roundtrips_through_render(depth):
    near, far = depth_range(depth)
    read = read_depth(draw_depth(depth), near, far).meters
    known = np.nan_to_num(depth.meters) > 0
    np.testing.assert_array_equal(read > 0, known)
    assert np.abs(read - depth.meters)[known].max() < 0.01 * (far - near)
    assert np.abs(read[known] / depth.meters[known] - 1).max() < 0.01


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_depth_roundtrips_after_resizing(depth, preparation):
    target = resized(depth, preparation)
    near, far = depth_range(target)
    read = read_depth(draw(depth, preparation), near, far).meters
    np.testing.assert_array_equal(read > 0, target.meters > 0)
    rows, columns = source_places(preparation)
    truth = 1 + columns / 64 + rows / 50
    known = np.nan_to_num(depth.meters)[rows.astype(int), columns.astype(int)] > 0
    assert ((read > 0) != known).mean() < 0.02  # holes keep their place, but for their rims
    far_from_rims = (
        resized(Depth(np.where(np.nan_to_num(depth.meters) > 0, 1, 5).astype(np.float32)), preparation).meters == 1
    )
    inside = known & far_from_rims
    inside[:2] = inside[-2:] = inside[:, :2] = inside[:, -2:] = False  # enlarging repeats the border
    assert (np.abs(read - truth) / truth)[inside].max() < 0.01


def test_depth_is_bright_when_near_and_black_when_unknown():
    drawn = draw_depth(Depth(np.array([[1, 2, 3, 0, np.inf]], np.float32)))[0, :, 0]
    assert drawn.tolist() == [255, 130, 5, 0, 0]
    assert draw_depth(Depth(np.zeros((1, 1), np.float32))).max() == 0
    assert draw_depth(Depth(np.full((1, 1), 3, np.float32))).min() == 255
    assert depth_range(Depth(np.zeros((1, 1), np.float32))) == (0.0, 0.0)


def test_depth_does_not_bleed_into_holes(depth):
    two = np.where(COLUMNS < 64, 2, 0).astype(np.float32)
    shrunk = resized(Depth(two), ImagePreparation(size=32, fit="squash")).meters
    assert set(np.unique(shrunk)) == {0, 2}
    assert set((shrunk > 0).sum(axis=1)) == {16}  # the next column knows less than half


# normals: below 1 degree


@pytest.fixture
def normals():
    vectors = np.stack([COLUMNS / 64 - 1, ROWS / 48 - 1, np.full_like(ROWS, -0.8)], axis=-1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors[10:20, 10:30] = 0
    return Normals(vectors.astype(np.float32))


def degrees_between(one, other):
    cross, dot = np.linalg.norm(np.cross(one, other), axis=-1), (one * other).sum(axis=-1)
    return np.degrees(np.arctan2(cross, dot))


def test_normals_roundtrip_below_one_degree(normals):
    read = read_normals(draw_normals(normals)).vectors
    known = normals.vectors.any(axis=-1)
    np.testing.assert_array_equal(read.any(axis=-1), known)
    assert degrees_between(read, normals.vectors)[known].max() < 1
    np.testing.assert_allclose(np.linalg.norm(read[known], axis=-1), 1, atol=1e-5)
    everywhere = np.random.default_rng(0).standard_normal((200, 200, 3)).astype(np.float32)
    everywhere /= np.linalg.norm(everywhere, axis=-1, keepdims=True)
    assert degrees_between(read_normals(draw_normals(Normals(everywhere))).vectors, everywhere).max() < 1


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_normals_roundtrip_after_resizing(normals, preparation):
    target = resized(normals, preparation).vectors
    read = read_normals(draw(normals, preparation)).vectors
    known = target.any(axis=-1)
    np.testing.assert_array_equal(read.any(axis=-1), known)
    np.testing.assert_allclose(np.linalg.norm(target[known], axis=-1), 1, atol=1e-5)
    rows, columns = source_places(preparation)
    truth = np.stack(np.broadcast_arrays(columns / 64 - 1, rows / 48 - 1, -0.8), axis=-1)
    inside = known.copy()
    inside[:2] = inside[-2:] = inside[:, :2] = inside[:, -2:] = False
    assert degrees_between(target, truth)[inside].max() < 1
    assert degrees_between(read, target)[known].max() < 1


def test_normals_facing_the_camera_are_lavender_and_unknown_black():
    drawn = draw_normals(Normals(np.array([[[0, 0, -1], [0, -1, 0], [1, 0, 0], [0, 0, 0]]], np.float32)))
    assert drawn[0].tolist() == [[128, 128, 255], [128, 255, 128], [255, 128, 128], [0, 0, 0]]


# edges


@pytest.mark.parametrize("preparation", [None, *PREPARATIONS])
def test_edges_roundtrip_within_half_a_gray_level(preparation):
    edges = Edges(np.random.default_rng(0).random((HEIGHT, WIDTH)).astype(np.float32))
    target = edges if preparation is None else resized(edges, preparation)
    drawn = draw_edges(edges) if preparation is None else draw(edges, preparation)
    assert np.abs(read_edges(drawn).strength - target.strength).max() <= 0.5 / 255 + 1e-6


def test_edges_keep_thin_lines_when_shrunk():
    strength = np.zeros((HEIGHT, WIDTH), np.float32)
    strength[41], strength[:, 77] = 1, 0.5
    drawn = draw(Edges(strength), ImagePreparation(size=16, fit="squash"))
    assert (drawn[41 // 6] == 0).all()  # 6 source rows in each
    assert (np.delete(drawn, 41 // 6, axis=0)[:, 77 // 8] == 128).all()
    assert (drawn == 255).all(axis=-1).sum() == 15 * 15


def test_edges_resized_match_slow_loop():
    strength = np.random.default_rng(0).random((HEIGHT, WIDTH)).astype(np.float32)
    for preparation in PREPARATIONS:
        left, top, right, bottom = preparation.region(HEIGHT, WIDTH)
        size, shrunk = preparation.size, resized(Edges(strength), preparation).strength
        for row, column in [(0, 0), (5, 9), (size - 2, 3), (size // 2, size - 2)]:
            y0, y1 = (int(top + (bottom - top) * (row + more) / size) for more in (0, 1))
            x0, x1 = (int(left + (right - left) * (column + more) / size) for more in (0, 1))
            assert shrunk[row, column] == strength[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].max()


# depth drawn evenly in one over the meters, and disparity


@pytest.mark.parametrize("near, far", [(1.0, 4.0), (0.5, 80.0)])
def test_inverse_depth_roundtrips_in_one_over_meters(near, far):
    meters = np.linspace(near, far, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    meters[:9] = 0
    read = read_depth(draw_depth(Depth(meters), scale="inverse"), *depth_range(Depth(meters)), scale="inverse").meters
    known = meters > 0
    np.testing.assert_array_equal(read > 0, known)
    ends = meters[known].min(), meters[known].max()
    step = (1 / ends[0] - 1 / ends[1]) / (0.98 * 255)
    assert np.abs(1 / read[known] - 1 / meters[known]).max() <= 0.51 * step


def test_inverse_depth_is_even_in_one_over_meters():
    drawn = draw_depth(Depth(np.array([[1, 2, 4, np.nan]], np.float32)), scale="inverse")[0, :, 0]
    assert drawn.tolist() == [255, 88, 5, 0]  # 1/2 lies a third of the way from 1/4 to 1: 0.02 + 0.98 / 3
    with pytest.raises(ValueError, match=r"near=0.0 and far=4.0 must be above 0 and in this order .* in meters"):
        read_depth(np.zeros((2, 2, 3), np.uint8), 0.0, 4.0, scale="inverse")


@pytest.mark.parametrize("preparation", [None, *PREPARATIONS])
def test_disparity_roundtrips_within_half_a_gray_level(preparation):
    pixels = (2 + COLUMNS / 4 + ROWS / 8).astype(np.float32)
    pixels[20:40, 30:60], pixels[50:60, 80:90] = 0, np.nan
    disparity = Disparity(pixels)
    target = disparity if preparation is None else resized(disparity, preparation)
    drawn = draw_disparity(disparity) if preparation is None else draw(disparity, preparation)
    least, most = disparity_range(target)
    read = read_disparity(drawn, least, most).pixels
    known = np.nan_to_num(target.pixels) > 0
    np.testing.assert_array_equal(read > 0, known)
    assert np.abs(read - target.pixels)[known].max() <= 0.51 * (most - least) / (0.98 * 255)


def test_disparity_is_bright_when_near():
    drawn = draw_disparity(Disparity(np.array([[1, 2, 3, 0]], np.float32)))[0, :, 0]
    assert drawn.tolist() == [5, 130, 255, 0]
