"""The door: every kind in every style, in the size asked for, and refusals in words."""

import hashlib

import numpy as np
import pytest
from annotated import EXTREME, HEIGHT, PREPARATIONS, RANDOM, WIDTH

from openlvm.core.images import ImagePreparation
from openlvm.core.records import Depth, Keypoints, Segmentation
from openlvm.sentences.render import STYLES, draw

SQUARE = ImagePreparation(size=24)


def test_draw_gives_pictures_their_preparation():
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw(picture, PREPARATIONS[0]), PREPARATIONS[0](picture))


@pytest.mark.parametrize("kind", sorted(RANDOM))
def test_draw_gives_every_annotation_the_size_asked_for_in_every_style(kind):
    payload = RANDOM[kind](np.random.default_rng(0))
    pictures = [draw(payload, SQUARE, style) for style in STYLES[type(payload)]]
    for drawn in pictures:
        assert drawn.dtype == np.uint8
        assert drawn.shape == (24, 24, 3)
        assert drawn.min() < drawn.max()
    np.testing.assert_array_equal(draw(payload, SQUARE), pictures[0])  # "" is the first
    different = {drawn.tobytes() for drawn in pictures}
    assert len(different) == len(pictures) or kind == "mask"  # a foreground is white in both


@pytest.mark.parametrize("what", sorted(EXTREME))
@pytest.mark.filterwarnings("error")
def test_draw_survives_extremes(what):
    payload = EXTREME[what]
    for style in STYLES[type(payload)]:
        for preparation in PREPARATIONS:
            if (what, style) == ("in the corners", "openpose"):
                continue  # joints without names
            drawn = draw(payload, preparation, style)
            assert drawn.dtype == np.uint8 and drawn.shape == (preparation.size, preparation.size, 3)


def test_usual_styles_match_golden_digest():
    """Models were trained on these pictures; another drawing is another task."""
    usual = {kind.__name__: next(iter(styles)) for kind, styles in STYLES.items()}
    planes = {"Depth": "linear", "Disparity": "linear", "Normals": "axes", "Edges": "lines", "Flow": "wheel"}
    assert usual == {"Segmentation": "classes", "Keypoints": "skeleton", "Boxes": "filled", **planes}
    digest = hashlib.sha256()
    chance = np.random.default_rng(7)
    for size in (64, 256):
        for people in (1, 3):
            points = (chance.random((people, 17, 2)) * (WIDTH, HEIGHT)).astype(np.float32)
            keypoints = Keypoints(points, chance.random((people, 17)) < 0.8, (HEIGHT, WIDTH))
            digest.update(draw(keypoints, ImagePreparation(size=size)).tobytes())
        digest.update(draw(RANDOM["boxes"](chance), ImagePreparation(size=size)).tobytes())
    assert digest.hexdigest() == "d0806ee73ae542acbaef6db70ca320649406eb4be635e1e9a49147dea97d6edf"


def test_draw_rejects_other_things_and_styles():
    with pytest.raises(ValueError, match="a payload is a picture uint8 .* or an annotation, not str"):
        draw("image.png", SQUARE)
    with pytest.raises(ValueError, match="no style of Depth called 'invers'; did you mean inverse"):
        draw(Depth(np.ones((2, 2), np.float32)), SQUARE, "invers")
    with pytest.raises(ValueError, match="no style of Segmentation called 'wheel'; known: binary, classes"):
        draw(Segmentation(np.zeros((2, 2), np.int32)), SQUARE, "wheel")
    with pytest.raises(ValueError, match="a picture is shown as it is; the style 'binary' is for annotations"):
        draw(np.zeros((2, 2, 3), np.uint8), SQUARE, "binary")
