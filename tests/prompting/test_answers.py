"""Answers: readers agree with what was drawn, confidence stands at the code's pixels, files hold the pictures."""

import math

import numpy as np
import pytest
from PIL import Image

from openlvm.core.images import read_image
from openlvm.core.records import JOINTS, Boxes, Depth, Disparity, Edges, Flow, Keypoints, Normals, Segmentation
from openlvm.prompting.answers import Answer
from openlvm.sentences.render import (
    disparity_range,
    draw_boxes,
    draw_depth,
    draw_disparity,
    draw_edges,
    draw_flow,
    draw_keypoints,
    draw_normals,
    draw_openpose,
    draw_segmentation,
    flow_range,
)

SIDE = 32


def answer_with(picture: np.ndarray, entropies: np.ndarray | None = None, **fields) -> Answer:
    """An answer of two candidates of two frames; candidate 1's frame 1 is `picture`, the others are black."""
    images = np.zeros((2, 2, *picture.shape), dtype=np.uint8)
    images[1, 1] = picture
    flat = np.zeros((2, 2, 4), dtype=np.float32)
    values = {"codes": flat.astype(np.int64), "log_probs": flat - 1, "numbers": np.arange(2), "num_codes": 16}
    return Answer(images=images, entropies=flat if entropies is None else entropies, **(values | fields))


def test_dense_readings_roundtrip_what_was_drawn():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, (SIDE, SIDE)).astype(np.int32)
    assert np.array_equal(answer_with(draw_segmentation(Segmentation(ids))).classes(range(3), 1, 1), ids)
    binary = draw_segmentation(Segmentation(ids), colors="binary")
    mask = answer_with(binary).mask(1, 1)
    assert mask.dtype == bool and np.array_equal(mask, ids > 0)
    assert not answer_with(binary).mask().any()  # candidate 0 is black
    pixels = np.linspace(3, 40, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    pixels[0, :4] = 0  # unknown
    read = answer_with(draw_disparity(Disparity(pixels))).disparity(*disparity_range(Disparity(pixels)), 1, 1)
    assert read.dtype == np.float32 and np.allclose(read, pixels, atol=37 / 255) and not read[0, :4].any()
    meters = np.linspace(2, 6, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    assert np.allclose(answer_with(draw_depth(Depth(meters))).depth(2, 6, 1, 1), meters, atol=0.02)
    vectors = np.zeros((SIDE, SIDE, 3), dtype=np.float32)
    vectors[..., 0], vectors[..., 2] = 0.6, -0.8
    assert np.allclose(answer_with(draw_normals(Normals(vectors))).normals(1, 1), vectors, atol=0.01)
    strength = (ids == 2).astype(np.float32)
    assert np.array_equal(answer_with(draw_edges(Edges(strength))).edges(1, 1), strength)


def test_flow_roundtrips_in_pixels_and_in_shares():
    vectors = np.random.default_rng(0).uniform(-6, 6, (SIDE, SIDE, 2)).astype(np.float32)
    vectors[:4, :4] = np.nan
    fastest = flow_range(Flow(vectors))
    answer = answer_with(draw_flow(Flow(vectors)))
    read = answer.flow(fastest, 1, 1)
    assert read.dtype == np.float32 and np.array_equal(np.isnan(read), np.isnan(vectors))
    assert np.nanmax(np.abs(read - vectors)) < 0.01 * fastest
    assert np.nanmax(np.linalg.norm(answer.flow(c=1, f=1), axis=-1)) == pytest.approx(1, abs=0.01)
    assert np.isnan(answer.flow()).all()  # candidate 0 is black


def test_openpose_roundtrips_what_was_drawn():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(4)), axis=-1).reshape(-1, 2)[:17] * 48 + 24
    points = (grid + rng.uniform(-8, 8, (17, 2)))[None].astype(np.float32)
    visible = np.ones((1, 17), dtype=bool)
    visible[0, 9] = False  # left wrist
    drawn = draw_openpose(Keypoints(points, visible, (256, 256)))
    found = answer_with(drawn).openpose("coco", 1, 1)
    assert found.joints == "coco" and found.size == (256, 256) and np.array_equal(found.visible, visible)
    assert np.abs(found.points - points)[visible].max() < 2
    lsp = answer_with(drawn).openpose("lsp", 1, 1)
    ankle = [JOINTS[name].index("left_ankle") for name in ("lsp", "coco")]
    assert np.abs(lsp.points[0, ankle[0]] - points[0, ankle[1]]).max() < 2
    with pytest.raises(ValueError, match="set of joints.*coco"):
        answer_with(drawn).openpose("cocoa")


def test_points_and_boxes_roundtrip_what_was_drawn():
    points = np.array([[[20, 20], [44, 40]]], dtype=np.float32)
    drawn = draw_keypoints(Keypoints(points, np.ones((1, 2), dtype=bool), (64, 64)))
    found = answer_with(drawn).keypoints(2, 1, 1)
    assert found.visible.all() and np.abs(found.points - points).max() < 1
    boxes = Boxes(np.array([[4, 6, 20, 30]], dtype=np.float32), np.array([3], dtype=np.int32), (64, 64))
    assert np.array_equal(answer_with(draw_boxes(boxes)).boxes((1, 3), 1, 1).corners, boxes.corners)


def test_confidence_limits_and_stands_where_the_code_is():
    entropies = np.zeros((2, 2, 4), dtype=np.float32)
    entropies[1, 0] = [0, math.log(16), math.log(4), 0]
    answer = answer_with(np.zeros((8, 8, 3), dtype=np.uint8), entropies)
    expected = np.repeat(np.repeat([[1, 0], [0.5, 1]], 4, axis=0), 4, axis=1)
    found = answer.confidence(1, 0)
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-6)
    assert (answer.confidence() == 1).all()


def test_confidence_rejects_codes_without_places():
    with pytest.raises(ValueError, match="a picture of 3 codes is no square of codes"):
        answer_with(np.zeros((8, 8, 3), np.uint8), np.zeros((2, 2, 3), np.float32)).confidence()


def test_understood_is_a_gain_above_zero():
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    assert answer_with(picture).understood is None
    gain = np.array([0.1, -0.2], dtype=np.float32)
    assert answer_with(picture, gain=gain).understood.tolist() == [True, False]
    assert answer_with(picture).mean_log_probs.tolist() == [-1, -1]


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_saved_pictures_are_the_answer(tmp_path, ending):
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    answer = answer_with(picture)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "candidate-2-image-0.jpg").touch()  # of an earlier answer
    sheet, *images = answer.save(tmp_path / "new", prompt=[[picture] * 3], ending=ending)
    assert [at.name for at in images] == [f"candidate-{c}-image-{f}.{ending}" for c in (0, 1) for f in (0, 1)]
    assert np.array_equal(np.stack([read_image(at) for at in images]).reshape(answer.images.shape), answer.images)
    assert sheet.name == f"sheet.{ending}" and Image.open(sheet).height >= 3 * 8
    assert sorted(path.name for path in sheet.parent.iterdir()) == sorted(at.name for at in [sheet, *images])
    with_prompt = Image.open(sheet).height
    assert Image.open(answer.save(tmp_path / "bare", ending=ending)[0]).height < with_prompt
