"""Makes `training_toys`, and the small decoder of tests/training/decoder, importable for the tests in this folder."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "decoder")]
