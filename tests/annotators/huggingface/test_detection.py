"""Boxes are what transformers computes, within the picture, the surest first."""

import numpy as np
import pytest
import torch

from openlvm.annotators.load import load_annotator


def _published(at, image, threshold):
    from transformers import YolosForObjectDetection, YolosImageProcessorPil

    processor = YolosImageProcessorPil.from_pretrained(at)
    with torch.no_grad():
        outputs = YolosForObjectDetection.from_pretrained(at)(**processor(images=[image], return_tensors="pt"))
    (told,) = processor.post_process_object_detection(outputs, threshold=threshold, target_sizes=[image.shape[:2]])
    return {name: value.numpy() for name, value in told.items()}


def test_boxes_match_transformers(network_at, images):
    at = network_at("yolos")
    annotator = load_annotator(f"boxes=hf:{at},threshold=0.3")
    assert annotator.describe()["classes"] == {"1": "person", "2": "bicycle", "3": "car"}  # label 0 is N/A
    assert annotator.describe()["threshold"] == 0.3
    count = 0
    for image, boxes in zip(images, annotator.annotate(images), strict=True):
        height, width = image.shape[:2]
        truth = _published(at, image, 0.3)
        order = np.argsort(-truth["scores"], kind="stable")
        corners = truth["boxes"][order].clip(0, [width, height, width, height])
        kept = (corners[:, 2:] > corners[:, :2]).all(axis=1) & (truth["labels"][order] > 0)
        np.testing.assert_allclose(boxes.corners, corners[kept], atol=1e-3)
        np.testing.assert_array_equal(boxes.ids, truth["labels"][order][kept])
        assert boxes.size == (height, width) and boxes.corners.dtype == np.float32 and boxes.ids.dtype == np.int32
        count += len(boxes.ids)
    assert count > 3


def test_classes_chosen_are_kept(network_at, images):
    at = network_at("yolos")
    everything = load_annotator(f"boxes=hf:{at},threshold=0").annotate(images)
    chosen = load_annotator(f"boxes=hf:{at},threshold=0,classes=bicycle").annotate(images)
    assert len({int(number) for boxes in everything for number in boxes.ids}) > 1
    for one, some in zip(everything, chosen, strict=True):
        np.testing.assert_array_equal(some.corners, one.corners[one.ids == 2])
        assert (some.ids == 2).all()


def test_boxes_of_a_batch_equal_those_one_by_one(network_at, images):
    annotator = load_annotator(f"boxes=hf:{network_at('yolos')},threshold=0")
    for image, boxes in zip(images, annotator.annotate(images), strict=True):
        (alone,) = annotator.annotate([image])
        np.testing.assert_allclose(alone.corners, boxes.corners, atol=1e-3)
        np.testing.assert_array_equal(alone.ids, boxes.ids)


def test_a_picture_without_objects_has_no_boxes(network_at, images):
    (boxes,) = load_annotator(f"boxes=hf:{network_at('yolos')},threshold=1").annotate(images[:1])
    assert boxes.corners.shape == (0, 4) and boxes.ids.shape == (0,) and boxes.size == (40, 60)


def test_ids_of_a_network_that_begins_with_person_move_up(network_at):
    at = network_at("yolos", labels={0: "person", 1: "bicycle"})
    assert load_annotator(f"boxes=hf:{at}").describe()["classes"] == {"1": "person", "2": "bicycle"}


def test_a_threshold_outside_its_range_is_rejected(network_at):
    with pytest.raises(ValueError, match=r"option threshold=2 of boxes=hf: 2 must lie in 0..1"):
        load_annotator(f"boxes=hf:{network_at('yolos')},threshold=2")
