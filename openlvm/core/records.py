"""What a dataset is made of: records, whose slots hold images and annotations in physical units.

Knows nothing of datasets on disk, of colors or of codes. Letters: H, W pixels; P people or objects; J joints; M boxes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

IMAGE = "image"  # the slot that every record has
MAX_INSTANCES = 255
"""Instances of a record that get an id, the largest ones: drawings have 256 colors, one of them for the background."""

JOINTS: dict[str, tuple[str, ...]] = {
    "coco": (
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    "mpii": (  # MPII, and the first 16 of LV-MHP
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "upper_neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    ),
    "lsp": (  # Leeds Sports Pose, Unite the People
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
        *("neck", "head_top"),
    ),
    "jhmdb": (
        *("neck", "belly", "face", "right_shoulder", "left_shoulder", "right_hip", "left_hip"),
        *("right_elbow", "left_elbow", "right_knee", "left_knee"),
        *("right_wrist", "left_wrist", "right_ankle", "left_ankle"),
    ),
    "pascal3d_aeroplane": (  # PASCAL3D+: the side first, where the file has it in the middle or last
        *("left_elevator", "left_wing", "noselanding", "right_elevator", "right_wing"),
        *("rudder_lower", "rudder_upper", "tail"),
    ),
    "pascal3d_bicycle": (
        *("head_center", "left_back_wheel", "left_front_wheel", "left_handle", "left_pedal_center"),
        *("right_back_wheel", "right_front_wheel", "right_handle", "right_pedal_center", "seat_back", "seat_front"),
    ),
    "pascal3d_boat": ("head", "head_down", "left_head", "right_head", "left_tail", "right_tail", "tail"),
    "pascal3d_bottle": ("mouth", "body", "left_body", "right_body", "bottom", "left_bottom", "right_bottom"),
    "pascal3d_bus": (
        *("left_body_back_lower", "left_body_back_upper", "right_body_back_lower", "right_body_back_upper"),
        *("left_body_front_upper", "right_body_front_upper", "left_body_front_lower", "right_body_front_lower"),
        *("left_back_wheel", "left_front_wheel", "right_back_wheel", "right_front_wheel"),
    ),
    "pascal3d_car": (
        *("left_front_wheel", "left_back_wheel", "right_front_wheel", "right_back_wheel"),
        *("left_upper_windshield", "right_upper_windshield", "left_upper_rearwindow", "right_upper_rearwindow"),
        *("left_front_light", "right_front_light", "left_back_trunk", "right_back_trunk"),
    ),
    "pascal3d_chair": (
        *("left_back_upper", "right_back_upper", "left_seat_upper", "right_seat_upper"),
        *("left_seat_lower", "right_seat_lower"),
        *("left_leg_upper", "right_leg_upper", "left_leg_lower", "right_leg_lower"),
    ),
    "pascal3d_diningtable": (
        *("left_leg_upper", "right_leg_upper", "left_leg_lower", "right_leg_lower"),
        *("left_top_upper", "right_top_upper", "left_top_lower", "right_top_lower"),
        *("top_up", "top_down", "left_top", "right_top"),
    ),
    "pascal3d_motorbike": (
        *("back_seat", "front_seat", "head_center", "headlight_center", "left_back_wheel", "left_front_wheel"),
        *("left_handle_center", "right_back_wheel", "right_front_wheel", "right_handle_center"),
    ),
    "pascal3d_sofa": (
        *("left_front_bottom", "right_front_bottom", "left_seat_bottom", "right_seat_bottom"),
        *("left_bottom_back", "right_bottom_back", "left_top_corner", "right_top_corner"),
        *("left_seat_top", "right_seat_top"),
    ),
    "pascal3d_train": (
        *("left_head_bottom", "left_head_top", "right_head_bottom", "right_head_top", "head_top"),
        *("left_mid1_bottom", "left_mid1_top", "right_mid1_bottom", "right_mid1_top"),
        *("left_mid2_bottom", "left_mid2_top", "right_mid2_bottom", "right_mid2_top"),
        *("left_tail_bottom", "left_tail_top", "right_tail_bottom", "right_tail_top"),
    ),
    "pascal3d_tvmonitor": (
        *("left_front_bottom", "right_front_bottom", "left_front_top", "right_front_top"),
        *("left_back_bottom", "right_back_bottom", "left_back_top", "right_back_top"),
    ),
}
"""Sets of joints in the order of their dataset's files; a mirror exchanges left_x and right_x."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Class or instance ids, int32 [H, W]; 0 is background, `VOID` is not labelled."""

    ids: np.ndarray

    VOID = -1


@dataclass(frozen=True, eq=False)
class Depth:
    """Distance along the viewing axis, float32 [H, W] in meters; 0 or NaN where unknown."""

    meters: np.ndarray


@dataclass(frozen=True, eq=False)
class Normals:
    """Unit vectors float32 [H, W, 3] in camera axes (x right, y down, z forward); zero where unknown."""

    vectors: np.ndarray


@dataclass(frozen=True, eq=False)
class Edges:
    """Edge strength, float32 [H, W] in [0, 1]; 1 is an edge."""

    strength: np.ndarray


@dataclass(frozen=True, eq=False)
class Disparity:
    """Shift of a point from the left to the right picture, float32 [H, W] in pixels; 0 or NaN where unknown."""

    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Flow:
    """Motion to the next frame, float32 [H, W, 2] as (right, down) in pixels of this picture; NaN where unknown."""

    vectors: np.ndarray


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Joints of people: points float32 [P, J, 2] as (x, y), pixels; visible bool [P, J]; `size` (H, W) of the image."""

    points: np.ndarray
    visible: np.ndarray
    size: tuple[int, int]
    joints: str = "coco"
    """Which joints they are: a name in `JOINTS`; "" for any other set."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes float32 [M, 4] as (left, top, right, bottom) in pixels, ids int32 [M], of an image of `size` (H, W)."""

    corners: np.ndarray
    ids: np.ndarray
    size: tuple[int, int]


Payload = np.ndarray | Segmentation | Depth | Normals | Edges | Disparity | Flow | Keypoints | Boxes
"""What a slot holds for one frame: a picture uint8 [H, W, 3], or an annotation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """An image, a clip or the views of an object, with its annotations.

    image of a cat         Record(key="cat-1", slots={"image": [pixels], "depth": [Depth(...)]}, label="cat")
    clip of three frames   Record(key="run", slots={"image": [f0, f1, f2]})
    """

    key: str
    """Unique in its dataset; names the record in every message and in the store."""
    slots: Mapping[str, Sequence[Payload]]
    """Slot name -> F payloads; F is the same for every slot. F = 1 is an image, F > 1 a clip or views."""
    label: str = ""
    """Category, or task instance; groups records in sentences."""

    def __post_init__(self) -> None:
        lengths = {name: len(payloads) for name, payloads in self.slots.items()}
        if not self.key:
            raise ValueError(f"a record with slots {sorted(lengths)} has an empty key")
        if not lengths or len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ValueError(f"record {self.key!r} has slots of lengths {lengths}; all must be equal and at least 1")

    @property
    def num_frames(self) -> int:
        """F: 1 for an image, more for a clip or views."""
        return len(next(iter(self.slots.values())))


@dataclass(frozen=True)
class BadRecord:
    """A record that could not be read: it is skipped, counted and reported, never replaced."""

    key: str
    reason: str
