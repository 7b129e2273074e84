"""How many changed copies are found, and how many strangers: the tables of docs/interchange.md, measured again.

`python -m pytest tests/store/likeness/test_rates.py -m "slow or not slow" -s` prints them.
"""

import numpy as np
import pytest
import torch
from gallery import CHANGES, real_pictures

from openlvm.store.likeness.contamination import _changed
from openlvm.store.likeness.looks import Looks, code_colors


def encoded(tokenizer, pictures):
    prepared = [tokenizer.preparation(np.ascontiguousarray(one)) for one in pictures]
    with torch.inference_mode():
        cuts = range(0, len(prepared), 64)
        return np.concatenate(
            [tokenizer.encode(torch.from_numpy(np.stack(prepared[n : n + 64]))).numpy() for n in cuts]
        )


def family(key):
    """Photographs of the pack are crops of a few larger ones, "china-03" of "china"."""
    return key.rsplit("-", 1)[0] if key[-2:].isdigit() else key


def rates(tokenizer, pictures, looks):
    """Likeness of each picture to each change of it, without and with looking for it changed; and to strangers."""
    keys = list(pictures)
    codes = encoded(tokenizer, pictures.values())
    base = looks(codes)
    asked = np.stack([base, *(looks(changed) for changed in _changed(codes, tokenizer))])  # [ways, n, D]
    families = np.array([family(key) for key in keys])
    strangers = families[:, None] != families[None, :]
    found = {}
    for name, change in CHANGES.items():
        changed = looks(encoded(tokenizer, [change(one) for one in pictures.values()]))
        found[name] = ((base * changed).sum(axis=1), (asked * changed).sum(axis=2).max(axis=0))
    others = (base @ base.T)[strangers], (asked @ base.T).max(axis=0)[strangers]
    return found, others


def table(found, others, limits=(0.85, 0.9, 0.95)):
    for column, what in enumerate(("as it is", "changed as well")):
        print(f"\n| looked for {what} | {' | '.join(map(str, limits))} |")
        for name, likeness in found.items():
            print(f"| {name} | {' | '.join(f'{(likeness[column] >= limit).mean():.1%}' for limit in limits)} |")
        wrong = [f"{(others[column] >= limit).sum():,} of {others[column].size:,}" for limit in limits]
        print(f"| pairs of strangers | {' | '.join(wrong)} |   highest {others[column].max():.3f}")


def check(found, others, *, strangers):
    """What the documents say, with room for another machine's rounding."""
    assert max(others[0].max(), others[1].max()) < strangers
    for name in ("JPEG, quality 50", "resized to 60 %"):
        assert (found[name][0] >= 0.9).mean() > 0.97
    for name in ("20 % brighter", "20 % darker"):
        assert (found[name][0] >= 0.85).mean() > 0.93
    for name in ("mirrored", "5 % cut off every side", "10 % cut off two sides"):
        assert (found[name][1] >= 0.85).mean() > 0.8
        assert (found[name][0] >= 0.85).mean() < 0.6, "codes alone do not show it"


def test_rates_of_held_out_pictures(small, gallery, colors):
    found, others = rates(small, gallery, Looks(colors))
    check(found, others, strangers=0.88)


@pytest.mark.slow
def test_rates_of_all_pictures(small):
    found, others = rates(small, real_pictures(("train", "heldout")), Looks(code_colors(small)))
    table(found, others)
    check(found, others, strangers=0.83)
