"""Only MediaPipe's own files are opened, and run as they are."""

import os
import sys

import numpy as np
import pytest

from openlvm.annotators.load import load_annotator
from openlvm.annotators.mediapipe import models
from openlvm.annotators.mediapipe.models import FILES, Model, open_model
from openlvm.core.files import sha256_of


class Doubling:
    """What LiteRT offers of a network that doubles a picture of 2 x 3 pixels, and tells its sum."""

    def get_input_details(self):
        return [{"index": 4, "shape": np.array([1, 2, 3, 3])}]

    def set_tensor(self, index, values):
        assert index == 4 and values.shape == (1, 2, 3, 3) and values.dtype == np.float32
        self.values = values

    def invoke(self):
        self.outputs = {7: 2 * self.values, 9: self.values.sum(keepdims=True)}

    def get_output_details(self):
        return [{"index": 7}, {"index": 9}]

    def get_tensor(self, index):
        return self.outputs[index]


def test_a_model_gives_its_outputs_without_the_batch():
    pixels = np.arange(18, dtype=np.float64).reshape(2, 3, 3)
    doubled, total = Model(Doubling())(pixels)
    np.testing.assert_array_equal(doubled, 2 * pixels)
    assert total.shape == (1, 1, 1) and total.item() == pixels.sum()


def test_absent_and_foreign_files_are_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match="no pose_detection.tflite of MediaPipe in .*fetch_annotators.py"):
        load_annotator(f"pose=mediapipe:{tmp_path}")
    for name in FILES:
        (tmp_path / name).write_bytes(b"TFL3")
    for words in (f"pose=mediapipe:{tmp_path}", f"mask=mediapipe:{tmp_path}"):
        with pytest.raises(ValueError, match="pose_detection.tflite is not the file of mediapipe 0.10.14: SHA-256"):
            load_annotator(words)


def test_without_litert_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "known.tflite").write_bytes(b"TFL3")
    monkeypatch.setattr(models, "FILES", {"known.tflite": sha256_of(tmp_path / "known.tflite")})
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"need ai-edge-litert: pip install openlvm\[annotators\]"):
        open_model(tmp_path, "known.tflite")


@pytest.mark.weights
@pytest.mark.skipif("OPENLVM_ANNOTATORS" not in os.environ, reason="OPENLVM_ANNOTATORS: tools/fetch_annotators.py")
def test_released_models_find_the_astronaut_and_no_cat():
    """Eileen Collins, sitting: head and shoulders where they are in skimage's picture; nobody in that of a cat."""
    from skimage.data import astronaut, chelsea

    folder = os.path.join(os.environ["OPENLVM_ANNOTATORS"], "mediapipe")
    pose, mask = load_annotator(f"pose=mediapipe:{folder}"), load_annotator(f"mask=mediapipe:{folder}")
    somebody, nobody = pose.annotate([astronaut(), chelsea()])
    assert somebody.points.shape == (1, 17, 2) and nobody.points.shape == (0, 17, 2)
    nose, left_shoulder, right_shoulder = somebody.points[0][[0, 5, 6]]
    np.testing.assert_allclose(nose, (224, 120), atol=15)
    assert right_shoulder[0] < nose[0] < left_shoulder[0] and min(left_shoulder[1], right_shoulder[1]) > nose[1] + 40
    person, cat = mask.annotate([astronaut(), chelsea()])
    assert person.ids[120, 224] == 1 and person.ids[400, 200] == 1 and person.ids[20, 450] == 0
    assert 0.3 < person.ids.mean() < 0.8 and not cat.ids.any()
