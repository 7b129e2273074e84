"""MediaPipe's files: known by their SHA-256, and run by LiteRT on one thread.

They are those of the wheel mediapipe 0.10.14, which tools/fetch_annotators.py unpacks without installing it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openlvm.core.files import sha256_of

VERSION = "0.10.14"
FILES: Mapping[str, str] = {
    "pose_detection.tflite": "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    "pose_landmark_full.tflite": "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    "selfie_segmentation.tflite": "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
}
"""File -> SHA-256. No other file is opened: LiteRT is native code."""


@dataclass(frozen=True, eq=False)
class Model:
    """A network of fixed shape."""

    interpreter: Any

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Its outputs for one picture float32 [h, w, 3], in the file's order, without the batch axis."""
        inputs = self.interpreter.get_input_details()[0]
        assert tuple(inputs["shape"][1:]) == pixels.shape, (inputs["shape"], pixels.shape)
        self.interpreter.set_tensor(inputs["index"], pixels[None].astype(np.float32))
        self.interpreter.invoke()
        outputs = self.interpreter.get_output_details()
        return [self.interpreter.get_tensor(output["index"])[0] for output in outputs]


def open_model(folder: Path, name: str) -> Model:
    """The network in a file of FILES.

    Raises:
        FileNotFoundError, ValueError: no such file, or not MediaPipe's.
        ImportError: LiteRT is not installed.
    """
    at = folder / name
    if not at.is_file():
        raise FileNotFoundError(f"no {name} of MediaPipe in {folder}; python tools/fetch_annotators.py brings it")
    found = sha256_of(at)
    if found != FILES[name]:
        raise ValueError(f"{at} is not the file of mediapipe {VERSION}: SHA-256 {found}, expected {FILES[name]}")
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise ImportError("models of MediaPipe need ai-edge-litert: pip install openlvm[annotators]") from None
    interpreter = Interpreter(model_content=at.read_bytes(), num_threads=1)
    interpreter.allocate_tensors()
    return Model(interpreter)
