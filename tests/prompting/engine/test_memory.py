"""The formula of memory is an upper bound, and not a wild one: against tensors allocated, and a process's peak."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from cache_bytes import bytes_of_caches

from openlvm.model.sizes import SIZES
from openlvm.prompting.engine import prefixes
from openlvm.prompting.engine.generate import generate
from openlvm.prompting.engine.memory import bytes_needed

K = 16


def prompts(lengths: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, K, (length,), generator=generator) for length in lengths]


@pytest.mark.parametrize(
    ("lengths", "num_new", "num_candidates", "rows_at_once"),
    [([9, 9, 9], 8, 1, 48), ([5, 9, 20], 8, 4, 48), ([20, 20, 12, 7, 12, 20], 6, 2, 4), ([9], 20, 3, 1)],
)
def test_cache_is_bounded_by_the_formula(decoder, monkeypatch, lengths, num_new, num_candidates, rows_at_once):
    """Prompts that share nothing reach the bound; those that share everything stay below."""
    settings = {"num_candidates": num_candidates, "rows_at_once": rows_at_once}
    bound = bytes_needed(decoder.config, lengths, num_new, **settings).cache
    sums = bytes_of_caches(monkeypatch)
    generate(decoder, prompts(lengths), num_new, num_codes=K, **settings)
    assert max(sums) == bound
    sums.clear()
    monkeypatch.setattr(prefixes, "SHARE_FROM", 4)
    generate(decoder, [torch.ones(length, dtype=torch.int64) for length in lengths], num_new, num_codes=K, **settings)
    assert max(sums) <= bound and (max(sums) < bound or len(lengths) == 1)


PEAK = """
import torch
from openlvm.model.decoder import Decoder
from openlvm.model.sizes import SIZES
from openlvm.prompting.engine.generate import generate

def resident(what):
    told = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return 1024 * int(told[what].split()[0])

def draw(size, lengths, num_new, candidates):
    decoder = Decoder(SIZES[size]).eval()
    prompts = [torch.full((length,), number) for number, length in enumerate(lengths)]
    generate(decoder, prompts, num_new, num_codes=8192, num_candidates=candidates)

torch.set_num_threads(1)
draw("debug", [9, 5], 3, 2)  # what libraries load once
before = resident("VmRSS")
draw("nano", [257, 257, 513, 129], 6, 2)
print(resident("VmHWM") - before)  # not getrusage, whose peak is the parent's too
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_of_a_process_is_bounded_by_the_formula():
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, timeout=110)
    grown = int(done.stdout)
    bound = bytes_needed(SIZES["nano"], [257, 257, 513, 129], 6, num_candidates=2).total
    assert grown <= bound <= 3 * grown, (grown, bound)


def test_weights_and_narrow_numbers_are_counted(decoder):
    wide, narrow = (bytes_needed(decoder.config, [9], 8, bytes_per_number=size) for size in (4, 2))
    counted = sum(t.numel() * t.element_size() for t in [*decoder.parameters(), *decoder.buffers()])
    assert wide.weights == counted
    assert narrow.cache * 2 == wide.cache and narrow.activations < wide.activations
    rounded = bytes_needed(decoder.config, [9], 8, bytes_per_weight=1)
    assert rounded.cache == wide.cache and rounded.weights < wide.weights / 3
    assert wide.total == wide.weights + wide.cache + wide.activations
    seven = dataclasses.replace(SIZES["7b"])
    assert bytes_needed(seven, [4096], 1, bytes_per_number=2).cache == 2 * 2 * 32 * 4096 * 4097


def test_memory_rejects_no_prompts_and_no_codes(decoder):
    with pytest.raises(ValueError, match="lengths is empty; give the number of codes of each prompt"):
        bytes_needed(decoder.config, [], 8)
    with pytest.raises(ValueError, match="num_new=0, num_candidates=1 and rows_at_once=48 must all be at least 1"):
        bytes_needed(decoder.config, [9], 0)
