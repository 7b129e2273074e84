"""Bar et al.'s tasks on small folders in official layouts: episodes are the original's draws, scores by hand."""

from functools import partial

import numpy as np
import pytest
from asked import INVERTED, PERFECT, Stopping, build, scores
from miniatures.files import picture, save_jpeg, save_png
from PIL import Image

from openlvm import LVM
from openlvm.evaluation.harness.baselines import SIMPLE, Simple
from openlvm.evaluation.harness.predictors import Ceiling, LVMPredictor
from openlvm.evaluation.harness.questions import digest
from openlvm.evaluation.harness.suite import Data, require_data
from openlvm.evaluation.published.bar2022 import CELL, SUITE, center, gray
from openlvm.sources.official.planes import VOC_CLASSES

COLUMNS = [f"segmentation s{fold}" for fold in range(4)] + ["detection", "colorization"]
IOU, BY_CLASS = "IoU, mean of episodes", "mIoU, accumulated by class"
BOXES, BOX_PAIRS = "box IoU, mean of episodes", "IoU of boxes, mean of episodes"
NORMALIZED = "MSE (normalized)"
DEVIATION = np.array([0.229, 0.224, 0.225])


def flat(value):
    """A picture of one gray, of a cell's size: nothing is resized when it is scored."""
    return np.full((CELL, CELL, 3), value, np.uint8)


