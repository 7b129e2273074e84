"""AVA's boxes lie on the frames of their seconds."""

import pytest
from miniatures.films import write_csv
from miniatures.moving import ava_detection

from openlvm.core.records import BadRecord
from openlvm.sources.clips.ava import AVABoxes

pytest.importorskip("av", reason="PyAV is the extra `video`")
CSV, EXCLUDED = "ava_train_v2.2.csv", "ava_train_excluded_timestamps_v2.2.csv"
FILM = "-5KQ66BBWC4"


def read_all(at, **options):
    source = AVABoxes(at=at, annotations=CSV, excluded=EXCLUDED, **options)
    return [record for part in source.parts() for record in source.read(part)]


def row(second, *box, action=12):
    return [FILM, second, *(box or (0.25, 0.25, 0.5, 0.5)), action, 0]


def test_films_are_cut_and_boxes_shrink_with_their_frames(tmp_path):
    expected = ava_detection(tmp_path)["train"][f"{FILM}#0000"]
    first, second = read_all(tmp_path, frames_per_record=2, short_side=24)
    assert [(record.key, record.num_frames) for record in (first, second)] == [(f"{FILM}#0000", 2), (f"{FILM}#0001", 1)]
    assert second.slots["image"][0].shape == (24, 32, 3)
    assert abs(second.slots["image"][0].astype(float) - expected["image"][2][:24, :32]).max() <= 1  # one even color
    assert second.slots["boxes"][0].corners.tolist() == [[8, 3, 16, 18], [16, 12, 32, 24]]
    assert second.slots["boxes"][0].ids.tolist() == [12, 11]


def test_a_film_that_ends_early_keeps_its_whole_records(tmp_path):
    ava_detection(tmp_path)
    write_csv(tmp_path / CSV, [row("0002"), row("0003"), row("0902")])
    first, bad = read_all(tmp_path, frames_per_record=2)
    assert first.num_frames == 2
    assert bad.key == f"{FILM}#0001"
    assert "it ends before 902 s" in bad.reason


@pytest.mark.parametrize("box", [(0.5, 0.25, 0.25, 0.5), (0.1, 0.1, 1.5, 0.5), (-0.1, 0.1, 0.5, 0.5)])
def test_boxes_outside_the_frame_are_reported(box, tmp_path):
    ava_detection(tmp_path)
    write_csv(tmp_path / CSV, [row("0002", *box)])
    (bad,) = read_all(tmp_path)
    assert bad == BadRecord(
        f"{FILM}#0000", "at 2 s is a box that is not (left, top, right, bottom) in shares of the frame"
    )


def test_malformed_rows_are_named(tmp_path):
    ava_detection(tmp_path)
    write_csv(tmp_path / CSV, [row("0002"), row("two")])
    with pytest.raises(ValueError, match=r"has the row '-5KQ66BBWC4,two,.*could not convert string"):
        read_all(tmp_path)
    write_csv(tmp_path / CSV, [row("0002"), [FILM, 3]])
    with pytest.raises(ValueError, match="line 2 of .* has 2 cells; expected 8"):
        read_all(tmp_path)
    with pytest.raises(ValueError, match="frames_per_record=0 must be at least 1"):
        read_all(tmp_path, frames_per_record=0)
