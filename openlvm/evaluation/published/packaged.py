"""Packaged data for the columns of every suite: held-out pictures of the sample pack, which all can ask at once.

Pictures are 128 x 128 and are scored at that size. No example shows the query's object, photograph or motion.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from openlvm.core.images import ImagePreparation
from openlvm.core.records import IMAGE
from openlvm.evaluation.harness.records import FramesOf, PairsOf
from openlvm.evaluation.harness.suite import Data
from openlvm.sources.interface import Source
from openlvm.sources.pack import PackMotion, PackPhotos, PackPoses, PackTurns, PackViews, Split

PREPARATION = ImagePreparation(size=128, fit="squash", filter="bilinear")
"""The pack's own size: nothing is resized."""
EPISODES = 32
"""Of a column, unless asked otherwise: a suite of them takes minutes on a CPU."""
TURN_FRAMES, CLIP_FRAMES = 8, 16
TURNS_EACH, CLIPS = 4, 256
"""Scenes of each object, and clips: more than anybody asks."""


def about(what: str) -> str:
    """A column's `data`: what is asked of which pictures, and that its numbers stand alone."""
    return f"sample pack, held out: {what}; packaged pictures, which compare with no published number"


def episodes_of(data: Data) -> int:
    """How many episodes a packaged column asks."""
    return EPISODES if data.episodes is None else data.episodes


def views(split: Split = "heldout") -> Source:
    """Views of objects before photographs: image, mask, depth, normals, parts, next_view (15 degrees further)."""
    return PackViews(split=split)


def turns(split: Split = "heldout") -> Source:
    """Half turns of objects: 8 frames 15 degrees apart, with masks."""
    return PackTurns(split=split, scenes_per_object=TURNS_EACH)


def object_of(item: str) -> str:
    """The object of an item of `views` or `turns`, "<object>/scene<n>/…"."""
    return item.split("/")[0]


def photos(split: Split = "heldout") -> Source:
    """Crops of photographs; tasks are generated from them."""
    return PackPhotos(split=split)


def photograph_of(item: str) -> str:
    """The photograph of an item of `photos`, "<photograph>-<number>"."""
    return item.rpartition("-")[0]


def poses(split: Split = "heldout") -> Source:
    """One person in motion before a photograph: image, pose (COCO's 17 joints), mask, depth."""
    return PackPoses(split=split)


def motion_of(item: str) -> str:
    """The motion of an item of `poses`, "<motion>-<number>/scene<n>"."""
    return item.split("/")[0].rpartition("-")[0]


def clips(split: Split = "heldout") -> Source:
    """Objects that move and often turn before a panning photograph: 16 frames, with masks."""
    return PackMotion(split=split, frames=CLIP_FRAMES, clips=CLIPS)


def mover_of(item: str) -> str:
    """The object of an item of `clips`, "motion-<number>/<object>"."""
    return item.split("/")[1]


def view_pairs(data: Data, asked: str, **options: Any) -> PairsOf:
    """Views of objects and an annotation of theirs; `options` are those of `PairsOf`."""
    return _pairs(data, views, object_of, asked=asked, **options)


def photo_pairs(data: Data, given: str, **options: Any) -> PairsOf:
    """A generated slot ("gray", "holes", "noisy", "rainy", "dark", "blurred") and the photograph it was made from."""
    return _pairs(data, photos, photograph_of, given=given, asked=IMAGE, generated=(given,), **options)


def pose_pairs(data: Data, **options: Any) -> PairsOf:
    """People and their joints."""
    return _pairs(data, poses, motion_of, asked="pose", **options)


def turn_frames(data: Data, **options: Any) -> FramesOf:
    """The next view of a turn after `shown` (at most 7) others; `options` are those of `FramesOf`."""
    return _frames(data, turns, object_of, frames_each=TURN_FRAMES, **options)


def clip_frames(data: Data, **options: Any) -> FramesOf:
    """The next frame of a clip after `shown` (at most 15) others."""
    return _frames(data, clips, mover_of, frames_each=CLIP_FRAMES, **options)


def _pairs(data: Data, source: Callable[[Split], Source], cluster_of: Callable[[str], str], **options: Any) -> PairsOf:
    """Examples come from the same held-out pictures, or with `data.support` "train" from those of training."""
    return PairsOf(
        source=partial(source, "heldout"),
        support=partial(source, "train") if data.support == "train" else None,
        cluster_of=cluster_of,
        **{"count": episodes_of(data), "preparation": PREPARATION, "seed": data.seed, **options},
    )


def _frames(
    data: Data, source: Callable[[Split], Source], cluster_of: Callable[[str], str], **options: Any
) -> FramesOf:
    return FramesOf(
        source=partial(source, "heldout"),
        cluster_of=cluster_of,
        **{"count": episodes_of(data), "preparation": PREPARATION, "seed": data.seed, **options},
    )
