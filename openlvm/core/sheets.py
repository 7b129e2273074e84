"""Contact sheets: rows of pictures with titles and captions, for a person to look at."""

from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 6  # pixels between cells
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 40), (205, 205, 205)
FRAME = (0, 160, 80)


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    *,
    captions: Sequence[Sequence[str]] | None = None,
    titles: Sequence[str] | None = None,
    cell: int | None = None,
    framed: Collection[tuple[int, int]] = (),
) -> np.ndarray:
    """Rows of pictures on white.

        title   [picture] [picture] [ blank ]
                 caption   caption   caption

    Args:
        rows: pictures uint8 [H, W, 3] of any size; None leaves a cell blank. Rows may differ in length.
        captions: a text under each cell, in the same arrangement as `rows`; too long ones end in "...".
        titles: a text to the left of each row.
        cell: side of a cell, pixels; by default the longest side of the pictures. Pictures keep their shape.
        framed: (row, column) of the cells with a green frame, such as answers.

    Returns:
        uint8 [height, width, 3].
    """
    if not any(picture is not None for row in rows for picture in row):
        raise ValueError("a contact sheet needs at least one picture")
    _check_arrangement(rows, captions, titles)
    side = cell or max(max(picture.shape[:2]) for row in rows for picture in row if picture is not None)
    font = ImageFont.load_default(size=max(10, min(16, side // 8)))
    line = sum(font.getmetrics()) if isinstance(font, ImageFont.FreeTypeFont) else 14
    margin = GAP + (max(int(font.getlength(title)) for title in titles) + GAP if titles else 0)
    step = side + GAP + (line + 3 if captions else 0)
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (margin + columns * (side + GAP), GAP + len(rows) * step), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        top = GAP + number * step
        if titles:
            pen.text((GAP, top + side // 2), titles[number], INK, font, anchor="lm")
        for column, picture in enumerate(row):
            left = margin + column * (side + GAP)
            _put(sheet, pen, picture, (left, top), side, FRAME if (number, column) in framed else FAINT)
            if captions:
                text = _shortened(captions[number][column], side, font)
                pen.text((left + side // 2, top + side + 3), text, INK, font, anchor="ma")
    return np.asarray(sheet)


def _check_arrangement(
    rows: Sequence[Sequence[np.ndarray | None]],
    captions: Sequence[Sequence[str]] | None,
    titles: Sequence[str] | None,
) -> None:
    if captions is not None and [len(row) for row in captions] != [len(row) for row in rows]:
        raise ValueError(
            f"captions for rows of {[len(row) for row in captions]} given, for {[len(row) for row in rows]}"
        )
    if titles is not None and len(titles) != len(rows):
        raise ValueError(f"{len(titles)} titles given for {len(rows)} rows")


def _put(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    picture: np.ndarray | None,
    corner: tuple[int, int],
    side: int,
    color: tuple[int, int, int],
) -> None:
    """A picture in the middle of its cell, with a line around it; a blank cell has the line alone."""
    left, top, width, height = *corner, side, side
    if picture is not None:
        scale = side / max(picture.shape[:2])
        height, width = (max(1, round(length * scale)) for length in picture.shape[:2])
        left, top = left + (side - width) // 2, top + (side - height) // 2
        smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
        sheet.paste(Image.fromarray(picture).resize((width, height), smooth), (left, top))
    for distance in range(1, 4 if color == FRAME else 2):
        edges = (left - distance, top - distance, left + width + distance - 1, top + height + distance - 1)
        pen.rectangle(edges, outline=color)


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
