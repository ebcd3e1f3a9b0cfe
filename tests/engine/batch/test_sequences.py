"""Rows become padded batches: right ids, masks and types, each distinct row once."""

import numpy as np
import pytest

from trivet.engine.batch.sequences import Row, build_batch, pair_row, single_row
from trivet.engine.text.tokenizer import Ids, SpecialTokens


def ids(*values: int) -> Ids:
    return np.asarray(values, dtype=np.int32)


SPECIAL = SpecialTokens(
    single_prefix=ids(101),
    single_suffix=ids(102),
    pair_prefix=ids(101),
    pair_middle=ids(102),
    pair_suffix=ids(102),
    pad_id=0,
    has_type_ids=True,
)


def test_single_and_pair_rows_are_wrapped() -> None:
    assert single_row(SPECIAL, ids(7), ids(8, 9)).ids().tolist() == [101, 7, 8, 9, 102]
    row = pair_row(SPECIAL, (ids(7), ids(8)), ids(9))
    assert row.ids().tolist() == [101, 7, 8, 102, 9, 102]
    assert row.tokens == 6
    assert row.first_type_1() == 4


def test_a_batch_is_padded_masked_and_typed() -> None:
    batch, where = build_batch([pair_row(SPECIAL, (ids(7),), ids(9)), single_row(SPECIAL, ids(5))], pad_id=0)
    assert batch.input_ids.tolist() == [[101, 7, 102, 9, 102], [101, 5, 102, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch.token_type_ids.tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]
    assert where == [0, 1]
    assert (batch.useful_tokens, batch.padded_tokens) == (8, 10)


def test_equal_rows_are_run_once_but_not_rows_that_differ_in_type_alone() -> None:
    same = [single_row(SPECIAL, ids(5)) for _ in range(3)]
    batch, where = build_batch([*same, single_row(SPECIAL, ids(6))], pad_id=0)
    assert len(batch.input_ids) == 2
    assert where == [0, 0, 0, 1]
    typed = Row((ids(1, 2), ids(3)), 1, 3)
    untyped = Row((ids(1, 2), ids(3)), 2, 3)
    assert build_batch([typed, untyped], pad_id=0)[1] == [0, 1]


def test_packed_rows_lie_side_by_side_and_are_found_again() -> None:
    rows = [single_row(SPECIAL, np.arange(200, 200 + n, dtype=np.int32)) for n in (300, 60, 8, 290, 28)]
    rows.append(pair_row(SPECIAL, (ids(7, 8),), ids(9, 9, 9)))
    batch, _ = build_batch(rows, pad_id=0)
    packed = batch.packed_inputs()
    shape = (len(batch.bins.sequences), batch.bins.width)
    assert {array.shape for name, array in packed.items() if name != "firsts"} == {shape}
    assert shape[0] * shape[1] == batch.bins.tokens < batch.padded_tokens
    for index, (row, first) in enumerate(zip(rows, packed["firsts"].tolist(), strict=True)):
        places = slice(first, first + row.tokens)
        assert packed["input_ids"].flatten()[places].tolist() == row.ids().tolist()
        assert packed["positions"].flatten()[places].tolist() == list(range(row.tokens))
        assert packed["token_type_ids"].flatten()[places].sum() == row.tokens - row.first_type_1()
        assert set(packed["sequences"].flatten()[places].tolist()) == {index}
        assert first // batch.bins.width == (places.stop - 1) // batch.bins.width, "no row is torn apart"
    assert (packed["sequences"] < len(rows)).sum() == batch.useful_tokens, "what fills a bin up belongs to nobody"


def test_halves_keep_rows_and_drop_padding() -> None:
    rows = [single_row(SPECIAL, np.full(n, 7, dtype=np.int32)) for n in (10, 3, 2)]
    first, second = build_batch(rows, pad_id=0)[0].halves()
    assert first.input_ids.shape == (1, 12)
    assert second.input_ids.shape == (2, 5)
    assert second.attention_mask.sum(axis=1).tolist() == [5, 4]
    assert first.useful_tokens + second.useful_tokens == 21


def test_a_batch_of_one_row_has_no_halves() -> None:
    batch, _ = build_batch([single_row(SPECIAL, ids(5))], pad_id=0)
    with pytest.raises(ValueError, match="zero-size"):
        batch.halves()
