"""Folders of models become records of one turn; Objaverse's folder is read as its loader leaves it."""

import json
import pickle

import numpy as np
import pytest
from miniatures.rendered import (
    OBJAVERSE,
    Gltf,
    colored_cuboid,
    renderer_or_skip,
    seen_of_cuboid,
    write_obj,
    write_objaverse,
)

from openlvm.core.records import BadRecord, Record
from openlvm.sources.rendered.camera import FOV_DEGREES, drawn_turn
from openlvm.sources.rendered.folder import Accepted
from openlvm.sources.rendered.meshes import RenderedMeshes, read_model

pytest.importorskip("moderngl", reason="moderngl is of the extra `render`")
pytest.importorskip("trimesh", reason="trimesh is of the extra `render`")
SIZE = 64


@pytest.fixture(scope="module", autouse=True)
def _egl():
    renderer_or_skip(8, 40)


@pytest.fixture(scope="module")
def objaverse(tmp_path_factory):
    return write_objaverse(tmp_path_factory.mktemp("objaverse"))


def lists(at, **options):
    chosen = {"categories": "lvis-annotations.json.gz", "objects": "object-paths.json.gz", "size": SIZE} | options
    return RenderedMeshes(at=at, **chosen)


def read_all(source):
    return [record for part in source.parts() for record in source.read(part)]


def test_objaverse_gives_a_turn_of_each_object_with_its_category(objaverse):
    records = read_all(lists(objaverse))
    assert {record.key: record.label for record in records} == {name: row[1] for name, row in OBJAVERSE.items()}
    for record in records:
        assert list(record.slots) == ["image", "mask", "depth", "normals", "parts"] and record.num_frames == 24
        half = np.array(OBJAVERSE[record.key][2])
        half = half / np.linalg.norm(half) / 2  # in a sphere of diameter 1
        cameras = drawn_turn(0, record.key).cameras(24, 15.0)
        for frame in (0, 5, 17):
            expected = seen_of_cuboid(half, cameras[frame], SIZE, FOV_DEGREES)
            mask = record.slots["mask"][frame].ids
            assert mask.dtype == np.int32 and ((expected["depth"] > 0) != (mask == 1)).mean() < 0.02
            both = (expected["depth"] > 0) & (mask == 1)
            assert np.median(np.abs(record.slots["depth"][frame].meters - expected["depth"])[both]) < 1e-5
            flat = (record.slots["normals"][frame].vectors * expected["normals"]).sum(-1)[both]
            assert np.median(flat) > 0.99999
            np.testing.assert_array_equal(record.slots["parts"][frame].ids, mask)
            image = record.slots["image"][frame]
            assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8 and (image[0] == 255).all()
        front = record.slots["image"][0][record.slots["mask"][0].ids == 1].mean(0)
        assert front.argmax() == list(OBJAVERSE).index(record.key)  # red, green, blue


def test_objaverse_without_lists_takes_what_lies_there(objaverse):
    source = RenderedMeshes(at=objaverse, annotations=("depth",), views=2, size=16)
    assert source.slots == ("image", "depth")
    assert {record.key: record.label for record in read_all(source)} == {
        f"glbs/{folder}/{name}": f"glbs/{folder}" for name, (folder, _, _) in OBJAVERSE.items()
    }


def test_missing_and_damaged_objects_are_bad_records_by_key(tmp_path):
    at = write_objaverse(tmp_path)
    first, second, third = OBJAVERSE
    (at / "glbs/000-023" / f"{first}.glb").rename(at / "glbs/000-023/renamed.glb")
    path = at / "glbs/000-023" / f"{second}.glb"
    path.write_bytes(path.read_bytes()[:-100])
    records = {record.key: record for record in read_all(lists(at, views=1))}
    assert isinstance(records[first], BadRecord) and "no model at" in records[first].reason
    assert isinstance(records[second], BadRecord) and str(path) in records[second].reason
    assert isinstance(records[third], Record)


def test_limits_make_bad_records(objaverse):
    for options, message in (
        ({"max_bytes": 1000}, "the limit is 1,000"),
        ({"max_triangles": 11}, "the limit is 33"),
    ):
        records = read_all(lists(objaverse, views=1, **options))
        assert len(records) == 3 and all(isinstance(record, BadRecord) for record in records)
        assert message in records[0].reason


def test_models_without_anything_to_draw_are_refused(tmp_path):
    empty = Gltf()
    empty.node()
    with pytest.raises(ValueError, match="no triangles"):
        read_model(empty.write(tmp_path / "empty.glb"), Accepted())
    (tmp_path / "model.stl").write_text("")
    with pytest.raises(ValueError, match="no kind of model called '.stl'"):
        read_model(tmp_path / "model.stl", Accepted())
    with pytest.raises(FileNotFoundError, match="no model at"):
        read_model(tmp_path / "gone.glb", Accepted())


