"""glTF models: the same as another reader finds, what only the specification says, and damaged files."""

import json
import struct

import numpy as np
import pytest
from miniatures.rendered import Gltf, cuboid

from openlvm.sources.rendered.folder import Accepted
from openlvm.sources.rendered.gltf import read_gltf

TURN_Z = [0, 0, np.sin(np.pi / 4), np.cos(np.pi / 4)]  # by 90 degrees: x -> y


def read_model(model, tmp_path, **accepted):
    return read_gltf(model.write(tmp_path / "model.glb"), Accepted(**accepted))


def square(**options):
    """One square of four points from (0, 0, 0) to (1, 1, 0)."""
    model = Gltf()
    points = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    model.node(mesh=model.mesh(points, [[0, 1, 2], [0, 2, 3]], **options))
    return model


@pytest.mark.parametrize("ending", ["glb", "gltf"])
def test_scene_matches_trimesh(tmp_path, ending):
    trimesh = pytest.importorskip("trimesh", reason="trimesh is of the extra `render`")
    model = Gltf()
    points, triangles, normals = cuboid((1, 2, 3))
    mesh = model.mesh(points, triangles, NORMAL=normals, COLOR_0=np.tile(np.float32([1, 0, 0]), (24, 1)))
    child = model.node(root=False, mesh=mesh, translation=[5, 0, 0])
    matrix = np.eye(4)
    matrix[:3, :3] = np.random.default_rng(0).normal(size=(3, 3))
    leaf = model.node(root=False, mesh=mesh, matrix=matrix.T.reshape(-1).tolist())
    model.node(children=[child, leaf], rotation=TURN_Z, scale=[1, 2, 3], translation=[0, 0, 7])
    path = model.write(tmp_path / f"model.{ending}")
    pieces = read_gltf(path, Accepted())
    scene = trimesh.load_scene(path, process=False)
    expected = [scene.graph[name] for name in scene.graph.nodes_geometry]
    assert len(pieces) == len(expected) == 2
    corners = [piece.points[piece.triangles] for piece in pieces]
    for world, geometry in expected:
        other = scene.geometry[geometry]
        placed = trimesh.transform_points(other.vertices, world)[other.faces]
        assert min(np.abs(one - placed).max() for one in corners) < 1e-5
    np.testing.assert_array_equal(pieces[0].tints, [[255, 0, 0, 255]] * 24)


def test_nodes_translate_after_rotating_after_scaling(tmp_path):
    model = square()
    model.tree["nodes"][0] |= {"scale": [2, 1, 1], "rotation": TURN_Z, "translation": [10, 0, 0]}
    (piece,) = read_model(model, tmp_path)
    np.testing.assert_allclose(piece.points, [[10, 0, 0], [10, 2, 0], [9, 2, 0], [9, 0, 0]], atol=1e-7)


def test_only_the_models_scene_is_read_and_hidden_nodes_are_not(tmp_path):
    model = square()
    model.node(root=False, mesh=0, translation=[5, 5, 5])
    model.node(mesh=0, scale=[0, 0, 0])
    assert len(read_model(model, tmp_path)) == 1
    del model.tree["scenes"], model.tree["scene"]
    assert len(read_model(model, tmp_path)) == 2


def test_strips_fans_and_plain_lists_are_triangles_and_lines_are_nothing(tmp_path):
    for mode, expected in ((4, [[0, 1, 2]]), (5, [[0, 1, 2], [1, 2, 3]]), (6, [[0, 1, 2], [0, 2, 3]]), (1, None)):
        model = Gltf()
        model.node(mesh=model.mesh(np.eye(4)[:, :3]))
        model.tree["meshes"][0]["primitives"][0]["mode"] = mode
        pieces = read_model(model, tmp_path)
        assert [piece.triangles.tolist() for piece in pieces] == ([] if expected is None else [expected])


