"""Contact sheets show the pictures of the sentence asked for."""

import numpy as np
import pytest
from fakes import Shape, numbered_picture

from openlvm.sentences.grammar import Pairs, Sequence
from openlvm.store import look as look_module
from openlvm.store.look import look, look_at_position, look_at_record
from openlvm.store.plan import Component, Plan

BOTH = ("image", "depth")


@pytest.fixture
def store(make_store):
    """Ten annotated pictures and two clips."""
    return make_store([[*[Shape(slots=BOTH, label="cat")] * 10, Shape(num_frames=20), Shape(num_frames=30)]])


def shown(monkeypatch):
    """What is put on contact sheets, row after row."""
    rows = []
    sheet = look_module.contact_sheet
    monkeypatch.setattr(look_module, "contact_sheet", lambda r, **options: rows.append(r) or sheet(r, **options))
    return rows


def test_look_shows_the_pictures_of_the_sentence(store, fake_tokenizer, monkeypatch):
    rows = shown(monkeypatch)
    kind = Pairs(target="depth", pairs=5)
    pixels, header = look(store, fake_tokenizer, kind, 1, seed=3)
    refs = Plan([Component(store, kind)], seed=3).position(1).sentences[0]
    expected = [numbered_picture(2 * ref.record + (ref.slot == "depth")) for ref in refs]
    assert [len(row) for row in rows[0]] == [8, 2]
    assert np.array_equal(np.stack([picture for row in rows[0] for picture in row]), np.stack(expected))
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
    assert "position 1, sentence 0 of 1: store1/pairs" in header and f"record {refs[0].record} '0-" in header


def test_look_at_position_shows_all_its_sentences(store, fake_tokenizer):
    sheets = look_at_position(Plan([Component(store, Sequence(num_images=8))]), fake_tokenizer, 0)
    assert [sheet.header.split("\n")[0].split(":")[0] for sheet in sheets] == [
        "position 0, sentence 0 of 2",
        "position 0, sentence 1 of 2",
    ]


def test_look_at_record_shows_its_slots(store, fake_tokenizer, monkeypatch):
    rows = shown(monkeypatch)
    sheet = look_at_record(store, fake_tokenizer, 3)
    assert [np.array_equal(row[0], numbered_picture(6 + number)) for number, row in enumerate(rows[0])] == [True, True]
    assert sheet.header.startswith("record 3 '0-3' label 'cat', 1 frames")
    look_at_record(store, fake_tokenizer, 11)
    assert len(rows[1]) == 1 and len(rows[1][0]) == 16


def test_look_rejects_sentence_that_is_not_there(store, fake_tokenizer):
    with pytest.raises(ValueError, match="no sentence 2: one pass over .* has 2 of pairs"):
        look(store, fake_tokenizer, Pairs(target="depth", pairs=5), 2)
