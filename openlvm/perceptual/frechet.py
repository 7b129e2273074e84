"""Frechet distance between two sets of features (Heusel et al. 2017, arXiv 1706.08500, eq. 6), one batch at a time.

Over the features of `inception.py` this is FID, and rFID when the second set are reconstructions of the first.
Letters: B pictures of a batch, D numbers of a feature.
"""

import torch


class FeatureStatistics:
    """Mean and covariance of a stream of features, float64, in one pass (Chan, Golub & LeVeque 1979)."""

    def __init__(self, dim: int):
        """No feature yet; `dim` is D."""
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)  # sum of (x - mean)(x - mean)^T

    def add(self, features: torch.Tensor) -> None:
        """Take in float [B, D]."""
        if features.ndim != 2 or features.shape[1] != len(self.mean) or not len(features):
            raise ValueError(f"features must be [B, {len(self.mean)}], B at least 1; given {list(features.shape)}")
        rows = features.detach().to("cpu", torch.float64)
        if not rows.isfinite().all():
            raise ValueError("features hold NaN or infinity; the pictures or the weights are damaged")
        mean = rows.mean(0)
        centered = rows - mean
        total = self.count + len(rows)
        shift = mean - self.mean
        self._scatter += centered.T @ centered + torch.outer(shift, shift) * (self.count * len(rows) / total)
        self.mean = self.mean + shift * (len(rows) / total)
        self.count = total

    @property
    def covariance(self) -> torch.Tensor:
        """Unbiased, float64 [D, D]."""
        if self.count < 2:
            raise ValueError(f"a covariance needs 2 pictures or more, given {self.count}")
        return self._scatter / (self.count - 1)


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)); 0 for equal statistics.

    The trace of the root is the sum of the roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric: no
    complex numbers, and no help needed where the covariances are singular (fewer pictures than D).
    """
    if len(first.mean) != len(second.mean):
        raise ValueError(f"features of {len(first.mean)} and {len(second.mean)} numbers cannot be compared")
    values, vectors = torch.linalg.eigh(first.covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    product = root @ second.covariance @ root
    roots = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt()
    apart = (first.mean - second.mean).square().sum()
    distance = apart + first.covariance.trace() + second.covariance.trace() - 2 * roots.sum()
    return max(float(distance), 0.0)
