"""The suite of LVM's paper: likelihoods by task and by frames, keypoints, on packaged data and on miniatures."""

import re
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
from miniatures import pascal
from miniatures.files import picture, save_jpeg
from miniatures.films import write_film

from openlvm.core.records import Depth, Keypoints, Normals, Segmentation
from openlvm.evaluation.harness import run
from openlvm.evaluation.harness.baselines import SIMPLE
from openlvm.evaluation.harness.predictors import LVMPredictor
from openlvm.evaluation.harness.questions import Likelihood
from openlvm.evaluation.harness.run import ask, lines_of
from openlvm.evaluation.harness.scores import write_scores
from openlvm.evaluation.harness.suite import Data, require_data
from openlvm.evaluation.published import lvm as suite_of_lvm
from openlvm.evaluation.published.lvm import FRAMES, SUITE, TASKS, category_of, picture_of
from openlvm.prompting.lvm import LVM
from openlvm.sentences.render import draw, read_keypoints

FILM_FRAMES = 8 * 15 + 3
SIDE = 256


@dataclass
class Sure:
    """Gives every true code the same probability; draws the truth, changed."""

    name: str
    probability: float = 1.0
    change: object = staticmethod(lambda question: question.truth)
    stops_at: int = 10**9

    def describe(self):
        return {"predictor": self.name}

    def answers(self, questions, *, seed):
        return [self.change(question) for question in questions]

    def likelihoods(self, questions):
        self.stops_at -= 1
        if self.stops_at < 0:
            raise KeyboardInterrupt
        return [Likelihood(np.full(4, np.log(self.probability)), np.full(4, self.probability > 0.5)) for _ in questions]

    def perplexities(self, questions):
        raise AssertionError("no choices here")


@pytest.fixture(autouse=True)
def _few_pictures(monkeypatch):
    """Writing them is most of the time of a small run."""
    monkeypatch.setattr(run, "SHOWN", 1)


def columns_of(data, *names):
    return [plan.make(data) for plan in SUITE.chosen(names)]


def values(report, column, predictor):
    return {name: one["value"] for name, one in report["columns"][column]["rows"][predictor]["values"].items()}


def shifted(pixels):
    return lambda question: np.roll(question.truth, pixels, axis=1)


# ------------------------------------------------------------------------------------------------------ packaged data


def test_who_is_sure_is_perfect_and_who_is_not_pays(tmp_path):
    columns = columns_of(Data(episodes=1))
    ask(columns, [Sure("sure"), Sure("half", 0.5), *SIMPLE], tmp_path, suite="lvm")
    report = write_scores(columns, tmp_path, SUITE.references)
    assert list(report["columns"]) == [plan.name for plan in SUITE.plans]
    for column in (*TASKS, *(f"frames {shown}" for shown in FRAMES)):
        assert set(report["columns"][column]["rows"]) == {"sure", "half"}
        assert list(values(report, column, "sure").values()) == [1, 1, 0, 1]
        expected = [2, 2, np.log(2), 0]
        assert list(values(report, column, "half").values()) == pytest.approx(expected)
        assert "compare with no published number" in report["columns"][column]["data"]
    assert values(report, "keypoints", "sure") == {"PCK@0.1": 1}
    assert set(report["columns"]["keypoints"]["rows"]) == {"sure", "half", "copy", "mean", "nearest"}
    assert [report["columns"][f"frames {n}"]["curve"] for n in FRAMES] == [["context frames", n] for n in FRAMES]


def test_a_tiny_models_perplexities_are_the_facades(tmp_path, lvm_at):
    lvm = LVM.load(lvm_at)
    columns = columns_of(Data(episodes=3), "depth", "frames 15")
    ask(columns, [LVMPredictor(lvm, "tiny")], tmp_path, suite="lvm")
    report = write_scores(columns, tmp_path)
    for column in columns:
        questions = [column.question(episode) for episode in column.episodes()]
        told = [lvm.score(question.context, question.truth) for question in questions]
        found = values(report, column.name, "tiny")
        assert found["perplexity"] == pytest.approx(np.mean(told), rel=1e-4)
        assert found["perplexity of the mean"] == pytest.approx(np.exp(np.mean(np.log(told))), rel=1e-4)
        assert found["loss (nats a code)"] == pytest.approx(np.mean(np.log(told)), rel=1e-4)
    assert len(questions[0].context) == 15


def test_every_number_of_frames_is_asked_for_the_same_frame():
    columns = columns_of(Data(episodes=3), *(f"frames {shown}" for shown in FRAMES))
    lists = [column.episodes() for column in columns]
    assert all(one == lists[0] for one in lists)
    for episode in lists[0]:
        questions = [column.question(episode) for column in columns]
        assert [len(question.frames) for question in questions] == list(FRAMES)
        for question in questions:
            assert np.array_equal(question.truth, questions[-1].truth)
            assert all(map(np.array_equal, question.frames, questions[-1].frames[-len(question.frames) :]))


