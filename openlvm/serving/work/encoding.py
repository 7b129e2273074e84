"""Codes of pictures, each picture encoded once: examples that many requests share, and those that come again."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import torch

from openlvm.prompting.prompts import ENCODE_AT_ONCE
from openlvm.serving.work.asked import Pixels
from openlvm.tokenizer.released.assemble import AnyTokenizer

PICTURES_KEPT = 1024
"""Whose codes are remembered: 2 MB of 256 codes each."""


class Encoder:
    """Remembers the codes of the pictures it saw last."""

    def __init__(self, tokenizer: AnyTokenizer):
        self.tokenizer = tokenizer
        self._known: OrderedDict[bytes, torch.Tensor] = OrderedDict()

    def __call__(self, pictures: Sequence[Pixels]) -> torch.Tensor:
        """Codes int64 [S, N] of S >= 1 pictures."""
        keys = [hashlib.blake2b(picture.tobytes(), digest_size=16).digest() for picture in pictures]
        unknown = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in self._known}
        fresh = list(unknown.items())
        for start in range(0, len(fresh), ENCODE_AT_ONCE):
            some = fresh[start : start + ENCODE_AT_ONCE]
            pixels = torch.stack([torch.from_numpy(picture.copy()) for _, picture in some])
            self._known.update(zip((key for key, _ in some), self.tokenizer.encode(pixels).cpu(), strict=True))
        for key in keys:
            self._known.move_to_end(key)
        codes = torch.stack([self._known[key] for key in keys])
        while len(self._known) > PICTURES_KEPT:
            self._known.popitem(last=False)
        return codes
