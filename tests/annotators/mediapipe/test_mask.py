"""A mask has the picture's size, and is empty where the detector finds nobody."""

import numpy as np
from miniatures.people import detector_of

from openlvm.annotators.mediapipe.mask import SIDE, PeopleMask

PERSON = (100, 3.0, (112, 112, 80, 160), (112, 112), (112, 60))


def bright_ones(pixels):
    """A network that takes what is bright for people."""
    assert pixels.shape == (SIDE, SIDE, 3) and 0 <= pixels.min() <= pixels.max() <= 1
    return [pixels[..., :1]]


def test_a_mask_is_that_of_the_network_in_the_pictures_size():
    image = np.zeros((90, 160, 3), np.uint8)
    image[30:, 40:100] = 255
    mask = PeopleMask(slot="mask", detector=detector_of(PERSON), model=bright_ones)
    (told,) = mask.annotate([image])
    assert told.ids.dtype == np.int32 and told.ids.shape == (90, 160)
    assert (told.ids == (image[..., 0] > 0)).mean() > 0.98


def test_a_picture_without_people_has_an_empty_mask():
    mask = PeopleMask(slot="mask", detector=detector_of(), model=bright_ones)
    (told,) = mask.annotate([np.full((40, 30, 3), 255, np.uint8)])
    assert told.ids.shape == (40, 30) and not told.ids.any()
    assert set(mask.describe()["files"]) == {"pose_detection.tflite", "selfie_segmentation.tflite"}
