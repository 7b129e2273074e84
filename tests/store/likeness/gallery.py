"""Real pictures, changed as pictures on the web are, and stores of them: what tests of likeness look at."""

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from openlvm.sources.pack import PackObjects, PackPhotos
from openlvm.store.format import Store
from openlvm.store.interchange.formats import FORMATS, writing
from openlvm.store.interchange.read import import_files


def real_pictures(splits: Iterable[str] = ("heldout",)) -> dict[str, np.ndarray]:
    """Photographs and views of objects of the sample pack by key, uint8 [H, W, 3]."""
    sources = [source(split=split) for split in splits for source in (PackPhotos, PackObjects)]
    return {
        record.key: record.slots["image"][0]
        for source in sources
        for part in source.parts()
        for record in source.read(part)
    }


def jpeg(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=50)
    return np.asarray(Image.open(data))


def resized(pixels):
    height, width = pixels.shape[:2]
    size = (round(0.6 * width), round(0.6 * height))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def brightness(factor):
    return lambda pixels: np.clip(pixels * factor, 0, 255).astype(np.uint8)


def cut(top, left, bottom, right):
    def change(pixels):
        height, width = pixels.shape[:2]
        return pixels[round(height * top) : round(height * bottom), round(width * left) : round(width * right)]

    return change


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG, quality 50": jpeg,
    "resized to 60 %": resized,
    "20 % brighter": brightness(1.2),
    "20 % darker": brightness(0.8),
    "5 % cut off every side": cut(0.05, 0.05, 0.95, 0.95),
    "10 % cut off two sides": cut(0.1, 0.1, 1, 1),
    "mirrored": lambda pixels: pixels[:, ::-1],
}


def store_of(pictures: Mapping[str, np.ndarray], tokenizer, at: Path, frames: int = 1) -> Store:
    """A store of pictures by key; `frames` consecutive ones become a record of the first one's key."""
    keys, prepared = list(pictures), [tokenizer.preparation(pixels) for pixels in pictures.values()]
    with torch.inference_mode():
        codes = np.concatenate(
            [tokenizer.encode(torch.from_numpy(np.stack(prepared[n : n + 64]))) for n in range(0, len(prepared), 64)]
        )
    lines_at = at.with_suffix(".jsonl")
    with writing(lines_at, FORMATS["lvm-jsonl"]) as lines:
        for number in range(0, len(keys), frames):
            lines.write(codes[number : number + frames].ravel(), key=keys[number])
    return import_files([lines_at], at, "lvm-jsonl", tokenizer=tokenizer, records_per_part=50).store
