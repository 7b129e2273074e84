"""DeLVM's columns on small folders in official layouts: likelihoods, masks by threshold, and the benchmark's solids."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from asked import INVERTED, PERFECT, scores
from miniatures.files import picture, save_jpeg, save_png
from miniatures.labelled import sa1b
from PIL import Image

from openlvm import LVM
from openlvm.core.files import write_json
from openlvm.evaluation.harness.baselines import SIMPLE, Simple
from openlvm.evaluation.harness.predictors import LVMPredictor
from openlvm.evaluation.harness.questions import Likelihood, digest
from openlvm.evaluation.harness.records import items_of
from openlvm.evaluation.harness.suite import Data, require_data
from openlvm.evaluation.published.delvm import SOLIDS, SUITE, LastFolder, bright
from openlvm.sentences.render import draw_openpose
from openlvm.sources.catalog.table import CATALOG

LIKELY = ["segmentation", "pose", "deraining"]
FOLDS = [f"Pascal-5i s{fold}" for fold in range(4)]
SOLID = [f"solids {task}" for task in ("mask", "depth", "normals")]
IOU, BY_CLASS = "IoU, mean of episodes", "mIoU, accumulated by class"
LOSS = "loss (nats a code)"


def write_sa1b(at):
    """The miniature's archive and folder, and a last folder of five pictures."""
    sa1b(at)
    told = json.loads((at / "sa_000001/sa_11187.json").read_text())
    for number in range(20, 25):
        save_jpeg(at / f"sa_000010/sa_{number}.jpg", picture(number))
        write_json(at / f"sa_000010/sa_{number}.json", told)


def write_mpii(at):
    people = []
    for number in range(5):
        save_jpeg(at / f"images/{number:09d}.jpg", picture(number, 40, 40))
        joints = [[4.0 + 2 * joint, 5.0 + number + joint] for joint in range(16)]
        people.append({"image": f"{number:09d}.jpg", "joints": joints, "joints_vis": [1] * 16})
    write_json(at / "annotations/mpii_val.json", people)


def write_test2800(at):
    """Two rains of each of five scenes."""
    for scene in range(901, 906):
        for rain in (1, 2):
            save_jpeg(at / f"test/Test2800/input/{scene}_{rain}.jpg", picture(10 * scene + rain))
            save_jpeg(at / f"test/Test2800/target/{scene}_{rain}.jpg", picture(scene))


