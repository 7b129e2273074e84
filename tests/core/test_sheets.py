"""Contact sheets hold the pictures given, where they belong."""

import numpy as np
import pytest

from openlvm.core.sheets import FRAME, contact_sheet

RED = np.full((32, 32, 3), (255, 0, 0), np.uint8)
BLUE = np.full((16, 32, 3), (0, 0, 255), np.uint8)


def places(sheet, color):
    """(top, left, bottom, right) of a color."""
    found = np.argwhere((sheet == color).all(axis=-1))
    return (*found.min(axis=0), *(found.max(axis=0) + 1)) if len(found) else None


def test_sheet_places_pictures_in_rows_and_columns():
    sheet = contact_sheet([[RED, BLUE], [None, RED]])
    assert sheet.dtype == np.uint8
    assert (sheet == RED[0, 0]).all(axis=-1).sum() == 2 * RED[..., 0].size
    assert (sheet == BLUE[0, 0]).all(axis=-1).sum() == BLUE[..., 0].size  # its shape is kept
    top, left, bottom, right = places(sheet, (0, 0, 255))
    assert places(sheet[:, :left], (255, 0, 0))[:2] == (6, 6)
    assert (bottom - top, right - left) == (16, 32)
    assert top == 6 + (32 - 16) // 2
    assert places(sheet[:, left:], (255, 0, 0)) == (6 + 38, 0, 6 + 38 + 32, 32)


def test_sheet_scales_cells_and_keeps_paper_white():
    sheet = contact_sheet([[RED]], cell=64)
    assert places(sheet, (255, 0, 0)) == (6, 6, 70, 70)
    assert (sheet[[0, -1]] == 255).all()
    assert (sheet[:, [0, -1]] == 255).all()


def test_sheet_writes_titles_left_and_captions_below():
    plain, told = contact_sheet([[RED, RED]]), contact_sheet([[RED, RED]], titles=["prompt"], captions=[["a", "b"]])
    assert told.shape[0] > plain.shape[0]
    assert told.shape[1] > plain.shape[1]
    top, left, bottom, right = places(told, (255, 0, 0))
    assert (told[top:bottom, : left - 2] < 100).any()
    assert (told[bottom + 1 :, left:] < 100).any()
    assert not (told[:top, left:] < 200).any()


def test_sheet_shortens_long_captions_to_their_cell():
    some = contact_sheet([[RED, None]], captions=[["w" * 100, ""]])
    column = places(some, (255, 0, 0))
    below = some[column[2] + 2 :]
    assert (below[:, column[1] : column[3]] < 100).any()
    assert not (below[:, column[3] + 1 :] < 100).any()


def test_sheet_frames_answers():
    sheet = contact_sheet([[RED, RED]], framed={(0, 1)})
    top, left, bottom, right = places(sheet, FRAME)
    assert (bottom - top, right - left) == (38, 38)
    assert left > 32


def test_sheet_rejects_nothing_and_wrong_arrangements():
    with pytest.raises(ValueError, match="needs at least one picture"):
        contact_sheet([[None]])
    with pytest.raises(ValueError, match=r"captions for rows of \[1\] given, for \[2\]"):
        contact_sheet([[RED, RED]], captions=[["a"]])
    with pytest.raises(ValueError, match="2 titles given for 1 rows"):
        contact_sheet([[RED]], titles=["a", "b"])
