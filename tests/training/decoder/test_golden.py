"""The losses of a tiny run as text: proof that a refactor changed nothing. Mend after a wanted change, seeing the diff:

PYTHONPATH=. python tests/training/decoder/test_golden.py
"""

import difflib
import tempfile
from pathlib import Path

import pytest
from small_plans import small_task

from openlvm.core.runs import read_metrics
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.loop import train

GOLDEN = Path(__file__).parents[2] / "golden" / "decoder_losses.txt"
TOLERANCE = 1e-4  # relative; float32 sums differ between CPU types


def tiny_losses(at: Path) -> list[float]:
    optim = OptimConfig(lr=5e-3, optimizer="muon", schedule="wsd", warmup_steps=2, decay_steps=4)
    config = TrainConfig(steps=12, positions_per_step=5, positions_per_forward=2, optim=optim, log_every=1)
    train(config, small_task(), at)
    return [line["loss"] for line in read_metrics(at)]


def test_decoder_losses_match_golden(tmp_path):
    expected = [float(line.split()[1]) for line in GOLDEN.read_text().splitlines()]
    assert tiny_losses(tmp_path) == pytest.approx(expected, rel=TOLERANCE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"{step} {loss:.9f}\n" for step, loss in enumerate(tiny_losses(Path(folder)), start=1)]
    old = GOLDEN.read_text().splitlines(keepends=True) if GOLDEN.exists() else []
    print("".join(difflib.unified_diff(old, lines, "before", "now")) or "nothing changed")
    GOLDEN.write_text("".join(lines))
