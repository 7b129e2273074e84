"""More records out of few: variants of a source's records, changed alike in every slot, for tasks that are scarce.

A raw mixture hardly learns a scarce task, and one that repeats it learns its few records by heart; DeLVM (arXiv
2402.04841) mixes in crops and flips of them. Its release changes a picture and its annotation each by itself; here one
change is drawn for all slots and frames of a record. Annotations are changed in their units, before they are drawn.

    record cat-1: image, depth    variants=3    cat-1, cat-1~1 (mirrored), cat-1~2 (a crop): image, depth

How many variants bring tasks to the shares of a mixture that are wanted, `balance` tells.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from openlvm.core.records import (
    JOINTS,
    BadRecord,
    Boxes,
    Depth,
    Disparity,
    Edges,
    Flow,
    Keypoints,
    Normals,
    Payload,
    Record,
    Segmentation,
)
from openlvm.core.seeds import rng
from openlvm.sources.interface import Part, require_positive

SECOND_VIEW = "right"
"""Slot of the second picture of a stereo pair."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What makes a variant: a part of the picture, then a mirror, then an order of the channels."""

    left: float = 0.0
    """Of the part, as a share of the width."""
    top: float = 0.0
    """Of the part, as a share of the height."""
    side: float = 1.0
    """Of the part, as a share of width and of height."""
    is_mirrored: bool = False
    """Left and right are exchanged."""
    order: tuple[int, int, int] = (0, 1, 2)
    """Channel that each of red, green, blue is taken from; pictures of the chosen slots alone."""


@dataclass(frozen=True, kw_only=True)
class Augmented:
    """A source whose every record comes `variants` times: as it is, and changed; a `Source` itself.

    Do not flip or crop what would no longer be its task: a shift to the right is one to the left in a mirror. Where
    every label is a task of its own, per="label" changes all its records alike, into a new task. Stereo pairs (a slot
    "right", or a disparity) are cut but never mirrored: in a mirror the left picture is the right one.
    """

    source: Any
    """The `Source` with few records."""
    variants: int
    """Records made of each, itself included. DeLVM: some tens for its scarce tasks."""
    flip: bool = True
    """Half of the changed ones are mirrored, left to right."""
    least_side: float = 0.7
    """Smallest part that is cut out, as a share of each side, its size and place drawn evenly; 1 cuts nothing."""
    recolored: tuple[str, ...] = ()
    """Slots whose pictures get their channels in one drawn order of the six; the others keep their colors."""
    per: Literal["record", "label"] = "record"
    """Whether each record has changes of its own, or all of a label the same; then the variants' labels differ too."""
    seed: int = 0
    """Of the changes; a change depends on it, the key (or the label) and the variant's number."""

    def __post_init__(self) -> None:
        require_positive(variants=self.variants)
        if not 0 < self.least_side <= 1:
            raise ValueError(f"least_side={self.least_side} must be above 0 and at most 1, a share of the sides")
        strange = sorted(set(self.recolored) - set(self.slots))
        if strange:
            raise ValueError(f"recolored names the slots {strange}; the source has {list(self.slots)}")
        if self.variants > 1 and not (self.flip or self.least_side < 1 or self.recolored):
            raise ValueError("nothing is changed: the variants would be copies; let it flip, crop or recolor")

    @property
    def slots(self) -> tuple[str, ...]:
        """Those of the source."""
        return tuple(self.source.slots)

    def describe(self) -> dict[str, Any]:
        """Options, and what the source says of itself."""
        options = {name: value for name, value in vars(self).items() if name != "source"}
        return {"layout": "augmented", **options, "recolored": list(self.recolored), "source": self.source.describe()}

    def parts(self) -> list[Part]:
        """Those of the source."""
        return list(self.source.parts())

    def read(self, part: Part) -> Iterator[Record | BadRecord]:
        """Each record, followed by its variants."""
        for record in self.source.read(part):
            yield record
            if isinstance(record, Record):
                yield from (self._variant(record, number) for number in range(1, self.variants))

    def _variant(self, record: Record, number: int) -> Record:
        of_label = self.per == "label"
        if of_label and not record.label:
            raise ValueError(f"per='label' changes all records of a label alike; record {record.key!r} has no label")
        change = self._drawn(rng("variant", self.seed, self.per, record.label if of_label else record.key, number))
        if _is_stereo(record):
            if self.least_side == 1 and not self.recolored:
                raise ValueError(f"record {record.key!r} is stereo, which is not mirrored: let it crop or recolor")
            change = replace(change, is_mirrored=False)
        slots: dict[str, list[Payload]] = {}
        for name, payloads in record.slots.items():
            mine = change if name in self.recolored else replace(change, order=Change().order)
            slots[name] = [changed(payload, mine) for payload in payloads]
        label = f"{record.label}~{number}" if of_label else record.label
        return Record(key=f"{record.key}~{number}", slots=slots, label=label)

    def _drawn(self, chance: np.random.Generator) -> Change:
        side = float(chance.uniform(self.least_side, 1))
        left, top = (float(value) * (1 - side) for value in chance.random(2))
        mirrored = self.flip and bool(chance.random() < 0.5)
        red, green, blue = (int(channel) for channel in chance.permutation(3))
        return Change(left=left, top=top, side=side, is_mirrored=mirrored, order=(red, green, blue))


