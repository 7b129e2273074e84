"""What is lost when an annotation is drawn and read back: every kind, every style, and docs/sentences.md says the same.

`pytest -s -k table tests/sentences/test_round_trip.py` prints the table of the documentation.
"""

import re
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from annotated import EXTREME, RANDOM, photo

from openlvm.core.images import ImagePreparation
from openlvm.core.records import Boxes, Depth, Disparity, Edges, Flow, Keypoints, Normals, Payload, Record, Segmentation
from openlvm.sentences.generated import GENERATED, add_generated
from openlvm.sentences.render import (
    MASK_OPACITY,
    STYLES,
    depth_range,
    disparity_range,
    draw,
    flow_range,
    read_boxes,
    read_depth,
    read_disparity,
    read_edges,
    read_flow,
    read_keypoints,
    read_normals,
    read_openpose,
    read_segmentation,
    resized,
    take_off,
)

SIDES = (64, 128, 256)
SCENES = 6
NOISE = 8  # gray levels, the deviation of the last column: about what a tokenizer leaves
DOCS = Path(__file__).parents[2] / "docs" / "sentences.md"

Errors = dict[str, np.ndarray]
"""What was measured, with its unit, and the values of one scene."""


def ids_error(target: Segmentation, drawn: np.ndarray) -> Errors:
    read = read_segmentation(drawn, sorted(set(target.ids.ravel().tolist()) | {0, 1})).ids
    return {"wrong pixels, %": 100.0 * (read != target.ids)}


def binary_error(target: Segmentation, drawn: np.ndarray) -> Errors:
    ids = np.minimum(target.ids, 1)
    return {"wrong pixels, %": 100.0 * (read_segmentation(drawn, sorted(set(ids.ravel().tolist()))).ids != ids)}


def depth_error(target: Depth, drawn: np.ndarray) -> Errors:
    near, far = depth_range(target)
    read, known = read_depth(drawn, near, far).meters, np.nan_to_num(target.meters, posinf=0) > 0
    share = np.abs(read - target.meters)[known & (read > 0)] / max(far - near, 1e-9)
    return {"% of the range": 100 * share} | lost(read > 0, known)


def inverse_depth_error(target: Depth, drawn: np.ndarray) -> Errors:
    known = np.nan_to_num(target.meters, posinf=0) > 0
    if not known.any():
        return lost(drawn.any(axis=-1), known)
    read = read_depth(drawn, *depth_range(target), scale="inverse").meters
    share = np.abs(read / np.where(known, target.meters, 1) - 1)[known & (read > 0)]
    return {"% of the depth": 100 * share} | lost(read > 0, known)


def disparity_error(target: Disparity, drawn: np.ndarray) -> Errors:
    least, most = disparity_range(target)
    read, known = read_disparity(drawn, least, most).pixels, np.nan_to_num(target.pixels) > 0
    share = np.abs(read - target.pixels)[known & (read > 0)] / max(most - least, 1e-9)
    return {"% of the range": 100 * share} | lost(read > 0, known)


def normals_error(target: Normals, drawn: np.ndarray) -> Errors:
    read, known = read_normals(drawn).vectors, target.vectors.any(axis=-1)
    cross = np.linalg.norm(np.cross(read, target.vectors), axis=-1)
    angle = np.degrees(np.arctan2(cross, (read * target.vectors).sum(axis=-1)))
    return {"degrees": angle[known & read.any(axis=-1)]} | lost(read.any(axis=-1), known)


def edges_error(target: Edges, drawn: np.ndarray) -> Errors:
    return {"% of full strength": 100 * np.abs(read_edges(drawn).strength - target.strength)}


def flow_error(target: Flow, drawn: np.ndarray) -> Errors:
    fastest = flow_range(target)
    read, known = read_flow(drawn, fastest).vectors, np.isfinite(target.vectors).all(axis=-1)
    found = np.isfinite(read).all(axis=-1)
    distance = np.linalg.norm(read - target.vectors, axis=-1)[known & found]
    return {"% of the longest": 100 * distance / max(fastest, 1e-9)} | lost(found, known)


