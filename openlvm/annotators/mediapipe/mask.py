"""The pixels of people, by MediaPipe's selfie segmentation: made for people near the camera.

It sees people in cats and oranges too; so a picture in which BlazePose's detector finds nobody has an empty mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from openlvm.annotators.mediapipe.detector import DETECTOR, find_people
from openlvm.annotators.mediapipe.models import FILES, VERSION, Model, open_model
from openlvm.annotators.spec import Spec
from openlvm.core.records import Payload, Segmentation

FILE = "selfie_segmentation.tflite"
SIDE = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class PeopleMask:
    """`mask=mediapipe:FOLDER`: 1 where a person is, 0 elsewhere."""

    slot: str
    detector: Model
    model: Model
    name: str = "MediaPipe selfie segmentation"
    version: str = VERSION

    def describe(self) -> dict[str, Any]:
        told = {"slot": self.slot, "kind": "mediapipe", "name": self.name, "version": self.version}
        return {**told, "files": {name: FILES[name] for name in (DETECTOR, FILE)}}

    def annotate(self, images: Sequence[np.ndarray]) -> list[Payload]:
        return [self._mask(image) for image in images]

    def _mask(self, image: np.ndarray) -> Segmentation:
        if not find_people(self.detector, image):
            return Segmentation(np.zeros(image.shape[:2], dtype=np.int32))
        squashed = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        (likely,) = self.model(np.asarray(squashed, dtype=np.float32) / 255)  # [256, 256, 1] in 0..1
        plane = Image.fromarray(np.ascontiguousarray(likely[..., 0]))
        whole = plane.resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR)
        return Segmentation((np.asarray(whole) > 0.5).astype(np.int32))


def load_mask(spec: Spec) -> PeopleMask:
    """The annotator of `mask=mediapipe:FOLDER`."""
    spec.read_options({})
    folder = Path(spec.what)
    return PeopleMask(slot=spec.slot, detector=open_model(folder, DETECTOR), model=open_model(folder, FILE))
