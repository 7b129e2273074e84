"""Which sentences stores give, and in which shares."""

from fakes import Shape

from openlvm.recipes.papers.mixture import LVM_SHARES, components_of, kinds_of
from openlvm.sentences.grammar import Category, ClipPairs, FreeForm, Pairs, Sequence, Single
from openlvm.store.plan import Plan

PHOTO, LABELED = Shape(), Shape(label="cat")
MASKED = Shape(slots=("image", "mask"))
RICH = Shape(slots=("image", "mask", "depth"))
CLIP = Shape(num_frames=20)
MASKED_CLIP = Shape(num_frames=6, slots=("image", "mask"))


def _kinds(make_store, shapes, max_images=16):
    return kinds_of(make_store([shapes]), max_images=max_images, strides=(2, 3))


def test_pictures_give_singles_and_their_classes_categories(make_store):
    assert _kinds(make_store, [PHOTO] * 4) == [Single()]
    labeled = [Shape(label=name) for name in "abcd" for _ in range(8)]
    assert _kinds(make_store, labeled) == [
        Single(), Category(classes=2, per_class=8), Category(classes=4, per_class=4)
    ]  # fmt: skip
    assert _kinds(make_store, labeled, max_images=8) == [
        Single(),
        *(Category(classes=count, per_class=8 // count) for count in (1, 2, 4)),
    ]


def test_annotations_give_pairs_and_several_free_form(make_store):
    assert _kinds(make_store, [MASKED] * 20) == [Pairs(target="mask", pairs=8)]
    assert _kinds(make_store, [RICH] * 20, max_images=8) == [
        Pairs(target="mask", pairs=4),
        Pairs(target="depth", pairs=4),
        FreeForm(candidates=("image", "mask", "depth"), slots_per_record=3, records=2),
    ]
    assert _kinds(make_store, [MASKED] * 3) == [Pairs(target="mask", pairs=3)]


def test_clips_give_sequences_as_long_as_most_of_them(make_store):
    assert _kinds(make_store, [CLIP] * 2) == [Sequence(num_images=16, strides=(2, 3))]
    assert _kinds(make_store, [MASKED_CLIP] * 2) == [
        Sequence(num_images=6, strides=(2, 3)),
        *(ClipPairs(target="mask", frames=6, arrangement=how, strides=(2, 3)) for how in ("interleaved", "separate")),
    ]


def test_lvm_shares_hold_between_families_and_sizes_within_one(make_store):
    stores = [make_store([[PHOTO] * count]) for count in (30, 10)]
    stores += [make_store([[MASKED] * 16]), make_store([[CLIP] * 4])]
    components = components_of(stores, mix="lvm", max_images=16, strides=(1,))
    weights = [float(part.weight) for part in components]
    assert weights == [
        0.75 * LVM_SHARES["images"],
        0.25 * LVM_SHARES["images"],
        LVM_SHARES["annotated images"],
        LVM_SHARES["videos"],
    ]
    assert [part.name for part in components] == [
        "store1: single", "store2: single", "store3: pairs mask", "store4: sequence"
    ]  # fmt: skip


def test_by_size_every_store_is_in_once(make_store):
    stores = [make_store([[PHOTO] * 48]), make_store([[RICH] * 32])]
    plan = Plan(components_of(stores, mix="size", max_images=16, strides=(1,)))
    passes = [order.passes(count * plan.sentences_per_position[place])
              for place, (order, count) in enumerate(zip(plan.orders, plan.counts, strict=True))]  # fmt: skip
    assert passes == [1.0] * 4
    assert plan.num_positions == 3 + 4 + 4 + 6  # singles, pairs of two annotations, free form of 5 records a sentence


def test_folders_of_one_name_are_told_apart_by_their_path(make_store, tmp_path):
    stores = []
    for parent in ("a", "b"):
        store = make_store([[PHOTO] * 16])
        (tmp_path / parent).mkdir()
        store.at.rename(tmp_path / parent / "photos")
        stores.append(type(store).open(tmp_path / parent / "photos"))
    names = [part.name for part in components_of(stores, mix="size", max_images=16, strides=(1,))]
    assert names == [f"{tmp_path / parent / 'photos'}: single" for parent in ("a", "b")]
