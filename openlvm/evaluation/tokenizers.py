"""How good tokenizers are: pictures encoded and decoded again, and compared, on pictures and on annotation maps.

What a tokenizer loses no decoder can give back, so the scores of annotations are the ceiling of every prompt's.
Each tokenizer sees pictures through its own preparation: scores at different `image_size` are not like for like.
Letters: B pictures of a batch, N codes per picture, K codebook size.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from openlvm.core.records import Depth, Edges, Keypoints, Normals, Payload, Segmentation
from openlvm.evaluation import metrics
from openlvm.evaluation.tokenizer_pictures import Collection
from openlvm.perceptual.distance import LPIPS, FeatureDistance, offline_distance
from openlvm.perceptual.frechet import FeatureStatistics, frechet_distance
from openlvm.perceptual.inception import InceptionFeatures
from openlvm.sentences.render import depth_range, draw, resized
from openlvm.tokenizer.interface import Tokenizer
from openlvm.tokenizer.quantizers.usage import CodeUsage
from openlvm.tokenizer.vqgan import to_unit_range

BATCH = 16
LPIPS_MISSING = "not computed: give --lpips-backbone FILE --lpips-heads FILE"
RFID_MISSING = "not computed: give --inception FILE"

Measure = Callable[[np.ndarray, np.ndarray, Payload], float]
"""(painted, true, fitted): both uint8 [H, W, 3], and the annotation that the true one was drawn from."""


def _abs_rel(painted: np.ndarray, true: np.ndarray, fitted: Payload) -> float:
    assert isinstance(fitted, Depth)
    near, far = depth_range(fitted)
    return metrics.depth_abs_rel(painted, true, near=near, far=far)


def _of_pictures(metric: Callable[[np.ndarray, np.ndarray], float]) -> Measure:
    return lambda painted, true, fitted: metric(painted, true)


NATURAL: Mapping[str, Measure] = {
    "ssim": _of_pictures(metrics.ssim),
    "sharpness_kept": _of_pictures(metrics.sharpness_kept),
    "saturation_kept": _of_pictures(metrics.saturation_kept),
    "hue_error_degrees": _of_pictures(metrics.hue_error),
}
CEILING: Mapping[type, Mapping[str, Measure]] = {
    Segmentation: {"mask_iou": _of_pictures(metrics.mask_iou)},
    Depth: {"depth_abs_rel": _abs_rel, "depth_error": _of_pictures(metrics.depth_error)},
    Normals: {"normals_degrees": _of_pictures(metrics.normal_angle)},
    Edges: {"edge_f1": _of_pictures(metrics.edge_f1)},
    Keypoints: {"keypoint_recovery": _of_pictures(metrics.keypoint_recovery)},
    np.ndarray: NATURAL,
}
"""Type of a payload -> its measures beside PSNR; means over pictures."""


@dataclass(frozen=True, kw_only=True)
class Judges:
    """Networks that compare pictures; those that need a file of the user's may be absent."""

    offline: FeatureDistance
    lpips: FeatureDistance | None = None
    inception: InceptionFeatures | None = None


@dataclass(eq=False)
class _Scores:
    """The scores of one kind of picture, batch by batch."""

    judges: Judges
    natural: bool
    count: int = 0
    squared_error: float = 0.0
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seen: tuple[FeatureStatistics, ...] = ()
    """Of true and of painted pictures, when there is an Inception."""

    def add(self, painted: torch.Tensor, true: torch.Tensor, fitted: Sequence[Payload]) -> None:
        """Take in uint8 [B, H, W, 3] twice, and the B annotations that the true ones were drawn from."""
        for one, other, payload in zip(painted.numpy(), true.numpy(), fitted, strict=True):
            self.values["psnr"].append(metrics.psnr(one, other))
            for name, measure in CEILING[type(payload)].items():
                self.values[name].append(measure(one, other, payload))
        self.count += len(true)
        self.squared_error += float((painted.double() - true.double()).square().mean((1, 2, 3)).sum())
        if self.natural:
            for distance in (self.judges.offline, self.judges.lpips):
                if distance is not None:
                    self.values[distance.name] += _distances(distance, painted, true)
            if self.judges.inception is not None:
                features = [self.judges.inception(pixels) for pixels in (true, painted)]
                self.seen = self.seen or tuple(FeatureStatistics(found.shape[1]) for found in features)
                for statistics, found in zip(self.seen, features, strict=True):
                    statistics.add(found)

    def report(self) -> dict[str, Any]:
        """Means over the pictures; names and their meaning in the help of `openlvm tokenizer evaluate`."""
        mean_error = self.squared_error / self.count
        psnr = [value for value in self.values["psnr"] if np.isfinite(value)]
        report: dict[str, Any] = {
            "pictures": self.count,
            "psnr_mean": float(np.mean(psnr)) if psnr else None,
            "psnr_of_mean_error": float(10 * np.log10(255**2 / mean_error)) if mean_error else None,
        }
        for name, values in self.values.items():
            if name != "psnr":
                report[name] = _mean_of_known(values)
        if self.natural:
            if self.judges.lpips is None:
                report[LPIPS] = LPIPS_MISSING
            report["rFID"] = frechet_distance(*self.seen) if self.seen else RFID_MISSING
        return report


