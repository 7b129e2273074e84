"""Folders of pairs: every layout is found by name, what is unclear or damaged is refused in words that mend it."""

import numpy as np
import pytest

from openlvm.core.images import ImagePreparation, write_image
from openlvm.core.records import BadRecord
from openlvm.jobs.fit.folder import FEWEST, Checked, Pair, PairFiles, checked, find_pairs, split

PREPARATION = ImagePreparation(size=8)


def shade(number: int, side: int = 12) -> np.ndarray:
    return np.full((side, side, 3), number, dtype=np.uint8)


def make(at, *names: str, first: int = 0) -> None:
    for number, name in enumerate(names, first):
        write_image(at / name, shade(number))


def keys(files: PairFiles) -> list[tuple[str, str, str]]:
    return [(pair.key, pair.given, pair.asked) for pair in files.pairs]


def test_two_folders_are_paired_by_name_not_by_place(tmp_path):
    make(tmp_path / "input", "a.png", "b.png", "c10.png", "c9.png")
    make(tmp_path / "target", "c9.jpg", "b.png", "a.png", "c10.png")
    found = keys(find_pairs(tmp_path))
    assert found[0] == ("a", "input/a.png", "target/a.png")
    assert [key for key, *_ in found] == ["a", "b", "c9", "c10"]
    assert found[2] == ("c9", "input/c9.png", "target/c9.jpg")


def test_other_folder_names_have_to_be_said(tmp_path):
    make(tmp_path / "rgb", "a.png")
    make(tmp_path / "heat", "a.png")
    with pytest.raises(ValueError, match="--given and --asked"):
        find_pairs(tmp_path)
    assert keys(find_pairs(tmp_path, given="rgb", asked="heat")) == [("a", "rgb/a.png", "heat/a.png")]
    with pytest.raises(ValueError, match="no 'hot'"):
        find_pairs(tmp_path, given="rgb", asked="hot")


def test_more_folders_or_two_that_could_be_meant_are_refused(tmp_path):
    for folder in ("input", "target", "depth"):
        make(tmp_path / folder, "a.png")
    with pytest.raises(ValueError, match="more folders .* depth"):
        find_pairs(tmp_path)
    assert keys(find_pairs(tmp_path, given="input", asked="depth")) == [("a", "input/a.png", "depth/a.png")]
    make(tmp_path / "masks", "a.png")
    with pytest.raises(ValueError, match="not clear which of them --asked"):
        find_pairs(tmp_path)


def test_pictures_side_by_side(tmp_path):
    make(tmp_path, "cat.png", "cat_target.png", "dog_input.jpg", "dog_target.webp", "my_dog.png", "my_dog-target.png")
    assert keys(find_pairs(tmp_path)) == [
        ("cat", "cat.png", "cat_target.png"),
        ("dog", "dog_input.jpg", "dog_target.webp"),
        ("my_dog", "my_dog.png", "my_dog-target.png"),
    ]


