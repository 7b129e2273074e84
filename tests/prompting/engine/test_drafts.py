"""Guesses from a prompt's pictures."""

import pytest
import torch

from openlvm.prompting.engine.drafts import drafts_for, lags_of

A, ANSWER_A, B, ANSWER_B, QUERY = [0, 1, 2, 3], [5, 6, 7, 8], [3, 2, 1, 1], [9, 7, 6, 6], [2, 0, 9, 1]


def test_analogy_drafts_are_the_query_and_the_last_answer():
    assert drafts_for(torch.tensor([A, ANSWER_A, B, ANSWER_B, QUERY]), style="analogy").tolist() == [QUERY, ANSWER_B]


def test_sequence_draft_is_the_last_frame():
    assert drafts_for(torch.tensor([A, B, QUERY]), style="sequence").tolist() == [QUERY]


def test_drafts_of_short_prompts_are_what_there_is():
    assert drafts_for(torch.empty(0, 4, dtype=torch.int64), style="sequence").shape == (0, 4)
    assert drafts_for(torch.tensor([QUERY]), style="analogy").tolist() == [QUERY]
    assert drafts_for(torch.tensor([QUERY]), style="sequence").tolist() == [QUERY]


def test_lags_are_the_code_before_the_one_above_and_that_of_the_last_image():
    assert lags_of(64) == (1, 8, 64)
    assert lags_of(5) == (1, 5)


@pytest.mark.parametrize(
    ("images", "style", "message"),
    [
        ([1, 2], "sequence", r"images must be codes \[S, N\], given shape \[2\]"),
        ([[1], [2]], "analogy", "an analogy is pairs and a query, an odd number of images; given 2"),
        ([[1]], "video", "style='video' must be 'analogy' or 'sequence'"),
    ],
)
def test_drafts_reject_what_has_none(images, style, message):
    with pytest.raises(ValueError, match=message):
        drafts_for(torch.tensor(images), style=style)
