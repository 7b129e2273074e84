"""Optical flow in the colors of the Middlebury wheel, and back.

Direction is hue, speed is depth of color, no motion is white; black is unknown. Baker et al., "A Database and
Evaluation Methodology for Optical Flow", ICCV 2007.
"""

import numpy as np

from openlvm.core.records import Flow

_CORNERS = np.array([0, 15, 21, 25, 36, 49, 55])
"""Places of red, yellow, green, cyan, blue, magenta and red again among the wheel's 55 colors."""
_COLORS = np.array([(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)], dtype=np.float64)
_LAST = 54  # of the published formula: a whole turn ends at the last color, one step before red
_BLACK = 64  # every color of the wheel has a channel of 255


def flow_range(flow: Flow) -> float:
    """The longest known motion, pixels; 0 when nothing is known."""
    lengths = np.linalg.norm(flow.vectors, axis=-1)
    known = lengths[np.isfinite(lengths)]
    return float(known.max()) if known.size else 0.0


def draw_flow(flow: Flow) -> np.ndarray:
    """Hue tells the direction (right is red, down yellow), the longest motion of the frame has the full color.

    Each frame has its own scale, as in the published tool: `flow_range` is what reading needs. Uint8 [H, W, 3].
    """
    known = np.isfinite(flow.vectors).all(axis=-1)
    right, down = np.moveaxis(np.where(known[..., None], flow.vectors, 0).astype(np.float64), -1, 0)
    speed = np.hypot(right, down) / max(flow_range(flow), 1e-12)  # 0..1
    place = (np.arctan2(-down, -right) / np.pi + 1) / 2 * _LAST  # 0..54
    full = np.stack([np.interp(place, _CORNERS, _COLORS[:, channel]) for channel in range(3)], axis=-1)
    pixels = np.rint(255 * (1 - speed[..., None] * (1 - full)))
    return np.where(known[..., None], pixels, 0).astype(np.uint8)


def read_flow(image: np.ndarray, fastest: float) -> Flow:
    """Motion from uint8 [H, W, 3]; NaN where the picture is black.

    Args:
        image: a drawing, or a model's idea of one.
        fastest: pixels at full color, as given by `flow_range` of the truth, resized.
    """
    pixels = image.astype(np.float64)
    most, least = pixels.max(axis=-1), pixels.min(axis=-1)
    speed = (most - least) / np.maximum(most, 1)
    share = (pixels - least[..., None]) / np.maximum(most - least, 1e-12)[..., None]  # the full color, 0..1
    angle = np.minimum(_place(share), _LAST) / _LAST * 2 * np.pi - np.pi
    vectors = -fastest * speed[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return Flow(np.where((most < _BLACK)[..., None], np.nan, vectors).astype(np.float32))


def _place(share: np.ndarray) -> np.ndarray:
    """Where on the wheel a full color [H, W, 3] lies, float64 [H, W] in 0..55.

    Between two corners one channel is 1, one is 0, and the third says how far: it rises or falls evenly.
    """
    red, green, blue = np.moveaxis(share, -1, 0)
    steps = np.diff(_CORNERS)
    sextants = [
        (blue <= green) & (green <= red),
        (blue <= red) & (red <= green),
        (red <= blue) & (blue <= green),
        (red <= green) & (green <= blue),
        (green <= red) & (red <= blue),
        (green <= blue) & (blue <= red),
    ]
    inside = [green, 1 - red, blue, 1 - green, red, 1 - blue]
    places = [start + step * part for start, step, part in zip(_CORNERS, steps, inside, strict=False)]
    return np.asarray(np.select(sextants, places))
