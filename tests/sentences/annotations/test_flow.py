"""Flow in the colors of the wheel: the published formula, and back."""

import numpy as np
import pytest
from annotated import PREPARATIONS, RANDOM

from openlvm.core.records import Flow
from openlvm.sentences.annotations.flow import draw_flow, flow_range, read_flow
from openlvm.sentences.annotations.resizing import resized
from openlvm.sentences.render import draw


def published_color(right, down):
    """One pixel in Middlebury's color, as its color wheel and formula are published, of a motion of length <= 1."""
    wheel = []
    for steps, fixed, moving, rises in [(15, 0, 1, 1), (6, 1, 0, 0), (4, 1, 2, 1), (11, 2, 1, 0), (13, 2, 0, 1)]:
        for step in range(steps):
            color = [0, 0, 0]
            color[fixed] = 255
            color[moving] = 255 * step // steps if rises else 255 - 255 * step // steps
            wheel.append(color)
    wheel += [[255, 0, 255 - 255 * step // 6] for step in range(6)]
    place = (np.arctan2(-down, -right) / np.pi + 1) / 2 * (len(wheel) - 1)
    first = int(place)
    second = (first + 1) % len(wheel)
    mixed = [(1 - place + first) * a + (place - first) * b for a, b in zip(wheel[first], wheel[second], strict=True)]
    return [255 * (1 - np.hypot(right, down) * (1 - value / 255)) for value in mixed]


def test_flow_matches_published_wheel():
    chance = np.random.default_rng(0)
    vectors = chance.uniform(-0.7, 0.7, (20, 30, 2)).astype(np.float32)
    vectors[0, 0] = 1, 0  # the longest: others keep their length
    drawn = draw_flow(Flow(vectors))
    expected = np.array([[published_color(*map(float, vector)) for vector in row] for row in vectors])
    assert np.abs(drawn - expected).max() <= 1.5  # the published table is rounded down to whole gray levels


def test_flow_names_its_colors():
    around = np.array([[[1, 0], [0, 1], [-1, 0], [0, -1], [0, 0], [np.nan, 0]]], np.float32)
    right, down, left, up, still, unknown = draw_flow(Flow(around))[0].tolist()
    assert right == [255, 0, 0]
    assert down[0] == 255 and down[1] > 200 and down[2] == 0  # yellow
    assert left[0] == 0 and left[1] > 200 and left[2] == 255  # cyan
    assert up[1] == 0 and up[2] == 255  # blue to violet
    assert still == [255, 255, 255]
    assert unknown == [0, 0, 0]


def test_flow_directions_roundtrip_below_a_quarter_of_a_degree():
    angles = np.linspace(-np.pi, np.pi, 20_000)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=-1)[None].astype(np.float32)
    read = read_flow(draw_flow(Flow(vectors)), 1.0).vectors
    assert np.degrees(np.arccos((read * vectors).sum(axis=-1).clip(-1, 1))).max() < 0.25
    np.testing.assert_allclose(np.linalg.norm(read, axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("preparation", [None, *PREPARATIONS])
def test_flow_roundtrips_within_one_percent_of_the_longest(preparation):
    flow = RANDOM["flow"](np.random.default_rng(1))
    target = flow if preparation is None else resized(flow, preparation)
    drawn = draw_flow(flow) if preparation is None else draw(flow, preparation)
    fastest = flow_range(target)
    read = read_flow(drawn, fastest).vectors
    known = np.isfinite(target.vectors).all(axis=-1)
    np.testing.assert_array_equal(np.isfinite(read).all(axis=-1), known)
    assert 0.5 < known.mean() < 1
    assert np.linalg.norm(read - target.vectors, axis=-1)[known].max() < 0.01 * fastest


def test_flow_is_read_from_darkened_pictures():
    """A decoder's colors are not as bright as the wheel's; direction and speed do not change with brightness."""
    flow = Flow(np.random.default_rng(2).uniform(-5, 5, (32, 32, 2)).astype(np.float32))
    darker = (draw_flow(flow) * 0.8).astype(np.uint8)
    read = read_flow(darker, flow_range(flow)).vectors
    assert np.linalg.norm(read - flow.vectors, axis=-1).max() < 0.02 * flow_range(flow)


def test_flow_range_of_nothing_is_zero():
    assert flow_range(Flow(np.full((2, 2, 2), np.nan, np.float32))) == 0
    assert flow_range(Flow(np.array([[[3, 4], [np.nan, 9]]], np.float32))) == 5
