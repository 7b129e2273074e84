"""Drawings and people before a background: masks, joints and depth lie where the picture shows them."""

import numpy as np
from scipy.ndimage import binary_dilation

from openlvm.core.records import JOINTS
from openlvm.sources.pack import PackPoses, PackStamps
from openlvm.sources.pack.files import open_pack


def records(source):
    return [record for part in source.parts() for record in source.read(part)]


def test_stamp_differs_from_its_background_on_the_mask_alone():
    """Two seeds move the drawing; two backgrounds at one seed leave its pixels alone."""
    photo, plain = (records(PackStamps("heldout", background, seed=4)) for background in ("photo", "plain"))
    for a, b in zip(photo, plain, strict=True):
        on = a.slots["mask"][0].ids == 1
        assert np.array_equal(on, b.slots["mask"][0].ids == 1) and 0.02 < on.mean() < 0.9
        change = np.abs(a.slots["image"][0].astype(int) - b.slots["image"][0]).mean(-1)
        assert np.median(change[on]) == 0 and change[~binary_dilation(on, iterations=2)].mean() > 5
    moved = records(PackStamps("heldout", seed=5))
    pairs = zip(photo, moved, strict=True)
    assert sum(not np.array_equal(a.slots["mask"][0].ids, b.slots["mask"][0].ids) for a, b in pairs) > 20


def test_stamps_scenes_differ_and_keep_their_label():
    source = PackStamps("heldout", scenes_per_stamp=2)
    first, second = records(source)[:2]
    assert first.key.split("/")[0] == second.key.split("/")[0] and first.label == second.label
    assert not np.array_equal(first.slots["image"][0], second.slots["image"][0])


def test_joints_lie_on_the_person():
    """Every visible joint of arms and legs is within 2 pixels of the mask; those of the face within 1."""
    num_visible = 0
    for record in records(PackPoses("heldout")):
        pose, mask = record.slots["pose"][0], record.slots["mask"][0].ids == 1
        assert pose.points.shape == (1, len(JOINTS["coco"]), 2) and pose.size == mask.shape
        column, row = pose.points[0][pose.visible[0]].astype(int).T
        near = binary_dilation(mask, iterations=2)
        assert near[row, column].all(), record.key
        num_visible += pose.visible.sum()
    assert num_visible > 60 * 12


def test_left_and_right_are_those_of_the_person():
    """Where the face is seen (nose and both eyes), the person's left is on the picture's right, unless upside down."""
    agree = []
    for record in records(PackPoses("heldout")) + records(PackPoses("train")):
        points, visible = record.slots["pose"][0].points[0], record.slots["pose"][0].visible[0]
        upright = points[5:7, 1].max() < points[11:13, 1].min() - 15
        if visible[:3].all() and upright and abs(points[1, 0] - points[2, 0]) > 3:
            agree.append(points[1, 0] > points[2, 0])
    assert len(agree) >= 5 and all(agree)


def test_depth_of_people_is_known_on_the_mask_alone():
    entries = open_pack().entries("poses", "heldout")
    for record in records(PackPoses("heldout"))[::3]:
        on, meters = record.slots["mask"][0].ids == 1, record.slots["depth"][0].meters
        entry = entries[record.key.split("/")[0]]
        assert np.array_equal(meters > 0, on) and np.ptp(meters[on]) > 0.1
        assert meters[on].min() >= np.float32(entry["near"]) and meters[on].max() <= np.float32(entry["far"])
