"""`openlvm serve`: a command that serves until it is told to stop, and what it refuses before it begins."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from openlvm.cli.main import main
from openlvm.cli.serve import names_of
from openlvm.serving import server
from openlvm.serving.client import Client, ServerError

SECONDS = 60


def test_options_reach_the_server(monkeypatch, lvm_at):
    served = {}
    monkeypatch.setattr(server, "serve", lambda lvms, **how: served.update(how, lvms=lvms))
    monkeypatch.setenv("OPENLVM_TOKEN", "from-the-environment")
    words = ["serve", "--lvm", str(lvm_at), "--host", "0.0.0.0", "--port", "0", "--max-body-mb", "5", "--rate", "2"]
    assert main(words) == 0
    assert list(served["lvms"]) == ["lvm"] and served["token"] == "from-the-environment"
    assert (served["host"], served["port"], served["open_to_all"]) == ("0.0.0.0", 0, False)
    assert served["limits"] == server.Limits(max_body_mb=5, rate=2)
    assert main([*words, "--token", "from-the-command"]) == 0 and served["token"] == "from-the-command"


def test_exposure_without_a_token_is_rejected_before_weights_are_read(openlvm_error, monkeypatch, tmp_path):
    monkeypatch.delenv("OPENLVM_TOKEN", raising=False)
    told = openlvm_error("serve", "--lvm", tmp_path / "nowhere", "--host", "0.0.0.0")
    assert "can be reached from other machines" in told


def test_bad_options_are_rejected(openlvm_error, tmp_path):
    assert "rate=0.0 must be above 0" in openlvm_error("serve", "--rate", 0)
    assert "nowhere" in openlvm_error("serve", "--lvm", tmp_path / "nowhere")
    assert "both called lvm" in openlvm_error("serve", "--lvm", tmp_path / "a/lvm", tmp_path / "b/lvm")


def test_names_are_the_last_parts_of_places():
    assert names_of(["mini", "runs/fitted", "/models/big/"]) == {
        "mini": "mini",
        "fitted": "runs/fitted",
        "big": "/models/big/",
    }
    with pytest.raises(ValueError, match="runs/mini would be called mini, as an LVM that ships is; rename the folder"):
        names_of(["runs/mini"])  # the call that the page prints would load the other one
    with pytest.raises(ValueError, match="at least one LVM"):
        names_of([])


def test_the_command_serves_until_it_is_told_to_stop(lvm_at):
    command = [sys.executable, "-m", "openlvm", "serve", "--lvm", str(lvm_at), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ, OPENLVM_TOKEN="t" * 12))
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"openlvm serves lvm at (http://127.0.0.1:\d+) ", line)
        assert found, line
        with pytest.raises(ServerError, match="401"):
            Client(found[1]).models()
        client = Client(found[1], token="t" * 12)
        assert client.models()[0]["name"] == "lvm"
        gray = np.full((16, 16, 3), 128, np.uint8)
        assert client.complete([gray, gray], num_frames=2).images.shape == (1, 2, 16, 16, 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        log = process.stderr.read()
        assert "/v1/complete 200" in log and "Traceback" not in log and "t" * 12 not in log
    finally:
        process.kill()
