"""Running a recipe: continuations begin with another LVM's weights; other ranks wait for the first one's stores."""

import threading
from dataclasses import replace

import pytest
import torch

from openlvm.bundle import load_bundle
from openlvm.jobs import train as job
from openlvm.recipes.mini.decoder import mini, mini_more
from openlvm.tokenizer.folder import load_tokenizer


def test_continuation_begins_with_the_weights_it_names_and_trains_them():
    decoder = job._first_decoder(mini_more(tiny=True), load_tokenizer("mini"))
    assert torch.equal(decoder.model.norm.weight, load_bundle("mini").decoder.model.norm.weight)
    assert decoder.training and all(weight.requires_grad for weight in decoder.parameters())
    fresh = job._first_decoder(mini(tiny=True), load_tokenizer("demo"))
    assert not torch.equal(decoder.model.norm.weight, fresh.model.norm.weight)


def test_continuation_refuses_codes_of_another_tokenizer():
    with pytest.raises(ValueError, match="start='mini' learned the codes of another tokenizer than 'demo'"):
        job._first_decoder(replace(mini_more(tiny=True), tokenizer="demo"), load_tokenizer("demo"))


def test_other_ranks_wait_until_all_stores_are_there(tmp_path, monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    config = mini(tiny=True)
    waiting = threading.Thread(target=job.make_stores, args=(config, tmp_path), daemon=True)
    waiting.start()
    for store in config.stores:
        waiting.join(0.02)
        assert waiting.is_alive()
        (tmp_path / store.name).mkdir()
        (tmp_path / store.name / "store.json").touch()
    waiting.join(5)
    assert not waiting.is_alive()