def write_pascal5i(at):
    """Five pictures of one class in each fold, twice as wide as the square in their middle; the mask is its top."""
    for fold in range(4):
        names = [f"2007_00{fold}{number:03d}__{5 * fold + 1:02d}" for number in range(5)]
        for number, name in enumerate(names):
            ids = np.zeros((256, 512), np.uint8)
            ids[: 40 + 20 * number] = 5 * fold + 1
            ids[:, :128] = 255
            save_jpeg(at / f"VOCdevkit/VOC2012/JPEGImages/{name[:-4]}.jpg", np.full((256, 512, 3), 150, np.uint8))
            save_png(at / f"VOCdevkit/VOC2012/SegmentationClassAug/{name[:-4]}.png", ids)
        (at / "splits/pascal/val").mkdir(parents=True, exist_ok=True)
        (at / f"splits/pascal/val/fold{fold}.txt").write_text("\n".join(names))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder of all datasets."""
    at = tmp_path_factory.mktemp("data")
    write_sa1b(at / "sa1b")
    write_mpii(at / "mpii_delvm")
    write_test2800(at / "test2800")
    write_pascal5i(at / "pascal5i")
    return at


def columns_of(data, names=()):
    return [plan.make(data) for plan in SUITE.chosen(names)]


class Even:
    """A model to which one of `codes` codes is as likely as another."""

    name, codes = "even", 50

    def describe(self):
        return {"predictor": "even"}

    def answers(self, questions, *, seed):
        return [question.query for question in questions]

    def likelihoods(self, questions):
        assert all(question.truth is not None for question in questions)
        return [Likelihood(np.full(8, -np.log(self.codes)), np.arange(8) < 2) for _ in questions]

    def perplexities(self, questions):
        raise AssertionError


@pytest.fixture(scope="module")
def found(root, lvm_at, tmp_path_factory):
    """Scores of known answers and of a tiny model in every column."""
    answerers = [PERFECT, INVERTED, *SIMPLE, Even(), LVMPredictor(LVM.load(lvm_at), "tiny")]
    return scores(columns_of(Data(root=root, episodes=5)), answerers, tmp_path_factory.mktemp("run"))


def test_every_column_is_scored(found):
    assert list(found) == [*LIKELY, *FOLDS, *SOLID]
    for name in LIKELY + SOLID:
        assert set(found[name]) == {"even", "tiny"}  # who knows no likelihood is not asked
        assert 0 < found[name]["tiny"][LOSS] < 20
    for name in FOLDS:
        assert set(found[name]) == {"perfect", "inverted", "copy", "mean", "nearest", "even", "tiny"}


def test_likelihoods_by_hand(found):
    for name in LIKELY + SOLID:
        assert found[name]["even"] == {
            LOSS: pytest.approx(np.log(50)),
            "accuracy of codes": 0.25,
            "perplexity of the mean": pytest.approx(50),
            "perplexity": pytest.approx(50),
        }


def test_masks_by_hand(found):
    for name in FOLDS:
        rows = found[name]
        assert all(value == 1 for value in rows["perfect"].values())
        assert all(value == 0 for value in rows["inverted"].values())
        shares = [(40 + 20 * number) / 256 for number in range(5)]
        for metric in (IOU, BY_CLASS):  # a gray of 150 is foreground everywhere
            assert rows["copy"][metric] == pytest.approx(np.mean(shares))


def test_masks_are_read_by_their_gray():
    colors = np.array([[[255, 128, 0], [255, 127, 0], [128, 128, 127], [128, 127, 127]]], np.uint8)
    assert bright(colors).tolist() == [[True, False, True, False]]


def test_pascal_shows_three_of_the_class_and_the_middle_square(root):
    column = columns_of(Data(root=root, episodes=5), FOLDS[:1])[0]
    for episode in column.episodes():
        question = column.question(episode)
        assert len(set(episode.examples)) == 3 and episode.query not in episode.examples
        assert question.truth.shape == question.query.shape == (256, 256, 3)
        assert not question.told["outlines"].any()  # they lie outside the square
        assert (question.truth[: 40 + 20 * episode.number] == 255).all()
        assert not question.truth[40 + 20 * episode.number :].any()


def test_held_out_masks_are_those_of_the_last_unpacked_folder(root, tmp_path):
    source = LastFolder(CATALOG["sa1b"].source(root / "sa1b"))
    assert items_of(source) == [f"sa_000010/sa_{number}" for number in range(20, 25)]
    assert source.describe()["only"] == "last folder" and "instances" in source.slots
    sa1b(tmp_path)
    for file in (tmp_path / "sa_000001").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"must be unpacked.*tar -xf sa_000999\.tar"):
        items_of(LastFolder(CATALOG["sa1b"].source(tmp_path)))


def test_no_example_of_deraining_shows_the_scene(root):
    column = columns_of(Data(root=root, episodes=10), ["deraining"])[0]
    episodes = column.episodes()
    assert len({episode.query for episode in episodes}) == 10
    for episode in episodes:
        assert all(not item.startswith(episode.query[:4]) for item in episode.examples)
    question = column.question(episodes[0])
    assert len(question.examples) == 3
    for shown, kind in ((question.truth, "target"), (question.query, "input")):
        file = root / f"test2800/test/Test2800/{kind}/{episodes[0].query[:5]}.jpg"
        middle = Image.open(file).resize((256, 256), Image.Resampling.BILINEAR, box=(4, 0, 28, 24))
        assert (shown == np.asarray(middle)).all()


def test_poses_are_in_openposes_style_on_black(root):
    for data in (Data(root=root, episodes=1), Data(episodes=1)):
        column = columns_of(data, ["pose"])[0]
        question = column.question(column.episodes()[0])
        assert (question.truth == draw_openpose(question.payload)).all()
        assert (question.truth == 0).all(axis=-1).mean() > 0.5 and question.truth.max() > 100


def test_solids_are_the_benchmarks(lvm_at):
    """The loss of both answers of sentences of two pairs equals that of their whole row, as training computes it."""
    column = columns_of(Data(episodes=4), ["solids depth"])[0]
    episodes = column.episodes()
    assert [(len(one.examples), one.cluster) for one in episodes] == [
        (0, "stage/0"), (1, "stage/0"), (0, "stage/2"), (1, "stage/2"),
    ]  # fmt: skip
    lvm = LVM.load(lvm_at)
    tokenizer, decoder, special = lvm.bundle.tokenizer, lvm.bundle.decoder, lvm.bundle.special
    questions = [column.question(one) for one in episodes]
    given = LVMPredictor(lvm, "tiny").likelihoods(questions)
    for first in (0, 2):
        shown = [picture for q in questions[first : first + 2] for picture in (q.query, q.truth)]
        assert (questions[first + 1].examples[0][1] == questions[first].truth).all()
        codes = tokenizer.encode(torch.from_numpy(np.stack([tokenizer.preparation(one) for one in shown])))
        row = torch.cat([torch.tensor([special.bos]), codes.flatten()])
        with torch.no_grad():
            log_probs = torch.log_softmax(decoder(row[None, :-1])[0].double(), dim=-1)
        right = log_probs.gather(1, row[1:, None])[:, 0].reshape(4, -1)
        for place, answer in ((0, right[1]), (1, right[3])):
            assert given[first + place].log_probs == pytest.approx(answer.numpy(), abs=1e-4)
    assert len(columns_of(Data(), ["solids mask"])[0].episodes()) == SOLIDS.count


def test_a_killed_run_goes_on_and_ends_the_same(root, tmp_path):
    columns = columns_of(Data(root=root, episodes=18), ["deraining", "Pascal-5i s2"])
    whole = scores(columns, [PERFECT, Even()], tmp_path / "whole")
    answered = []

    def answer(question):
        if len(answered) == 17:
            raise KeyboardInterrupt
        answered.append(question)
        return question.truth

    with pytest.raises(KeyboardInterrupt):
        scores(columns, [Simple("perfect", answer), Even()], tmp_path / "twice")
    assert 0 < len(list((tmp_path / "twice/lines").rglob("*.jsonl"))) < 6
    assert scores(columns, [PERFECT, Even()], tmp_path / "twice") == whole


def test_episodes_are_frozen(root):
    for data in (Data(root=root, episodes=5), Data(episodes=5)):
        for first, again in zip(columns_of(data), columns_of(data), strict=True):
            assert digest(first.episodes()) == digest(again.episodes())
        other = columns_of(replace(data, seed=1))
        for first, again in zip(columns_of(data)[:7], other[:7], strict=True):
            assert digest(first.episodes()) != digest(again.episodes())


def test_packaged_pictures_are_asked_too(tmp_path):
    columns = columns_of(Data(episodes=2))
    rows = scores(columns, [PERFECT, Even()], tmp_path)
    assert list(rows) == [*LIKELY, *FOLDS, *SOLID]
    assert all(value == 1 for name in FOLDS for value in rows[name]["perfect"].values())
    assert all("compare with no published number" in column.data for column in columns[:7])
    for column in columns[:7]:
        assert len(column.question(column.episodes()[0]).examples) == 3


def test_absent_data_is_named_whole(tmp_path):
    with pytest.raises(FileNotFoundError) as refused:
        require_data(SUITE.plans, Data(root=tmp_path))
    for name in ("sa1b", "mpii_delvm", "test2800", "pascal5i"):
        assert str(tmp_path / name) in str(refused.value)
    require_data(SUITE.chosen(SOLID), Data(root=tmp_path))


def test_references_are_of_columns_that_are_there():
    names = {plan.name for plan in SUITE.plans}
    for row in SUITE.references:
        assert set(row.values) <= names and row.source
    by_name = {row.name: row.values for row in SUITE.references}
    small, large = by_name["DeLVM 300M, 1 % of SA-1B"], by_name["DeLVM 300M, 10 % of SA-1B"]
    assert np.exp(small["segmentation"]) == pytest.approx(125.6, rel=0.01)  # the perplexities beside them
    assert np.exp(large["segmentation"]) == pytest.approx(103.2, rel=0.01)


def test_miniature_rows_are_those_of_the_documentation():
    from pathlib import Path

    text = (Path(__file__).parents[3] / "docs/delvm.md").read_text()
    rows = {cells[1].strip(): cells for cells in (line.split("|") for line in text.splitlines()) if len(cells) == 7}
    names = {"raw mixture": "raw", "student from scratch": "scratch", "distilled student": "distilled"}
    found = {row.name.removeprefix("miniature: "): row.values for row in SUITE.references if "miniature" in row.name}
    assert len(found) == 6
    for name, values in found.items():
        cells = rows[names.get(name, name)]
        assert list(values.values()) == [float(cells[place].split()[0]) for place in (2, 4, 5)]
