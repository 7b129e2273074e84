"""The OpenAPI description is what the server does: Schemathesis asks all that it allows, and much that it forbids."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from openlvm.serving.http import wire

TESTS = Path(__file__).parents[1]
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 408, 413, 415, 422, 429] # its own list has no 413
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("token", [None, "a-long-enough-token"])
def test_schemathesis_finds_nothing(serving, tmp_path, token):
    pytest.importorskip("schemathesis")
    server = serving(token=token, rate=1e6, burst=10**6, max_drawn=32)  # hundreds of frames would take minutes
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("--config-file", "schemathesis.toml"),
        *("run", f"{server.url}/openapi.json", "--checks", "all", "--phases", "examples,coverage,fuzzing"),
        *("--exclude-checks", "positive_data_acceptance"),  # may still not fit the context of an LVM, or be no picture
        *("--max-examples", "10", "--seed", "1", "--no-color"),
        *(("--header", f"Authorization: Bearer {token}") if token else ()),
    ]
    paths = os.pathsep.join([str(TESTS), str(TESTS / "serving")])
    settings = os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": paths}
    found = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=380)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert "8 selected / 8 total" in found.stdout
    assert server.service.requests.taken == 0


def test_description_names_every_verb_and_status(server):
    import json
    import urllib.request

    told = json.load(urllib.request.urlopen(f"{server.url}/openapi.json"))
    assert set(told["paths"]) == {f"/v1/{name}" for name in (*wire.VERBS, "models", "health", "metrics")}
    for verb in wire.VERBS:
        operation = told["paths"][f"/v1/{verb}"]["post"]
        assert set(operation["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
        assert {"200", "400", "401", "408", "413", "415", "422", "429", "500", "503"} <= set(operation["responses"])
    refs = json.dumps(told).split('"$ref": "#/components/schemas/')[1:]
    assert {ref.split('"')[0] for ref in refs} == set(told["components"]["schemas"])