def test_folders_are_labels_and_all_kinds_are_read(tmp_path):
    colored_cuboid((1, 1, 1), (1, 0, 0)).write(tmp_path / "box/red.glb")
    colored_cuboid((1, 1, 1), (0, 1, 0)).write(tmp_path / "box/green.gltf")
    write_obj(tmp_path / "flat/square.obj", texture=np.full((4, 4, 3), 200, np.uint8))
    records = read_all(RenderedMeshes(at=tmp_path, views=2, size=16))
    assert [(record.key, record.label) for record in records] == [
        ("box/green", "box"), ("box/red", "box"), ("flat/square", "flat"),
    ]  # fmt: skip
    assert all(isinstance(record, Record) for record in records)


def test_lost_textures_are_reported_or_drawn_plain(tmp_path):
    write_obj(tmp_path / "square.obj").with_suffix(".mtl").unlink()
    (bad,) = read_all(RenderedMeshes(at=tmp_path, views=1, size=16))
    assert isinstance(bad, BadRecord) and "square.mtl" in bad.reason
    (good,) = read_all(RenderedMeshes(at=tmp_path, views=1, size=16, lost_textures="gray"))
    assert isinstance(good, Record)


def test_two_models_of_one_key_and_broken_lists_are_refused(tmp_path):
    colored_cuboid((1, 1, 1), (1, 0, 0)).write(tmp_path / "a/one.glb")
    colored_cuboid((1, 1, 1), (1, 0, 0)).write(tmp_path / "b/one.glb")
    assert len(RenderedMeshes(at=tmp_path).parts()[0].items) == 2
    (tmp_path / "categories.json").write_text('{"box": ["one"]}')
    with pytest.raises(ValueError, match=r"two models claim the key 'one': a/one\.glb and b/one\.glb"):
        RenderedMeshes(at=tmp_path, categories="categories.json").parts()
    for content, message in (
        ("[1]", "must hold"),
        ('{"one": "../one.glb"}', "leads out of the folder for 'one'"),
        ("{", "cannot"),
    ):
        (tmp_path / "objects.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            RenderedMeshes(at=tmp_path, objects="objects.json").parts()
    (tmp_path / "objects.json.gz").write_bytes(b"\x1f\x8b\x08 cut")
    with pytest.raises(ValueError, match="cannot be read"):
        RenderedMeshes(at=tmp_path, objects="objects.json.gz").parts()
    with pytest.raises(FileNotFoundError, match="no list of objects"):
        RenderedMeshes(at=tmp_path / "a", categories="gone.json").parts()


def test_shares_part_the_objects_without_overlap(tmp_path):
    paths = {f"object{number}": f"{number}.glb" for number in range(1000)}
    (tmp_path / "objects.json").write_text(json.dumps(paths))
    keys = {}
    for share in ((0.0, 0.84), (0.84, 1.0)):
        source = RenderedMeshes(at=tmp_path, objects="objects.json", share=share)
        keys[share] = {item.split("//")[0] for part in source.parts() for item in part.items}
    train, heldout = keys.values()
    assert train | heldout == set(paths) and not train & heldout
    assert abs(len(heldout) - 160) < 40


def test_source_repeats_to_the_byte_travels_and_describes_itself(objaverse):
    source = lists(objaverse, views=3, records_per_part=2)
    twin = pickle.loads(pickle.dumps(source))
    assert (
        twin == source
        and twin.parts() == source.parts()
        and [part.name for part in source.parts()] == ["00000", "00001"]
    )
    for one, other in zip(read_all(source), read_all(twin), strict=True):
        for slot in source.slots:
            for a, b in zip(one.slots[slot], other.slots[slot], strict=True):
                arrays = [
                    value if isinstance(value, np.ndarray) else next(iter(vars(value).values())) for value in (a, b)
                ]
                np.testing.assert_array_equal(*arrays)
    described = source.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["layout"] == "meshes" and "at" not in described
    other = read_all(lists(objaverse, views=3, turn_seed=1))
    assert any((a.slots["image"][0] != b.slots["image"][0]).any() for a, b in zip(other, read_all(source), strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, "views=0"),
        ({"annotations": ("deep",)}, "did you mean depth"),
        ({"distance": (0.4, 2.0)}, "distance"),
        ({"elevation": (45.0, -45.0)}, "elevation"),
        ({"share": (0.5, 0.5)}, "share"),
        ({"fov_degrees": 180.0}, "fov_degrees"),
        ({"background": 256}, "background"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        RenderedMeshes(at=tmp_path, **options)


def test_missing_extra_is_an_error_that_names_it(objaverse, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "moderngl", None)
    with pytest.raises(ImportError, match=r"pip install openlvm\[render\]"):
        lists(objaverse).parts()


def test_options_are_flags_of_the_command_line(capsys):
    from openlvm.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main(["tokenize", "meshes", "--help"])
    assert not ended.value.code
    assert "--turn-seed" in capsys.readouterr().out
