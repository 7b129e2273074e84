"""Painter's benchmarks on miniatures of their official folders: known answers score what a hand computation says."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
from asked import INVERTED, PERFECT, Stopping, build, mse, resized, scores
from miniatures.files import picture, save_jpeg
from miniatures.restoration import sidd_blocks
from PIL import Image

from openlvm import LVM
from openlvm.core.records import JOINTS, Depth, Keypoints, Record
from openlvm.evaluation.harness.baselines import SIMPLE, Simple
from openlvm.evaluation.harness.predictors import Ceiling, LVMPredictor
from openlvm.evaluation.harness.questions import digest
from openlvm.evaluation.harness.suite import Data, require_data
from openlvm.evaluation.measures.points import COCO_SIGMAS, OKS_THRESHOLDS
from openlvm.evaluation.published import painter
from openlvm.evaluation.published.painter import SUITE, counted_depth, largest_person, painted_depth, rain_scene
from openlvm.sentences.palettes import palette
from openlvm.sentences.render import draw_keypoints

BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
FIRST = {
    "depth": "AbsRel", "segmentation": "mIoU", "pose": "AR (OKS)", "denoising": "PSNR (dB)", "low-light": "PSNR (dB)",
    "deraining-test2800": "PSNR of luma (dB)", "deraining-test1200": "PSNR of luma (dB)",
}  # fmt: skip


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The folder of all datasets, and what must be read of them."""
    root = tmp_path_factory.mktemp("data")
    held = build(root, "nyuv2", "ade20k", "coco_pose", "test2800", "did_mdn", "lol")
    for side, folder in enumerate(("input", "target")):  # a second scene, from which examples may come
        held["test2800"]["test"].setdefault("902_1", {})[("image", "clean")[side]] = [
            save_jpeg(root / f"test2800/test/Test2800/{folder}/902_1.jpg", picture(7 + side))
        ]
    held["sidd"] = sidd_blocks(root / "sidd")
    return root, held


@pytest.fixture(scope="module")
def found(official, lvm_at, tmp_path_factory):
    """The scores of known answers, and of a tiny model, in every column."""
    lvm = LVM.load(lvm_at)
    model, ceiling = LVMPredictor(lvm, "tiny"), Ceiling(lvm.bundle.tokenizer)
    columns = [plan.make(Data(root=official[0])) for plan in SUITE.plans]
    return scores(columns, [PERFECT, INVERTED, *SIMPLE, model, ceiling], tmp_path_factory.mktemp("run"))


def test_every_column_is_scored_for_every_predictor(found):
    assert {name: next(iter(rows["perfect"])) for name, rows in found.items()} == FIRST
    for rows in found.values():
        assert set(rows) == {"perfect", "inverted", "copy", "mean", "nearest", "tiny", "ceiling"}


def test_the_truth_scores_perfectly(found):
    for name, metric in FIRST.items():
        if "PSNR" in metric:
            assert found[name]["perfect"][metric] == np.inf
            assert found[name]["perfect"][metric.replace("PSNR", "SSIM").replace(" (dB)", "")] == pytest.approx(1)
    assert found["segmentation"]["perfect"]["mIoU"] == found["pose"]["perfect"]["AR (OKS)"] == 1
    depth = found["depth"]["perfect"]
    assert depth["delta1"] == 1 and depth["RMSE (m)"] < 0.02 and depth["AbsRel"] < 0.01  # 8 bits over 10 meters


@pytest.mark.parametrize("name", ["low-light", "denoising"])
def test_restoration_is_scored_in_color_at_its_own_size(found, official, name):
    held = official[1]
    if name == "low-light":
        pairs = [(one["image"][0], one["clean"][0]) for one in held["lol"]["test"].values()]
    else:
        blocks = held["sidd"]
        pairs = [(blocks["image"][place], blocks["clean"][place]) for place in np.ndindex(2, 2)]
    inverted = [-10 * np.log10(mse(255 - clean, clean)) for _, clean in pairs]
    assert found[name]["inverted"]["PSNR (dB)"] == pytest.approx(np.mean(inverted))
    copied = [
        -10 * np.log10(mse(resized(resized(query, 448, 448, BICUBIC), clean.shape[1], clean.shape[0], BILINEAR), clean))
        for query, clean in pairs
    ]
    assert found[name]["copy"]["PSNR (dB)"] == pytest.approx(np.mean(copied))


