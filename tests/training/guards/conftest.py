"""Makes `training_toys`, `split_runs` and the small decoder of tests/training/decoder importable for these tests."""

import sys
from pathlib import Path

TRAINING = Path(__file__).parents[1]
sys.path[:0] = [str(TRAINING), str(TRAINING / "parallel"), str(TRAINING / "decoder")]
