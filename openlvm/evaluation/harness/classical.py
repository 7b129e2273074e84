"""Classical methods as baselines, by OpenCV (extra `classical`): no learning, no examples."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from openlvm.evaluation.harness.baselines import Simple
from openlvm.evaluation.harness.questions import Question


def _cv2() -> Any:
    try:
        import cv2
    except ImportError:
        raise ImportError("classical baselines need OpenCV: pip install openlvm[classical]") from None
    return cv2


def _gray(picture: np.ndarray) -> np.ndarray:
    return np.asarray(_cv2().cvtColor(picture, _cv2().COLOR_RGB2GRAY))


def sobel(picture: np.ndarray) -> np.ndarray:
    """Edges: the size of the Sobel gradient after a Gaussian, its 98th percentile drawn black on white."""
    cv2 = _cv2()
    smooth = cv2.GaussianBlur(_gray(picture).astype(np.float32), (0, 0), 1.0)
    strength = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    scaled = (strength / max(float(np.percentile(strength, 98)), 1e-6)).clip(0, 1)
    return np.rint(255 * (1 - scaled)).astype(np.uint8)[..., None].repeat(3, axis=-1)


def otsu(picture: np.ndarray) -> np.ndarray:
    """A mask: Otsu's threshold of luma, the side that touches the border less is the foreground, white on black."""
    cv2 = _cv2()
    _, mask = cv2.threshold(_gray(picture), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    mask = 255 - mask if border.mean() > 127.5 else mask
    return np.asarray(mask)[..., None].repeat(3, axis=-1)


def non_local_means(picture: np.ndarray, strength: float = 10) -> np.ndarray:
    """Denoising: Buades et al. 2005, windows of 7 and 21 pixels."""
    return np.asarray(_cv2().fastNlMeansDenoisingColored(picture, None, strength, strength, 7, 21))


def telea(picture: np.ndarray) -> np.ndarray:
    """Inpainting: Telea 2004 from the known border inwards; black pixels are holes."""
    cv2 = _cv2()
    hole = (picture.max(axis=-1) == 0).astype(np.uint8)
    return np.asarray(cv2.inpaint(picture, hole, 3, cv2.INPAINT_TELEA))


def equalized(picture: np.ndarray) -> np.ndarray:
    """Low light: contrast-limited adaptive histogram equalization of luma (Zuiderveld 1994), 8 x 8 tiles, limit 3."""
    cv2 = _cv2()
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(3.0, (8, 8)).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def median(picture: np.ndarray) -> np.ndarray:
    """Deraining: the median of 5 x 5 pixels, which thin bright streaks do not survive."""
    return np.asarray(_cv2().medianBlur(picture, 5))


def _of_query(method: Callable[[np.ndarray], np.ndarray], question: Question) -> np.ndarray:
    return method(question.context[-1])


CLASSICAL: dict[str, Simple] = {
    name: Simple(name, partial(_of_query, method))
    for name, method in (
        ("Sobel", sobel),
        ("Otsu", otsu),
        ("non-local means", non_local_means),
        ("Telea", telea),
        ("CLAHE", equalized),
        ("median", median),
    )
}
"""Name -> predictor."""
