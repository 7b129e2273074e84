"""Every task family does what it says, seen in the pictures; and what is held out is not in training."""

import numpy as np
import pytest
from scipy import ndimage

from openlvm.core.seeds import rng
from openlvm.sources.worlds.arrangements import combinations, with_unseen_form
from openlvm.sources.worlds.drawing import COLORS, INKS, UNSEEN_FORMS, Scene, corners, draw_scene
from openlvm.sources.worlds.families import FAMILIES, HELDOUT_FAMILIES, instance_of, instances

SIZE = 128


def examples(name: str, count: int = 12):
    """(instance, scene, answer, picture, picture of the answer), half of them held out where there are both."""
    kinds = (True,) if name in HELDOUT_FAMILIES else (True, False)
    for heldout in kinds:
        for instance in instances(name, heldout=heldout, count=count // len(kinds)):
            scene = FAMILIES[name].scene(instance, rng("test", name, instance.number))
            answer = FAMILIES[name].answer(instance, scene)
            yield instance, scene, answer, draw_scene(scene, SIZE), draw_scene(answer, SIZE)


def of_color(picture: np.ndarray, name: str) -> np.ndarray:
    return (picture == INKS[name]).all(axis=-1)


def colors_in(picture: np.ndarray) -> set[str]:
    return {name for name in COLORS if of_color(picture, name).sum() > 8}


def foreground(scene: Scene) -> np.ndarray:
    """Pixels that the shapes change."""
    return (draw_scene(scene, SIZE) != draw_scene(Scene((), scene.background), SIZE)).any(axis=-1)


def test_recoloring_maps_every_pixel_of_a_color():
    for instance, _, _, before, after in examples("recoloring"):
        for name, target in zip(COLORS, instance.parameter, strict=True):
            assert name != target
            assert (of_color(before, name) == of_color(after, target)).all()


def test_color_and_shape_change_one_attribute():
    for instance, scene, _, before, after in examples("color"):
        assert colors_in(before) == {scene.shapes[0].color} != colors_in(after) == set(instance.parameter)
        assert (of_color(before, scene.shapes[0].color) == of_color(after, instance.parameter[0])).all()
    for instance, scene, answer, before, after in examples("shape"):
        assert colors_in(before) == colors_in(after) == {scene.shapes[0].color}
        assert scene.shapes[0].form != answer.shapes[0].form == instance.parameter[0]
        assert (before != after).any()


def test_size_scales_the_area_by_the_square_of_the_factor():
    for instance, scene, _, before, after in examples("size"):
        areas = [of_color(picture, scene.shapes[0].color).sum() for picture in (before, after)]
        assert areas[1] / areas[0] == pytest.approx(instance.parameter[0] ** 2, rel=0.15)
        assert ndimage.binary_erosion(np.ones((SIZE, SIZE), bool))[
            foreground(FAMILIES["size"].answer(instance, scene))
        ].all()


def test_position_moves_the_center_of_mass_by_the_vector():
    for instance, scene, answer, _, _ in examples("position"):
        centers = [np.array(ndimage.center_of_mass(foreground(one))) for one in (scene, answer)]
        np.testing.assert_allclose((centers[1] - centers[0])[::-1] / SIZE, instance.parameter, atol=0.01)


def test_rotation_turns_corners_about_each_center():
    for instance, scene, answer, before, after in examples("rotation"):
        turn = np.exp(1j * np.radians(instance.parameter[0]))
        for old, new in zip(scene.shapes, answer.shapes, strict=True):
            center = old.x + 1j * old.y
            expected = [(x + 1j * y - center) * turn + center for x, y in corners(old)]
            np.testing.assert_allclose([x + 1j * y for x, y in corners(new)], expected, atol=1e-9)
        assert np.abs(before.astype(int) - after).mean() > 0.5  # one sees it


MIRRORS = {
    "left-right": lambda picture: picture[:, ::-1],
    "up-down": lambda picture: picture[::-1],
    "diagonal": lambda picture: picture.transpose(1, 0, 2),
    "antidiagonal": lambda picture: picture[::-1, ::-1].transpose(1, 0, 2),
}


@pytest.mark.parametrize("name", ["reflection", "transpose"])
def test_reflection_equals_mirrored_pixels(name):
    seen = set()
    for instance, _, _, before, after in examples(name):
        seen.add(instance.parameter[0])
        difference = np.abs(MIRRORS[instance.parameter[0]](before).astype(int) - after)
        assert difference.mean() < 1 and (difference.max(axis=-1) > 100).mean() < 0.01  # antialiasing alone
    assert len(seen) == 2


def test_count_adds_or_removes_one_object():
    for instance, scene, answer, _, _ in examples("count"):
        before, after = (ndimage.label(foreground(one))[1] for one in (scene, answer))
        assert after - before == {"one more": 1, "one fewer": -1}[instance.parameter[0]]
        assert ndimage.label(foreground(scene) != foreground(answer))[1] == 1  # the others stay
        middles = [
            (int((0.2 + 0.3 * row) * SIZE) - 1, int((0.2 + 0.3 * x) * SIZE)) for row in range(3) for x in range(3)
        ]
        taken = [bool(foreground(answer)[y - 12 : y + 12, x - 12 : x + 12].any()) for y, x in middles]
        assert taken == [True] * after + [False] * (9 - after)  # in reading order


def test_outline_draws_lines_on_paper_only():
    for instance, scene, _, _, after in examples("outline"):
        ink, ground = instance.parameter
        assert colors_in(after) <= {ink, ground}
        for shape in scene.shapes:
            for x, y in corners(shape):
                assert of_color(after, ink)[int(y * SIZE), int(x * SIZE)]
            if shape.form not in ("half", "star"):  # whose center is near a line
                assert of_color(after, ground)[int(shape.y * SIZE), int(shape.x * SIZE)]


def test_corners_draws_a_dot_on_each_corner():
    for instance, scene, _, _, after in examples("corners"):
        dots, num_dots = ndimage.label(of_color(after, instance.parameter[0]))
        points = [point for shape in scene.shapes for point in corners(shape)]
        assert all(dots[int(y * SIZE), int(x * SIZE)] for x, y in points)
        assert num_dots == len(points) or len(scene.shapes) > 1  # dots of two shapes may touch


def test_fill_fills_what_the_lines_enclose():
    for instance, scene, _, before, after in examples("fill"):
        for shape in scene.shapes:
            color = shape.color if instance.parameter[0] == "own" else instance.parameter[0]
            inside = ndimage.binary_fill_holes(of_color(before, shape.color)) & ~of_color(before, shape.color)
            assert inside.sum() > 40 and of_color(after, color)[inside].mean() > 0.9


def test_select_keeps_what_is_wanted_and_nothing_else():
    for instance, scene, answer, before, after in examples("select", 24):
        wanted = instance.parameter[0]
        assert answer.shapes and len(answer.shapes) < len(scene.shapes)
        if wanted in COLORS:
            assert colors_in(after) == {wanted} and (of_color(before, wanted) == of_color(after, wanted)).all()
        else:
            assert {shape.form for shape in answer.shapes} == {wanted}
            assert [shape.form for shape in scene.shapes].count(wanted) == len(answer.shapes)


def test_swap_exchanges_the_places_of_two_shapes():
    for _, scene, _, before, after in examples("swap"):
        first, second = scene.shapes
        assert first.form != second.form and first.color != second.color
        for shape, other in ((first, second), (second, first)):
            centers = [ndimage.center_of_mass(of_color(picture, shape.color)) for picture in (before, after)]
            moved = (np.array(centers[1]) - centers[0])[::-1] / SIZE
            np.testing.assert_allclose(moved, (other.x - shape.x, other.y - shape.y), atol=0.01)


def test_heldout_instances_are_not_in_training():
    for name, family in FAMILIES.items():
        if name in HELDOUT_FAMILIES:
            assert all(instance_of(name, number).heldout for number in range(50))
            continue
        drawn = [instance_of(name, number) for number in range(400)]
        share = np.mean([instance.heldout for instance in drawn])
        assert 0.04 < share < 0.4, (name, share)
        train, heldout = (
            {
                i.parameter
                if family.held_out == "parameter"
                else (i.parameter, frozenset(i.colors), frozenset(i.forms))
                for i in drawn
                if i.heldout == split
            }
            for split in (False, True)
        )
        if family.held_out != "combination":
            assert not train & heldout, name
    assert not set(combinations(True)) & set(combinations(False)) and len(combinations(True)) == 18
    assert [len(set(names)) for names in zip(*combinations(True), strict=True)] == [9, 10]
    for name in ("color", "shape", "size"):
        shapes = [(i.heldout, s.shapes[0]) for i, s, *_ in examples(name, 60)]
        assert all((shape.form, shape.color) in combinations(heldout) for heldout, shape in shapes)


def test_unseen_forms_are_in_the_stated_share_of_heldout_scenes_alone():
    def share(name: str, heldout: bool) -> float:
        chosen = instances(name, heldout=heldout, count=5)
        scenes = [
            with_unseen_form(one, FAMILIES[name].scene(one, chance), chance)
            for one in chosen
            for chance in (rng("unseen", one.number, number) for number in range(80))
        ]
        return float(np.mean([any(shape.form in UNSEEN_FORMS for shape in scene.shapes) for scene in scenes]))

    assert share("recoloring", False) == share("select", False) == share("shape", False) == 0
    assert share("recoloring", True) == pytest.approx(0.25, abs=0.07)  # 3.2 standard deviations
    assert share("shape", True) == pytest.approx(0.25, abs=0.07)
    assert share("corners", True) == 0


def test_instances_rejects_training_on_a_heldout_family():
    with pytest.raises(ValueError, match="'swap' is held out whole"):
        instances("swap", heldout=False, count=1)
