"""Files of weights: what fits is read, everything else is refused in one line."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from openlvm.perceptual.weights import fit, read_tensors


class Touch:
    """Unpickled, it would write a file."""

    def __init__(self, at):
        self.at = at

    def __reduce__(self):
        return open, (str(self.at), "w")


def test_both_formats_give_the_same_tensors(tmp_path):
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    torch.save(tensors, tmp_path / "w.pth")
    save_file(tensors, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        read = read_tensors(tmp_path / name, "weights")
        assert {key: value.tolist() for key, value in read.items()} == {k: v.tolist() for k, v in tensors.items()}


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": Touch(tmp_path / "touched")}, protocol=2))
    torch.save({"a": Touch(tmp_path / "touched")}, tmp_path / "zip.pth")
    for name in ("w.pth", "zip.pth"):
        with pytest.raises(ValueError, match="could run code") as caught:
            read_tensors(tmp_path / name, "weights")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 cut off"])
def test_damaged_files_are_refused_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name) as caught:
        read_tensors(tmp_path / name, "weights")
    assert "\n" not in str(caught.value)


def test_what_is_no_dictionary_of_tensors_is_refused(tmp_path):
    torch.save({"state": {"a": torch.ones(1)}}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="no dictionary of tensors"):
        read_tensors(tmp_path / "w.pth", "weights")
    with pytest.raises(FileNotFoundError, match="no file with weights at"):
        read_tensors(tmp_path / "none.pth", "weights")


def test_fit_names_what_is_missing_extra_or_of_another_shape():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = {name: value.half() for name, value in module.state_dict().items() if "num_batches" not in name}
    fit(module, state, "f", "w")
    assert module[0].weight.dtype == torch.float32
    odd = {f"odd{number}": torch.ones(1) for number in range(7)}
    rest = {name: value for name, value in state.items() if name != "0.bias"}
    with pytest.raises(
        ValueError, match=r"1 missing \(0.bias\), 7 not expected \(odd0, odd1, odd2, odd3, odd4, \.\.\."
    ):
        fit(module, {**rest, **odd}, "f", "w")
    with pytest.raises(ValueError, match=r"0.bias has shape \[2\], expected \[3\]"):
        fit(module, {**state, "0.bias": torch.ones(2)}, "f", "w")
