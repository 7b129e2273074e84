"""Pictures, and verbs run as from the command line: what tests of verbs share."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from openlvm.cli.main import main
from openlvm.core.images import write_image


@pytest.fixture
def pictures(tmp_path):
    """A folder of six pictures, a.png to f.png, 20 x 16 pixels of one color each."""
    folder = tmp_path / "pictures"
    for number, name in enumerate("abcdef"):
        pixels = np.full((20, 16, 3), 40 * number, dtype=np.uint8)
        write_image(folder / f"{name}.png", pixels)
    return folder


@pytest.fixture
def openlvm_json(capsys):
    """Run a verb with --json; its result."""

    def run(*words):
        status = main([*map(str, words), "--json"])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return json.loads(printed.out)

    return run


@pytest.fixture
def openlvm_error(capsys):
    """Run a verb that must fail: exit status 2, nothing on stdout, one line on stderr, which is given back."""

    def run(*words):
        status = main([*map(str, words)])
        printed = capsys.readouterr()
        assert status == 2
        assert printed.out == ""
        assert printed.err.startswith("openlvm: error: ")
        assert printed.err.count("\n") == 1
        return printed.err.strip()

    return run


@pytest.fixture
def by_torchrun():
    """Run a verb in two processes of torchrun's: nothing in common but their environment."""

    def run(*words):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run([*torchrun, "openlvm", *map(str, words)], capture_output=True, env=environment, text=True)

    return run
