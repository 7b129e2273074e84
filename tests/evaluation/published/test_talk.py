"""The talk's columns on miniatures of their official folders: known answers score what a hand computation says."""

from functools import partial

import numpy as np
import pytest
from asked import INVERTED, PERFECT, Stopping, build, mse, resized, scores
from miniatures.files import picture, save_jpeg, save_png
from miniatures.restoration import sidd_blocks
from PIL import Image

from openlvm import LVM
from openlvm.core.images import ImagePreparation
from openlvm.core.records import Depth, Keypoints, Record
from openlvm.evaluation.harness.baselines import SIMPLE, Simple
from openlvm.evaluation.harness.predictors import Ceiling, LVMPredictor
from openlvm.evaluation.harness.questions import digest
from openlvm.evaluation.harness.suite import Data, require_data
from openlvm.evaluation.measures.pictures import IMAGENET_DEVIATION
from openlvm.evaluation.published import talk
from openlvm.evaluation.published.talk import SUITE, AllFolds, class_of, with_normals
from openlvm.sentences.render import draw_keypoints

BICUBIC, NEAREST = Image.Resampling.BICUBIC, Image.Resampling.NEAREST
FIRST = {
    "inpainting": "MSE", "colorization": "MSE (normalized)", "depth": "MSE", "normals": "MSE", "rotation": "MSE",
    "segmentation": "IoU, mean of episodes", "keypoints": "PCKh@0.5", "denoising": "PSNR (dB)",
    "deraining": "PSNR (dB)", "low-light": "PSNR (dB)",
}  # fmt: skip
SIDE = 128
RENDERED = "rotation"  # needs a renderer


