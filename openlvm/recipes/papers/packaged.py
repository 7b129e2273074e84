"""A little of the sample pack, for the tiny form of recipes that want stores of one's own: seconds to tokenize."""

from openlvm.recipes.config import StoreConfig
from openlvm.sources.pack import PackMotion, PackPhotos, PackViews


def packaged_sources() -> tuple[StoreConfig, ...]:
    """Annotated views, clips and photographs: every family of kinds but category."""
    return (
        StoreConfig(name="views", source=PackViews(background="plain", objects=12), generated=("edges",)),
        StoreConfig(name="motion", source=PackMotion(clips=16)),
        StoreConfig(name="photos", source=PackPhotos()),
    )