@pytest.mark.parametrize(("name", "row"), [("deraining-test2800", "test2800"), ("deraining-test1200", "did_mdn")])
def test_deraining_is_scored_in_luma(found, official, name, row):
    def luma(pixels):
        return np.rint(16 + (pixels.astype(float) * [65.481, 128.553, 24.966]).sum(-1) / 255)

    truths = [record["clean"][0] for record in official[1][row]["test"].values()]
    expected = [20 * np.log10(255 / np.sqrt(((luma(255 - t) - luma(t)) ** 2).mean())) for t in truths]
    assert found[name]["inverted"]["PSNR of luma (dB)"] == pytest.approx(np.mean(expected))


def test_depth_is_read_in_meters(found, official):
    (record,) = official[1]["nyuv2"]["test"].values()
    meters, query = record["depth"][0].meters.astype(float), record["image"][0]
    gray = np.rint(255 * meters / 10)
    answers = {
        "inverted": (255 - gray) / 255 * 10,
        "copy": resized(resized(query, 448, 448, BICUBIC), 16, 12, BILINEAR).mean(-1) / 255 * 10,
    }
    for name, given in answers.items():
        given = given.clip(1e-3, 10)
        assert found["depth"][name]["AbsRel"] == pytest.approx((np.abs(given - meters) / meters).mean())
        assert found["depth"][name]["RMSE (m)"] == pytest.approx(np.sqrt(((given - meters) ** 2).mean()))
        right = np.maximum(given / meters, meters / given) < 1.25
        assert found["depth"][name]["delta1"] == pytest.approx(right.mean())


def test_segmentation_is_the_nearest_color_over_all_pictures(found):
    colors = palette()[1:151].astype(int)
    read = {of: 1 + int(((255 - palette()[of].astype(int) - colors) ** 2).sum(-1).argmin()) for of in (1, 2, 150)}
    columns = [(1, 8), (150, 8), (1, 8), (1, 8), (150, 8), (2, 8)]  # of both pictures, the unlabelled eighths left out
    named = {of for of, _ in columns} | set(read.values())
    shares = {
        name: (
            sum(n for of, n in columns if of == read[of] == name),
            sum(n for of, n in columns if name in (of, read[of])),
        )
        for name in named
    }
    assert found["segmentation"]["inverted"]["mIoU"] == pytest.approx(np.mean([i / u for i, u in shares.values()]))


def test_pose_is_scored_by_the_distance_of_joints(official, tmp_path):
    column = next(plan for plan in SUITE.plans if plan.name == "pose").make(Data(root=official[0], episodes=1))
    question = column.question(column.episodes()[0])
    pose, move = question.payload, 24.0
    moved = Keypoints(pose.points + np.float32([move, 0]), pose.visible, pose.size)
    rows = scores([column], [Simple("moved", lambda question: draw_keypoints(moved))], tmp_path)["pose"]
    width, height = np.ptp(pose.points[0, pose.visible[0]], axis=0)
    area = 0.53 * width * height
    alike = np.exp(-(move**2) / (2 * (2 * COCO_SIGMAS[pose.visible[0]]) ** 2 * area)).mean()
    assert 0.5 < alike < 0.95  # thresholds lie on both sides
    assert rows["moved"]["AR (OKS)"] == pytest.approx((alike >= OKS_THRESHOLDS).mean())


def test_depth_counts_inside_the_crop_and_below_ten_meters():
    meters = np.full((480, 640), 3.0, np.float32)
    meters[100, 100] = 10
    counted = counted_depth(Depth(meters)).meters
    assert (counted > 0).sum() == (471 - 45) * (601 - 41) - 1
    assert counted[44, 300] == counted[471, 300] == counted[200, 40] == counted[200, 601] == counted[100, 100] == 0
    assert counted[45, 41] == counted[470, 600] == 3


def test_depth_is_painted_in_proportion():
    meters = np.array([[0, 5, 10, 12, np.nan]], np.float32)
    record = Record(key="a", slots={"image": [np.zeros((1, 5, 3), np.uint8)], "depth": [Depth(meters)]})
    assert painted_depth(record, 10.0).slots["painted"][0][0, :, 0].tolist() == [0, 128, 255, 255, 0]


def test_the_largest_person_is_cut_out():
    points = np.zeros((3, 17, 2), np.float32)
    points[0, :2], points[1, :2] = [(10, 10), (14, 12)], [(2, 20), (34, 36)]
    points[2, :2] = [(0, 0), (90, 90)]
    visible = np.zeros((3, 17), bool)
    visible[:2, :2] = True  # the third has no joint that is known
    image = picture(0, 60, 50)
    record = Record(key="a", slots={"image": [image], "pose": [Keypoints(points, visible, (60, 50))]})
    cut = largest_person(record)
    pixels, pose = cut.slots["image"][0], cut.slots["pose"][0]
    assert pixels.shape == (40, 40, 3) and pose.size == (40, 40)  # 1.25 times 32
    assert pose.points[0, :2].tolist() == [[4, 12], [36, 28]]  # from left -2 and top 8
    assert (pixels[:, 2:] == image[8:48, :38]).all() and not pixels[:, :2].any()
    one = Keypoints(points[:1], visible[:1] & (np.arange(17) == 0), (60, 50))
    assert largest_person(Record(key="a", slots={"image": [image], "pose": [one]})).slots["pose"][0].size == (16, 16)


