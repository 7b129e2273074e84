"""The printed call, run as it is printed, gives the same bits; and the file that holds all it needs."""

import io
import zipfile

import numpy as np
import pytest

from openlvm.prompting.answers import Choice
from openlvm.prompting.lvm import LVM
from openlvm.prompting.sampling import GREEDY, Sampling
from openlvm.serving.playground.answers.repeat import call, whole
from openlvm.serving.playground.prompts import read_prompt
from openlvm.serving.work.asked import Way


@pytest.fixture
def beside(lvm_at, tmp_path, monkeypatch):
    """A folder where the LVM lies under its name."""
    (tmp_path / "tiny").symlink_to(lvm_at)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("mode", ["complete", "analogy", "compose", "choose"])
def test_the_printed_call_repeats_the_answer(beside, words, pictures, mode, dtype):
    lvm = LVM.load("tiny", dtype=dtype)
    prompt = read_prompt(words(mode))
    way = (
        None
        if mode == "choose"
        else Way(sampling=Sampling(temperature=0.8, top_k=9), num_candidates=2, seed=3, exact=True)
    )
    a, b, c, d, e = pictures[:5]
    how = {} if way is None else {"num_candidates": 2, "seed": 3, "sampling": way.sampling, "exact": True}
    found = {
        "complete": lambda: lvm.complete([a, b, c], num_frames=2, **how),
        "analogy": lambda: lvm.analogy([(a, b), (c, d)], e, **how),
        "compose": lambda: lvm.compose([[(a, b)], [(c, d)]], e, **how),
        "choose": lambda: lvm.choose([a, b], [c, d, e]),
    }[mode]()
    program = call(prompt, "tiny", lvm, way, num_frames=2)
    with zipfile.ZipFile(io.BytesIO(whole(prompt, program, found))) as made:
        made.extractall(beside)
    assert (beside / "repeat.py").read_text() == program
    names: dict = {}
    exec(program, names)
    if isinstance(found, Choice):
        assert names["choice"] == found
        return
    assert np.array_equal(names["answer"].codes, found.codes)
    assert np.array_equal(np.load(beside / "answer" / "codes.npy"), found.codes)
    files = sorted((beside / "repeated").glob("candidate-*"))
    assert [file.name for file in files] == sorted(p.name for p in (beside / "answer").glob("candidate-*"))
    assert len(files) == found.images.shape[0] * found.images.shape[1]


def test_the_call_says_what_was_chosen(lvm, words):
    prompt = read_prompt(words("complete"))
    program = call(prompt, "tiny", lvm, Way(sampling=GREEDY, num_candidates=1, seed=9), num_frames=3)
    assert 'LVM.load("tiny")  # the folder of this name' in program
    assert "sampling=Sampling(temperature=0)" in program and "num_frames=3" in program and "seed=9" in program
    assert "exact" not in program
    assert 'LVM.load("mini")\n' in call(prompt, "mini", lvm, Way(sampling=GREEDY), num_frames=1)
