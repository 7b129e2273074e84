"""Clips of a moving object."""

import numpy as np

from openlvm.sources.pack import PackMotion


def test_motion_moves_smoothly_and_masks_the_object():
    source = PackMotion(clips=16)
    for record in source.read(source.parts()[0]):
        centers = [np.argwhere(mask.ids == 1).mean(0) for mask in record.slots["mask"]]
        steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
        assert record.num_frames == 8 and steps.max() < 20 and steps.sum() > 5
        assert all(mask.ids.mean() > 0.005 for mask in record.slots["mask"])