def test_numbers_may_be_interleaved_sparse_or_normalized(tmp_path):
    model = square()
    rows = np.zeros(4, [("position", "<f4", 3), ("uv", "<u2", 2)])
    rows["position"], rows["uv"] = np.arange(12).reshape(4, 3), [[0, 0], [65535, 0], [65535, 65535], [0, 65535]]
    view = model.view(rows.tobytes(), byteStride=16)
    place = {"bufferView": view, "count": 4}
    model.tree["accessors"] += [
        place | {"componentType": 5126, "type": "VEC3"},
        place | {"componentType": 5123, "type": "VEC2", "byteOffset": 12, "normalized": True},
        {"componentType": 5126, "type": "VEC3", "count": 4, "sparse": {
            "count": 2,
            "indices": {"bufferView": model.view(np.uint16([1, 3]).tobytes()), "componentType": 5123},
            "values": {"bufferView": model.view(np.float32([[0, 0, 1], [0, 1, 0]]).tobytes())},
        }},
    ]  # fmt: skip
    attributes = model.tree["meshes"][0]["primitives"][0]["attributes"]
    attributes |= {"POSITION": 2, "TEXCOORD_0": 3, "NORMAL": 4}
    (piece,) = read_model(model, tmp_path)
    np.testing.assert_array_equal(piece.points, np.arange(12).reshape(4, 3))
    np.testing.assert_array_equal(piece.uv, [[0, 0], [1, 0], [1, 1], [0, 1]])
    np.testing.assert_array_equal(piece.normals, [[0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]])


UV = np.float32([[0, 1], [1, 1], [1, 0], [0, 0]])
PIXELS = np.array([[[255, 0, 0, 255], [0, 255, 0, 100]], [[0, 0, 255, 150], [9, 9, 9, 0]]], np.uint8)


def textured(mode="OPAQUE", **place):
    model = square(TEXCOORD_0=UV, TEXCOORD_1=UV / 2)
    base = {"baseColorTexture": {"index": model.texture(PIXELS), **place}, "baseColorFactor": [0.5, 1, 1, 0.3]}
    model.tree["materials"] = [{"pbrMetallicRoughness": base, "alphaMode": mode}]
    model.tree["meshes"][0]["primitives"][0]["material"] = 0
    return model


@pytest.mark.parametrize(
    ("mode", "opacities", "opacity"),
    [("OPAQUE", [[255, 255], [255, 255]], 1.0), ("MASK", [[255, 0], [255, 0]], 0.3), ("BLEND", PIXELS[..., 3], 0.3)],
)
def test_texture_tint_and_opacity_follow_the_mode(tmp_path, mode, opacities, opacity):
    (piece,) = read_model(textured(mode), tmp_path)
    np.testing.assert_array_equal(piece.texture[..., :3], PIXELS[..., :3])
    np.testing.assert_array_equal(piece.texture[..., 3], opacities)
    np.testing.assert_array_equal(piece.tints[0], [188, 255, 255, 255 if mode == "OPAQUE" else 76])  # 0.5 in sRGB: 188
    assert piece.opacity == pytest.approx(opacity)
    np.testing.assert_array_equal(piece.uv, UV)


def test_texture_may_have_its_own_coordinates_moved(tmp_path):
    np.testing.assert_array_equal(read_model(textured(texCoord=1), tmp_path)[0].uv, UV / 2)
    moved = {"offset": [0.5, 0], "scale": [2, 1], "rotation": np.pi / 2}
    (piece,) = read_model(textured(extensions={"KHR_texture_transform": moved}), tmp_path)
    # the extension's matrix: translation x rotation x scale, with (u, v) turned to (v, -u) by 90 degrees
    np.testing.assert_allclose(piece.uv, np.stack([UV[:, 1] + 0.5, -2 * UV[:, 0]], axis=1), atol=1e-7)


def test_older_materials_have_a_diffuse_texture(tmp_path):
    model = textured()
    older = {"diffuseFactor": [1, 0, 0, 1], "diffuseTexture": {"index": 0}}
    model.tree["materials"][0] = {"extensions": {"KHR_materials_pbrSpecularGlossiness": older}}
    (piece,) = read_model(model, tmp_path)
    assert piece.texture.shape == (2, 2, 4)
    np.testing.assert_array_equal(piece.tints[0], [255, 0, 0, 255])


def test_pieces_of_one_texture_share_one_array(tmp_path):
    model = textured()
    model.node(mesh=0, translation=[3, 0, 0])
    first, second = read_model(model, tmp_path)
    assert first.texture is second.texture


