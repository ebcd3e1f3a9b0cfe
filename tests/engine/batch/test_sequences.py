"""Texts become sequences with their special tokens."""

import numpy as np

from trivet.engine.batch.token_batch import pair_sequence, single_sequence
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


def test_single_and_pair_sequences_are_wrapped() -> None:
    assert single_sequence(SPECIAL, ids(7), ids(8, 9)).ids().tolist() == [101, 7, 8, 9, 102]
    sequence = pair_sequence(SPECIAL, (ids(7), ids(8)), ids(9))
    assert sequence.ids().tolist() == [101, 7, 8, 102, 9, 102]
    assert sequence.tokens == 6
    assert sequence.first_type_1() == 4
