"""FID of answers (Heusel et al. 2017): features of the user's InceptionV3, kept beside the lines of a run.

    OUT/features/COLUMN/PREDICTOR/00000.npy   float32 [episodes of the chunk, 2048]; `truth` stands among the predictors

FID is no sum over answers. Features are kept instead of their sums and products: 8 KiB an answer against 32 MiB a
chunk, and any process may write its own.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from openlvm.core.files import atomic_write
from openlvm.evaluation.harness.predictors import Predictor
from openlvm.evaluation.harness.questions import Column, Question
from openlvm.evaluation.harness.run import Watch
from openlvm.perceptual.frechet import FeatureStatistics, frechet_distance

FID = "FID"
TRUTH = "truth"

Network = Callable[[torch.Tensor], torch.Tensor]
"""Pictures uint8 [B, H, W, 3] -> features float [B, D] (perceptual/inception.py)."""


def keeping_features(out: Path, network: Network) -> Watch:
    """What `ask` shows pictures to, so that their features are written to the folder `out`."""

    def watch(
        column: Column, predictor: Predictor, number: int, pictures: Sequence[np.ndarray], questions: Sequence[Question]
    ) -> None:
        _keep(_features_at(out, column.name, predictor.name) / f"{number:05d}.npy", pictures, network)
        truths_at = _features_at(out, column.name, TRUTH) / f"{number:05d}.npy"
        if not truths_at.exists():
            _keep(truths_at, [question.truth for question in questions if question.truth is not None], network)

    return watch


def fid_of(out: Path, column: str, predictor: str) -> float | None:
    """FID of a predictor's answers against the truths of a column; None with fewer than two answers."""
    answers, truths = (_statistics(_features_at(out, column, name)) for name in (predictor, TRUTH))
    return None if min(answers.count, truths.count) < 2 else frechet_distance(answers, truths)


def _features_at(out: Path, column: str, name: str) -> Path:
    return out / "features" / column / name


def _keep(at: Path, pictures: Sequence[np.ndarray], network: Network) -> None:
    """Pictures may differ in size, so each goes alone."""
    features = [network(torch.from_numpy(np.ascontiguousarray(picture))[None]) for picture in pictures]
    with atomic_write(at) as file:
        np.save(file, torch.cat(features).float().cpu().numpy())


def _statistics(folder: Path) -> FeatureStatistics:
    chunks = [np.load(file, allow_pickle=False) for file in sorted(folder.glob("*.npy"))]
    if not chunks:
        raise ValueError(f"no features at {folder}")
    statistics = FeatureStatistics(chunks[0].shape[1])
    for chunk in chunks:
        statistics.add(torch.from_numpy(chunk))
    return statistics