def joints_error(target: Keypoints, drawn: np.ndarray, *, read: Callable[[np.ndarray], Keypoints]) -> Errors:
    found = read(drawn)
    visible = target.visible if len(target.visible) else np.zeros_like(found.visible)
    both = found.visible & visible
    pixels = np.linalg.norm(found.points - target.points, axis=-1)[both] if both.any() else np.zeros(0)
    return {"pixels": pixels} | lost(found.visible, visible)


def boxes_error(target: Boxes, drawn: np.ndarray) -> Errors:
    """The read box of the same id that is largest; ids of the scenes are all different."""
    read = read_boxes(drawn, sorted(set(target.ids.tolist())))
    largest = {}
    for corners, name in sorted(
        zip(read.corners.tolist(), read.ids.tolist(), strict=True), key=lambda box: area(box[0])
    ):
        largest[name] = corners
    seen = [
        (largest[name], corners) for corners, name in zip(target.corners, target.ids, strict=True) if name in largest
    ]
    pixels = np.array([np.abs(np.subtract(*pair)) for pair in seen]).reshape(-1, 4)
    return {"pixels": pixels} | lost(np.isin(target.ids, list(largest)), np.ones(len(target.ids), bool))


def area(corners: list[float]) -> float:
    return (corners[2] - corners[0]) * (corners[3] - corners[1])


def lost(read: np.ndarray, known: np.ndarray) -> Errors:
    return {"lost or invented, %": 100.0 * (read != known)}


class Trip(NamedTuple):
    """A row of the table."""

    scene: str
    style: str
    error: Callable[..., Errors]
    over: bool = False


TRIPS = [
    Trip("segmentation", "classes", ids_error),
    Trip("mask", "binary", binary_error),
    Trip("depth", "linear", depth_error),
    Trip("depth", "inverse", inverse_depth_error),
    Trip("disparity", "linear", disparity_error),
    Trip("normals", "axes", normals_error),
    Trip("edges", "lines", edges_error),
    Trip("flow", "wheel", flow_error),
    Trip("person", "skeleton", partial(joints_error, read=read_keypoints)),
    Trip("person", "openpose", partial(joints_error, read=read_openpose)),
    Trip("boxes", "filled", boxes_error),
    Trip("boxes", "outline", boxes_error),
    Trip("mask", "binary", binary_error, over=True),
    Trip("person", "skeleton", partial(joints_error, read=read_keypoints), over=True),
    Trip("person", "openpose", partial(joints_error, read=read_openpose), over=True),
    Trip("boxes", "outline", boxes_error, over=True),
]


def noisy(picture: np.ndarray, chance: np.random.Generator, deviation: float) -> np.ndarray:
    return np.rint(picture + deviation * chance.standard_normal(picture.shape)).clip(0, 255).astype(np.uint8)


@lru_cache
def scene(kind: str, number: int) -> Payload:
    return RANDOM[kind](np.random.default_rng(number))


@lru_cache
def over_photo(trip: Trip, number: int) -> tuple[np.ndarray, np.ndarray]:
    """A photo, and the same with the drawing of a scene over it."""
    before, name = photo(np.random.default_rng((number, 1))), f"over:it:{trip.style}"
    record = Record(key="scene", slots={"image": [before], "it": [scene(trip.scene, number)]})
    return before, add_generated(record, [name], 0).slots[name][0]


def there_and_back(trip: Trip, side: int, number: int, noise: float = 0.0) -> Errors:
    """Errors of one random scene, drawn for a square of `side` pixels."""
    payload, preparation, chance = scene(trip.scene, number), ImagePreparation(size=side), np.random.default_rng(side)
    if trip.over:
        before, after = over_photo(trip, number)
        opacity = MASK_OPACITY if trip.scene == "mask" else 1.0
        seen = noisy(preparation(after), chance, noise)
        drawn = take_off(seen, preparation(before), opacity=opacity, tolerance=24 + round(2 * noise))
    else:
        drawn = noisy(draw(payload, preparation, trip.style), chance, noise)
    return trip.error(resized(payload, preparation), drawn)


