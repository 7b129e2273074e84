"""Video files become clips, decoded one record at a time."""

import pickle
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from openlvm.core.records import BadRecord, Record
from openlvm.sources import video
from openlvm.sources.video import VideoFiles, decode, decode_at, shrink

av = pytest.importorskip("av", reason="PyAV is the extra `video`")


def write_video(path, num_frames, height=48, width=64, **options):
    """Frames whose gray value is ten times their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", 4
        for number in range(num_frames):
            pixels = np.full((height, width, 3), number * 10, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def read_all(source):
    return [record for part in source.parts() for record in source.read(part)]


def numbers(record):
    return [round(float(frame.mean()) / 10) for frame in record.slots["image"]]


def test_videos_are_cut_into_records_that_hold_every_frame_once(tmp_path):
    write_video(tmp_path / "surf/wave2.mp4", 7)
    write_video(tmp_path / "surf/wave10.mp4", 6)
    source = VideoFiles(at=tmp_path, frames_per_record=3)
    assert [part.items for part in source.parts()] == [("surf/wave2.mp4", "surf/wave10.mp4")]
    records = read_all(source)
    assert [(record.key, record.label, numbers(record)) for record in records] == [
        ("surf/wave2.mp4#0000", "surf", [0, 1, 2]),
        ("surf/wave2.mp4#0001", "surf", [3, 4, 5]),
        ("surf/wave2.mp4#0002", "surf", [6]),
        ("surf/wave10.mp4#0000", "surf", [0, 1, 2]),
        ("surf/wave10.mp4#0001", "surf", [3, 4, 5]),
    ]
    assert pickle.loads(pickle.dumps(source)) == source
    assert source.slots == ("image",)
    assert source.describe()["layout"] == "videos"


def test_videos_keep_every_nth_frame_and_shrink(tmp_path):
    write_video(tmp_path / "a.mp4", 9)
    (record,) = read_all(VideoFiles(at=tmp_path, every=4, short_side=24))
    assert numbers(record) == [0, 4, 8]
    assert {frame.shape for frame in record.slots["image"]} == {(24, 32, 3)}
    assert {frame.dtype for frame in record.slots["image"]} == {np.dtype(np.uint8)}


def test_videos_decode_only_what_is_asked_for(tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", 12)
    seen = []
    monkeypatch.setattr(video, "shrink", lambda frame, short_side: seen.append(1) or shrink(frame, short_side))
    source = VideoFiles(at=tmp_path, frames_per_record=3)
    records = source.read(source.parts()[0])
    next(records)
    assert len(seen) == 3


def test_videos_are_upright():
    turned = next(decode_turned())
    assert turned.size == (3, 2)
    np.testing.assert_array_equal(np.asarray(turned)[:, 0, 0], [255, 0])


def decode_turned():
    """A frame that its file says to turn by 90 degrees counterclockwise, through the same decoder."""

    class Frame:
        rotation = 90

        def to_image(self):
            from PIL import Image

            pixels = np.zeros((3, 2, 3), np.uint8)
            pixels[0, 1] = 255  # top right goes to top left
            return Image.fromarray(pixels)

    class Stream:
        width, height, frames = 2, 3, 1

    class Container:
        class streams:
            video = [Stream]

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def decode(self, stream):
            yield Frame()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(av, "open", lambda path: Container())
        yield from decode("turned.mp4")


def test_decode_at_gives_the_frame_nearest_to_each_time(tmp_path):
    write_video(tmp_path / "a.mp4", 20)  # 10 frames a second, a key frame every 4

    def shown(*seconds):
        return [round(np.asarray(frame).mean() / 10) for frame in decode_at(tmp_path / "a.mp4", seconds)]

    assert shown(0, 0.5, 1.9) == [0, 5, 19]
    assert shown(1.34, 1.36, 1.36, 1.44) == [13, 14, 14, 14]
    assert shown(1.1) == [11]
    assert shown() == []
    with pytest.raises(ValueError, match=r"a\.mp4 cannot be read as video: it ends before 2\.5 s"):
        shown(1, 2.5)


def test_decode_at_decodes_nothing_long_before_the_first_time(tmp_path, monkeypatch):
    write_video(tmp_path / "a.mp4", 25)  # a key frame every 4
    seen = []
    real = video.opened_video

    class Counted:
        def __init__(self, container):
            self.container = container
            self.seek = container.seek

        def decode(self, stream):
            for frame in self.container.decode(stream):
                seen.append(round(frame.time, 2))
                yield frame

    @contextmanager
    def counting(path, max_pixels):
        with real(path, max_pixels) as (container, stream):
            yield Counted(container), stream

    monkeypatch.setattr(video, "opened_video", counting)
    frames = decode_at(tmp_path / "a.mp4", [1.7, 1.8])
    next(frames)
    assert seen[-1] == 1.7
    assert len(seen) <= 4  # from a key frame on


def test_videos_cut_off_keep_whole_records_and_report_the_rest(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, 20, height=240, width=320, movflags="faststart")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.75)])
    *good, bad = read_all(VideoFiles(at=tmp_path, frames_per_record=4))
    assert good
    assert [numbers(record) for record in good] == [list(range(n * 4, n * 4 + 4)) for n in range(len(good))]
    assert isinstance(bad, BadRecord)
    assert bad.key == f"a.mp4#{len(good):04d}"
    assert "a.mp4 cannot be read as video" in bad.reason


def test_videos_report_what_is_no_video_and_go_on(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    (tmp_path / "b.mp4").touch()
    write_video(tmp_path / "c.mp4", 2)
    a, b, c, *more = read_all(VideoFiles(at=tmp_path))
    assert not more
    assert isinstance(a, BadRecord)
    assert isinstance(b, BadRecord)
    assert "a.mp4 cannot be read as video" in a.reason
    assert isinstance(c, Record)
    *_, large = read_all(VideoFiles(at=tmp_path, max_pixels=100))
    assert "frames of 64 x 48 pixels; the limit is 100" in large.reason


def test_videos_report_any_error_of_the_decoder(tmp_path, monkeypatch):
    def end(path):
        raise av.error.EOFError(541478725, "End of file")  # neither an OSError nor a ValueError

    write_video(tmp_path / "a.mp4", 1)
    monkeypatch.setattr(av, "open", end)
    (bad,) = read_all(VideoFiles(at=tmp_path))
    assert "a.mp4 cannot be read as video" in bad.reason


def test_videos_report_sound_without_pictures(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (bad,) = read_all(VideoFiles(at=tmp_path))
    assert "it has no video stream" in bad.reason


def test_videos_rejects_missing_pyav(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").touch()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"reading video needs PyAV: pip install openlvm\[video\]"):
        VideoFiles(at=tmp_path).parts()


def test_videos_rejects_missing_folder_and_zero(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*lost; expected videos there"):
        VideoFiles(at=tmp_path / "lost").parts()
    with pytest.raises(ValueError, match="every=0 must be at least 1"):
        VideoFiles(at=tmp_path, every=0)
