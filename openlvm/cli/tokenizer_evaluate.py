"""`openlvm tokenizer evaluate`: how good tokenizers are, side by side, on pictures and on annotation maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from openlvm.cli.command import Outcome

LABEL, COLUMN, PAGE = 37, 19, 120  # characters of a line's name, of a tokenizer's column, of a line
GRID_EACH = 2  # pictures of each kind in the grid


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Encode and decode held-out pictures and annotations; write report.json and grid.png, print a table.

    PSNR in dB, as the mean over pictures and as that of the mean squared error; SSIM; mean slope of luminance over the
    true one (below 1 is blurred); saturation kept along the true hue (0 if blind to color) and hue error in degrees;
    after the annotations are read back, the ceiling of every prompt: mask IoU, depth AbsRel and error in 0..1, normals
    in degrees, edge F1 (1 pixel allowed), keypoints within a tenth of the figure. Tokenizers of different image sizes
    are not like for like.
    """

    tokenizers: tyro.conf.Positional[tuple[str, ...]]
    """Folders of tokenizers, or names of embedded ones."""
    data: str = "sample-pack"
    """"sample-pack" for its held-out half, or a folder of pictures (no annotations are measured there)."""
    limit: int | None = None
    """Most records of each collection; all by default."""
    lpips_backbone: Path | None = None
    """VGG16 weights in torchvision's layout, for LPIPS."""
    lpips_heads: Path | None = None
    """Heads of LPIPS (vgg.pth of the package lpips), for LPIPS."""
    inception: Path | None = None
    """Weights of FID's Inception (pt_inception-2015-12-05-6726825d.pth), for rFID."""
    floor: bool = False
    """Add, for each size, patch and codebook size, k-means over patches: what training must beat."""
    out: Path = Path("runs/tokenizer-evaluation")
    """Folder of report.json and grid.png."""
    seed: int = 0
    """Of the records drawn with --limit."""
    json: bool = False
    """Print one JSON object on stdout."""


def evaluate(options: Evaluate) -> Outcome:
    """Do it."""
    from openlvm.core.files import write_json
    from openlvm.core.images import write_image
    from openlvm.core.sheets import contact_sheet
    from openlvm.evaluation.tokenizer_pictures import folder_collections, pack_collections
    from openlvm.evaluation.tokenizers import evaluate_tokenizers, painted_examples
    from openlvm.perceptual.distance import load_lpips
    from openlvm.perceptual.inception import load_inception

    _check(options)
    lpips = (
        load_lpips(options.lpips_backbone, options.lpips_heads)
        if options.lpips_backbone and options.lpips_heads
        else None
    )
    inception = load_inception(options.inception) if options.inception else None
    collections = pack_collections() if options.data == "sample-pack" else folder_collections(Path(options.data))
    tokenizers = _loaded(options)
    reports = evaluate_tokenizers(
        tokenizers, collections, lpips=lpips, inception=inception, limit=options.limit, seed=options.seed
    )
    report = {"data": options.data, "limit": options.limit, "seed": options.seed, "tokenizers": reports}
    write_json(options.out / "report.json", report)
    titles, rows = painted_examples(tokenizers, collections, each=GRID_EACH, limit=options.limit, seed=options.seed)
    captions = [["original", *tokenizers] for _ in rows]
    write_image(options.out / "grid.png", contact_sheet(rows, titles=titles, captions=captions, cell=128))
    return Outcome({**report, "out": options.out}, f"{table(reports)}\n\n{options.out}/report.json and grid.png")


def _check(options: Evaluate) -> None:
    """Refuse early, before a tokenizer is loaded."""
    if not options.tokenizers:
        raise ValueError("no tokenizer given; name a folder or an embedded one, such as demo")
    if (options.lpips_backbone is None) != (options.lpips_heads is None):
        raise ValueError("LPIPS needs two files: give both --lpips-backbone and --lpips-heads, or neither")
    if options.limit is not None and options.limit < 1:
        raise ValueError(f"--limit {options.limit} leaves nothing to evaluate; give 1 or more")
    if options.data != "sample-pack" and not Path(options.data).is_dir():
        raise FileNotFoundError(f"no folder of pictures at {options.data}; --data is that or sample-pack")


def _loaded(options: Evaluate) -> dict[str, Any]:
    """Name in the report -> tokenizer; with --floor a floor after those of its shape."""
    from openlvm.evaluation.tokenizer_pictures import kmeans_floor
    from openlvm.tokenizer.folder import load_tokenizer

    tokenizers: dict[str, Any] = {}
    for word in options.tokenizers:
        at = Path(word)
        name = (
            at.parent.name if at.name == "tokenizer" else at.name
        ) or word  # a run's tokenizer/ is called as its run
        tokenizers[name if name not in tokenizers else word] = load_tokenizer(word)
    if options.floor:
        shapes = dict.fromkeys((t.image_size, t.codes_per_image, t.codebook_size) for t in tokenizers.values())
        for size, codes, codebook_size in shapes:
            patch = size // round(codes**0.5)
            tokenizers[f"k-means {size} f{patch} {codebook_size}"] = kmeans_floor(size, patch, codebook_size)
    return tokenizers


def table(reports: Sequence[Mapping[str, Any]]) -> str:
    """A line for each measure, a column for each tokenizer, at most 120 characters wide; many need several tables."""
    at_once = (PAGE - LABEL) // COLUMN
    blocks = [reports[start : start + at_once] for start in range(0, len(reports), at_once)]
    return "\n\n".join(_block(block) for block in blocks)


def _block(reports: Sequence[Mapping[str, Any]]) -> str:
    first = reports[0]
    names = [_fitted(report["name"], COLUMN - 1) for report in reports]
    lines = [("", names)]
    for fact in ("image_size", "codes_per_image", "codebook_size"):
        lines.append((fact, [str(report[fact]) for report in reports]))
    for fact in ("looked_at", "used", "perplexity"):
        lines.append((f"codes {fact}", [_number(report["codes"][fact]) for report in reports]))
    notes = {}
    for kind, scores in first["scores"].items():
        for measure, value in scores.items():
            if isinstance(value, str):
                notes[measure] = value
            else:
                values = [report["scores"][kind][measure] for report in reports]
                lines.append((f"{kind} {measure}", [_number(value) for value in values]))
    text = [name.ljust(LABEL) + "".join(cell.rjust(COLUMN) for cell in cells) for name, cells in lines]
    return "\n".join([*text, *(f"{measure} {note}" for measure, note in notes.items())])


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _fitted(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