def test_scenes_of_rain():
    assert rain_scene("901_14//label//a.jpg//b.jpg") == rain_scene("901/14////a.jpg//b.jpg") == "901"


def test_test2800_is_read_as_published_too(tmp_path):
    build(tmp_path, "test2800")
    shutil.rmtree(tmp_path / "test2800/test")
    column = next(plan for plan in SUITE.plans if plan.name == "deraining-test2800").make(Data(root=tmp_path))
    episodes = column.episodes()
    assert [episode.cluster for episode in episodes] == ["901", "901", "902", "902"]
    assert all(rain_scene(episode.examples[0]) != episode.cluster for episode in episodes)


def test_no_example_is_of_the_scene_asked(official):
    plans = {plan.name: plan for plan in SUITE.plans}
    data = Data(root=official[0])
    for episode in plans["deraining-test2800"].make(data).episodes():
        assert episode.cluster in ("901", "902") and rain_scene(episode.examples[0]) != episode.cluster
    for episode in plans["denoising"].make(data).episodes():
        assert episode.query[:2] != episode.examples[0][:2]


def test_a_killed_run_goes_on_and_ends_the_same(official, tmp_path):
    columns = [plan.make(Data(root=official[0])) for plan in SUITE.chosen(["low-light", "depth", "denoising"])]
    whole = scores(columns, [PERFECT, *SIMPLE], tmp_path / "whole")
    answer = Stopping()
    with pytest.raises(KeyboardInterrupt):
        scores(columns, [Simple("perfect", partial(answer, most=3)), *SIMPLE], tmp_path / "twice")
    kept = len(list((tmp_path / "twice/lines").rglob("*.jsonl")))
    assert 0 < kept < 3 * 4
    assert scores(columns, [Simple("perfect", partial(answer, most=100)), *SIMPLE], tmp_path / "twice") == whole
    request = (tmp_path / "whole/request.json").read_text()
    assert request == (tmp_path / "twice/request.json").read_text() and json.loads(request)["seed"] == 0


def test_episodes_are_frozen(official):
    for data in (Data(root=official[0]), Data(episodes=8)):
        for plan in SUITE.plans:
            assert digest(plan.make(data).episodes()) == digest(plan.make(data).episodes())
    depth = SUITE.plans[0]
    assert digest(depth.make(Data(episodes=8)).episodes()) != digest(depth.make(Data(episodes=8, seed=1)).episodes())


def test_absent_data_is_named_whole(tmp_path):
    with pytest.raises(FileNotFoundError) as refused:
        require_data(SUITE.plans, Data(root=tmp_path))
    for name in ("nyuv2", "ade20k", "coco_pose", "sidd", "test2800", "did_mdn", "lol"):
        assert str(tmp_path / name) in str(refused.value)


def test_packaged_pictures_score_perfectly_too(tmp_path):
    columns = [plan.make(Data(episodes=2)) for plan in SUITE.plans]
    rows = scores(columns, [PERFECT], tmp_path)
    assert rows["depth"]["perfect"]["delta1"] == 1 and rows["depth"]["perfect"]["AbsRel"] < 0.03
    assert rows["segmentation"]["perfect"]["mIoU"] == 1
    assert all(rows[name]["perfect"][metric] == np.inf for name, metric in FIRST.items() if "PSNR" in metric)
    assert all("compare with no published number" in column.data for column in columns)
    episodes = [[episode.query for episode in column.episodes()] for column in columns if "rain" in column.name]
    assert episodes[0] != episodes[1]


def test_packaged_examples_may_come_from_training():
    for plan in SUITE.plans:
        column = plan.make(Data(episodes=1, support="train"))
        (episode,) = column.episodes()
        held_out = plan.make(Data(episodes=1)).episodes()[0]
        assert episode.query == held_out.query and episode.examples != held_out.examples
        assert len(column.question(episode).examples) == painter.SHOTS


def test_references_are_of_columns_that_are_there():
    for row in SUITE.references:
        assert set(row.values) <= set(FIRST) and row.source
    assert len(JOINTS["coco"]) == len(COCO_SIGMAS)