def test_own_tail(tmp_path):
    make(tmp_path, "cat.png", "cat_heat.png")
    with pytest.raises(ValueError, match="no pairs"):
        find_pairs(tmp_path)
    assert keys(find_pairs(tmp_path, asked="heat")) == [("cat", "cat.png", "cat_heat.png")]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a.png", "a_target.png", "b.png"), "1 of 2 pictures .* have no partner, first 'b.png'"),
        (("a.png", "a_target.png", "b_target.png"), "1 of 2 pictures .* have no partner, first 'b_target.png'"),
        (("a.png", "a.jpg", "a_target.png"), "claim one pair"),
        (("a.png", "a_target.png", "a_mask.png"), "claim one pair"),
        (("a.png", "a_target.png", "b.png", "b_mask.png"), "end in mask, target"),
        (("a.png", "b.png"), "no pairs"),
        (("a.png", "a_target.png", "input/b.png", "target/b.png"), "2 pictures itself and more in input, target"),
        (("input/a.png", "target/b.png"), "1 of 2 keys have no"),
        (("input/a.png",), "not clear which of them --asked"),
    ],
)
def test_unclear_folders_are_refused(tmp_path, names, told):
    make(tmp_path, *names)
    with pytest.raises(ValueError, match=told):
        find_pairs(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        find_pairs(tmp_path / "none")
    with pytest.raises(ValueError, match="no pairs of pictures"):
        find_pairs(tmp_path)


def test_a_table_says_more_than_names(tmp_path):
    make(tmp_path, "x/1.png", "y/seven.png", "x/2.png")
    (tmp_path / "pairs.csv").write_text("note,input,target\nold,x/1.png,y/seven.png\n,x/2.png, x/1.png\n")
    expected = [("x/1", "x/1.png", "y/seven.png"), ("x/2", "x/2.png", "x/1.png")]
    assert keys(find_pairs(tmp_path)) == expected
    assert keys(find_pairs(tmp_path / "pairs.csv")) == expected
    assert find_pairs(tmp_path / "pairs.csv").at == tmp_path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a.png,b.png\n", "first line must name the columns"),
        ("", "first line must name the columns"),
        ("input,target\n", "names no pairs"),
        ("input,target\na.png\n", "line 2: 1 columns"),
        ("input,target\na.png,b.png\na.png,c.png\n", "line 3: a.png comes twice"),
        ("input,target\na.png,\n", "line 2: a path is missing"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, told):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(ValueError, match=told):
        find_pairs(tmp_path)


@pytest.fixture
def twenty(tmp_path) -> PairFiles:
    names = [f"{number}.png" for number in range(20)]
    make(tmp_path / "input", *names)
    make(tmp_path / "target", *names, first=100)
    return find_pairs(tmp_path)


def test_source_reads_the_pairs_in_order(twenty):
    [part] = twenty.parts()
    records = list(twenty.read(part))
    assert [record.key for record in records] == [str(number) for number in range(20)]
    assert all(record.slots["answer"][0][0, 0, 0] == number + 100 for number, record in enumerate(records))


def test_unreadable_pairs_are_left_out_and_told_up_to_a_share(twenty):
    (twenty.at / "target" / "3.png").write_bytes(b"no picture")
    write_image(twenty.at / "input" / "4.png", np.zeros((12, 24, 3), np.uint8))
    found = checked(twenty, PREPARATION)
    assert len(found.pairs) == 18 and {pair.key for pair in found.pairs}.isdisjoint({"3", "4"})
    told = dict(found.bad)
    assert "not a picture" in told["3"] and "24 x 12" in told["4"] and "not one shape" in told["4"]
    assert isinstance(list(twenty.read(twenty.parts()[0]))[3], BadRecord)
    (twenty.at / "input" / "5.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"3 of 20 pairs .* more than 10%: 3: "):
        checked(twenty, PREPARATION)


def test_size_may_differ_but_not_shape(twenty):
    write_image(twenty.at / "target" / "0.png", shade(100, side=30))
    assert len(checked(twenty, PREPARATION).pairs) == 20


def test_too_few_pairs(twenty):
    few = PairFiles(twenty.at, twenty.pairs[: FEWEST - 1])
    with pytest.raises(ValueError, match=f"7 pairs that can be used; at least {FEWEST}"):
        checked(few, PREPARATION)
    assert len(checked(PairFiles(twenty.at, twenty.pairs[:FEWEST]), PREPARATION).pairs) == FEWEST


def test_digest_knows_names_and_pictures(twenty):
    before = checked(twenty, PREPARATION)
    assert checked(twenty, PREPARATION).digest == before.digest
    write_image(twenty.at / "target" / "7.png", shade(7))
    assert checked(twenty, PREPARATION).digest != before.digest


def test_split_holds_out_a_share_and_nothing_twice(twenty):
    found = checked(twenty, PREPARATION)
    parts = split(found, share=0.25, seed=0)
    assert len(parts.heldout) == 5 and len(parts.training) == 15
    assert {*parts.training, *parts.heldout} == set(found.pairs)
    assert split(found, share=0.25, seed=0) == parts != split(found, share=0.25, seed=1)


def test_equal_given_pictures_stay_on_one_side():
    pairs = tuple(Pair(str(number), "", "") for number in range(40))
    looks = tuple(f"look {number // 4}" for number in range(40))
    parts = split(Checked(pairs, looks, "", ()), share=0.25, seed=3)
    sides = [{int(pair.key) // 4 for pair in side} for side in (parts.training, parts.heldout)]
    assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 10
    with pytest.raises(ValueError, match="show 2 different pictures"):
        split(Checked(pairs[:8], ("a",) * 4 + ("b",) * 4, "", ()), share=0.25, seed=0)
