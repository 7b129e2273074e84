"""What deploy/ and docs/serving.md tell the command is what it understands."""

import re
import shlex
from pathlib import Path

import pytest

from openlvm.cli.command import parse
from openlvm.cli.serve import TOKEN, Serve
from openlvm.serving.http.wire import MOST_MARKS
from openlvm.serving.limits import Limits

ROOT = Path(__file__).parents[2]


def dockerfile() -> list[str]:
    text = (ROOT / "deploy/Dockerfile").read_text()
    words = re.findall(r'"([^"]*)"', re.search(r"^ENTRYPOINT (.*)$", text, re.M)[1])
    return words + shlex.split(re.search(r"--gpus all openlvm:cuda (.*)$", text, re.M)[1])


def unit() -> list[str]:
    return shlex.split(
        re.search(r"^ExecStart=/opt/openlvm/bin/(.*)$", (ROOT / "deploy/openlvm.service").read_text(), re.M)[1]
    )


def manifest() -> list[str]:
    told = re.search(r"args: \[(.*)\]$", (ROOT / "deploy/kubernetes.yaml").read_text(), re.M)[1]
    return ["openlvm", "serve", *(word.strip(' "') for word in told.split(","))]


def documented() -> list[str]:
    return shlex.split(re.search(r"^(openlvm serve --lvm .*)$", (ROOT / "docs/serving.md").read_text(), re.M)[1])


@pytest.mark.parametrize("words", [dockerfile(), unit(), manifest(), documented()], ids=str)
def test_commands_are_understood(words):
    assert words[:2] == ["openlvm", "serve"]
    parse(Serve, words[2:], "serve")


def test_work_is_finished_before_the_kill():
    drain = Limits().drain_seconds
    assert int(re.search(r"^TimeoutStopSec=(\d+)", (ROOT / "deploy/openlvm.service").read_text(), re.M)[1]) > drain
    manifest_text = (ROOT / "deploy/kubernetes.yaml").read_text()
    assert int(re.search(r"terminationGracePeriodSeconds: (\d+)", manifest_text)[1]) > drain
    for name in ("Dockerfile", "openlvm.service", "kubernetes.yaml"):
        assert TOKEN in (ROOT / "deploy" / name).read_text()


def test_the_image_has_the_page_and_takes_the_cpu_torch_from_one_place():
    text = (ROOT / "deploy/Dockerfile").read_text()
    assert "'.[serve,ui]'" in text
    assert "--extra-index-url" not in text  # it fell back on PyPI's CUDA build in silence where the index was away
    ignored = (ROOT / "deploy/Dockerfile.dockerignore").read_text()
    copied = [word for line in re.findall(r"^COPY ([^-].*) \S+$", text, re.M) for word in line.split()]
    assert copied and all(f"!{word}\n" in ignored for word in copied)


def test_reading_weights_has_time_before_the_first_liveness_check():
    text = (ROOT / "deploy/kubernetes.yaml").read_text()
    startup = text[text.index("startupProbe") : text.index("livenessProbe")]
    period, times = (int(re.search(rf"{name}: (\d+)", startup)[1]) for name in ("periodSeconds", "failureThreshold"))
    assert period * times >= 600


def test_bounds_in_the_document_are_the_defaults():
    text, limits = (ROOT / "docs/serving.md").read_text(), Limits()
    for line in (
        f"| a body, said or sent | {limits.max_body_mb:g} MiB |",
        f"| its time | {limits.upload_seconds:g} s |",
        f"| a head, and a client that takes nothing of its answer | {limits.head_seconds:g} s |",
        f"| all bodies at a time | {limits.max_uploads_mb:g} MiB |",
        f"| pictures of a request | {limits.max_pictures} |",
        f"| pixels of a picture, and of all of a request, by their headers | {limits.max_megapixels:g} and "
        f"{limits.max_request_megapixels:g} million |",
        f"| candidates | {limits.max_candidates} |",
        f"| pictures drawn for a request, frames of all candidates | {limits.max_drawn} |",
        f"| orders of an ensemble | {limits.max_ensemble} |",
        f"| keys, values and activations of a request | {limits.max_memory_mb / 1024:g} GiB |",
        f"| requests at a time, waiting ones included | {limits.max_requests} |",
        f"| requests (POST) of one address | {limits.rate:g} a second, {limits.burst} at once |",
        f"| a request, waiting included | {limits.request_seconds:g} s |",
        f"| connections | {limits.max_connections} |",
        f"| brackets and commas of a JSON text (no flag) | {MOST_MARKS:,} |",
    ):
        assert line in text, line
