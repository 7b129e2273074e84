"""What is replayed: mini's own sentences, in the shares asked for, and nothing that the questions hold."""

from pathlib import Path

import pytest

from openlvm.bundle import load_bundle
from openlvm.jobs.fit import replay
from openlvm.jobs.fit.replay import replay_stores, replayed
from openlvm.store.format import Store


def test_replay_is_of_the_training_split():
    stores = replay_stores()
    assert {store.name for store in stores} == set(replay.STORES)
    assert {store.source.split for store in stores} == {"train"}


def test_components_share_what_is_asked(lvm_at, tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "STORES", ("turns", "recoloring"))
    bundle = load_bundle(lvm_at)
    components = replayed(bundle, tmp_path, share=0.3)
    assert sum(float(part.weight) for part in components) == pytest.approx(0.3)
    assert {Path(part.store).name for part in components} == {"turns", "recoloring"}
    assert Store.open(tmp_path / "recoloring", bundle.tokenizer).num_records > 100


def test_nothing_is_replayed_if_nothing_is_asked(lvm_at, tmp_path):
    assert replayed(load_bundle(lvm_at), tmp_path, share=0.0) == () and not list(tmp_path.iterdir())
