"""Suites: which columns are chosen, and what is said where data lacks."""

import pytest
from toy_suite import SUITE

from openlvm.evaluation.harness.suite import Data, require_data
from openlvm.evaluation.published.table import SUITES, load_suite
from openlvm.sources.catalog.table import CATALOG


def test_columns_are_chosen_by_name_in_the_suites_order():
    assert [plan.name for plan in SUITE.chosen(["puzzles", "inversion"])] == ["inversion", "puzzles"]
    assert len(SUITE.chosen()) == len(SUITE.plans)
    with pytest.raises(ValueError, match=r"no column of toy called 'inverison'; did you mean inversion"):
        SUITE.chosen(["inverison"])


def test_absent_data_is_told_with_every_folder(tmp_path):
    require_data(SUITE.plans, Data())  # packaged: nothing is needed
    with pytest.raises(FileNotFoundError) as found:
        require_data(SUITE.plans, Data(root=tmp_path))
    words = str(found.value)
    assert "1 of 1 datasets are not there" in words and str(tmp_path / "nyuv2") in words
    assert CATALOG["nyuv2"].home in words and "\n" not in words
    (tmp_path / "nyuv2").mkdir()
    require_data(SUITE.plans, Data(root=tmp_path))


@pytest.mark.parametrize("name", list(SUITES))
def test_every_suite_of_the_table_is_well_formed(name):
    suite = load_suite(name)
    assert suite.name == name and suite.about
    names = [plan.name for plan in suite.plans]
    assert len(set(names)) == len(names)
    assert {dataset for plan in [*suite.plans, *suite.sheets] for dataset in plan.datasets} <= set(CATALOG)
    for reference in suite.references:
        assert reference.source and set(reference.values) <= set(names), reference.name


def test_an_unknown_suite_lists_near_names():
    with pytest.raises(ValueError, match=r"no suite called 'tlak'; did you mean talk"):
        load_suite("tlak")