def test_a_stopped_run_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "CHUNK", 2)
    columns = columns_of(Data(episodes=3), "depth", "normals")
    ask(columns, [Sure("model", 0.3)], tmp_path / "whole", suite="lvm")
    with pytest.raises(KeyboardInterrupt):
        ask(columns, [Sure("model", 0.3, stops_at=3)], tmp_path / "twice", suite="lvm")
    ask(columns, [Sure("model", 0.3, stops_at=1)], tmp_path / "twice", suite="lvm")
    for column in ("depth", "normals"):
        one, other = (
            [{**line, "seconds": 0} for line in lines_of(tmp_path / at, column, "model")] for at in ("whole", "twice")
        )
        assert one == other and len(one) == 3


def test_references_are_of_columns_there_are_and_of_the_figures():
    names = {plan.name for plan in SUITE.plans}
    assert all(set(row.values) <= names and "notes-LVM" in row.source for row in SUITE.references)
    by_name = {row.name: row.values for row in SUITE.references}
    assert by_name["LVM 3B"] == {"segmentation": 14.0, "depth": 13.5, "normals": 12.0, "edges": 155.0}
    assert [by_name["LVM"][f"frames {n}"] for n in FRAMES] == [62.1, 55.0, 49.8, 48.4, 49.5]
    assert len({sheet.name for sheet in SUITE.sheets}) == 5


# --------------------------------------------------------------------------------------------------- official layouts


class Labelling:
    """An annotator whose labels tell the picture."""

    def __init__(self, text):
        self.slot, self.name, self.version = text.partition("=")[0], text, "1"

    def describe(self):
        return {"slot": self.slot}

    def annotate(self, images):
        made = {
            "depth": lambda image: Depth(1 + image[..., 0].astype(np.float32)),
            "segmentation": lambda image: Segmentation((image[..., 1] > 90).astype(np.int32)),
            "normals": lambda image: Normals(np.tile(np.float32([0, 0, -1]), (*image.shape[:2], 1))),
        }
        return [made[self.slot](image) for image in images]


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(suite_of_lvm, "_annotator", lambda text: asked.append(text) or Labelling(text))
    pictures = {}
    for number in range(8):
        name = f"ILSVRC2012_val_{number:08d}"
        pictures[name] = save_jpeg(tmp_path / f"imagenet/val/n01440764/{name}.JPEG", picture(number))
    return Data(root=tmp_path, episodes=2), pictures, asked


@pytest.mark.parametrize("task", TASKS)
def test_imagenet_is_labelled_as_it_is_read(task, imagenet, tmp_path):
    data, pictures, asked = imagenet
    (column,) = columns_of(data, task)
    for episode in column.episodes():
        question = column.question(episode)
        assert len(question.examples) == 5 and len({*episode.examples, episode.query}) == 6
        pixels = pictures[episode.query.partition("//")[0]]
        assert np.array_equal(question.query, draw(pixels, suite_of_lvm.PREPARATION))
        if task != "edges":
            (label,) = Labelling(f"{task}=x").annotate([pixels])
            style = "inverse" if task == "depth" else ""
            assert np.array_equal(question.truth, draw(label, suite_of_lvm.PREPARATION, style))
    models = {"segmentation": "mask2former", "depth": "dpt-large", "normals": "depth:hf:Intel/dpt-large"}
    assert all(models[task] in text for text in asked) if task != "edges" else not asked
    assert bool(asked) == (task != "edges")
    ask([column], [Sure("sure"), *SIMPLE], tmp_path / "run", suite="lvm")
    assert values(write_scores([column], tmp_path / "run"), task, "sure")["perplexity"] == 1


def test_kinetics_frames_are_eight_apart(tmp_path):
    pytest.importorskip("av")
    held = write_film(tmp_path / "kinetics700/val/abseiling/a_000000_000010.mp4", 1, count=FILM_FRAMES)
    write_film(tmp_path / "kinetics700/val/short_000000_000010.mp4", 2, count=20)
    data = Data(root=tmp_path, episodes=1)
    columns = columns_of(data, *(f"frames {shown}" for shown in FRAMES))
    (episode,) = columns[-1].episodes()
    assert episode.query == "abseiling/a_000000_000010.mp4"
    colors = np.array([frame.mean((0, 1)) for frame in held])

    def number_of(shown):
        return int(np.abs(colors - shown.mean((0, 1))).sum(-1).argmin())

    for shown, column in zip(FRAMES, columns, strict=True):
        question = column.question(episode)
        target = number_of(question.truth)
        assert target >= 8 * max(FRAMES) and question.truth.shape == (SIDE, SIDE, 3)
        assert [number_of(one) for one in question.frames] == [target - 8 * back for back in range(shown, 0, -1)]
    with pytest.raises(ValueError, match="1 clips of 121 frames are there, 2 asked for"):
        columns_of(replace(data, episodes=2), "frames 1")[0].episodes()


