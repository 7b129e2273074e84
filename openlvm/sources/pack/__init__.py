"""Packs of small pictures as sources: the sample pack inside OpenLVM, or a larger one of the same form at `at`.

Everything is a pure function of (seed, key). Pictures are 128 x 128; the tokenizer's ImagePreparation resizes them.
Train and heldout share no object, photograph, film, drawing or motion; what stands before a photograph is of its split.
"""

from openlvm.sources.pack.cutouts import PackPoses, PackStamps
from openlvm.sources.pack.files import Split
from openlvm.sources.pack.game import PackGame
from openlvm.sources.pack.motion import PackMotion
from openlvm.sources.pack.objects import PackObjects, PackTurns, PackViews
from openlvm.sources.pack.photos import PackClips, PackPhotos

PACK_SOURCES = {
    "objects": PackObjects,
    "turns": PackTurns,
    "views": PackViews,
    "photos": PackPhotos,
    "clips": PackClips,
    "motion": PackMotion,
    "stamps": PackStamps,
    "poses": PackPoses,
    "game": PackGame,
}
"""What can be read from a pack, by name."""

__all__ = [
    "PACK_SOURCES",
    "PackClips",
    "PackGame",
    "PackMotion",
    "PackObjects",
    "PackPhotos",
    "PackPoses",
    "PackStamps",
    "PackTurns",
    "PackViews",
    "Split",
]
