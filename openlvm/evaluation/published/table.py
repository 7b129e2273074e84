"""The suites by name; each is imported only when it is asked for, since its sources and weights are heavy."""

from importlib import import_module

from openlvm.core.picking import pick
from openlvm.evaluation.harness.suite import Suite

SUITES = {
    name: f"openlvm.evaluation.published.{name}" for name in ("talk", "lvm", "bar2022", "delvm", "reasoning", "painter")
}
"""Name -> the module whose `SUITE` it is."""


def load_suite(name: str) -> Suite:
    """A suite of `SUITES`."""
    suite: Suite = import_module(pick(SUITES, name, "suite")).SUITE
    return suite