def summary(trip: Trip, side: int, noise: float = 0.0) -> dict[str, tuple[float, float]]:
    """Mean and worst value of each thing measured, over the scenes; of what is lost, the share over all."""
    scenes = [there_and_back(trip, side, number, noise) for number in range(SCENES)]
    values = {what: np.concatenate([scene[what].ravel() for scene in scenes]) for what in scenes[0]}
    return {what: (float(found.mean()), float(found.max())) for what, found in values.items()}


def table() -> list[str]:
    """The rows of docs/sentences.md."""
    rows = []
    for trip in TRIPS:
        columns = [*(summary(trip, side) for side in SIDES), summary(trip, 128, NOISE)]
        for what in columns[0]:
            is_share = what.startswith(("wrong", "lost"))
            cells = [
                f"{mean:.2f}" if is_share else f"{mean:.2f} / {worst:.2f}" for mean, worst in (c[what] for c in columns)
            ]
            if what.startswith("lost") and {*cells} == {"0.00"}:
                continue
            where = "over the photo" if trip.over else ""
            rows.append(f"| {' '.join([trip.scene, where]).strip()} | {trip.style} | {what} | {' | '.join(cells)} |")
    return rows


def numbers_in(row: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d\d", row)]


def test_table_in_the_documentation_is_what_is_measured():
    measured = table()
    print("", *measured, sep="\n")
    documented = [line for line in DOCS.read_text().splitlines() if line.startswith("|")]
    for row in measured:
        start = row[: re.search(r"\d+\.\d\d", row).start()]
        found = [line for line in documented if line.startswith(start)]
        assert found, f"docs/sentences.md lacks the row {row}"
        np.testing.assert_allclose(numbers_in(found[0]), numbers_in(row), rtol=0.1, atol=0.02, err_msg=row)


def test_documentation_names_every_style_and_every_generated_slot():
    named = set(re.findall(r"`([^`]+)`", DOCS.read_text()))
    for styles in STYLES.values():
        assert set(styles) <= named
    assert {name for name in GENERATED if not name.startswith("hue:")} <= named


BOUNDS = {
    "wrong pixels, %": 0,
    "% of the range": 0.25,
    "degrees": 0.7,
    "% of full strength": 0.2,
    "% of the longest": 1,
}
"""Worst value allowed for random scenes at 128 pixels on black: what half a gray level makes of each."""


@pytest.mark.parametrize(
    "trip", [trip for trip in TRIPS if not trip.over], ids=lambda trip: f"{trip.scene}-{trip.style}"
)
def test_random_scenes_roundtrip(trip):
    for what, (mean, worst) in summary(trip, 128).items():
        if what == "pixels":
            assert mean < 0.5 and worst < 2
        elif what.startswith("lost"):
            assert mean <= (1 if trip.style == "openpose" else 0)
        else:
            assert worst <= BOUNDS.get(what, 20)  # depth drawn inversely is coarse far away


READ = {(trip.scene, trip.style): trip.error for trip in TRIPS}
HIDDEN = ("all in one place", "thinner than a pixel")  # the last joint covers the others; specks are not read as boxes


@pytest.mark.parametrize("what", sorted(set(EXTREME) - {*HIDDEN}))
@pytest.mark.filterwarnings("error")
def test_extremes_roundtrip(what):
    payload = EXTREME[what]
    kinds = {Segmentation: "segmentation", Depth: "depth", Disparity: "disparity", Normals: "normals", Edges: "edges"}
    kind = {**kinds, Flow: "flow", Keypoints: "person", Boxes: "boxes"}[type(payload)]
    for style in STYLES[type(payload)]:
        error = binary_error if style == "binary" else READ[kind, style]
        if what == "in the corners":
            if style == "openpose":
                continue  # joints without names
            error = partial(joints_error, read=partial(read_keypoints, num_joints=2, joints=""))
        for side in (24, 96):
            preparation = ImagePreparation(size=side, fit="squash")
            errors = error(resized(payload, preparation), draw(payload, preparation, style))
            for name, values in errors.items():
                limit = {"pixels": 1, "lost or invented, %": 0, "% of the depth": np.inf}.get(name, BOUNDS.get(name))
                assert not values.size or values.max() <= limit, (style, name, values.max())
