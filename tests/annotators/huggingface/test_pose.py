"""Joints are what transformers' ViTPose computes, of the people a detector finds."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from openlvm.annotators.huggingface import pose
from openlvm.annotators.load import load_annotator

pytest.importorskip("scipy")
SURE = 0.05
"""Places of joints with lower scores are no more than rounding: their heatmaps are flat."""


@lru_cache
def _opened(at):
    from transformers import VitPoseForPoseEstimation, VitPoseImageProcessorPil

    return VitPoseImageProcessorPil.from_pretrained(at), VitPoseForPoseEstimation.from_pretrained(at)


def _published(at, image, box):
    processor, model = _opened(at)
    with torch.no_grad():
        outputs = model(**processor(images=[image], boxes=[[box]], return_tensors="pt"))
    ((told,),) = processor.post_process_pose_estimation(outputs, boxes=[[box]])
    return told["keypoints"].numpy(), told["scores"].numpy()


def test_joints_of_the_whole_picture_match_transformers(network_at, images):
    annotator = load_annotator(f"pose=hf:{network_at('vitpose')},threshold=0")
    assert annotator.describe()["threshold"] == 0 and "detector" not in annotator.describe()
    for image, keypoints in zip(images, annotator.annotate(images), strict=True):
        height, width = image.shape[:2]
        points, scores = _published(network_at("vitpose"), image, [0.0, 0.0, float(width), float(height)])
        assert keypoints.points.shape == (1, 17, 2) and keypoints.points.dtype == np.float32
        sure = scores > SURE
        assert sure.sum() > 3
        np.testing.assert_allclose(keypoints.points[0][sure], points[sure], atol=1e-2)
        inside = ((points >= 0) & (points < [width, height])).all(axis=1)
        np.testing.assert_array_equal(keypoints.visible[0], inside & (scores >= 0))
        assert keypoints.size == (height, width) and keypoints.joints == "coco"


def test_joints_below_the_threshold_are_not_visible(network_at, images):
    at = network_at("vitpose")
    _, scores = _published(at, images[0], [0.0, 0.0, 60.0, 40.0])
    middle = float(np.median(scores))
    (all_of_them,) = load_annotator(f"pose=hf:{at},threshold=0").annotate(images[:1])
    (keypoints,) = load_annotator(f"pose=hf:{at},threshold={middle}").annotate(images[:1])
    np.testing.assert_array_equal(keypoints.visible, all_of_them.visible & (scores >= np.float32(middle)))
    assert keypoints.visible.sum() < all_of_them.visible.sum()


def test_people_are_those_of_the_detector(network_at, images, monkeypatch):
    at, detector_at = network_at("vitpose"), network_at("yolos")
    annotator = load_annotator(f"pose=hf:{at},detector={detector_at},threshold=0")
    detector = load_annotator(f"boxes=hf:{detector_at},classes=person")
    assert annotator.describe()["detector"] == detector.describe()
    everybody = load_annotator(f"boxes=hf:{detector_at},threshold=0,classes=person+bicycle+car")
    object.__setattr__(annotator, "detector", everybody)  # random networks are never sure
    monkeypatch.setattr(pose, "MAX_TOGETHER", 3)
    found = annotator.annotate(images)
    boxes = everybody.boxes(images)
    assert sum(len(one.ids) for one in boxes) > 6
    compared = 0
    for image, keypoints, some in zip(images, found, boxes, strict=True):
        assert len(keypoints.points) == len(some.ids)
        for points, (left, top, right, bottom) in zip(keypoints.points, some.corners.astype(float), strict=True):
            truth, scores = _published(at, image, [left, top, right - left, bottom - top])
            inside = ((truth >= 0) & (truth < 70)).all(axis=1)  # refined with a singular matrix, a joint flies far
            sure = (scores > SURE) & inside
            np.testing.assert_allclose(points[sure], truth[sure], atol=1e-2)
            compared += int(sure.sum())
    assert compared > 50


def test_a_picture_without_people_has_none(network_at, images):
    annotator = load_annotator(f"pose=hf:{network_at('vitpose')},detector={network_at('yolos')}")
    object.__setattr__(annotator.detector, "threshold", 1.0)
    (keypoints,) = annotator.annotate(images[:1])
    assert keypoints.points.shape == (0, 17, 2) and keypoints.visible.shape == (0, 17) and keypoints.size == (40, 60)


def test_a_network_of_experts_uses_that_of_coco(network_at, images):
    annotator = load_annotator(f"pose=hf:{network_at('vitpose', num_experts=3)}")
    (first,) = annotator.annotate(images[:1])
    assert np.isfinite(first.points).all()
    model = annotator.network.model
    for name, weight in model.named_parameters():
        if "experts.1" in name or "experts.2" in name:
            weight.data.zero_()
    np.testing.assert_array_equal(annotator.annotate(images[:1])[0].points, first.points)


def test_without_scipy_the_extra_is_named(network_at, monkeypatch):
    monkeypatch.setattr(pose, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"ViTPose needs scipy: pip install openlvm\[annotators\]"):
        load_annotator(f"pose=hf:{network_at('vitpose')}")


def test_other_joints_than_cocos_are_rejected(network_at):
    with pytest.raises(ValueError, match="tiny-vitpose finds 14 joints; expected COCO's 17"):
        load_annotator(f"pose=hf:{network_at('vitpose', num_joints=14)}")
