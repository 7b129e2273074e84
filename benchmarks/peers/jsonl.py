"""Peer: LVM's training data on disk, JSON lines {"tokens": base64 of int32}, and how its loader reads them.

With a clone at $LVM_REPO the official EasyLM/data.py JsonDataset itself reads (it needs mlxu, h5py, ml_collections,
tqdm and datasets). Without, `read_format` reads the same format with the same steps: json, base64, frombuffer, a Python
list, and the endless token buffer that is cut into batches.
"""

import base64
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def write(path: Path, rows: np.ndarray) -> None:
    """Write rows int32 [M, T], one a line."""
    with open(path, "w") as file:
        for row in rows.astype("<i4"):
            file.write(json.dumps({"tokens": base64.b64encode(row.tobytes()).decode()}) + "\n")


def read_format(path: Path, length: int, batch_size: int) -> Iterator[np.ndarray]:
    """Batches int32 [batch_size, length], endlessly; with targets and masks, as JsonDataset does (b6de939)."""
    chunk = batch_size * length
    tokens: list[int] = []
    masks: list[float] = []
    while True:
        with open(path) as file:
            for line in file:
                codes = np.frombuffer(base64.b64decode(json.loads(line)["tokens"]), dtype="i4").tolist()
                tokens.extend(codes)
                masks.extend([1.0 for _ in range(len(codes))])
                while len(tokens) > chunk + 1:
                    batch = {
                        "input_tokens": np.array(tokens[:chunk], dtype=np.int32).reshape(batch_size, -1),
                        "target_tokens": np.array(tokens[1 : chunk + 1], dtype=np.int32).reshape(batch_size, -1),
                        "loss_masks": np.array(masks[1 : chunk + 1], dtype=np.float32).reshape(batch_size, -1),
                    }
                    yield batch["input_tokens"]
                    tokens, masks = tokens[chunk:], masks[chunk:]


def read_official(path: Path, length: int, batch_size: int) -> Iterator[np.ndarray]:
    """The same from the official class, set up as in its README's training command, one process."""
    sys.path.insert(0, os.environ["LVM_REPO"])
    from EasyLM.data import JsonDataset, TextProcessor

    class Ids:
        bos_token_id, eos_token_id = 8192, 8193

    fields = {"fields": "{tokens}", "add_bos_token": False, "add_eos_token": False, "base64_token_dtype": "i4"}
    settings = {"path": str(path), "seq_length": length, "batch_size": batch_size, "tokenizer_processes": 1}
    for batch, _ in JsonDataset(settings, Ids(), TextProcessor(fields, Ids())):
        yield batch["input_tokens"]
