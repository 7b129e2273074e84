"""A tiny LVM under a name, and a run of the toy suite that many tests look at."""

import pytest
from toy_suite import SUITE

from openlvm.jobs.evaluation.suite import SuiteConfig, run_suite
from openlvm.prompting.lvm import LVM


@pytest.fixture(scope="session")
def random_lvm(lvm_at):
    return LVM.load(lvm_at)


@pytest.fixture(scope="session")
def toy_run(random_lvm, tmp_path_factory):
    """The folder of the toy suite asked of a random LVM, and its report."""
    at = tmp_path_factory.mktemp("toy")
    return at, run_suite(SUITE, {"random": random_lvm}, at, SuiteConfig())