def _is_stereo(record: Record) -> bool:
    return SECOND_VIEW in record.slots or any(isinstance(frames[0], Disparity) for frames in record.slots.values())


def changed(payload: Payload, change: Change) -> Payload:
    """A payload of the part that `change` cuts out, mirrored if it says so; a picture with its channels in its order.

    Planes of other sizes than the picture's are cut at the same shares of theirs, to whole pixels. Cutting leaves
    values as they are; a mirror turns the signs of what points right, and exchanges left and right joints.

    Raises:
        ValueError: a mirrored disparity, or joints whose number is not that of their set.
    """
    match payload:
        case np.ndarray():
            return np.ascontiguousarray(_plane(payload, change)[..., list(change.order)])
        case Segmentation(ids):
            return Segmentation(_plane(ids, change))
        case Depth(meters):
            return Depth(_plane(meters, change))
        case Edges(strength):
            return Edges(_plane(strength, change))
        case Normals(vectors):
            mirror = np.array([-1 if change.is_mirrored else 1, 1, 1], dtype=vectors.dtype)
            return Normals(_plane(vectors, change) * mirror)
        case Flow(vectors):
            mirror = np.array([-1 if change.is_mirrored else 1, 1], dtype=vectors.dtype)
            return Flow(_plane(vectors, change) * mirror)
        case Disparity(pixels):
            if change.is_mirrored:
                raise ValueError("a disparity cannot be mirrored: the left picture would be the right one")
            return Disparity(_plane(pixels, change))
        case Keypoints():
            return _changed_keypoints(payload, change)
        case Boxes(corners, ids, size):
            moved, new_size = _moved(corners.reshape(-1, 2, 2), size, change)
            if change.is_mirrored:
                moved[..., 0] = moved[:, ::-1, 0]  # the right corner has become the left one
            return Boxes(moved.reshape(-1, 4), ids, new_size)
    raise ValueError(f"a payload is a picture uint8 [H, W, 3] or an annotation, not {type(payload).__name__}")


def _changed_keypoints(keypoints: Keypoints, change: Change) -> Keypoints:
    points, size = _moved(keypoints.points, keypoints.size, change)
    inside = ((points >= 0) & (points < np.array([size[1], size[0]]))).all(axis=-1)
    visible = keypoints.visible & inside
    if change.is_mirrored and keypoints.joints in JOINTS:
        order = mirrored_joints(keypoints.joints)
        if len(order) != points.shape[1]:
            raise ValueError(
                f"{points.shape[1]} joints are not of the set {keypoints.joints!r}, which has {len(order)}"
            )
        points, visible = points[:, order], visible[:, order]
    return Keypoints(points, visible, size, keypoints.joints)


