"""What is written beside the pictures: annotations as arrays, confidence, moving pictures, WebP."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from opinions import with_opinions
from PIL import Image

from openlvm.cli.prompt.options import Continue, Reading
from openlvm.cli.prompt.readings import READ, write_readings
from openlvm.core.images import read_image
from openlvm.prompting.lvm import LVM

WORDS = {
    "mask": [],
    "classes": ["--ids", 0, 2, 5],
    "depth": ["--depth-range", 2, 10],
    "disparity": ["--disparity-range", 2, 40],
    "normals": [],
    "edges": [],
    "flow": ["--fastest", 7],
    "keypoints": [],
    "openpose": [],
    "boxes": ["--ids", 1, 2],
}


@pytest.fixture(scope="module")
def lvm_at(lvm_at, tmp_path_factory):
    return with_opinions(lvm_at, tmp_path_factory.mktemp("opinions") / "lvm")


@pytest.fixture
def expected(lvm_at, pictures):
    return LVM.load(lvm_at).complete([pictures / "a.png", pictures / "b.png"], num_frames=2, num_candidates=2)


@pytest.fixture
def ask(openlvm_json, lvm_at, pictures, tmp_path):
    """Have two frames drawn after two, twice, with more options; what is told."""

    def run(*words):
        told = ["--frames", 2, "--candidates", 2, "--lvm", lvm_at, "--out", tmp_path / "out"]
        return openlvm_json("prompt", "sequence", pictures / "a.png", pictures / "b.png", *told, *words)

    return run


def array_of(reading, answer, c, f):
    """What the facade reads, as one array."""
    match reading:
        case "classes":
            return answer.classes((0, 2, 5), c, f)
        case "depth":
            return answer.depth(2, 10, c, f)
        case "disparity":
            return answer.disparity(2, 40, c, f)
        case "flow":
            return answer.flow(7, c, f)
        case "keypoints" | "openpose":
            found = getattr(answer, reading)(c=c, f=f)
            return np.concatenate([found.points[0], found.visible[0, :, None]], axis=1)
        case "boxes":
            found = answer.boxes((1, 2), c, f)
            return np.concatenate([found.corners, found.ids[:, None]], axis=1)
    return getattr(answer, reading)(c, f)


def test_every_reading_has_its_test():
    assert set(WORDS) == set(READ) == set(get_args(Reading))


@pytest.mark.parametrize("reading", WORDS)
def test_readings_equal_those_of_the_facade(ask, expected, reading):
    result = ask("--read", reading, *WORDS[reading])
    arrays = [np.load(path) for path in result[reading]]
    assert len(arrays) == 4
    for (c, f), array in zip(np.ndindex(2, 2), arrays, strict=True):
        assert np.array_equal(array, array_of(reading, expected, c, f), equal_nan=array.dtype.kind == "f")
        drawn = read_image(result[reading][2 * c + f].replace(".npy", ".png"))
        assert drawn.shape == expected.images[c, f].shape


@pytest.fixture
def boxed(expected):
    """An answer whose candidate 0 is black, and candidate 1 gray with a white box in frame 1."""
    images = np.zeros_like(expected.images)
    images[1] = 100
    images[1, 1, 2:9, 3:13] = 255
    return replace(expected, images=images)


def read_from(answer, out, reading, **more):
    """The arrays and pictures written of an answer, in the order of candidates and frames."""
    options = Continue(images=("a.png",), out=out, read=reading, **more)
    paths = write_readings(answer, options)[reading]
    return [np.load(path) for path in paths], [read_image(path.with_suffix(".png")) for path in paths]


def test_every_candidate_is_read_and_drawn_by_itself(boxed, tmp_path):
    white = (boxed.images == 255).all(-1)  # [C, F, H, W]
    masks, drawn = read_from(boxed, tmp_path, "mask")
    assert (np.stack(masks).reshape(white.shape) == white).all()
    assert (np.stack(drawn).reshape(boxed.images.shape) == 255 * white[..., None]).all()
    classes, drawn = read_from(boxed, tmp_path, "classes", ids=(0, 1))
    assert (np.stack(classes).reshape(white.shape) == white).all()
    boxes, drawn = read_from(boxed, tmp_path, "boxes")
    assert [array.tolist() for array in boxes] == [[], [], [], [[3, 2, 13, 9, 1]]]
    assert (np.stack(drawn).reshape(boxed.images.shape) == 255 * white[..., None]).all()


def test_nearest_of_a_drawn_depth_is_white(boxed, tmp_path):
    meters, drawn = read_from(boxed, tmp_path, "depth", depth_range=(0.0, 10.0))
    white = (boxed.images[1, 1] == 255).all(-1)
    assert (meters[3][white] == 0).all() and (meters[3][~white] > 5).all()
    assert (drawn[3][white] == 255).all() and (drawn[3][~white] < 100).all()


def test_confidence_is_written_and_drawn(ask, expected):
    result = ask("--confidence", "--format", "webp")
    for (c, f), path in zip(np.ndindex(2, 2), result["confidence"], strict=True):
        certain = np.load(path)
        assert np.allclose(certain, expected.confidence(c, f), atol=1e-5)
        drawn = read_image(path.replace(".npy", ".webp"))
        assert np.abs(drawn[..., 0] - 255 * certain).max() <= 0.5 + 1e-3


def test_webp_loses_nothing(ask, expected):
    result = ask("--format", "webp")
    assert result["images"][0].endswith(".webp") and result["sheet"].endswith(".webp")
    assert (read_image(result["images"][3]) == expected.images[1, 1]).all()


def test_gif_moves_through_prompt_and_answer(ask, expected):
    result = ask("--gif")
    assert len(result["gif"]) == 2
    with Image.open(result["gif"][1]) as moving:
        assert moving.n_frames == 4 and moving.info["duration"] == 250 and moving.info["loop"] == 0
        moving.seek(3)
        shown = np.asarray(moving.convert("RGB")).astype(int)
    assert np.abs(shown - expected.images[1, 1]).mean() < 8  # 256 colors a frame
