"""Every dataset of the catalogue becomes a store: its miniature in the official layout, with the row's own defaults."""

import importlib
from pathlib import Path
from unittest import mock

import pytest
from fakes import FakeTokenizer

from openlvm.annotators.spec import slot_of
from openlvm.sentences.generated import check_generated
from openlvm.sentences.render import STYLES
from openlvm.sources.catalog.table import CATALOG
from openlvm.store.tokenize import tokenize


@pytest.fixture(scope="module")
def miniatures():
    """Row -> what builds its miniature in a folder and returns split -> key -> what must be read."""
    files = sorted((Path(__file__).parents[1] / "miniatures").glob("[a-z]*.py"))
    modules = [importlib.import_module(f"miniatures.{file.stem}") for file in files]
    return {name: make for module in modules for name, make in getattr(module, "MINIATURES", {}).items()}


@pytest.mark.parametrize("name", CATALOG)
def test_defaults_of_a_row_can_be_asked_for(name):
    row = CATALOG[name]
    styles = {style for kinds in STYLES.values() for style in kinds}
    for split in row.splits:
        slots = [*row.source(Path("nowhere"), split).slots, *map(slot_of, row.annotators)]
        check_generated(row.generated, slots)
        assert set(row.styles) <= set(slots) and set(row.styles.values()) <= styles
        assert len({*slots, *row.generated}) == len(slots) + len(row.generated)


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOG)
def test_row_becomes_a_store(name, miniatures, tmp_path):
    """Of rows with annotators what lies on disk alone: their models do not."""
    row = CATALOG[name]
    (tmp_path / "data").mkdir()
    wanted = miniatures[name](tmp_path / "data")
    own = {} if row.annotators else {"generated": row.generated, "styles": row.styles}
    for split in row.splits:
        with mock.patch("os.fsync"):
            source = row.source(tmp_path / "data", split)
            store = tokenize(source, tokenizer=FakeTokenizer(), at=tmp_path / split, max_bad_share=0.0, **own)
        assert {store.key(record) for record in range(store.num_records)} == set(wanted[split])
