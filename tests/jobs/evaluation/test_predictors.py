"""Who is asked: names, methods of a column alone, and a ceiling for each tokenizer."""

import pytest
from toy_suite import SUITE

from openlvm.evaluation.harness.suite import Data
from openlvm.jobs.evaluation import predictors
from openlvm.jobs.evaluation.predictors import named_places, whom_to_ask
from openlvm.prompting.sampling import GREEDY


def test_places_are_named_by_their_last_folder():
    assert named_places(["mini", "runs/small/bundle", "ours=runs/7/bundle", "/a/b.c/"]) == {
        "mini": "mini", "small": "runs/small/bundle", "ours": "runs/7/bundle", "b.c": "/a/b.c/"
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"runs/a/x and runs/b/x are both called 'x'; name them: NAME=runs/b/x"):
        named_places(["runs/a/x", "runs/b/x"])


def asked(lvms, **options):
    columns = {plan.name: plan.make(Data()) for plan in SUITE.plans}
    return whom_to_ask(lvms, SUITE.plans, columns, predictions={}, **{"conditions": ("none",)} | options), columns


def test_a_classical_method_answers_its_own_column_alone(random_lvm):
    found, columns = asked({"a": random_lvm})
    names = {one.name: one for one in found.predictors}
    assert list(names) == ["a", "a none", "copy", "mean", "nearest", "inverted", "ceiling"]
    assert found.may(names["inverted"], columns["inversion"])
    assert not found.may(names["inverted"], columns["puzzles"])
    assert found.may(names["copy"], columns["puzzles"])


def test_without_opencv_classical_methods_are_left_out_and_told(random_lvm, monkeypatch):
    monkeypatch.setattr(predictors, "find_spec", lambda name: None)
    found, _ = asked({"a": random_lvm})
    assert "inverted" in [one.name for one in found.predictors] and found.left_out == []  # needs none
    monkeypatch.setitem(predictors.CLASSICAL, "inverted", None)
    found, _ = asked({"a": random_lvm})
    assert "inverted" not in [one.name for one in found.predictors]
    assert found.left_out == ['classical methods: they need OpenCV, pip install "openlvm[classical]"']


def test_models_of_one_tokenizer_share_a_ceiling(random_lvm):
    found, _ = asked({"a": random_lvm, "b": random_lvm}, conditions=(), sampling=GREEDY)
    assert [one.name for one in found.predictors if one.name.startswith("ceiling")] == ["ceiling"]
    assert found.predictors[0].describe()["sampling"]["temperature"] == 0


def test_models_of_several_tokenizers_have_a_ceiling_each(random_lvm):
    from openlvm.prompting.lvm import LVM

    found, _ = asked({"a": random_lvm, "b": LVM.load("mini")}, conditions=())
    assert [one.name for one in found.predictors if "ceiling" in one.name] == ["ceiling a", "ceiling b"]


def test_no_model_is_no_ceiling():
    found, _ = asked({})
    assert [one.name for one in found.predictors] == ["copy", "mean", "nearest", "inverted"]
