"""Methods without learning answer what a hand computation says; spoiled prompts are what they are called."""

import numpy as np
import pytest

from openlvm.core.images import write_image
from openlvm.evaluation.harness.baselines import (
    PredictedFolder,
    Spoiled,
    copied,
    mean_answer,
    nearest_answer,
    with_shuffled_answers,
    with_wrong_examples,
    without_examples,
)
from openlvm.evaluation.harness.predictors import Ceiling, LVMPredictor
from openlvm.evaluation.harness.questions import Question
from openlvm.prompting.lvm import LVM


def flat(value, side=8):
    return np.full((side, side, 3), value, np.uint8)


PAIRS = Question(examples=[(flat(10), flat(200)), (flat(90), flat(101)), (flat(240), flat(0))], query=flat(80))
CLIP = Question(style="sequence", frames=[flat(10), flat(20), flat(40), flat(80)])


def values(pictures):
    return [int(picture[0, 0, 0]) for picture in pictures]


def test_simple_answers():
    assert values([copied(PAIRS), copied(CLIP)]) == [80, 80]
    assert values([mean_answer(PAIRS), mean_answer(CLIP)]) == [100, 38]  # 301 / 3, 150 / 4 = 37.5 to even
    assert values([nearest_answer(PAIRS), nearest_answer(CLIP)]) == [101, 80]
    alone = Question(query=flat(80))
    assert values([mean_answer(alone), nearest_answer(alone)]) == [128, 80]


def test_answers_of_other_sizes_are_averaged_and_compared():
    mixed = Question(examples=[(flat(10), flat(100)), (flat(90, 16), flat(0, 16))], query=flat(80, 4))
    assert mean_answer(mixed).shape == (8, 8, 3) and values([mean_answer(mixed)]) == [50]
    assert values([nearest_answer(mixed)]) == [0]


def test_spoiled_prompts_are_what_they_are_called():
    assert values(without_examples(PAIRS).context) == [80] == values(without_examples(CLIP).context)
    assert values(with_wrong_examples(PAIRS).context) == [10, 245, 90, 165, 240, 15, 80]
    assert values(with_wrong_examples(CLIP).context) == [245, 235, 215, 80]
    assert values(with_shuffled_answers(PAIRS).context) == [10, 101, 90, 0, 240, 200, 80]
    assert values(with_shuffled_answers(CLIP).context) == [20, 40, 10, 80]


def test_a_spoiled_model_is_the_model_under_that_prompt(lvm_at):
    model = LVMPredictor(LVM.load(lvm_at), "random")
    asked = Question(examples=[(flat(10), flat(200))], query=flat(80), truth=flat(190), options=[flat(0), flat(90)])
    for condition, change in (("none", without_examples), ("wrong", with_wrong_examples)):
        spoiled = Spoiled(model, condition)
        assert spoiled.describe() == {**model.describe(), "condition": condition}
        assert (spoiled.answers([asked], seed=3)[0] == model.answers([change(asked)], seed=3)[0]).all()
        likely, expected = (one.likelihoods([two])[0] for one, two in ((spoiled, asked), (model, change(asked))))
        assert (likely.log_probs == expected.log_probs).all()
        assert (spoiled.perplexities([asked])[0] == model.perplexities([change(asked)])[0]).all()
    with pytest.raises(ValueError, match=r"no condition called 'nome'; did you mean none"):
        Spoiled(model, "nome")


def test_likelihoods_are_those_of_scoring(lvm_at):
    lvm = LVM.load(lvm_at)
    asked = Question(examples=[(flat(10, 16), flat(200, 16))], query=flat(80, 16), truth=flat(190, 16))
    [likely] = LVMPredictor(lvm, "random").likelihoods([asked])
    assert np.exp(-likely.log_probs.mean()) == pytest.approx(
        lvm.score(context=asked.context, target=asked.truth), rel=1e-5
    )
    assert likely.is_top.shape == likely.log_probs.shape == (4,)


def test_a_model_says_what_fits_into_its_context(lvm_at):
    model = LVMPredictor(LVM.load(lvm_at), "random")
    assert model.fits(Question(style="sequence", frames=[flat(0)] * 15))
    assert not model.fits(Question(style="sequence", frames=[flat(0)] * 16))


def test_the_ceiling_is_the_truth_through_the_tokenizer(fake_tokenizer):
    truth = np.zeros((8, 8, 3), np.uint8)
    truth[:4, :4] = (250, 4, 4)  # nearest color: 255 0 0
    [answer] = Ceiling(fake_tokenizer).answers([Question(query=flat(1), truth=truth)], seed=0)
    assert answer[0, 0].tolist() == [255, 0, 0] and answer[7, 7].tolist() == [0, 0, 0]
    assert Ceiling(fake_tokenizer).name == "ceiling" and Ceiling(fake_tokenizer, "of a").name == "of a"
    with pytest.raises(ValueError, match="no true picture"):
        Ceiling(fake_tokenizer).answers([Question(query=flat(1))], seed=0)


def test_a_folder_describes_its_files(tmp_path):
    write_image(tmp_path / "theirs/c/0.png", flat(1))
    before = PredictedFolder(tmp_path / "theirs").describe()
    write_image(tmp_path / "theirs/c/1.webp", flat(2))
    after = PredictedFolder(tmp_path / "theirs").describe()
    assert (before["files"], after["files"]) == (1, 2) and before["listing"] != after["listing"]
    asked = Question(query=flat(9), told={"column": "c", "number": 1})
    assert PredictedFolder(tmp_path / "theirs", "x").answers([asked], seed=0)[0].shape == (8, 8, 3)
    with pytest.raises(FileNotFoundError, match="no folder of predicted pictures"):
        PredictedFolder(tmp_path / "nowhere")
