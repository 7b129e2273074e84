"""Miniatures of RAVEN and I-RAVEN, as their authors' programs write them."""

from pathlib import Path

import numpy as np
from miniatures.files import Expected

from openlvm.sources.raven_npz import CONFIGURATIONS


def raven(at: Path) -> Expected:
    """Two problems of a split for each configuration, their panels plain grays; the XML beside is not read."""
    expected: Expected = {}
    for place, folder in enumerate(CONFIGURATIONS.values()):
        (at / folder).mkdir(parents=True, exist_ok=True)
        for number, split in enumerate(("train", "train", "val", "val", "test", "test")):
            name, target = f"{folder}/RAVEN_{number + 8}_{split}", (place + number) % 8
            grays = (np.arange(16) * 3 + 40 * number + 7 * place) % 256
            panels = np.tile(grays.astype(np.uint8)[:, None, None], (1, 160, 160))
            panels[:, :8, :8] = np.arange(64, dtype=np.uint8).reshape(8, 8)
            np.savez(at / f"{name}.npz", image=panels, target=target, structure=np.array(["Scene", "/"], dtype=object))
            (at / f"{name}.xml").write_text("<Data/>")
            shown = [*panels[:8], panels[8 + target]]
            pictures = [np.repeat(panel[..., None], 3, axis=-1) for panel in shown]
            expected.setdefault(split, {})[name] = {"image": pictures}
    return expected
