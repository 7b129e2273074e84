"""Annotations survive being drawn and read back, at full size and after resizing."""

import numpy as np
import pytest

from openlvm.core.images import ImagePreparation
from openlvm.core.records import Boxes, Depth, Edges, Keypoints, Normals, Segmentation
from openlvm.sentences.palettes import colors_of, joint_colors
from openlvm.sentences.render import (
    depth_range,
    draw,
    draw_boxes,
    draw_depth,
    draw_edges,
    draw_keypoints,
    draw_normals,
    draw_segmentation,
    read_boxes,
    read_depth,
    read_edges,
    read_keypoints,
    read_normals,
    read_segmentation,
    resized,
)

HEIGHT, WIDTH = 96, 128
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH] + 0.5
PREPARATIONS = [
    ImagePreparation(size=64, fit="crop"),
    ImagePreparation(size=64, fit="squash"),
    ImagePreparation(size=160, fit="crop"),
]


def source_places(preparation):
    """Where the center of each pixel of the square lies in the image, (rows, columns)."""
    left, top, right, bottom = preparation.region(HEIGHT, WIDTH)
    steps = (np.arange(preparation.size) + 0.5) / preparation.size
    return (top + steps * (bottom - top))[:, None], (left + steps * (right - left))[None, :]


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


# keypoints: below 1 pixel

STANDING = np.array(
    [
        *[(64, 18), (69, 13), (59, 13), (75, 18), (53, 18)],
        *[(76, 32), (52, 32), (82, 45), (46, 45), (88, 57), (40, 57)],
        *[(71, 57), (57, 57), (74, 72), (54, 72), (76.4, 88.3), (52.6, 87.9)],
    ],
    dtype=np.float32,
)


@pytest.fixture
def keypoints():
    visible = np.ones((1, 17), bool)
    visible[0, 9] = False
    return Keypoints(STANDING[None], visible, (HEIGHT, WIDTH))


def test_keypoints_roundtrip_below_one_pixel(keypoints):
    read = read_keypoints(draw_keypoints(keypoints))
    np.testing.assert_array_equal(read.visible, keypoints.visible)
    assert np.abs(read.points - keypoints.points)[keypoints.visible].max() < 1
    assert read.size == (HEIGHT, WIDTH)


@pytest.mark.parametrize("preparation", [*PREPARATIONS, ImagePreparation(size=256)])
def test_keypoints_roundtrip_after_resizing(keypoints, preparation):
    read = read_keypoints(draw(keypoints, preparation))
    left, top, right, bottom = preparation.region(HEIGHT, WIDTH)
    scale = preparation.size / np.array([right - left, bottom - top])
    truth = (STANDING - (left, top)) * scale
    np.testing.assert_array_equal(read.visible, keypoints.visible)
    assert np.abs(read.points[0] - truth)[keypoints.visible[0]].max() < 1


def test_keypoints_outside_the_crop_are_invisible():
    points = np.array([[[10, 40], [20, 40], [90, 40]]], np.float32)
    moved = resized(Keypoints(points, np.ones((1, 3), bool), (HEIGHT, WIDTH)), ImagePreparation(size=48))
    assert moved.visible.tolist() == [[False, True, True]]
    np.testing.assert_allclose(moved.points[0, 1], [2, 20])
    assert read_keypoints(draw_keypoints(moved), num_joints=3).visible.tolist() == [[False, True, True]]


