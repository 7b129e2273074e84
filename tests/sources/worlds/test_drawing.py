"""Shapes have the size, place and color that a scene says, and colors are clear."""

from itertools import combinations

import numpy as np
import pytest

from openlvm.sources.worlds.drawing import (
    COLORS,
    DARK,
    FORMS,
    HOLES,
    LIGHT,
    SEEN_FORMS,
    UNSEEN_FORMS,
    Background,
    Scene,
    Shape,
    draw_scene,
    paper,
)


def area(points) -> float:
    """The shoelace formula."""
    x, y = np.array(points).T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


@pytest.mark.parametrize("form", FORMS)
def test_drawn_area_matches_the_polygon(form):
    picture = draw_scene(Scene((Shape(form, "white", 0.5, 0.5, 0.3, angle=20),), Background((0, 0, 0), (0, 0, 0))), 128)
    share = picture[..., 0].sum() / 245 / 128**2
    assert share == pytest.approx(area(FORMS[form]) * 0.3**2 * (1 - HOLES.get(form, 0) ** 2), rel=0.03)


def test_forms_are_their_own_mirror_images_within_the_unit_circle():
    for form, points in FORMS.items():
        mirrored = {(round(-x, 6) + 0.0, round(y, 6)) for x, y in points}
        assert mirrored == {(round(x, 6) + 0.0, round(y, 6)) for x, y in points}, form
        assert max(np.hypot(*point) for point in points) <= 1.08, form


def test_colors_are_far_from_each_other_and_from_backgrounds():
    distances = [np.linalg.norm(np.subtract(a, b)) for a, b in combinations(COLORS.values(), 2)]
    assert min(distances) >= 80
    assert min(np.linalg.norm(np.subtract(a, b)) for a in COLORS.values() for b in (*LIGHT, *DARK)) >= 70


def test_antialiasing_shares_a_border_pixel():
    """A square from 0.25 to 0.75 of 10 pixels covers half of its outermost pixels, a quarter at the corners."""
    side = 0.25 / 0.71
    picture = draw_scene(Scene((Shape("square", "white", 0.5, 0.5, side),), Background((0, 0, 0), (0, 0, 0))), 10)
    assert (picture[3:7, 3:7] == 245).all() and (picture[:2] == 0).all() and (picture[8:] == 0).all()
    for border in (picture[2, 3:7], picture[7, 3:7], picture[3:7, 2], picture[3:7, 7]):
        np.testing.assert_allclose(border, 245 / 2, atol=245 / 4 + 1)  # PIL fills its border: a quarter of a pixel more


def test_last_shape_is_in_front_and_background_passes_from_first_to_second():
    shapes = (Shape("square", "red", 0.5, 0.5, 0.2), Shape("square", "blue", 0.5, 0.5, 0.2))
    scene = Scene(shapes, Background((0, 100, 200), (100, 0, 200), angle=90.0))
    picture = draw_scene(scene, 64)
    assert tuple(picture[32, 32]) == COLORS["blue"]
    assert tuple(picture[0, 5]) == (1, 99, 200) and tuple(picture[63, 60]) == (99, 1, 200)
    assert (draw_scene(Scene((), paper("gray")), 8) == 128).all()


def test_unseen_forms_are_not_seen():
    assert set(SEEN_FORMS) | set(UNSEEN_FORMS) == set(FORMS) and not set(SEEN_FORMS) & set(UNSEEN_FORMS)
