"""Listed clips are cut into records; what is damaged, too large or not there is reported by key."""

import numpy as np
import pytest
from miniatures.films import frame, write_film, write_frames, write_text

from openlvm.core.records import BadRecord
from openlvm.sources.clips.listed import ListedClips
from openlvm.sources.clips.lists import ClipList

pytest.importorskip("av", reason="PyAV is the extra `video`")
NAMES = [f"{number}.png" for number in range(7)]


def clips(at, **options):
    return ListedClips(at=at, folder="clips", listing=ClipList(files="list.txt", label="{1}"), **options)


def read_all(source):
    return [record for part in source.parts() for record in source.read(part)]


def numbers(record, film=0):
    """The number of each frame, by its color."""
    return [
        int(np.argmin([np.abs(shown.astype(float) - frame(film, n)[:1, :1]).mean() for n in range(12)]))
        for shown in record.slots["image"]
    ]


@pytest.mark.parametrize("kind", ["films", "frames"])
def test_listed_clips_are_cut_into_records_that_hold_every_frame_once(kind, tmp_path):
    write_text(tmp_path / "list.txt", "b x\na y\n")
    if kind == "films":
        write_film(tmp_path / "clips/deep/a.mp4", 0, count=7)
        write_film(tmp_path / "clips/b.mp4", 0, count=3)
    else:
        write_frames(tmp_path / "clips/deep/a", 0, NAMES)
        write_frames(tmp_path / "clips/b", 0, NAMES[:3])
    source = clips(tmp_path, kind=kind, frames_per_record=3)
    assert [(record.key, record.label, numbers(record)) for record in read_all(source)] == [
        ("b#0000", "x", [0, 1, 2]),
        ("a#0000", "y", [0, 1, 2]),
        ("a#0001", "y", [3, 4, 5]),
        ("a#0002", "y", [6]),
    ]
    small = clips(tmp_path, kind=kind, every=3, short_side=24, records_per_part=1)
    assert [part.name for part in small.parts()] == ["00000", "00001"]
    assert [numbers(record) for record in read_all(small)] == [[0], [0, 3, 6]]
    assert read_all(small)[1].slots["image"][0].shape == (24, 32, 3)


@pytest.mark.parametrize("kind", ["films", "frames"])
def test_listed_clips_report_what_is_not_there_and_what_is_too_large(kind, tmp_path):
    write_text(tmp_path / "list.txt", "a x\ngone y\n")
    write_film(tmp_path / "clips/a.mp4", 0)
    write_frames(tmp_path / "clips/a", 0, NAMES)
    good, bad = read_all(clips(tmp_path, kind=kind))
    assert good.key == "a#0000"
    assert bad.key == "gone#0000"
    assert bad.reason.startswith("it is in list.txt, but there is no f")
    large, _ = read_all(clips(tmp_path, kind=kind, max_pixels=100))
    assert isinstance(large, BadRecord)
    assert "64 x 48 pixels; the limit is 100" in large.reason


def test_listed_frames_with_a_damaged_one_lose_its_record_alone(tmp_path):
    write_text(tmp_path / "list.txt", "a x\n")
    write_frames(tmp_path / "clips/a", 0, NAMES)
    (tmp_path / "clips/a/3.png").write_bytes(b"")
    first, bad, last = read_all(clips(tmp_path, kind="frames", frames_per_record=3))
    assert (numbers(first), numbers(last)) == ([0, 1, 2], [6])
    assert bad.key == "a#0001"
    assert "3.png is empty" in bad.reason


def test_listed_films_report_a_damaged_one_and_go_on(tmp_path):
    write_text(tmp_path / "list.txt", "a x\nb y\n")
    write_film(tmp_path / "clips/b.mp4", 0)
    write_text(tmp_path / "clips/a.mp4", "no film")
    bad, good = read_all(clips(tmp_path))
    assert bad.key == "a#0000"
    assert "a.mp4 cannot be read as video" in bad.reason
    assert good.key == "b#0000"


def test_listed_clips_reject_two_films_of_one_name_and_zero(tmp_path):
    write_text(tmp_path / "list.txt", "a x\n")
    for name in ("a.mp4", "b/a.avi"):
        write_film(tmp_path / "clips" / name, 0)
    with pytest.raises(ValueError, match=r"two files fit the clip 'a'"):
        clips(tmp_path).parts()
    with pytest.raises(ValueError, match="every=0 must be at least 1"):
        clips(tmp_path, every=0)
