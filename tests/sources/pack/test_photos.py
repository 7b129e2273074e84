"""Photographs and films of the sample pack."""

from openlvm.sources.pack import PackClips, PackPhotos
from openlvm.sources.pack.files import open_pack


def test_clips_cover_every_frame_once():
    for clip in open_pack().entries("clips", "train").values():
        records = [r for part in PackClips(frames_per_record=16).parts() for r in PackClips().read(part)]
        lengths = [record.num_frames for record in records if record.label == clip["name"]]
        assert sum(lengths) == clip["frames"] and max(lengths) <= 16


def test_photos_vary():
    source = PackPhotos("heldout")
    photos = [record for part in source.parts() for record in source.read(part)]
    assert len({record.label for record in photos}) >= 3
    assert min(record.slots["image"][0].mean(-1).std() for record in photos) > 12
