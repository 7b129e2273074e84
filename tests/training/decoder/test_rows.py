"""The arrays a forward takes, by hand."""

import numpy as np
import pytest

from openlvm.bundle import SpecialIds
from openlvm.store.plan import Sentences
from openlvm.training.decoder.rows import LossConfig, dense_rows, packed_rows, stream_row

B, E, P = 90, 91, 92
SPECIAL = SpecialIds(bos=B, eos=E, pad=P)
LOSS = LossConfig(context=1.0, query=0.25, answer=3.0)
PAIR = Sentences(1, np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), np.array([[1, 2], [1, 2]]))  # query, answer; N = 2
ONE = Sentences(0, np.array([[9, 10, 11, 12]]), np.array([[0, 0]]))


def test_dense_rows_match_the_drawing():
    rows = dense_rows([PAIR, ONE], SPECIAL, LOSS)
    assert rows.inputs.tolist() == [[B, 1, 2, 3, 4], [B, 5, 6, 7, 8], [B, 9, 10, 11, 12]]
    assert rows.targets.tolist() == [[1, 2, 3, 4, E], [5, 6, 7, 8, E], [9, 10, 11, 12, E]]
    assert rows.weights.tolist() == [[0.25, 0.25, 3, 3, 3]] * 2 + [[1, 1, 1, 1, 1]]
    assert rows.roles.tolist() == [[1, 1, 2, 2, 2]] * 2 + [[0] * 5]
    assert rows.components[:, 0].tolist() == [1, 1, 0]
    assert rows.documents is None and rows.positions is None


def test_rows_without_special_ids_predict_codes_from_codes():
    rows = dense_rows([ONE], SpecialIds(bos=None, eos=None, pad=0), LOSS)
    assert rows.inputs.tolist() == [[9, 10, 11]] and rows.targets.tolist() == [[10, 11, 12]]


def test_packed_rows_match_the_drawing():
    rows = packed_rows([PAIR, ONE], SPECIAL, LOSS, length=11)
    assert rows.inputs.tolist() == [[B, 1, 2, 3, 4, B, 5, 6, 7, 8, P], [B, 9, 10, 11, 12, *[P] * 6]]
    assert rows.targets[0].tolist() == [1, 2, 3, 4, E, 5, 6, 7, 8, E, P]
    assert rows.weights[0].tolist() == [0.25, 0.25, 3, 3, 3] * 2 + [0]
    assert rows.documents.tolist() == [[0] * 5 + [1] * 5 + [-1], [0] * 5 + [-1] * 6]
    assert rows.positions.tolist() == [[0, 1, 2, 3, 4] * 2 + [0], [0, 1, 2, 3, 4] + [0] * 6]
    with pytest.raises(ValueError, match="2 sentences of 5 tokens do not fit into a packed row of 9"):
        packed_rows([PAIR], SPECIAL, LOSS, length=9)


def test_stream_row_matches_the_drawing():
    text = [B, 1, 2, 3, 4, E, B, 5, 6, 7, 8, E, B, 9, 10, 11, 12, E]
    rows = stream_row([PAIR, ONE], SPECIAL, LOSS, start=4, length=10)
    assert rows.inputs.tolist() == [text[4:14]] and rows.targets.tolist() == [text[5:15]]
    assert rows.weights.tolist() == [[3, 0.25, 0.25, 0.25, 3, 3, 3, 1, 1, 1]]


def test_loss_config_rejects_no_weight():
    with pytest.raises(ValueError, match="one above"):
        LossConfig(context=0, query=0, answer=0)
    with pytest.raises(ValueError, match="at least 0"):
        LossConfig(query=-1)