def mirrored_joints(joints: str) -> list[int]:
    """Where each joint of a set comes from in a mirror: the left eye is the right eye of the person one sees.

    Joints of sets without names ("") keep their places, since nobody knows which are left.

    Args:
        joints: a name in `JOINTS`.
    """
    other = {"left": "right", "right": "left"}
    sides = [name.partition("_") for name in JOINTS[joints]]
    return [JOINTS[joints].index(f"{other.get(side, side)}{line}{rest}") for side, line, rest in sides]


def _cut(size: tuple[int, int], change: Change) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part in whole pixels, at least one each way."""
    height, width = size
    left, top = round(change.left * width), round(change.top * height)
    left, top = min(left, width - 1), min(top, height - 1)
    right, bottom = left + max(1, round(change.side * width)), top + max(1, round(change.side * height))
    return left, top, min(right, width), min(bottom, height)


def _plane(plane: np.ndarray, change: Change) -> np.ndarray:
    """The part of an array [H, W, ...]; a copy."""
    left, top, right, bottom = _cut((plane.shape[0], plane.shape[1]), change)
    part = plane[top:bottom, left:right]
    return np.ascontiguousarray(part[:, ::-1] if change.is_mirrored else part)


def _moved(points: np.ndarray, size: tuple[int, int], change: Change) -> tuple[np.ndarray, tuple[int, int]]:
    """Points float32 [..., 2] as (x, y) in the part, and its size (H, W)."""
    left, top, right, bottom = _cut(size, change)
    moved = (points - np.array([left, top])).astype(np.float32)
    if change.is_mirrored:
        moved[..., 0] = (right - left) - moved[..., 0]
    return moved, (bottom - top, right - left)


@dataclass(frozen=True, kw_only=True)
class Balance:
    """What brings one task to its share of a mixture."""

    variants: int
    """Records to make of each of its records, for `Augmented`; 1 changes nothing."""
    share: float
    """Of the mixture's records that these variants give it, 0..1."""
    passes: float
    """The comparison: how often its plain records come where they are repeated instead, for exactly its share."""


def balance(
    counts: Mapping[str, int], shares: Mapping[str, float], *, most_variants: int | None = None
) -> dict[str, Balance]:
    """How many variants of each task's records make a mixture with the shares wanted.

    The task that is richest for its share comes as it is and sets the size of the mixture; every other gets the whole
    number of variants that comes nearest (half up). Nothing is thrown away, so shares are reached to within half a
    variant. DeLVM brings its scarce tasks near the others so; its own multiples are not published.

        counts {"masks": 10_000, "poses": 500}   shares equal    variants 1 and 20; repeated: 1 and 20.0 passes

    Args:
        counts: records of each task, at least 1.
        shares: of the same tasks, above 0; their sum is taken as the whole.
        most_variants: of one record, where more would be too much alike; such a task stays below its share.
    """
    if set(counts) != set(shares) or not counts:
        raise ValueError(
            f"counts are of the tasks {sorted(counts)}, shares of {sorted(shares)}; both must name the same"
        )
    wrong = [task for task in counts if counts[task] < 1 or not 0 < shares[task] < float("inf")]
    if wrong:
        told = ", ".join(f"{task}: {counts[task]} records, share {shares[task]}" for task in wrong)
        raise ValueError(f"every task needs at least 1 record and a share above 0, given {told}")
    if most_variants is not None:
        require_positive(most_variants=most_variants)
    size = max(counts[task] / shares[task] for task in counts)
    passes = {task: size * shares[task] / counts[task] for task in counts}
    most = max(passes.values()) + 1 if most_variants is None else most_variants
    variants = {task: int(min(passes[task] + 0.5, most)) for task in counts}
    total = sum(counts[task] * variants[task] for task in counts)
    return {
        task: Balance(variants=variants[task], share=counts[task] * variants[task] / total, passes=passes[task])
        for task in counts
    }
