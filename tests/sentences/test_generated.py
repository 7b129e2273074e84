"""Generated tasks: values against the obvious formula, chance against the seed."""

import numpy as np
import pytest

from openlvm.core.records import Boxes, Depth, Edges, Record, Segmentation
from openlvm.core.seeds import rng
from openlvm.sentences.annotations.over import lay_over
from openlvm.sentences.generated import GENERATED, PATCHES, add_generated, check_generated

IMAGE = np.random.default_rng(0).integers(1, 256, (48, 64, 3), dtype=np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(np.arange(64)[:, None] * 3, np.arange(64) * 4, 90), axis=-1).astype(np.uint8)


def make(name, image=IMAGE, seed=0):
    return GENERATED[name](image, np.random.default_rng(seed))


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_is_a_pure_function_of_picture_and_chance(name):
    before = IMAGE.copy()
    one, other = make(name), make(name)
    np.testing.assert_array_equal(IMAGE, before)
    if isinstance(one, Edges):
        one, other = one.strength, other.strength
    np.testing.assert_array_equal(one, other)
    assert not np.shares_memory(one, IMAGE)
    for odd in (np.zeros((1, 1, 3), np.uint8), np.full((3, 50, 3), 255, np.uint8), np.zeros((300, 7, 3), np.uint8)):
        assert isinstance(GENERATED[name](odd, np.random.default_rng(0)), Edges | np.ndarray)


def test_gray_matches_luma():
    pixel = np.array([[[100, 150, 200]]], np.uint8)
    assert make("gray", pixel).tolist() == [[[141, 141, 141]]]  # 29.89 + 88.05 + 22.8


