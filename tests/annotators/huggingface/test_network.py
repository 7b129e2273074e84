"""Networks load from folders and from the hub's cache, without pickles, foreign code or random weights."""

import json
import shutil
import sys

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from openlvm.annotators.load import load_annotator
from openlvm.core.files import sha256_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def copied(network_at, tmp_path):
    """A DPT's folder that a test may damage."""
    return shutil.copytree(network_at("dpt"), tmp_path / "dpt")


def test_a_folder_is_described_by_the_digests_of_its_files(network_at, copied):
    told = load_annotator(f"depth=hf:{copied}").describe()
    assert told["slot"] == "depth" and told["kind"] == "hf" and told["name"] == "dpt"
    assert told["files"] == {path.name: sha256_of(path) for path in sorted(copied.iterdir())}
    assert set(told["files"]) == {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert told["library"].startswith("transformers 5") and told["precision"] == "float32"
    assert json.loads(json.dumps(told)) == told and str(copied) not in json.dumps(told)
    weights = load_file(copied / "model.safetensors")
    first = sorted(weights)[0]
    save_file({**weights, first: weights[first] + 1}, copied / "model.safetensors", metadata={"format": "pt"})
    changed = load_annotator(f"depth=hf:{copied}")
    assert changed.version != told["version"] == load_annotator(f"depth=hf:{network_at('dpt')}").version


def test_a_name_is_found_in_the_cache_by_revision(network_at, images, tmp_path, monkeypatch):
    from huggingface_hub import constants

    repository = tmp_path / "models--owner--tiny"
    shutil.copytree(network_at("dpt"), repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for words in ("depth=hf:owner/tiny", "depth=hf:owner/tiny@main", f"depth=hf:owner/tiny@{COMMIT}"):
        annotator = load_annotator(words)
        assert (annotator.name, annotator.version) == ("owner/tiny", COMMIT)
    local = load_annotator(f"depth=hf:{network_at('dpt')}")
    assert (annotator.annotate(images)[0].meters == local.annotate(images)[0].meters).all()
    with pytest.raises(
        FileNotFoundError, match="owner/other is no folder here, not in the cache of Hugging Face"
    ) as error:
        load_annotator("depth=hf:owner/other")
    assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="owner/tiny@v2 is no folder here"):
        load_annotator("depth=hf:owner/tiny@v2")


def test_no_such_folder_is_told(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(FileNotFoundError, match="give a folder of a network, or its name on the hub: owner/name"):
        load_annotator(f"depth=hf:{tmp_path / 'absent'}")
    with pytest.raises(FileNotFoundError, match="no configuration of a network at"):
        load_annotator(f"depth=hf:{tmp_path}")


def test_pickles_are_not_read(copied):
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"dpt has no model.safetensors \(it has pytorch_model.bin\); pickles are not"):
        load_annotator(f"depth=hf:{copied}")


def test_code_beside_a_network_is_not_run(copied, tmp_path):
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Trap: pass\n"
    (copied / "trap.py").write_text(trap)
    for name, entry in (
        ("config.json", "AutoModelForDepthEstimation"),
        ("preprocessor_config.json", "AutoImageProcessor"),
    ):
        said = json.loads((copied / name).read_text())
        (copied / name).write_text(json.dumps({**said, "auto_map": {entry: "trap.Trap"}}))
    load_annotator(f"depth=hf:{copied}")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_that_leaves_weights_at_random_is_rejected(copied):
    weights = load_file(copied / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("head.")}
    assert 0 < len(kept) < len(weights)
    save_file(kept, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=rf"dpt lacks {len(weights) - len(kept)} weights of DPTForDepthEstimation \(head"
    ):
        load_annotator(f"depth=hf:{copied}")


def test_a_checkpoint_that_lacks_weights_of_no_consequence_loads(copied, network_at, images):
    """As Intel/dpt-large: the first layer of fusion has nothing to add a residual to."""
    weights = load_file(copied / "model.safetensors")
    unused = "neck.fusion_stage.layers.0.residual_layer1."
    kept = {name: value for name, value in weights.items() if not name.startswith(unused)}
    assert len(weights) - len(kept) == 4
    save_file(kept, copied / "model.safetensors", metadata={"format": "pt"})
    some, whole = (load_annotator(f"depth=hf:{at}") for at in (copied, network_at("dpt")))
    for one, other in zip(some.annotate(images), whole.annotate(images), strict=True):
        np.testing.assert_array_equal(one.meters, other.meters)


@pytest.mark.parametrize(
    ("name", "words", "lost"),
    [
        ("vitpose", "pose=hf:", "head.conv.weight"),
        ("mask2former", "segmentation=hf:", "class_predictor.weight"),
        ("yolos", "boxes=hf:", "bbox_predictor.layers.2.bias"),
        ("segformer", "segmentation=hf:", "decode_head.batch_norm.running_mean"),
    ],
)
def test_one_weight_that_is_lost_is_noticed(name, words, lost, network_at, tmp_path):
    at = shutil.copytree(network_at(name), tmp_path / name)
    weights = load_file(at / "model.safetensors")
    del weights[lost]
    save_file(weights, at / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{name} lacks 1 weights of .*{lost}"):
        load_annotator(f"{words}{at}")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda at: (at / "model.safetensors").write_bytes(b"\x08" + bytes(20)), "dpt cannot be loaded for slot depth"),
        (lambda at: (at / "preprocessor_config.json").unlink(), "dpt cannot be loaded for slot depth"),
        (lambda at: (at / "config.json").write_text("{"), "not a readable configuration of a network"),
        (lambda at: (at / "config.json").write_text("[]"), "no architecture for slot depth called ''"),
    ],
)
def test_damaged_files_are_told_in_one_line(copied, damage, told):
    damage(copied)
    with pytest.raises(ValueError, match=told) as error:
        load_annotator(f"depth=hf:{copied}")
    assert "\n" not in str(error.value)


def test_a_network_for_another_slot_is_rejected(network_at):
    with pytest.raises(
        ValueError, match="no architecture for slot depth called 'segformer'; known: depth_anything, dpt"
    ):
        load_annotator(f"depth=hf:{network_at('segformer')}")
    with pytest.raises(ValueError, match="no slot that hf can make called 'flow'"):
        load_annotator("flow=hf:x")
    with pytest.raises(ValueError, match="no kind of annotator called 'hub'; known: depth, hed, hf, mediapipe"):
        load_annotator("depth=hub:x")
    with pytest.raises(ValueError, match="no precision called 'float16'"):
        load_annotator(f"depth=hf:{network_at('dpt')}", precision="float16")


def test_without_transformers_the_extra_is_named(monkeypatch, network_at):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"need transformers: pip install openlvm\[annotators\]"):
        load_annotator(f"depth=hf:{network_at('dpt')}")
