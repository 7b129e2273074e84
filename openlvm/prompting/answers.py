"""What was drawn, best candidate first: pictures, their codes, how likely they are, and readers of annotations.

Letters beside the project's own: C candidates, F frames drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openlvm.core.images import write_image
from openlvm.core.records import Boxes, Keypoints
from openlvm.core.sheets import contact_sheet
from openlvm.prompting.examples import Example
from openlvm.sentences.render import (
    read_boxes,
    read_depth,
    read_disparity,
    read_edges,
    read_flow,
    read_keypoints,
    read_normals,
    read_openpose,
    read_segmentation,
)

SHEET = "sheet"
"""Name, without its ending, of the contact sheet that `Answer.save` writes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What was drawn. Candidates are ranked: the one with the highest mean log-probability a code is number 0."""

    images: np.ndarray
    """uint8 [C, F, H, W, 3]."""
    codes: np.ndarray
    """int64 [C, F, N], 0 .. K - 1."""
    log_probs: np.ndarray
    """float32 [C, F, N]: natural logarithm of each code's probability at temperature 1, over the K codes."""
    entropies: np.ndarray
    """float32 [C, F, N]: entropy in nats of the distribution each code was drawn from, at temperature 1, 0 .. ln K."""
    numbers: np.ndarray
    """int64 [C]: which candidate of chance each one is; `numbers[0]` is drawn best."""
    num_codes: int
    """K."""
    gain: np.ndarray | None = None
    """float32 [C]: nats a code by which the answer is likelier after the examples than after the query alone (behind
    BOS, if the model has one); None where there are no examples."""
    examples: tuple[Example, ...] = ()
    """Those that `analogy_from` took from a store, in the order shown."""
    reuse_error: tuple[float, ...] | None = None
    """With `reuse=True`: the largest difference of the first code's log-probabilities to those of a context read anew,
    at the first slide and, if there are more, at the last; empty if nothing slid."""

    @property
    def understood(self) -> np.ndarray | None:
        """bool [C]: the examples made the answer likelier; None where there are no examples."""
        return None if self.gain is None else self.gain > 0

    @property
    def mean_log_probs(self) -> np.ndarray:
        """float64 [C]: nats a code, falling; what the candidates are ranked by."""
        return self.log_probs.mean(axis=(1, 2), dtype=np.float64)

    def confidence(self, c: int = 0, f: int = 0) -> np.ndarray:
        """1 - entropy / ln K of the code that each pixel lies in, float32 [H, W] in 0 (no idea) .. 1 (certain)."""
        height, width = self.images.shape[2:4]
        num_codes_drawn = self.entropies.shape[2]
        side = math.isqrt(num_codes_drawn)
        if side * side != num_codes_drawn:
            raise ValueError(
                f"a picture of {num_codes_drawn} codes is no square of codes, so they have no places; read `entropies`"
            )
        certain = 1 - self.entropies[c, f].reshape(side, side) / math.log(self.num_codes)
        rows, columns = np.arange(height) * side // height, np.arange(width) * side // width
        return np.clip(certain[np.ix_(rows, columns)], 0, 1).astype(np.float32)

    def mask(self, c: int = 0, f: int = 0) -> np.ndarray:
        """Foreground (white, id 1) of a drawn mask, bool [H, W]."""
        return np.asarray(self.classes((0, 1), c, f) == 1)

    def classes(self, ids: Sequence[int], c: int = 0, f: int = 0) -> np.ndarray:
        """The one of `ids` whose color is nearest, int32 [H, W]; see `read_segmentation`."""
        return read_segmentation(self.images[c, f], ids).ids

    def depth(self, near: float = 1.0, far: float = 10.0, c: int = 0, f: int = 0) -> np.ndarray:
        """Depth float32 [H, W] between two ends that the picture does not tell (meters, if they are); 0 is unknown."""
        return read_depth(self.images[c, f], near, far).meters

    def disparity(self, least: float = 1.0, most: float = 10.0, c: int = 0, f: int = 0) -> np.ndarray:
        """Disparity float32 [H, W] between two ends that the picture does not tell (pixels, if they are); 0 is unknown.

        Args:
            least: at the darkest gray.
            most: at white, above `least`.
        """
        return read_disparity(self.images[c, f], least, most).pixels

    def flow(self, fastest: float = 1.0, c: int = 0, f: int = 0) -> np.ndarray:
        """Motion to the next frame as (right, down), float32 [H, W, 2]; NaN is unknown.

        Args:
            fastest: length of the longest motion, pixels, which the picture does not tell; with 1 all are shares of it.
        """
        return read_flow(self.images[c, f], fastest).vectors

    def normals(self, c: int = 0, f: int = 0) -> np.ndarray:
        """Unit vectors in camera axes, float32 [H, W, 3]; zero is unknown."""
        return read_normals(self.images[c, f]).vectors

    def edges(self, c: int = 0, f: int = 0) -> np.ndarray:
        """Strength of edges, float32 [H, W] in 0 .. 1."""
        return read_edges(self.images[c, f]).strength

    def keypoints(self, num_joints: int = 17, c: int = 0, f: int = 0) -> Keypoints:
        """The joints of one person drawn as `draw_keypoints` does, in pixels."""
        return read_keypoints(self.images[c, f], num_joints=num_joints)

    def openpose(self, joints: str = "coco", c: int = 0, f: int = 0) -> Keypoints:
        """The joints of one person drawn in OpenPose's style, in pixels; those that it does not know are invisible.

        Args:
            joints: the set to answer in, a name in `core.records.JOINTS`.
        """
        return read_openpose(self.images[c, f], joints=joints)

    def boxes(self, ids: Sequence[int], c: int = 0, f: int = 0) -> Boxes:
        """The boxes of `ids` (1 .. 255), in pixels."""
        return read_boxes(self.images[c, f], ids)

    def save(
        self, folder: Path | str, *, prompt: Sequence[Sequence[np.ndarray]] = (), ending: str = "png"
    ) -> list[Path]:
        """Write every picture (candidate-C-image-F) and, first in the list, a contact sheet; returns their paths.

        Pictures of these names that an earlier answer left in the folder go.

        Args:
            folder: made if it is not there.
            prompt: rows of pictures uint8 [H, W, 3] shown above the answers on the sheet.
            ending: "png", "webp" (both without loss) or "jpg".
        """
        options = {"lossless": True} if ending == "webp" else {}
        rows = [*([*row] for row in prompt), *([*frames] for frames in self.images)]
        above = ["prompt", *[""] * (len(prompt) - 1)] if len(prompt) else []
        titles = [*above, *(f"answer {rank}" for rank in range(len(self.images)))]
        written = [Path(folder) / f"{SHEET}.{ending}"]
        write_image(written[0], contact_sheet(rows, titles=titles), **options)
        for rank, frames in enumerate(self.images):
            for frame, picture in enumerate(frames):
                written.append(Path(folder) / f"candidate-{rank}-image-{frame}.{ending}")
                write_image(written[-1], picture, **options)
        for old in set(Path(folder).glob("candidate-*-image-*.*")) - set(written):
            old.unlink()
        return written


@dataclass(frozen=True)
class Choice:
    """Which option fits best."""

    index: int
    """Of the best option: the lowest perplexity, or, against the context-free perplexity, the largest gain."""
    perplexities: tuple[float, ...]
    """Of every option after the context, in the order given."""
    context_free: tuple[float, ...] | None = None
    """Of every option alone (after BOS; without a BOS, of all codes but the first), if it was asked for."""