def test_holes_follow_the_rule_of_lvm():
    sides, kept_shares, squares = [], [], 0
    image = np.full((256, 256, 3), 200, np.uint8)
    for seed in range(300):
        black = (make("holes", image, seed) == 0).all(axis=-1)
        rows, columns = np.flatnonzero(black.any(axis=1)), np.flatnonzero(black.any(axis=0))
        patches = black.reshape(PATCHES, 32, PATCHES, 32).mean(axis=(1, 3))
        if set(np.unique(patches)) <= {0.0, 1.0}:
            kept_shares.append(1 - patches.mean())
            continue
        squares += 1
        assert black[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert len(rows) == len(columns)
        sides.append(len(rows))
    assert 0.22 < squares / 300 < 0.38  # 0.3 within three deviations
    assert min(sides) >= 25
    assert max(sides) < 128
    assert min(sides) < 35
    assert max(sides) > 118
    assert np.abs(np.quantile(kept_shares, [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 0.1  # r is even in 0..1


def test_holes_keep_every_other_pixel():
    for seed in range(20):
        out = make("holes", IMAGE, seed)
        changed = (out != IMAGE).any(axis=-1)
        assert not out[changed].any()


def test_noise_and_darkness_have_their_strength():
    flat = np.full((64, 64, 3), 128, np.uint8)
    spread = [make("noisy", flat, seed).std() for seed in range(60)]
    assert 14 < min(spread) < 20
    assert 44 < max(spread) < 51
    assert abs(np.mean([make("noisy", flat, seed).mean() for seed in range(30)]) - 128) < 1
    levels = [make("dark", flat, seed).mean() for seed in range(60)]
    assert 255 * 0.2 * 0.5**2.5 - 1 < min(levels) < max(levels) < 255 * 0.5 * 0.51**1.5 + 1


def test_noise_outlives_shrinking():
    flat = np.full((1024, 1024, 3), 128, np.uint8)
    noise = make("noisy", flat)
    blocks = noise.reshape(256, 4, 256, 4, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert noise.std() > 14


def test_blur_removes_detail_and_keeps_brightness():
    out = make("blurred", IMAGE)
    assert out.std() < 0.7 * IMAGE.std()
    assert abs(out.mean() - IMAGE.mean()) < 1


@pytest.mark.parametrize("size", [(64, 96), (256, 256), (1024, 1024)])
def test_coarse_pictures_have_lost_their_detail_at_the_size_of_a_tokenizer(size):
    """What is finer than 2 to 4 pixels of 256 is gone, what is much coarser is kept."""
    height, width = size
    grain = max(1, min(size) // 256)
    fine = np.indices((height // grain, width // grain)).sum(axis=0) % 2 * 255  # a checkerboard of specks
    fine = np.repeat(fine.repeat(grain, axis=0).repeat(grain, axis=1)[..., None], 3, axis=-1).astype(np.uint8)
    assert max(make("coarse", fine, seed).std() for seed in range(5)) < 0.5 * fine.std()
    half = np.zeros((*size, 3), np.uint8)
    half[:, width // 2 :] = 200
    wrong = np.abs(make("coarse", half).astype(int) - half) > 20
    assert make("coarse", half).shape == half.shape
    assert 0 < wrong.any(axis=(0, 2)).sum() <= 8 * grain  # columns near the step alone


def test_rain_only_brightens_along_lines():
    dark = np.full((256, 256, 3), 50, np.uint8)
    out = make("rainy", dark)
    assert (out >= dark).all()
    wet = (out > dark).any(axis=-1)
    assert 0.02 < wet.mean() < 0.4
    assert out[wet].min() >= 50 + 59


def test_moves_and_recolorings_match_definitions():
    np.testing.assert_array_equal(make("flipped")[:, 0], IMAGE[:, -1])
    assert make("rotated").shape == (64, 48, 3)
    np.testing.assert_array_equal(
        make("rotated")[0, 0], IMAGE[0, -1]
    )  # counterclockwise: the right edge comes to the top
    np.testing.assert_array_equal(make("upended")[0], IMAGE[-1])
    np.testing.assert_array_equal(make("rotated:180")[0, 0], IMAGE[-1, -1])
    assert make("rotated:180").shape == IMAGE.shape
    np.testing.assert_array_equal(make("rotated:270")[0, 0], IMAGE[-1, 0])  # clockwise: the left edge comes to the top
    turned = make("rotated:270", make("rotated"))
    np.testing.assert_array_equal(turned, IMAGE)
    np.testing.assert_array_equal(make("inverted").astype(int) + IMAGE, np.full(IMAGE.shape, 255))
    np.testing.assert_array_equal(make("recolored:brg")[0, 0], IMAGE[0, 0][[2, 0, 1]])
    names = [name for name in GENERATED if name.startswith("recolored:")]
    assert len({make(name).tobytes() for name in names}) == len(names) == 5


def test_hue_turns_primary_colors():
    red = np.array([[[255, 0, 0], [200, 200, 200]]], np.uint8)
    np.testing.assert_allclose(make("hue:120", red)[0], [[0, 255, 0], [200, 200, 200]], atol=6)
    np.testing.assert_allclose(make("hue:240", red)[0], [[0, 0, 255], [200, 200, 200]], atol=6)


def test_edges_lie_on_the_contour_and_are_thin():
    image = np.full((64, 64, 3), 40, np.uint8)
    image[16:48, 20:50] = 200
    strength = make("edges", image).strength
    assert strength.dtype == np.float32
    assert strength.max() == 1
    assert ((strength[24:40] > 0.5).sum(axis=1) == 2).all()
    left, right = np.flatnonzero(strength[32] > 0.5)
    assert abs(left - 19.5) <= 1
    assert abs(right - 49.5) <= 1
    assert not strength[:12].any()
    assert not make("edges", np.full((32, 32, 3), 77, np.uint8)).strength.any()


def test_edges_of_soft_slopes_are_weak():
    assert make("edges", SMOOTH).strength.max() < 0.6


def test_add_generated_draws_once_for_a_record():
    clip = Record(key="run", slots={"image": [IMAGE, IMAGE[::-1].copy()]}, label="sport")
    out = add_generated(clip, ["holes", "noisy", "edges"], 7)
    assert list(out.slots) == ["image", "holes", "noisy", "edges"]
    assert (out.key, out.label, out.num_frames) == ("run", "sport", 2)
    for frame, source in zip(out.slots["holes"], clip.slots["image"], strict=True):
        np.testing.assert_array_equal(frame, GENERATED["holes"](source, rng("generated", 7, "run", "holes")))
    black = [(frame == 0).all(axis=-1) for frame in out.slots["holes"]]
    np.testing.assert_array_equal(*black)
    assert isinstance(out.slots["edges"][1], Edges)
    assert "holes" not in clip.slots


def test_add_generated_depends_on_key_seed_and_name():
    def noise(key, seed):
        return add_generated(Record(key=key, slots={"image": [IMAGE]}), ["noisy"], seed).slots["noisy"][0].tobytes()

    assert len({noise("a", 0), noise("b", 0), noise("a", 1)}) == 3
    assert noise("a", 0) == noise("a", 0)


BOXES = [
    Boxes(np.array([[8.0, left, 40, left + 16]], np.float32), np.array([3], np.int32), (48, 64)) for left in (4, 20)
]


def test_over_lays_each_frames_annotation_over_its_picture():
    clip = Record(key="run", slots={"image": [IMAGE, IMAGE[::-1].copy()], "boxes": BOXES})
    out = add_generated(clip, ["over:boxes", "gray"], 0)
    assert list(out.slots) == ["image", "boxes", "over:boxes", "gray"]
    for frame, picture, boxes in zip(out.slots["over:boxes"], clip.slots["image"], BOXES, strict=True):
        np.testing.assert_array_equal(frame, lay_over(picture, boxes))
        assert (frame != picture).any()
    mask = Segmentation(np.eye(48, 64, dtype=np.int32) * 7)
    masked = add_generated(Record(key="a", slots={"image": [IMAGE], "mask": [mask]}), ["over:mask:binary"], 0)
    np.testing.assert_array_equal(masked.slots["over:mask:binary"][0], lay_over(IMAGE, mask, "binary"))


def test_over_rejects_what_is_missing_or_hides_the_picture():
    record = Record(key="a", slots={"image": [IMAGE], "boxes": BOXES[:1], "depth": [Depth(np.ones((48, 64)))]})
    with pytest.raises(
        ValueError, match=r"record 'a' has no slot 'pose' to lay over; it has \['boxes', 'depth', 'image'\]"
    ):
        add_generated(record, ["over:pose"], 0)
    with pytest.raises(ValueError, match="Depth cannot be laid over a photo"):
        add_generated(record, ["over:depth"], 0)
    with pytest.raises(ValueError, match="record 'a' already has a slot 'over:boxes'"):
        add_generated(record, ["over:boxes", "over:boxes"], 0)
    with pytest.raises(ValueError, match="no style of Boxes over a photo called 'wide'"):
        add_generated(record, ["over:boxes:wide"], 0)


def test_check_generated_refuses_before_anything_is_read():
    check_generated(["gray", "over:pose:openpose", "hue:30"], ["image", "pose"])
    with pytest.raises(ValueError, match="no generated slot called 'grey'; did you mean gray"):
        check_generated(["grey"], ["image"])
    with pytest.raises(ValueError, match="'over:pose' needs the slot 'pose'; there are image, depth, gray"):
        check_generated(["gray", "over:pose"], ["image", "depth"])


def test_add_generated_rejects_unknown_taken_and_unpictured():
    record = Record(key="a", slots={"image": [IMAGE], "gray": [IMAGE]})
    with pytest.raises(ValueError, match="no generated slot called 'noisi'; did you mean noisy"):
        add_generated(record, ["noisi"], 0)
    with pytest.raises(ValueError, match="record 'a' already has a slot 'gray'"):
        add_generated(record, ["gray"], 0)
    with pytest.raises(ValueError, match=r"record 'b' needs pictures in slot 'image'; it has \['depth'\]"):
        add_generated(Record(key="b", slots={"depth": [Depth(np.ones((2, 2)))]}), ["gray"], 0)