def write_pascal5i(at):
    """Five bright pictures of two classes in each fold, masks of different sizes; the last one is also in train."""
    for fold in range(4):
        lines = {"val": [], "trn": []}
        for number in range(5):
            name, label = f"2007_00{fold}{number:03d}", 5 * fold + 1 + number % 2
            ids = np.zeros((CELL, CELL), np.uint8)
            ids[10 : 40 + 9 * number, 20:60] = label
            ids[10 : 40 + 9 * number, 60:64] = 255
            ids[90:] = 1 + label % 20  # another class is background
            save_jpeg(at / f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg", flat(180 + number))
            save_png(at / f"VOCdevkit/VOC2012/SegmentationClassAug/{name}.png", ids)
            lines["val"].append(f"{name}__{label:02d}")
            if number >= 1:
                lines["trn"].append(lines["val"][-1])
        for split, names in lines.items():
            (at / f"splits/pascal/{split}").mkdir(parents=True, exist_ok=True)
            (at / f"splits/pascal/{split}/fold{fold}.txt").write_text("\r\n".join(names) + "\r\n")


def area(number):
    return (30 + 9 * number) * 40


VOC = {  # split -> picture -> its objects: class and box, pixels from 1
    "val": {
        "2008_000001": [("cat", (1, 1, 20, 30)), ("dog", (5, 5, 40, 40)), ("cat", (2, 2, 9, 9))],
        "2008_000002": [("dog", (11, 21, 40, 60))],
        "2008_000003": [("cat", (1, 1, 100, 100))],  # too large
        "2008_000004": [("cat", (51, 31, 80, 50.7))],
        "2008_000005": [("dog", (61, 11, 111, 58))],  # 51 x 48 = 0.199 of the picture
        "2008_000006": [("dog", (61, 11, 111, 59))],  # 0.203
    },
    "train": {
        "2009_000001": [("cat", (1, 1, 30, 30))],
        "2009_000002": [("dog", (1, 1, 30, 30))],
        "2009_000003": [("dog", (31, 1, 60, 30))],
        "2009_000004": [("dog", (31, 1, 60, 30)), ("cat", (1, 1, 9, 9))],
        "2009_000005": [("cat", (31, 41, 60, 70))],
    },
}
SMALL = {"val": ["2008_000002", "2008_000004", "2008_000005"],
         "train": ["2009_000001", "2009_000002", "2009_000003", "2009_000005"]}  # fmt: skip


def write_voc(at):
    root = at / "VOCdevkit/VOC2012"
    for split, pictures in VOC.items():
        for name, objects in pictures.items():
            save_jpeg(root / f"JPEGImages/{name}.jpg", flat(200))
            marks = "".join(
                f"<object><name>{label}</name><difficult>0</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
                f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
                for label, box in objects
            )
            size = f"<size><width>{CELL}</width><height>{CELL}</height><depth>3</depth></size>"
            (root / "Annotations").mkdir(parents=True, exist_ok=True)
            (root / f"Annotations/{name}.xml").write_text(f"<annotation>{size}{marks}</annotation>")
        (root / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{name}\n" for name in pictures))


def write_imagenet(at):
    """Class folders whose order is not that of the pictures' numbers."""
    for number, folder in enumerate(["n03", "n01", "n02", "n01", "n03", "n02", "n01"], start=1):
        chance = np.random.default_rng(number)
        pixels = chance.integers(0, 256, (9, 9, 3), dtype=np.uint8).repeat(15, axis=0).repeat(15, axis=1)  # 135 x 135
        save_png(at / f"val/{folder}/ILSVRC2012_val_{number:08d}.png", pixels)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder of all datasets."""
    at = tmp_path_factory.mktemp("data")
    write_pascal5i(at / "pascal5i")
    write_voc(at / "voc2012_detection")
    write_imagenet(at / "imagenet")
    return at


def columns_of(data, names=()):
    return [plan.make(data) for plan in SUITE.chosen(names)]


def made(data, name):
    return columns_of(data, [name])[0]


@pytest.fixture(scope="module")
def found(root, lvm_at, tmp_path_factory):
    """Scores of known answers and of a tiny model in every column."""
    lvm = LVM.load(lvm_at)
    outlined = Simple("outlined", with_outlines)
    answerers = [PERFECT, INVERTED, outlined, *SIMPLE, LVMPredictor(lvm, "tiny"), Ceiling(lvm.bundle.tokenizer)]
    return scores(columns_of(Data(root=root, episodes=5)), answerers, tmp_path_factory.mktemp("run"))


def with_outlines(question):
    """The truth, and white where outlines are."""
    outlines = question.told.get("outlines", np.zeros(question.truth.shape[:2], bool))
    return np.where(outlines[..., None], np.uint8(255), question.truth)


def test_every_column_is_scored_for_every_predictor(found):
    first = {name: next(iter(rows["perfect"])) for name, rows in found.items()}
    assert first == dict.fromkeys(COLUMNS[:4], IOU) | {"detection": BOXES, "colorization": NORMALIZED}
    for rows in found.values():
        assert set(rows) == {"perfect", "inverted", "outlined", "copy", "mean", "nearest", "tiny", "ceiling"}


def test_the_truth_scores_perfectly(found):
    for fold in range(4):
        assert all(value == 1 for value in found[f"segmentation s{fold}"]["perfect"].values())
    assert found["detection"]["perfect"] == {BOXES: 1, BOX_PAIRS: 1}
    assert found["colorization"]["perfect"] == {NORMALIZED: 0, "MSE": 0}


def test_segmentation_counts_by_hand(found):
    rows = found["segmentation s1"]
    areas = [area(number) for number in range(5)]
    assert rows["copy"][IOU] == pytest.approx(np.mean(areas) / CELL**2)  # bright pictures are read as white
    by_class = [sum(areas[first::2]) / (len(areas[first::2]) * CELL**2) for first in (0, 1)]
    assert rows["copy"][BY_CLASS] == pytest.approx(np.mean(by_class))
    assert all(value == 0 for value in rows["inverted"].values())


def test_outlines_count_as_background_or_not_at_all(found):
    rows = found["segmentation s0"]["outlined"]
    assert rows[IOU] == pytest.approx(40 / 44)
    assert rows[BY_CLASS] == pytest.approx(40 / 44)
    assert rows[f"{IOU}, without outlines"] == rows[f"{BY_CLASS}, without outlines"] == 1


def test_detection_counts_by_hand(root, found):
    boxes = {name: VOC["val"][name][0][1] for name in SMALL["val"]}
    shares = {name: (int(r) - l + 1) * (int(b) - t + 1) / CELL**2 for name, (l, t, r, b) in boxes.items()}
    asked = [episode.query for episode in made(Data(root=root), "detection").episodes()]
    assert found["detection"]["copy"][BOXES] == pytest.approx(np.mean([shares[name] for name in asked]))
    # the inverted truth is white around the box: its box is the whole picture
    assert found["detection"]["inverted"][BOXES] == found["detection"]["copy"][BOXES]


def test_colorization_counts_by_hand(root, found):
    column = made(Data(root=root, episodes=5), "colorization")
    truths = [column.question(episode).truth.astype(float) for episode in column.episodes()]
    inverted = [((((255 - 2 * truth) / 255) / DEVIATION) ** 2).mean() for truth in truths]
    assert found["colorization"]["inverted"][NORMALIZED] == pytest.approx(np.mean(inverted))
    lumas = [np.asarray(Image.fromarray(truth.astype(np.uint8)).convert("L"))[..., None] for truth in truths]
    copied = [(((luma - truth) / 255) ** 2).mean() for luma, truth in zip(lumas, truths, strict=True)]
    assert found["colorization"]["copy"]["MSE"] == pytest.approx(np.mean(copied))


@pytest.mark.parametrize("seed", [0, 3])
def test_segmentation_draws_are_the_originals(root, seed):
    """By NumPy's global generator and lists of names, as the published loader's words say."""
    lines = (root / "pascal5i/splits/pascal/val/fold2.txt").read_text().split()
    names = {int(line[-2:]): [] for line in lines}
    for line in lines:
        names[int(line[-2:])].append(line[:-4])
    np.random.seed(seed)
    expected = []
    for number in range(30):
        query, label = lines[number % len(lines)][:-4], int(lines[number % len(lines)][-2:])
        support = query
        while support == query:
            support = np.random.choice(names[label], 1, replace=False)[0]
        expected.append((f"{query}__{label:02d}", f"{support}__{label:02d}", VOC_CLASSES[label]))
    episodes = made(Data(root=root, episodes=30, seed=seed), "segmentation s2").episodes()
    assert [(one.query, one.examples[0], one.label) for one in episodes] == expected


def test_detection_draws_are_the_originals(root):
    """Both filtered lists are read at the picture of the n-th pair of a picture of val and one of its classes."""
    flattened = [number for number, objects in enumerate(VOC["val"].values()) for _ in {label for label, _ in objects}]
    assert flattened == [0, 0, 1, 2, 3, 4, 5]
    np.random.seed(0)
    expected = []
    for number in range(len(SMALL["val"])):
        query = SMALL["val"][flattened[number]]
        label = np.random.choice([VOC["val"][query][0][0]])
        order = np.arange(len(SMALL["train"]))
        np.random.shuffle(order)
        for place in order:
            example = SMALL["train"][flattened[place]]
            if VOC["train"][example][0][0] == label:
                break
        expected.append((query, example, label))
    episodes = made(Data(root=root), "detection").episodes()
    assert [(one.query, one.examples[0], one.label) for one in episodes] == expected
    assert [one.query for one in episodes] == ["2008_000002", "2008_000002", "2008_000004"]  # twice, and never the last


def test_detection_truth_is_cut_to_whole_pixels_and_resized(root):
    column = made(Data(root=root), "detection")
    question = column.question(column.episodes()[2])
    white = np.zeros((CELL, CELL), np.uint8)
    white[30:50, 50:80] = 255  # ymax 50.7
    assert (question.truth == white[..., None]).all()
    assert question.query.shape == (256, 256, 3) and question.examples[0][1].shape == (256, 256, 3)


def test_colorization_draws_are_the_originals(root):
    """Order of class folders, NumPy's global generator seeded 5, examples from the whole of so few pictures."""
    files = sorted((root / "imagenet/val").rglob("*.png"))
    np.random.seed(5)
    indices = np.random.choice(np.arange(0, len(files) - 1), size=len(files) - 1, replace=False)
    expected = [(files[index].stem, files[np.random.choice(np.arange(0, len(files)))].stem) for index in indices]
    column = made(Data(root=root), "colorization")
    assert [(one.query, one.examples[0]) for one in column.episodes()] == expected
    assert [one.query for one in made(Data(root=root, episodes=2), "colorization").episodes()] == [
        query for query, _ in expected[:2]
    ]
    question = column.question(column.episodes()[0])
    middle = np.asarray(Image.open(files[indices[0]]))[12:123, 12:123]
    assert (question.truth == middle).all() and (question.query == gray(middle)).all()


def test_flat_pictures_are_drawn_in_the_order_of_class_folders(tmp_path):
    build(tmp_path, "imagenet")  # pictures 1 and 3 are of a later class than 2, as the development kit says
    names = [f"ILSVRC2012_val_{number:08d}" for number in (2, 1, 3)]
    np.random.seed(5)
    queries = [names[index] for index in np.random.choice(np.arange(0, 2), size=2, replace=False)]
    column = made(Data(root=tmp_path), "colorization")
    assert [one.query for one in column.episodes()] == queries
    assert column.question(column.episodes()[0]).truth.shape == (CELL, CELL, 3)


def test_masks_are_resized_as_gray_pictures(tmp_path):
    write_pascal5i(tmp_path / "pascal5i")
    at = tmp_path / "pascal5i/VOCdevkit/VOC2012"
    ids = np.zeros((200, 300), np.uint8)
    ids[13:101, 17:222] = 1
    save_jpeg(at / "JPEGImages/2007_000000.jpg", picture(0, 200, 300))
    save_png(at / "SegmentationClassAug/2007_000000.png", ids)
    column = made(Data(root=tmp_path, episodes=1), "segmentation s0")
    truth = column.question(column.episodes()[0]).truth
    expected = Image.fromarray(ids * np.uint8(255)).resize((CELL, CELL), Image.Resampling.BICUBIC)
    assert (truth == np.asarray(expected)[..., None]).all() and len(np.unique(truth)) > 2


def test_the_middle_of_small_pictures_is_padded():
    assert (center(picture(1, 120, 141)) == picture(1, 120, 141)[4:115, 15:126]).all()  # 4.5 rounds to even
    small = center(np.full((110, 108, 3), 9, np.uint8))
    assert small.shape == (CELL, CELL, 3) and (small[:110, 1:109] == 9).all()
    assert not small[110].any() and not small[:, 0].any() and not small[:, 109:].any()


def test_examples_may_come_from_the_train_list(root):
    episodes = made(Data(root=root, episodes=40, support="train"), "segmentation s3").episodes()
    train = (root / "pascal5i/splits/pascal/trn/fold3.txt").read_text().split()
    assert {name for episode in episodes for name in episode.examples} == set(train)
    assert all(episode.examples[0][-2:] == episode.query[-2:] != "" for episode in episodes)
    assert all(episode.examples[0] != episode.query for episode in episodes)


def test_a_class_without_examples_is_refused(tmp_path):
    write_pascal5i(tmp_path / "pascal5i")
    write_voc(tmp_path / "voc2012_detection")
    (tmp_path / "pascal5i/splits/pascal/trn/fold0.txt").write_text("2007_000004__01\n")
    with pytest.raises(
        ValueError, match="2007_000001__02 needs 1 other pictures of 'bicycle' in the train list of fold 0"
    ):
        made(Data(root=tmp_path, support="train"), "segmentation s0").episodes()
    (tmp_path / "voc2012_detection/VOCdevkit/VOC2012/ImageSets/Main/train.txt").write_text("2009_000001\n")
    with pytest.raises(ValueError, match="2008_000002 shows one small dog, of which the train list has no picture"):
        made(Data(root=tmp_path), "detection").episodes()


def test_a_damaged_picture_stops_the_evaluation(tmp_path):
    write_pascal5i(tmp_path / "pascal5i")
    (tmp_path / "pascal5i/VOCdevkit/VOC2012/JPEGImages/2007_000000.jpg").write_bytes(b"no picture")
    column = made(Data(root=tmp_path, episodes=1), "segmentation s0")
    with pytest.raises(ValueError, match="2007_000000__01: .*Mend it"):
        column.question(column.episodes()[0])


def test_a_killed_run_goes_on_and_ends_the_same(root, tmp_path):
    columns = columns_of(Data(root=root, episodes=20), ["segmentation s0", "detection", "colorization"])
    whole = scores(columns, [PERFECT, *SIMPLE], tmp_path / "whole")
    answer = Stopping()
    with pytest.raises(KeyboardInterrupt):
        scores(columns, [Simple("perfect", partial(answer, most=18)), *SIMPLE], tmp_path / "twice")
    assert scores(columns, [Simple("perfect", partial(answer, most=999)), *SIMPLE], tmp_path / "twice") == whole
    assert (tmp_path / "whole/request.json").read_text() == (tmp_path / "twice/request.json").read_text()
    assert len(answer.answered) < 2 * (20 + 3 + 6)


def test_episodes_are_frozen(root):
    for data in (Data(root=root), Data(episodes=4)):
        for first, again in zip(columns_of(data), columns_of(data), strict=True):
            assert digest(first.episodes()) == digest(again.episodes())
    for name in COLUMNS:
        assert digest(made(Data(episodes=8), name).episodes()) != digest(
            made(Data(episodes=8, seed=1), name).episodes()
        )
    assert len(made(Data(root=root), "segmentation s0").episodes()) == 1000


def test_packaged_pictures_score_perfectly_too(tmp_path):
    columns = columns_of(Data(episodes=3))
    rows = scores(columns, [PERFECT, INVERTED], tmp_path)
    assert [column.name for column in columns] == COLUMNS
    for name in COLUMNS[:5]:
        assert all(value == 1 for value in rows[name]["perfect"].values())
        assert name == "detection" or all(value == 0 for value in rows[name]["inverted"].values())
    assert rows["colorization"]["perfect"] == {NORMALIZED: 0, "MSE": 0}
    assert all("compare with no published number" in column.data for column in columns)
    assert len({digest(column.episodes()) for column in columns[:4]}) == 4


def test_absent_data_is_named_whole(tmp_path):
    with pytest.raises(FileNotFoundError) as refused:
        require_data(SUITE.plans, Data(root=tmp_path))
    for name in ("pascal5i", "voc2012_detection", "imagenet"):
        assert str(tmp_path / name) in str(refused.value)


def test_references_are_shares_of_columns_that_are_there():
    for row in SUITE.references:
        assert set(row.values) <= set(COLUMNS) and row.source
        assert all(0 < value < 1 for name, value in row.values.items() if name != "colorization")
    by_name = {row.name: row.values for row in SUITE.references}
    assert by_name["LVM"]["segmentation s1"] == 0.5129
    assert by_name["MAE-VQGAN (figures)"]["detection"] == pytest.approx((24.19 + 25.20 + 25.36 + 25.23) / 400, abs=1e-4)