@torch.no_grad()
def _distances(distance: FeatureDistance, painted: torch.Tensor, true: torch.Tensor) -> list[float]:
    device = next(distance.parameters()).device
    return distance(to_unit_range(painted.to(device)), to_unit_range(true.to(device))).tolist()


def _mean_of_known(values: Sequence[float]) -> float | None:
    """Mean of what is not NaN (a gray picture has no hue to lose); None when nothing is known."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None


def evaluate_tokenizers(
    tokenizers: Mapping[str, Tokenizer],
    collections: Sequence[Collection],
    *,
    lpips: FeatureDistance | None = None,
    inception: InceptionFeatures | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Encode and decode all pictures with each tokenizer; one report for each, in the order given.

    Report: name, image_size, codes_per_image, codebook_size, fingerprint, `scores` (kind of picture -> measures; PSNR
    as the mean over pictures that changed, and as that of the mean squared error), and `codes` (how the codebook was
    used over all of them: share of codes used, perplexity, and the number of codes looked at, which bounds both).

    Args:
        lpips, inception: networks of the user's files; without them the report says what to give.
        limit: most records of each collection, drawn with `seed`; None is all.
    """
    judges = Judges(offline=offline_distance(), lpips=lpips, inception=inception)
    return [
        {"name": name, **_evaluate(tokenizer, collections, judges, limit=limit, seed=seed)}
        for name, tokenizer in tokenizers.items()
    ]


def _evaluate(
    tokenizer: Tokenizer, collections: Sequence[Collection], judges: Judges, *, limit: int | None, seed: int
) -> dict[str, Any]:
    scores: dict[str, _Scores] = {}
    usage = CodeUsage(tokenizer.codebook_size)
    for collection in collections:
        for name, payloads in _batches(collection.payloads(limit=limit, seed=seed)):
            fitted = [resized(p, tokenizer.preparation) if isinstance(p, Depth) else p for p in payloads]
            true = torch.from_numpy(np.stack([draw(payload, tokenizer.preparation) for payload in payloads]))
            codes = tokenizer.encode(true)
            usage.add(codes)
            mine = scores.setdefault(name, _Scores(judges, natural=isinstance(payloads[0], np.ndarray)))
            mine.add(tokenizer.decode(codes).cpu(), true, fitted)
    return {
        "image_size": tokenizer.image_size,
        "codes_per_image": tokenizer.codes_per_image,
        "codebook_size": tokenizer.codebook_size,
        "fingerprint": tokenizer.fingerprint,
        "codes": {"looked_at": int(usage.count.sum()), "used": usage.used, "perplexity": usage.perplexity},
        "scores": {name: mine.report() for name, mine in scores.items()},
    }


def _batches(pairs: Iterable[tuple[str, Payload]]) -> Iterable[tuple[str, list[Payload]]]:
    """Payloads of one name together, at most BATCH."""
    waiting: dict[str, list[Payload]] = defaultdict(list)
    for name, payload in pairs:
        waiting[name].append(payload)
        if len(waiting[name]) == BATCH:
            yield name, waiting.pop(name)
    yield from waiting.items()


def painted_examples(
    tokenizers: Mapping[str, Tokenizer], collections: Sequence[Collection], *, each: int, limit: int | None, seed: int
) -> tuple[list[str], list[list[np.ndarray]]]:
    """The first `each` pictures of each kind for a grid: names, and rows of (true, painted by each tokenizer)."""
    names, rows = [], []
    largest = max(tokenizers.values(), key=lambda tokenizer: tokenizer.image_size)
    shown: dict[str, int] = defaultdict(int)
    for collection in collections:
        for name, payload in collection.payloads(limit=limit, seed=seed):
            if shown[name] < each:
                shown[name] += 1
                names.append(name)
                rows.append([draw(payload, largest.preparation), *(_painted(t, payload) for t in tokenizers.values())])
            elif all(shown[slot] >= each for slot in collection.slots.values()):
                break
    return names, rows


def _painted(tokenizer: Tokenizer, payload: Payload) -> np.ndarray:
    true = torch.from_numpy(draw(payload, tokenizer.preparation)[None].copy())
    return tokenizer.decode(tokenizer.encode(true))[0].cpu().numpy()
