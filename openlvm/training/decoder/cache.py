"""A teacher's answers on disk: at each place of a run, its k likeliest codes and their log-probabilities.

cache.json         what was asked: the teacher's digest, the sentences, k, the temperature
codes.u16          uint16 [positions, targets of a position, k]
log_probs.f16      float16 of the same shape, at the distillation's temperature, the likeliest first
done.u8            uint8 [positions], 1 once the others hold a position

The files are sparse: what no training asked for takes no space. Several ranks write different positions.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openlvm.core.files import read_json, write_json

META, CODES, LOG_PROBS, DONE = "cache.json", "codes.u16", "log_probs.f16", "done.u8"
FORMAT = 1


def digest_of(module: torch.nn.Module) -> str:
    """SHA-256 of a module's tensors with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class TeacherCache:
    """Answers by place: number of the position * targets of a position + the target's number in it.

    Args:
        at: the folder; begun if it is not there.
        asked: what decides the answers, as JSON values; a folder that was begun with another request is refused.
        num_positions: of the plan.
        per_position: targets of a position, at most; positions with fewer leave the rest empty.
        top_k: k.
    """

    def __init__(self, at: Path | str, *, asked: Mapping[str, Any], num_positions: int, per_position: int, top_k: int):
        self.at, self.per_position = Path(at), per_position
        size = num_positions * per_position
        request = json.loads(json.dumps({"format": FORMAT, **asked, "size": [num_positions, per_position, top_k]}))
        self.at.mkdir(parents=True, exist_ok=True)
        if (self.at / META).exists():
            self._refuse_other(request)
        self.codes = self._opened(CODES, np.uint16, (size, top_k))
        self.log_probs = self._opened(LOG_PROBS, np.float16, (size, top_k))
        self.done = self._opened(DONE, np.uint8, (num_positions,))
        if not (self.at / META).exists():
            write_json(self.at / META, request)

    def _refuse_other(self, request: dict[str, Any]) -> None:
        begun = read_json(self.at / META, "description of a teacher's answers")
        differs = sorted(key for key in request.keys() | begun.keys() if request.get(key) != begun.get(key))
        if differs:
            raise ValueError(
                f"the teacher's answers in {self.at} were written for another {', '.join(differs)}; "
                "give another distill.cache or delete the folder"
            )

    def _opened(self, name: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
        """An array in a file, empty at first; a file of another size is refused once the cache is described."""
        path, size = self.at / name, int(np.prod(shape)) * np.dtype(dtype).itemsize
        if (self.at / META).exists() and (not path.exists() or path.stat().st_size != size):
            found = f"{path.stat().st_size} bytes" if path.exists() else "missing"
            raise ValueError(f"{path} is {found}, expected {size} bytes; delete {self.at}, it is written anew")
        with open(path, "ab") as file:
            os.truncate(file.fileno(), size)  # sparse; the same from every rank
        return np.memmap(path, dtype=dtype, mode="r+", shape=shape)

    def holds(self, positions: Sequence[int]) -> bool:
        """Whether the answers at all these positions are there."""
        return bool(self.done[list(positions)].all())

    def read(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes uint16 [M, k] and log-probabilities float16 [M, k] at the places int64 [M]."""
        return np.asarray(self.codes[places]), np.asarray(self.log_probs[places])

    def write(self, positions: Sequence[int], places: np.ndarray, codes: np.ndarray, log_probs: np.ndarray) -> None:
        """Keep the answers at `places`, which are all that are asked for at `positions`."""
        self.codes[places], self.log_probs[places] = codes, log_probs
        self.done[list(positions)] = 1  # last: a training that is killed in between writes them again