@pytest.fixture(scope="module")
def pascal3d(tmp_path_factory):
    """The miniature with eight pictures of each category in val."""
    savemat = pytest.importorskip("scipy.io").savemat
    data = tmp_path_factory.mktemp("data")
    pascal.pascal3d(data / "pascal3d")
    root = data / "pascal3d/PASCAL3D+_release1.1"
    for place, category in enumerate(pascal.ANCHORS):
        listing = root / f"PASCAL/VOCdevkit/VOC2012/ImageSets/Main/{category}_val.txt"
        folder = f"{category}_pascal"
        for number in range(7):
            name = f"2009_{place:02d}{number:04d}"
            save_jpeg(root / f"Images/{folder}/{name}.jpg", picture(20 * place + number, *pascal.SIZE))
            size = np.array([[pascal.SIZE[1], pascal.SIZE[0], 3]])
            listed = pascal._objects(category, with_more=category == "car")
            record = pascal.struct("filename imgsize objects", (f"{name}.jpg", size, listed))
            savemat(root / f"Annotations/{folder}/{name}.mat", {"record": record})
            listing.write_text(f"{name}  1\n" + listing.read_text())
    return Data(root=data)


def test_every_object_of_a_picture_is_asked_and_shown_others_of_its_kind(pascal3d):
    (column,) = columns_of(pascal3d, "keypoints")
    episodes = column.episodes()
    assert len(episodes) == 8 * 13  # of cars two in each picture
    assert len({episode.query for episode in episodes}) == len(episodes)
    cars = [episode for episode in episodes if episode.label == "car"]
    assert len(cars) == 16 and {episode.query[-2:] for episode in cars} == {"#0", "#2"}
    for episode in cars:
        assert all(category_of(item) == "car" for item in episode.examples) and len(set(episode.examples)) == 7
        assert picture_of(episode.query) not in {picture_of(item) for item in episode.examples}
        assert episode.cluster == picture_of(episode.query)
    by_key = {key: column.question(next(one for one in cars if one.query.endswith(key))) for key in ("#0", "#2")}
    assert not np.array_equal(by_key["#0"].query, by_key["#2"].query)


def within(given: Keypoints, truth: Keypoints) -> list[bool]:
    """Joint by joint: seen, and at most 25.6 pixels away."""
    right = []
    for joint in range(truth.points.shape[1]):
        if truth.visible[0, joint]:
            x, y = given.points[0, joint] - truth.points[0, joint]
            right.append(bool(given.visible[0, joint]) and (x * x + y * y) ** 0.5 <= 0.1 * SIDE)
    return right


def test_keypoints_score_by_a_tenth_of_the_side(tmp_path, pascal3d):
    (column,) = columns_of(replace(pascal3d, episodes=8), "keypoints")
    inverted = Sure("inverted", change=lambda question: 255 - question.truth)
    models = [Sure("sure"), Sure("near", change=shifted(25)), Sure("far", change=shifted(27)), inverted, SIMPLE[0]]
    ask([column], models, tmp_path, suite="lvm")
    report = write_scores([column], tmp_path)
    questions = [column.question(episode) for episode in column.episodes()]
    assert values(report, "keypoints", "sure") == {"PCK@0.1": 1}
    answers = {
        "near": [np.roll(one.truth, 25, axis=1) for one in questions],
        "far": [np.roll(one.truth, 27, axis=1) for one in questions],
        "inverted": [255 - one.truth for one in questions],
        "copy": [one.query for one in questions],
    }
    for name, pictures in answers.items():
        right = []
        for answer, question in zip(pictures, questions, strict=True):
            joints = question.payload.points.shape[1]
            right += within(read_keypoints(answer, num_joints=joints), question.payload)
        assert values(report, "keypoints", name)["PCK@0.1"] == pytest.approx(np.mean(right))
    assert values(report, "keypoints", "near")["PCK@0.1"] > 0.9 > 0.1 > values(report, "keypoints", "far")["PCK@0.1"]
    labels = report["columns"]["keypoints"]["rows"]["sure"]["values"]["PCK@0.1"]["by_label"]
    assert set(labels) == {episode.label for episode in column.episodes()} and len(labels) > 2


def test_a_picture_that_cannot_be_read_is_refused(tmp_path, pascal3d):
    shutil.copytree(pascal3d.root / "pascal3d", tmp_path / "pascal3d")
    lost = tmp_path / "pascal3d/PASCAL3D+_release1.1/Images/boat_pascal/2009_020000.jpg"
    lost.write_bytes(lost.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"boat_pascal/2009_020000: .*Mend it; an evaluation without it would be"):
        columns_of(Data(root=tmp_path), "keypoints")[0].episodes()


def test_examples_come_from_training_where_asked(pascal3d):
    (column,) = columns_of(replace(pascal3d, support="train"), "keypoints")
    with pytest.raises(ValueError, match="7 examples of class 'aeroplane' asked for, 1 are there"):
        column.episodes()


def test_absent_data_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as told:
        require_data(SUITE.plans, Data(root=tmp_path))
    assert re.findall(r"/(\w+): (?:ImageNet|Kinetics|PASCAL)", str(told.value)) == [
        "imagenet",
        "kinetics700",
        "pascal3d",
    ]
