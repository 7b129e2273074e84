"""`import openlvm` is cheap, and its names are there when they are asked for."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import openlvm

ROOT = Path(openlvm.__file__).parents[1]


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_import_takes_no_torch():
    loaded = python(
        "import sys, openlvm;"
        "heavy = {'torch', 'numpy', 'PIL', 'safetensors', 'transformers'} & set(sys.modules);"
        "print(sorted(heavy), 'LVM' in dir(openlvm))"
    )
    assert loaded == "[] True"


def test_exports_are_the_functions_and_classes_themselves():
    from openlvm import LVM, Sampling, load_decoder, load_tokenizer
    from openlvm.model import folder as model_folder
    from openlvm.prompting import lvm, sampling
    from openlvm.tokenizer import folder

    assert (LVM, Sampling) == (lvm.LVM, sampling.Sampling)
    assert (load_decoder, load_tokenizer) == (model_folder.load_decoder, folder.load_tokenizer)
    assert set(openlvm.__all__) <= set(dir(openlvm))
    assert re.fullmatch(r"\d+\.\d+\.\d+", openlvm.__version__)


def test_package_never_imports_transformers():
    code = "import sys, openlvm.prompting.lvm; print('transformers' in sys.modules)"
    assert python(code) == "False"


def test_package_rejects_unknown_names():
    with pytest.raises(AttributeError, match="module 'openlvm' has no attribute 'LMV'"):
        openlvm.LMV  # noqa: B018
