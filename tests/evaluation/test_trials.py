"""Prompting under conditions: what is shown, and that a model that copies or cheats is found out."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes import FakeTokenizer, numbered_picture

from openlvm.evaluation import trials as module
from openlvm.evaluation.tasks import PromptTask
from openlvm.evaluation.trials import (
    CONDITIONS,
    Outcome,
    Trial,
    analogy_trials,
    encode_each_once,
    mean_picture,
    overall,
    run_trials,
    sequence_trials,
    summarize,
)
from openlvm.prompting.sampling import GREEDY

MASK = PromptTask(name="mask", target="mask", metric="iou")
DEPTH = PromptTask(name="depth", target="depth")
NEXT = PromptTask(name="next", style="sequence", region="changed")
DRAWN = {"sampling": GREEDY, "seed": 0}
MEAN = np.full((8, 8, 3), 128, np.uint8)


def scenes(count: int = 6, frames: int = 1) -> list[dict]:
    """Scene s, frame f: image number 100 s + f, its mask 1000 more, its depth 2000 more."""
    offsets = {"image": 0, "mask": 1000, "depth": 2000}
    return [
        {slot: [numbered_picture(100 * s + f + offset) for f in range(frames)] for slot, offset in offsets.items()}
        for s in range(count)
    ]


def numbers(pictures) -> list[int]:
    codes = FakeTokenizer().encode(torch.from_numpy(np.stack(pictures)))
    return (codes @ torch.tensor([4096, 256, 16, 1])).tolist()


def test_analogy_shows_what_each_condition_says():
    (trial,) = analogy_trials(MASK, DEPTH, scenes(), MEAN, queries=1, pairs=3, seed=0)
    *examples, query = numbers(trial.prompts["correct"])
    given, answers = examples[0::2], examples[1::2]
    assert answers == [number + 1000 for number in given] and query not in given and len(set(given)) == 3
    assert numbers([trial.truth]) == [query + 1000]
    assert numbers(trial.prompts["wrong"]) == [x for n in given for x in (n, n + 2000)] + [query]
    shuffled = numbers(trial.prompts["shuffled"])
    assert shuffled[0:6:2] == given and shuffled[1:6:2] == answers[1:] + answers[:1] and shuffled[-1] == query
    assert numbers(trial.prompts["none"]) == [query]


def test_sequence_shows_what_each_condition_says():
    first, _ = sequence_trials(NEXT, scenes(2, frames=5), MEAN, queries=2, frames=4, seed=0)
    shown = numbers(first.prompts["correct"])
    base = shown[0]
    other = 100 - base
    assert shown == [base, base + 1, base + 2, base + 3] and numbers([first.truth]) == [base + 4]
    assert numbers(first.prompts["wrong"]) == [other, other + 1, other + 2, base + 3]
    assert numbers(first.prompts["shuffled"]) == [base + 1, base + 2, base, base + 3]
    assert numbers(first.prompts["none"]) == [base + 3]


def test_trials_repeat_and_use_every_scene_in_turn():
    def shown(seed):
        return [numbers(trial.prompts["correct"]) for trial in analogy_trials(
            MASK, DEPTH, scenes(), MEAN, queries=12, pairs=3, seed=seed)]  # fmt: skip

    assert shown(1) == shown(1) != shown(2)
    queries = [prompt[-1] for prompt in shown(1)]
    assert sorted(queries) == sorted([100 * s for s in range(6)] * 2)


def test_analogy_rejects_too_few_scenes():
    with pytest.raises(ValueError, match="3 example pairs and a query need 4 scenes, given 3"):
        analogy_trials(MASK, DEPTH, scenes(3), MEAN, queries=1, pairs=3, seed=0)


def answering(monkeypatch, answer):
    """An LVM whose decoder answers row -> codes by the function `answer`."""

    def generate(decoder, rows, num_new, **options):
        codes = torch.stack([answer(row[1:].view(-1, 4)) for row in rows])
        return SimpleNamespace(codes=codes[:, None])

    monkeypatch.setattr(module, "generate", generate)
    special = SimpleNamespace(bos=16)
    return SimpleNamespace(bundle=SimpleNamespace(tokenizer=FakeTokenizer(), decoder=None, special=special))


def test_a_model_that_copies_is_found_out(monkeypatch):
    lvm = answering(monkeypatch, lambda images: images[-1])
    outcomes = run_trials(lvm, analogy_trials(MASK, DEPTH, scenes(), MEAN, queries=6, pairs=3, seed=0), **DRAWN)
    report = summarize(outcomes)
    errors = report["mask"]["pixel_error"]
    assert errors["correct"] == errors["copy"] == errors["wrong"] > 0 and errors["ceiling"] == 0
    assert overall(report)["beats_copying"] == [] and overall(report)["wrong_over_correct"] == 1


def test_a_model_that_reads_its_examples_is_seen(monkeypatch):
    """It adds to the query what the last example adds to its own picture."""

    def learned(images):
        if len(images) < 3:
            return images[-1]
        return (images[-1] + images[-2] - images[-3]) % 16

    lvm = answering(monkeypatch, learned)
    outcomes = run_trials(lvm, analogy_trials(MASK, DEPTH, scenes(), MEAN, queries=6, pairs=3, seed=0), **DRAWN)
    whole = overall(summarize(outcomes))
    assert whole["pixel_error"]["correct"] < 0.1 < whole["pixel_error"]["wrong"]
    assert whole["beats_copying"] == ["mask"]


def test_summary_knows_the_mean_answer_and_the_region(monkeypatch):
    lvm = answering(monkeypatch, lambda images: images[-1])
    outcomes = run_trials(lvm, sequence_trials(NEXT, scenes(3, frames=5), MEAN, queries=3, frames=4, seed=0), **DRAWN)
    report = summarize(outcomes)["next"]
    assert set(report["pixel_error"]) == set(CONDITIONS) and report["queries"] == 3
    slow = [
        np.abs(o.trial.query.astype(float) - o.trial.truth)[(o.trial.query != o.trial.truth).any(-1)].mean() / 255
        for o in outcomes
    ]
    assert report["pixel_error"]["copy"] == pytest.approx(np.mean(slow))
    assert np.array_equal(outcomes[0].answers["mean"], MEAN)


def test_a_model_that_does_the_wrong_task_is_seen():
    truth, misled = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 200, np.uint8)
    prompts = dict.fromkeys(("correct", "wrong", "shuffled", "none"), [MEAN])
    answers = dict.fromkeys(CONDITIONS, truth)
    told = Trial(MASK, prompts, truth, MEAN, misled=misled)
    assert Outcome(told, answers | {"wrong": np.full_like(truth, 120)}).does_wrong_task is True
    assert Outcome(told, answers | {"wrong": np.full_like(truth, 90)}).does_wrong_task is False
    assert Outcome(Trial(MASK, prompts, truth, MEAN), answers).does_wrong_task is None


def test_a_picture_in_many_prompts_is_encoded_once():
    class Counting(FakeTokenizer):
        seen = 0

        def encode(self, pixels):
            Counting.seen += len(pixels)
            return super().encode(pixels)

    a, b, c = (numbered_picture(number) for number in (7, 4660, 99))
    first, second = encode_each_once(Counting(), [[a, b, a], [c, b]], at_once=2)
    assert (first @ torch.tensor([4096, 256, 16, 1])).tolist() == [7, 4660, 7]
    assert (second @ torch.tensor([4096, 256, 16, 1])).tolist() == [99, 4660] and Counting.seen == 3


def test_mean_picture_matches_numpy():
    pictures = [np.full((2, 2, 3), value, np.uint8) for value in (0, 100, 255)]
    assert (mean_picture(pictures) == 118).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "x"}, "an analogy has a target slot"),
        ({"name": "x", "style": "sequence", "target": "mask"}, "a sequence has none"),
        ({"name": "x", "target": "mask", "metric": "bleu"}, "no metric 'bleu'; known: iou"),
    ],
)
def test_task_rejects_contradictions(settings, words):
    with pytest.raises(ValueError, match=words):
        PromptTask(**settings)
