"""Pictures of an evaluation for its page: what was shown, what is true, and what each predictor answered, inlined."""

import base64
import io
from collections.abc import Iterator
from html import escape
from pathlib import Path

from PIL import Image

from openlvm.reports.evaluations.read import ROLES, Evaluation, Scores

SIDE = 128
"""Longest side in the page, pixels; the run's folder holds the pictures as they were scored."""
QUALITY = 82


def inlined(at: Path, side: int = SIDE) -> str:
    """A picture file as a data URI, no longer than `side`."""
    with Image.open(at) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="webp", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def episodes_shown(evaluation: Evaluation, column: Scores) -> list[str]:
    """HTML of each kept episode of a column: the first ones of its list, not the best."""
    folder = evaluation.run_at / "pictures" / column.name
    asked = sorted((folder / "asked").glob("*"), key=lambda one: int(one.name))
    return [_episode(evaluation, column, folder, one) for one in asked]


def _episode(evaluation: Evaluation, column: Scores, folder: Path, asked: Path) -> str:
    shown = [_figure(at, caption) for at, caption in _shown(asked)]
    answers = [
        _figure(answer_at, name, role)
        for role in ROLES
        for name in evaluation.rows(role)
        if name in column.rows and (answer_at := folder / name / f"{asked.name}.webp").exists()
    ]
    rows = [f'<div class="strip">{"".join(row)}</div>' for row in (shown, answers) if row]
    return f"<h4>Episode {escape(asked.name)}</h4>{''.join(rows)}"


def _shown(asked: Path) -> Iterator[tuple[Path, str]]:
    """Files "<place> <what>.webp" of the prompt and the options, in order, then the truth, with captions."""
    for at in sorted(asked.glob("[0-9]*.webp")):
        yield at, at.stem.partition(" ")[2]
    if (asked / "truth.webp").exists():
        yield asked / "truth.webp", "truth"


def _figure(at: Path, caption: str, kind: str = "") -> str:
    kind = kind or ("truth" if caption in ("truth", "right option") else "shown")
    words = escape(caption)
    return (f'<figure class="{kind}"><img src="{inlined(at)}" alt="{words}" loading="lazy">'
            f"<figcaption>{words}</figcaption></figure>")  # fmt: skip