def test_skinned_points_go_where_their_joints_are(tmp_path):
    joints, weights = (
        np.uint8([[0, 1, 0, 0]] * 4),
        np.float32([[1, 0, 0, 0], [0, 1, 0, 0], [0.5, 0.5, 0, 0], [1, 0, 0, 0]]),
    )
    model = square(JOINTS_0=joints, WEIGHTS_0=weights, NORMAL=np.float32([[1, 0, 0]] * 4))
    bind = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    bind[1, :3, 3] = [0, 0, -3]  # joint 1 stood at z = 3 when it was bound
    stored = bind.swapaxes(1, 2).reshape(2, 16)
    still = model.node(translation=[0, 0, 0])
    moved = model.node(translation=[0, 0, 4], rotation=TURN_Z)
    model.tree["skins"] = [{"joints": [still, moved], "inverseBindMatrices": model.accessor(stored)}]
    model.tree["nodes"][0] |= {"skin": 0, "translation": [100, 0, 0]}  # is ignored
    (piece,) = read_model(model, tmp_path)
    np.testing.assert_allclose(piece.points, [[0, 0, 0], [0, 1, 1], [0, 1, 0.5], [0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(piece.normals[:3], [[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]], atol=1e-6)


def broken(change):
    model = textured()
    change(model.tree)
    return model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree["accessors"][0].update(count=10**12), "the limit is"),
        (lambda tree: tree["accessors"][0].update(count=-1), "limit"),
        (lambda tree: tree["accessors"][0].update(count=5), "buffer"),
        (lambda tree: tree["accessors"][0].pop("bufferView"), "no data"),
        (lambda tree: tree["bufferViews"][0].update(byteLength=10**9), "ends at byte"),
        (lambda tree: tree["bufferViews"][0].update(byteStride=-12), "."),
        (lambda tree: tree["nodes"][0].update(children=[0]), "two parents"),
        (lambda tree: tree["nodes"][0].update(mesh=7), "IndexError"),
        (lambda tree: tree["nodes"][0].update(translation=[float("nan"), 0, 0]), "not finite"),
        (lambda tree: tree.update(extensionsRequired=["KHR_draco_mesh_compression"]), "KHR_draco.* is not read"),
        (lambda tree: tree["asset"].update(version="1.0"), "version 1.0"),
        (lambda tree: tree["images"][0].update(bufferView=0), "not a picture"),
        (lambda tree: tree.update(images=[{"uri": "../a.png"}]), "not in its folder"),
    ],
)  # fmt: skip
def test_damaged_models_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read_model(broken(change), tmp_path)


def test_corners_beyond_the_points_and_too_many_triangles_are_refused(tmp_path):
    for corners, wrong in ((np.uint16([0, 1, 3]), 3), (np.int8([0, 1, -1]), -1)):
        model = Gltf()
        model.node(mesh=model.mesh(np.eye(3)))
        model.tree["meshes"][0]["primitives"][0]["indices"] = model.accessor(corners)
        with pytest.raises(ValueError, match=f"corner {wrong} of 3 points"):
            read_model(model, tmp_path)
    model = square()
    for _ in range(3):
        model.node(mesh=0)
    with pytest.raises(ValueError, match="8 triangles or more; the limit is 7"):
        read_model(model, tmp_path, triangles=7)
    model = square(NORMAL=np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match=r"\[3, 4\] in number"):
        read_model(model, tmp_path)
    model = Gltf()
    for _ in range(3):  # thirty points and one triangle
        model.node(mesh=model.mesh(np.zeros((30, 3)), [[0, 1, 2]]))
    with pytest.raises(ValueError, match="20 triangles or more; the limit is 15"):
        read_model(model, tmp_path, triangles=15)


def test_lost_textures_are_refused_or_drawn_plain(tmp_path):
    model = textured()
    model.tree["images"] = [{"uri": "missing.png"}]
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        read_model(model, tmp_path)
    (piece,) = read_model(model, tmp_path, lost_textures="gray")
    assert piece.texture is None


def test_a_file_cut_off_anywhere_or_with_wrong_bytes_is_refused_in_words(tmp_path):
    whole = textured().glb()
    path = tmp_path / "model.glb"
    chance = np.random.default_rng(0)
    refused = 0
    for number in range(400):
        data = bytearray(whole)
        if number < 200:
            data = data[: chance.integers(0, len(whole) - 60)]
        else:
            (text_length,) = struct.unpack_from("<I", whole, 12)
            for place in chance.integers(20, 20 + text_length, 3):
                data[place] = chance.integers(32, 127)
        path.write_bytes(data)
        try:
            read_gltf(path, Accepted())
        except (ValueError, FileNotFoundError):
            refused += 1
    assert refused > 300  # a changed letter of a name that nobody reads does no harm


def test_deeply_nested_json_is_refused(tmp_path):
    path = tmp_path / "model.gltf"
    path.write_text('{"asset": ' + "[" * 200_000)
    with pytest.raises(ValueError, match="damaged"):
        read_gltf(path, Accepted())
    path.write_text(json.dumps([1, 2]))
    with pytest.raises(ValueError, match="damaged"):
        read_gltf(path, Accepted())
