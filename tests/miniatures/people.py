"""Stand-ins for MediaPipe's networks, which answer what a test says."""

import numpy as np

from openlvm.annotators.mediapipe.detector import SIDE, anchors


def detector_of(*people):
    """A detector that finds people, each (anchor, score, box, hips, point above).

    A box is (x, y) of its middle, width and height; all are pixels of the detector's picture of 224.
    """

    def answer(pixels):
        assert pixels.shape == (SIDE, SIDE, 3) and -1 <= pixels.min() <= pixels.max() <= 1
        raw, scores = np.zeros((2254, 12), np.float32), np.full((2254, 1), -100, np.float32)
        for anchor, score, box, hips, above in people:
            origin = anchors()[anchor] * SIDE
            scores[anchor] = score
            middle, size = np.array(box[:2]), np.array(box[2:])
            raw[anchor, :8] = [*(middle - origin), *size, *(np.array(hips) - origin), *(np.array(above) - origin)]
        return [raw, scores]

    return answer