def test_keypoints_draw_limbs_half_bright_between_visible_joints(keypoints):
    drawn, colors = draw_keypoints(keypoints), joint_colors(17)
    halfway = ((STANDING[13] + STANDING[15]) / 2).astype(int)  # left shin
    np.testing.assert_array_equal(drawn[halfway[1], halfway[0]], colors[15] // 2)
    hidden = ((STANDING[7] + STANDING[9]) / 2).astype(int)
    assert not drawn[hidden[1], hidden[0]].any()


def test_keypoints_in_tiny_pictures_are_a_few_pixels():
    drawn = draw_keypoints(Keypoints(np.array([[[3.0, 4.0]]]), np.ones((1, 1), bool), (8, 8)))
    assert 1 <= drawn.any(axis=-1).sum() <= 4


# boxes: at most 1 pixel


@pytest.fixture
def boxes():
    corners = np.array([[30.4, 8.2, 60, 40.6], [70, 10, 101.5, 90.5], [34, 50, 52, 88]], np.float32)
    return Boxes(corners, np.array([1, 7, 7], np.int32), (HEIGHT, WIDTH))


@pytest.mark.parametrize("style", ["filled", "outline"])
@pytest.mark.parametrize("preparation", [None, *PREPARATIONS])
def test_boxes_roundtrip_within_one_pixel(boxes, style, preparation):
    target = boxes if preparation is None else resized(boxes, preparation)
    read = read_boxes(draw_boxes(target, style=style), [1, 7])
    order = np.lexsort((target.corners[:, 1], target.ids))
    assert read.ids.tolist() == [1, 7, 7]
    assert np.abs(read.corners - target.corners[order]).max() <= 1
    if preparation is not None and style == "filled":
        np.testing.assert_array_equal(draw(boxes, preparation), draw_boxes(target))
        left, top, right, bottom = preparation.region(HEIGHT, WIDTH)
        scale = preparation.size / np.array([right - left, bottom - top] * 2)
        np.testing.assert_allclose(target.corners, (boxes.corners - (left, top) * 2) * scale, atol=1e-4)


def test_boxes_are_cut_or_dropped_by_the_crop():
    corners = np.array([[0, 10, 40, 50], [0, 0, 10, 10]], np.float32)
    cut = resized(Boxes(corners, np.array([3, 4]), (HEIGHT, WIDTH)), ImagePreparation(size=HEIGHT))
    assert cut.corners.tolist() == [[0, 10, 24, 50]]
    assert cut.ids.tolist() == [3]


def test_small_boxes_lie_over_large_ones_and_outlines_are_hollow():
    corners = np.array([[20, 20, 30, 30], [10, 10, 80, 80]], np.float32)
    some = Boxes(corners, np.array([2, 1]), (HEIGHT, WIDTH))
    drawn = draw_boxes(some)
    np.testing.assert_array_equal(drawn[25, 25], colors_of(np.array(2)))
    np.testing.assert_array_equal(drawn[50, 50], (255, 255, 255))
    assert not draw_boxes(some, style="outline")[50, 50].any()
    tiny = Boxes(np.array([[5.1, 5.1, 5.2, 5.2]], np.float32), np.array([1]), (HEIGHT, WIDTH))
    assert draw_boxes(tiny, style="outline").any(axis=-1).sum() == 1


def test_boxes_rejects_id_of_background():
    with pytest.raises(ValueError, match="boxes with ids 0 to 0 cannot be drawn; use 1 to 255"):
        draw_boxes(Boxes(np.zeros((1, 4), np.float32), np.array([0]), (8, 8)))
    empty = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), (8, 8))
    assert not draw_boxes(empty).any()
    assert read_boxes(draw_boxes(empty), [1]).corners.shape == (0, 4)


# the dispatcher


def test_draw_gives_pictures_their_preparation():
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw(picture, PREPARATIONS[0]), PREPARATIONS[0](picture))


def test_draw_gives_every_annotation_the_size_asked_for(segmentation, depth, normals, keypoints, boxes):
    for payload in (segmentation, depth, normals, keypoints, boxes, Edges(np.nan_to_num(depth.meters).clip(0, 1))):
        drawn = draw(payload, ImagePreparation(size=24))
        assert drawn.dtype == np.uint8
        assert drawn.shape == (24, 24, 3)
        assert drawn.min() < drawn.max()


def test_draw_rejects_other_things():
    with pytest.raises(ValueError, match="a payload is a picture uint8 .* or an annotation, not str"):
        draw("image.png", PREPARATIONS[0])