def second_entries(at):
    """Each fold lists a second picture of its class: an example of the first."""
    for fold, number in enumerate((1, 6, 15, 20)):
        listed = at / f"splits/pascal/val/fold{fold}.txt"
        ids = np.zeros((20, 30), np.uint8)
        ids[5:9, fold + 3 : 20] = number
        name = f"2008_00010{fold}"
        save_jpeg(at / f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg", picture(90 + fold, 20, 30))
        save_png(at / f"VOCdevkit/VOC2012/SegmentationClassAug/{name}.png", ids)
        listed.write_text(f"{listed.read_text()}{name}__{number:02d}\n")


@pytest.fixture(scope="module", autouse=True)
def _few():
    """Miniatures have no three examples, and three pictures of ImageNet; small squares are sooner compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(talk, "SHOTS", 1)
        patch.setattr(talk, "DRAWN", 3)
        patch.setattr(talk, "PREPARATION", ImagePreparation(size=SIDE, fit="squash", filter="bicubic"))
        yield


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The folder of all datasets, and what must be read of them."""
    root = tmp_path_factory.mktemp("data")
    held = build(root, "imagenet", "nyuv2", "pascal5i", "mpii_delvm", "did_mdn", "lol")
    second_entries(root / "pascal5i")
    held["sidd"] = sidd_blocks(root / "sidd")
    return root, held


def columns_at(root, *names):
    chosen = SUITE.chosen(names) if names else [plan for plan in SUITE.plans if plan.name != RENDERED]
    return [plan.make(Data(root=root)) for plan in chosen]


@pytest.fixture(scope="module")
def found(official, lvm_at, tmp_path_factory):
    """The scores of known answers, and of a tiny model, in every column but the rendered one."""
    lvm = LVM.load(lvm_at)
    predictors = [PERFECT, INVERTED, *SIMPLE, LVMPredictor(lvm, "tiny"), Ceiling(lvm.bundle.tokenizer)]
    return scores(columns_at(official[0]), predictors, tmp_path_factory.mktemp("run"))


def square(pixels):
    return resized(pixels, SIDE, SIDE, BICUBIC)


def test_ten_columns_are_scored_for_every_predictor(found):
    assert [plan.name for plan in SUITE.plans] == list(FIRST)
    assert {name: next(iter(rows["perfect"])) for name, rows in found.items()} | {RENDERED: "MSE"} == FIRST
    for rows in found.values():
        assert set(rows) == {"perfect", "inverted", "copy", "mean", "nearest", "tiny", "ceiling"}


def test_the_truth_scores_perfectly(found):
    best = {"MSE": 0, "MSE (normalized)": 0, "PSNR (dB)": np.inf, "IoU, mean of episodes": 1, "PCKh@0.5": 1, "SSIM": 1,
            "mIoU, accumulated by class": 1, "delta1": 1, "within 11.25 degrees": 1}  # fmt: skip
    for rows in found.values():
        for metric, value in rows["perfect"].items():
            if metric in best:
                assert value == pytest.approx(best[metric]), metric
    assert found["depth"]["perfect"]["AbsRel"] < 0.01 and found["depth"]["perfect"]["RMSE (m)"] < 0.05  # 8 bits
    assert found["normals"]["perfect"]["angle (degrees)"] < 0.5


def test_pictures_of_imagenet_are_compared_in_both_spaces(found, official):
    pictures = [record["image"][0] for record in official[1]["imagenet"]["val"].values()]
    truths = [square(one) for one in pictures]
    inverted = np.mean([mse(255 - truth, truth) for truth in truths])
    assert found["inpainting"]["inverted"]["MSE"] == pytest.approx(inverted)
    assert found["colorization"]["inverted"]["MSE"] == pytest.approx(inverted)
    grays = [
        square(np.rint(one @ [0.2989, 0.5870, 0.1140]).astype(np.uint8)[..., None].repeat(3, -1)) for one in pictures
    ]
    errors = [
        (gray.astype(float) - truth) / 255 / IMAGENET_DEVIATION for gray, truth in zip(grays, truths, strict=True)
    ]
    copied = found["colorization"]["copy"]
    assert copied["MSE (normalized)"] == pytest.approx(np.mean([(error**2).mean() for error in errors]), rel=1e-3)
    assert found["inpainting"]["copy"]["MSE"] > 0


@pytest.mark.parametrize("name", ["denoising", "deraining", "low-light"])
def test_restoration_is_scored_in_color(found, official, name):
    held = official[1]
    if name == "denoising":
        pairs = [(held["sidd"]["image"][at], held["sidd"]["clean"][at]) for at in np.ndindex(2, 2)]
    else:
        row = held["did_mdn" if name == "deraining" else "lol"]["test"]
        pairs = [(one["image"][0], one["clean"][0]) for one in row.values()]
    pairs = [(square(query), square(clean)) for query, clean in pairs]
    for answer, error in (("copy", mse), ("inverted", lambda query, clean: mse(255 - clean, clean))):
        expected = np.mean([-10 * np.log10(error(*pair)) for pair in pairs])
        assert found[name][answer]["PSNR (dB)"] == pytest.approx(expected)


def test_depth_is_relative_to_both_ends(found, official):
    column = columns_at(official[0], "depth")[0]
    question = column.question(column.episodes()[0])
    meters = question.payload.meters.astype(float)
    near, far = meters.min(), meters.max()
    gray = np.rint(255 * (0.02 + 0.98 * (far - meters) / (far - near)))
    assert (question.truth == gray[..., None]).mean() > 0.999  # float32 against float64
    answered = (255 - gray) / 255
    given = np.where(answered < 0.01, far, far - ((answered - 0.02) / 0.98).clip(0, 1) * (far - near))
    assert found["depth"]["inverted"]["MSE"] == pytest.approx(((255 - 2 * gray) ** 2).mean() / 255**2, rel=1e-3)
    assert found["depth"]["inverted"]["AbsRel"] == pytest.approx((np.abs(given - meters) / meters).mean(), rel=1e-3)
    query = next(iter(official[1]["nyuv2"]["test"].values()))["image"][0]
    assert found["depth"]["copy"]["MSE"] == pytest.approx(mse(square(query), gray[..., None]), rel=1e-3)


def test_normals_of_an_inverted_answer_point_the_other_way(found, official):
    rows = found["normals"]["inverted"]
    assert rows["angle (degrees)"] > 179 and rows["within 11.25 degrees"] == 0
    column = columns_at(official[0], "normals")[0]
    question = column.question(column.episodes()[0])
    assert rows["MSE"] == pytest.approx(mse(255 - question.truth, question.truth))


def test_normals_of_a_tilted_wall():
    ahead = np.array([0.6, 0.0, -0.8])  # a wall that comes nearer to the right: 0.6 x - 0.8 z = -2
    columns = (np.arange(640) + 0.5 - 320) / 518.86
    meters = np.broadcast_to(2 / (0.8 - 0.6 * columns), (480, 640)).astype(np.float32)
    image = np.zeros((480, 640, 3), np.uint8)
    made = with_normals(Record(key="a", slots={"image": [image], "depth": [Depth(meters)]})).slots["normals"][0].vectors
    assert made.shape == (120, 160, 3)
    assert np.degrees(np.arccos((made @ ahead).clip(-1, 1))).max() < 0.5


def test_segmentation_is_scored_picture_by_picture_and_by_class(found, official):
    rows = found["segmentation"]
    assert set(rows["inverted"].values()) == {0}
    ious, sums = [], {}
    source = AllFolds(at=official[0] / "pascal5i")
    records = [record for part in source.parts() for record in source.read(part)]
    assert len(records) == 8 and {record.label for record in records} == {"aeroplane", "bus", "person", "tvmonitor"}
    for record in records:
        query = square(record.slots["image"][0]).astype(int)
        wanted = resized(record.slots["mask"][0].ids.astype(np.uint8), SIDE, SIDE, NEAREST) > 0
        given = query.sum(-1) > 382  # nearer to white
        both, either = (given & wanted).sum(), (given | wanted).sum()
        ious.append(both / either)
        seen = sums.setdefault(record.label, [0, 0])
        seen[0], seen[1] = seen[0] + both, seen[1] + either
    assert rows["copy"]["IoU, mean of episodes"] == pytest.approx(np.mean(ious))
    by_class = np.mean([both / either for both, either in sums.values()])
    assert rows["copy"]["mIoU, accumulated by class"] == pytest.approx(by_class)


def test_examples_of_segmentation_are_of_the_querys_class(official):
    for episode in columns_at(official[0], "segmentation")[0].episodes():
        assert class_of(episode.query) == class_of(episode.examples[0]) == episode.label
        assert episode.query != episode.examples[0]


@pytest.mark.parametrize(("move", "share"), [(4.5, 1), (5.5, 0)])
def test_joints_count_within_half_a_head(official, tmp_path, move, share):
    column = columns_at(official[0], "keypoints")[0]
    question = column.question(column.episodes()[0])
    pose = question.payload
    assert question.told["head"] == pytest.approx(2**0.5 * SIDE / 18)  # neighbors on a diagonal; 1.25 times 14 pixels
    points = pose.points + np.float32([move, 0])
    moved = Keypoints(points, pose.visible, pose.size, "mpii")
    rows = scores([column], [Simple("moved", lambda question: draw_keypoints(moved))], tmp_path)
    assert rows["keypoints"]["moved"]["PCKh@0.5"] == share


def test_heads_that_are_not_known_do_not_count(official, tmp_path):
    column = columns_at(official[0], "keypoints")[0]
    (metric,) = column.metrics
    question = column.question(column.episodes()[0])
    hidden = Keypoints(question.payload.points, question.payload.visible & (np.arange(16) != 9), (SIDE, SIDE), "mpii")
    told = talk.head_length(Record(key="a", slots={"image": [question.query], "pose": [hidden]}), 0)
    assert told == {"head": 0.0}
    assert metric.sums(question.truth, type(question)(payload=hidden, told=told)) == {"right": 0, "joints": 0}


def test_the_next_view_is_asked_for(tmp_path):
    held = build(tmp_path, "objaverse")["objaverse"]["heldout"]  # skips where nothing can be rendered
    (record,) = held.values()
    column = next(plan for plan in SUITE.plans if plan.name == RENDERED).make(Data(root=tmp_path, episodes=1))
    rows = scores([column], [PERFECT, *SIMPLE], tmp_path / "run")[RENDERED]
    (episode,) = column.episodes()
    question = column.question(episode)
    views = [square(view) for view in record["image"]]
    shown = range(len(question.frames))
    first = next(n for n in range(24 - 7) if all(np.array_equal(question.frames[k], views[n + k]) for k in shown))
    assert len(shown) == 7
    assert np.array_equal(question.truth, views[first + 7])
    assert rows["perfect"]["MSE"] == 0
    assert rows["copy"]["MSE"] == pytest.approx(mse(views[first + 6], views[first + 7])) and rows["copy"]["MSE"] > 0


def test_a_killed_run_goes_on_and_ends_the_same(official, tmp_path):
    columns = columns_at(official[0], "inpainting", "segmentation", "normals")
    whole = scores(columns, [PERFECT, *SIMPLE], tmp_path / "whole")
    answer = Stopping()
    with pytest.raises(KeyboardInterrupt):
        scores(columns, [Simple("perfect", partial(answer, most=5)), *SIMPLE], tmp_path / "twice")
    assert scores(columns, [Simple("perfect", partial(answer, most=100)), *SIMPLE], tmp_path / "twice") == whole


def test_episodes_are_frozen(official):
    for data in (Data(root=official[0]), Data(episodes=8)):
        for plan in SUITE.plans:
            if data.is_packaged or plan.name != RENDERED:
                assert digest(plan.make(data).episodes()) == digest(plan.make(data).episodes())


def test_absent_data_is_named_whole(tmp_path):
    with pytest.raises(FileNotFoundError) as refused:
        require_data(SUITE.plans, Data(root=tmp_path))
    for name in ("imagenet", "nyuv2", "objaverse", "pascal5i", "mpii_delvm", "sidd", "did_mdn", "lol"):
        assert str(tmp_path / name) in str(refused.value)


def test_packaged_pictures_score_perfectly_too(tmp_path):
    columns = [plan.make(Data(episodes=2)) for plan in SUITE.plans]
    classical = {one.name: one for plan in SUITE.plans for one in plan.classical()}
    assert set(classical) == {"Telea", "Otsu", "non-local means", "median", "CLAHE"}
    rows = scores(columns, [PERFECT, classical["median"]], tmp_path)
    for name, metric in (FIRST | {"keypoints": "PCK@0.1"}).items():
        worst = rows[name]["median"][metric]
        assert rows[name]["perfect"][metric] == {"M": 0, "I": 1, "P": 1}[metric[0]] if "PSNR" not in metric else np.inf
        assert rows[name]["perfect"][metric] != worst, name
    assert all("compare with no published number" in column.data for column in columns)


def test_examples_may_come_from_training(official):
    data = Data(root=official[0], support="train")
    inpainting = SUITE.plans[0].make(data)
    assert all(episode.examples[0].startswith("n0") for episode in inpainting.episodes())
    for plan in SUITE.plans:
        if plan.name != RENDERED:
            (episode,) = plan.make(Data(episodes=1, support="train")).episodes()
            assert episode.examples != plan.make(Data(episodes=1)).episodes()[0].examples


def test_references_are_of_columns_that_are_there():
    for row in SUITE.references:
        assert set(row.values) <= set(FIRST) and row.source
