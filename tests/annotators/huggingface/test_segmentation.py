"""Classes, instances and foreground are what transformers computes, by ids that a picture can show."""

import numpy as np
import pytest
import torch

from openlvm.annotators.huggingface.classes import classes_of
from openlvm.annotators.load import load_annotator


def _outputs(at, image):
    """The processor and the network's outputs, by transformers alone."""
    import transformers

    task = "Universal" if "mask2former" in at.name else "Semantic"
    model = getattr(transformers, f"AutoModelFor{task}Segmentation").from_pretrained(at)
    processor = transformers.AutoImageProcessor.from_pretrained(at, backend="pil")
    with torch.no_grad():
        return processor, model(**processor(images=[image], return_tensors="pt"))


@pytest.mark.parametrize("name", ["segformer", "mask2former"])
def test_classes_match_transformers_and_begin_at_one(network_at, images, name):
    annotator = load_annotator(f"segmentation=hf:{network_at(name)}")
    seen = set()
    for image, segmentation in zip(images, annotator.annotate(images), strict=True):
        processor, outputs = _outputs(network_at(name), image)
        (truth,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[image.shape[:2]])
        assert segmentation.ids.dtype == np.int32
        assert (segmentation.ids == truth.numpy() + 1).mean() > 0.999  # ties may fall to either side
        seen |= set(np.unique(segmentation.ids).tolist())
    assert len(seen) >= 2 and seen <= {1, 2, 3, 4}
    assert annotator.describe()["classes"] == {"1": "wall", "2": "building", "3": "sky", "4": "floor"}


def test_classes_chosen_are_kept_and_the_others_are_background(network_at, images):
    at = network_at("segformer")
    everything = load_annotator(f"segmentation=hf:{at}").annotate(images)
    some = load_annotator(f"segmentation=hf:{at},classes=sky+floor")
    mask = load_annotator(f"mask=hf:{at},classes=floor")
    assert some.describe()["classes"] == {"3": "sky", "4": "floor"}
    assert any((one.ids == 4).any() and (one.ids < 3).any() for one in everything)
    for one, chosen, binary in zip(everything, some.annotate(images), mask.annotate(images), strict=True):
        np.testing.assert_array_equal(chosen.ids, np.where(one.ids >= 3, one.ids, 0))
        np.testing.assert_array_equal(binary.ids, (one.ids == 4).astype(np.int32))
    with pytest.raises(ValueError, match=r"no class of tiny-segformer called 'skyy'; did you mean sky\?"):
        load_annotator(f"mask=hf:{at},classes=skyy")


def test_a_mask_of_everything_and_a_threshold_without_effect_are_rejected(network_at):
    with pytest.raises(ValueError, match="every class of tiny-segformer is something; say which the mask is of"):
        load_annotator(f"mask=hf:{network_at('segformer')}")
    with pytest.raises(ValueError, match="no option of mask=hf called 'threshold'"):
        load_annotator(f"mask=hf:{network_at('segformer')},threshold=0.5,classes=sky")


def test_instances_match_transformers_and_are_numbered_from_the_largest(network_at, images):
    at = network_at("mask2former")
    annotator = load_annotator(f"instances=hf:{at},threshold=0.3")
    assert annotator.describe()["threshold"] == 0.3
    most = 0
    for image, instances in zip(images, annotator.annotate(images), strict=True):
        processor, outputs = _outputs(at, image)
        (truth,) = processor.post_process_panoptic_segmentation(
            outputs, threshold=0.3, label_ids_to_fuse=set(), target_sizes=[image.shape[:2]]
        )
        areas = sorted(
            (int((truth["segmentation"] == one["id"]).sum()) for one in truth["segments_info"]), reverse=True
        )
        numbers, counts = np.unique(instances.ids[instances.ids > 0], return_counts=True)
        assert numbers.tolist() == list(range(1, len(areas) + 1)) and counts.tolist() == areas
        most = max(most, len(areas))
    assert most >= 2


def test_instances_of_classes_not_chosen_are_background(network_at, images):
    at = network_at("mask2former")
    classes = load_annotator(f"instances=hf:{at},threshold=0,classes=wall").annotate(images)
    everything = load_annotator(f"instances=hf:{at},threshold=0").annotate(images)
    assert sum(int(one.ids.max()) for one in classes) < sum(int(one.ids.max()) for one in everything)


def test_instances_beyond_what_a_picture_shows_are_background(network_at):
    annotator = load_annotator(f"instances=hf:{network_at('mask2former')}")
    segments = torch.arange(300).repeat_interleave(2).reshape(20, 30)
    segments[0, 0] = 299
    told = [{"id": number, "label_id": 0} for number in range(1, 300)]
    ids = annotator._numbered(segments, told).ids
    assert ids.max() == 255 and (ids[segments.numpy() == 299] == 1).all()  # the largest is first
    assert (ids == 0).sum() == 1 + 2 * (299 - 255)  # what was no instance, and the last ones


@pytest.mark.parametrize("name", ["segformer", "mask2former"])
@pytest.mark.parametrize("slot", ["segmentation", "instances"])
def test_a_batch_equals_one_by_one(network_at, images, name, slot):
    if (name, slot) == ("segformer", "instances"):
        with pytest.raises(ValueError, match="no architecture for slot instances called 'segformer'"):
            load_annotator(f"instances=hf:{network_at(name)}")
        return
    annotator = load_annotator(f"{slot}=hf:{network_at(name)}")
    for image, told in zip(images, annotator.annotate(images), strict=True):
        assert (annotator.annotate([image])[0].ids == told.ids).mean() > 0.999


def test_a_network_whose_first_class_is_background_keeps_its_ids(network_at):
    labels = {0: "background", 1: "aeroplane", 2: "bicycle"}
    network = load_annotator(f"segmentation=hf:{network_at('segformer', labels=labels)}")
    assert network.describe()["classes"] == {"1": "aeroplane", "2": "bicycle"}
    assert network.classes.ids.tolist() == [0, 1, 2]


def test_more_classes_than_a_picture_shows_are_rejected_unless_few_are_chosen(network_at):
    at = network_at("segformer", labels={number: f"class {number}" for number in range(256)})
    with pytest.raises(ValueError, match="class ids up to 256; a picture shows 255: choose classes"):
        load_annotator(f"segmentation=hf:{at}")
    assert load_annotator(f"segmentation=hf:{at},classes=class 254").describe()["classes"] == {"255": "class 254"}


def test_names_that_occur_twice_are_all_kept(network_at):
    network = load_annotator(f"segmentation=hf:{network_at('segformer')}").network
    network.model.config.id2label = {0: "door", 1: "wall", 2: "door"}
    assert classes_of(network, ("door",)).names == {1: "door", 3: "door"}
