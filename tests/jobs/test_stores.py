"""Recipes on stores of one's own: which are refused, how long an epoch of them is, and a whole run."""

from dataclasses import replace

import pytest
from fakes import Shape

from openlvm.bundle import load_bundle
from openlvm.core.files import read_json
from openlvm.core.runs import read_metrics
from openlvm.jobs import train as job
from openlvm.recipes import RECIPES
from openlvm.tokenizer.folder import load_tokenizer


@pytest.fixture
def tokenizer(tokenizer_at):
    return load_tokenizer(tokenizer_at)


@pytest.fixture
def clips(make_store, tokenizer):
    """A store of 12 clips of 16 frames: 12 positions."""
    return make_store([[Shape(num_frames=16)] * 12], tokenizer=tokenizer)


def _config(tokenizer_at, stores, *, name="lvm_300m", **changes):
    """A tiny recipe whose decoder fits the tests' tokenizer of 32 codes, 4 a picture."""
    config = RECIPES[name](tiny=True)
    context = config.max_images * 4 + 1
    model = replace(config.model, vocab_size=132, context=context)
    decoder = replace(config.decoder, model=model, train=replace(config.decoder.train, **changes))
    return replace(config, tokenizer=str(tokenizer_at), stores=tuple(store.at for store in stores), decoder=decoder)


def test_an_epoch_of_the_stores_shortens_the_recipe(tokenizer_at, tokenizer, clips, tmp_path):
    optim = replace(RECIPES["lvm_300m"](tiny=True).decoder.train.optim, warmup_steps=20)
    config = _config(tokenizer_at, [clips], steps=100, positions_per_step=2, optim=optim)
    decoder = job.on_stores(config, tokenizer, tmp_path)
    assert decoder.train.steps == 6 and decoder.train.optim.warmup_steps == 1
    assert [part.name for part in decoder.components] == ["store1: sequence"]
    longer = job.on_stores(replace(config, one_epoch=False), tokenizer, tmp_path)
    assert longer.train.steps == 100
    enough = _config(tokenizer_at, [clips], steps=3, positions_per_step=4)
    assert job.on_stores(enough, tokenizer, tmp_path).train == enough.decoder.train


def test_stores_that_do_not_fit_are_refused_in_one_line(tokenizer_at, tokenizer, clips, make_store, tmp_path):
    config = _config(tokenizer_at, [clips])
    with pytest.raises(ValueError, match=r"needs stores of codes: --stores DIR DIR"):
        job.on_stores(replace(config, stores=(), sources=()), tokenizer, tmp_path)
    with pytest.raises(ValueError, match=r"12 positions in an epoch, a step takes 16; give more stores or lower"):
        job.on_stores(_config(tokenizer_at, [clips], positions_per_step=16), tokenizer, tmp_path)
    with pytest.raises(ValueError, match=r"--decoder.model.vocab-size 132 --decoder.model.context 65"):
        job.on_stores(replace(config, decoder=RECIPES["lvm_300m"](tiny=True).decoder), tokenizer, tmp_path)
    other = make_store([[Shape(num_frames=16)] * 2])
    with pytest.raises(ValueError, match="tokenizer"):
        job.on_stores(replace(config, stores=(other.at,)), tokenizer, tmp_path)
    with pytest.raises(FileNotFoundError, match="no store at"):
        job.on_stores(replace(config, stores=(tmp_path / "none",)), tokenizer, tmp_path)
    with pytest.raises(ValueError, match="leave them out"):
        replace(config, decoder=replace(config.decoder, components=RECIPES["mini"]().decoder.components))
    with pytest.raises(ValueError, match=r"max_images=17 must lie in 1..16"):
        replace(config, max_images=17)


@pytest.mark.parametrize("name", ["lvm_300m", "delvm_300m"])
def test_a_recipe_trains_on_stores_and_leaves_an_lvm(name, tokenizer_at, tokenizer, clips, make_store, tmp_path):
    heldout = make_store([[Shape(num_frames=16)] * 2], tokenizer=tokenizer)
    config = replace(_config(tokenizer_at, [clips], name=name, positions_per_step=2), heldout=(heldout.at,))
    bundle = job.run_recipe(config, at=tmp_path / "run")
    told = read_json(tmp_path / "run" / "config.json", "config")
    assert [part["store"] for part in told["components"]] == [str(clips.at)]
    assert told["components"][0]["kind"]["num_images"] == config.max_images
    lines = read_metrics(tmp_path / "run")
    assert len(lines) == (4 if name == "lvm_300m" else 3) and lines[-1]["loss"] < lines[0]["loss"] + 0.5
    assert "heldout/loss" in lines[-1]["evaluation"]
    loaded = load_bundle(bundle)
    assert loaded.decoder.config == config.model and "data: store1" in (bundle / "README.md").read_text()
