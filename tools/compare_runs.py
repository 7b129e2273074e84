"""Compare the metrics of two training runs, down to the first difference: `compare_runs.py RUN RUN`.

Exit status 1 when they differ. Timings are left out: all else of two runs of one recipe must be equal to the bit.
"""

import sys
from pathlib import Path
from typing import Any

from openlvm.core.runs import differences, read_metrics

TIMING = "timing"


def first_difference(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> str | None:
    """The first step and metric in which two runs differ, in words; None when they are equal."""
    for one, other in zip(left, right, strict=False):
        for name, a, b in differences(one, other):
            if name.split(".")[0] != TIMING:
                return f"step {one['step']}: {name} is {a!r} in the first run and {b!r} in the second"
    if len(left) != len(right):
        return f"equal as far as both go, but the first run has {len(left)} lines and the second {len(right)}"
    return None


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    left, right = (read_metrics(Path(at)) for at in sys.argv[1:])
    if not left and not right:
        print("neither folder holds metrics", file=sys.stderr)
        return 2
    found = first_difference(left, right)
    print(found or f"{len(left)} lines of metrics, all equal")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
