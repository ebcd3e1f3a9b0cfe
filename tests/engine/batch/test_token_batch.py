"""A batch holds its sequences end to end, each distinct one once; the padded and the binned form hold the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.batch.test_sequences import SPECIAL, ids
from trivet.engine.batch.layout import pack
from trivet.engine.batch.token_batch import TokenBatch, TokenSequence, build_batch, pair_sequence, single_sequence

lengths = st.lists(st.integers(1, 300), min_size=1, max_size=12)


def batch_of(given_lengths: list[int]) -> TokenBatch:
    """Sequences of distinct ids, whose second halves have token type 1."""
    rng = np.random.default_rng(sum(given_lengths))
    content = [rng.integers(5, 900, size=length, dtype=np.int32) for length in given_lengths]
    return TokenBatch.of(content, types_from=[length // 2 for length in given_lengths], pad_id=1)


def test_sequences_lie_end_to_end() -> None:
    batch, where = build_batch([pair_sequence(SPECIAL, (ids(7),), ids(9)), single_sequence(SPECIAL, ids(5))], pad_id=0)
    assert batch.ids.tolist() == [101, 7, 102, 9, 102, 101, 5, 102]
    assert batch.token_types.tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert batch.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert batch.cu_seqlens.tolist() == [0, 5, 8]
    assert {array.dtype for array in (batch.ids, batch.token_types, batch.positions, batch.cu_seqlens)} == {
        np.dtype(np.int32)
    }
    assert (batch.max_len, batch.tokens, batch.lengths, where) == (5, 8, (5, 3), [0, 1])


def test_equal_sequences_are_run_once_but_not_those_that_differ_in_type_alone() -> None:
    same = [single_sequence(SPECIAL, ids(5)) for _ in range(3)]
    batch, where = build_batch([*same, single_sequence(SPECIAL, ids(6))], pad_id=0)
    assert batch.lengths == (3, 3)
    assert where == [0, 0, 0, 1]
    typed = TokenSequence((ids(1, 2), ids(3)), 1, 3)
    untyped = TokenSequence((ids(1, 2), ids(3)), 2, 3)
    batch, where = build_batch([typed, untyped], pad_id=0)
    assert where == [0, 1]
    assert batch.token_types.tolist() == [0, 0, 1, 0, 0, 0]


@given(lengths)
def test_the_padded_form_holds_every_sequence_in_its_row(given_lengths: list[int]) -> None:
    batch = batch_of(given_lengths)
    padded = batch.padded()
    assert {(array.shape, array.dtype) for array in padded.values()} == {
        ((len(given_lengths), max(given_lengths)), np.dtype(np.int64))
    }
    for index, length in enumerate(given_lengths):
        tokens = slice(batch.cu_seqlens[index], batch.cu_seqlens[index + 1])
        assert padded["attention_mask"][index].tolist() == [1] * length + [0] * (batch.max_len - length)
        assert padded["input_ids"][index].tolist() == batch.ids[tokens].tolist() + [1] * (batch.max_len - length)
        assert padded["token_type_ids"][index, :length].tolist() == batch.token_types[tokens].tolist()
        assert not padded["token_type_ids"][index, length:].any()


@given(lengths)
def test_the_binned_form_holds_every_sequence_in_one_piece(given_lengths: list[int]) -> None:
    batch, bins = batch_of(given_lengths), pack(tuple(given_lengths))
    binned = batch.binned()
    shape = (len(bins.sequences), bins.width)
    assert {array.shape for name, array in binned.items() if name != "first_token_indices"} == {shape}
    assert {array.dtype for array in binned.values()} == {np.dtype(np.int64)}
    for index, first in enumerate(binned["first_token_indices"].tolist()):
        tokens = slice(batch.cu_seqlens[index], batch.cu_seqlens[index + 1])
        places = slice(first, first + given_lengths[index])
        assert first // bins.width == (places.stop - 1) // bins.width, "it does not continue in the next bin"
        for name, values in (
            ("input_ids", batch.ids),
            ("positions", batch.positions),
            ("token_type_ids", batch.token_types),
        ):
            assert binned[name].flatten()[places].tolist() == values[tokens].tolist(), name
        assert set(binned["sequence_ids"].flatten()[places].tolist()) == {index}
    unused = binned["sequence_ids"] == len(given_lengths)
    assert unused.sum() == bins.tokens - batch.tokens
    assert set(binned["input_ids"][unused].tolist()) <= {int(batch.ids[0])}, "a token that the vocabulary has"


@given(lengths.filter(lambda given_lengths: len(given_lengths) > 1))
def test_halves_are_cut_between_two_sequences_as_near_the_middle_of_the_tokens_as_can_be(
    given_lengths: list[int],
) -> None:
    batch = batch_of(given_lengths)
    first, second = batch.halves()
    assert first.lengths + second.lengths == batch.lengths
    for name in ("ids", "token_types", "positions"):
        joined = np.concatenate([getattr(first, name), getattr(second, name)])
        np.testing.assert_array_equal(joined, getattr(batch, name))
    for half in (first, second):
        assert (half.cu_seqlens[0], half.cu_seqlens[-1]) == (0, half.tokens)
        assert (half.max_len, half.pad_id) == (max(half.lengths), batch.pad_id)
    off_middle = abs(2 * first.tokens - batch.tokens)
    assert all(off_middle <= abs(2 * sum(given_lengths[:cut]) - batch.tokens) for cut in range(1, len(given_lengths)))


def test_one_long_sequence_is_set_apart() -> None:
    first, second = batch_of([10, 10, 290, 10]).halves()
    assert (first.lengths, second.lengths) == ((10, 10), (290, 10))
    first, second = batch_of([290, 10, 10, 10]).halves()
    assert (first.lengths, second.lengths) == ((290,), (10, 10, 10))


def test_a_batch_of_one_sequence_has_no_halves() -> None:
    with pytest.raises(ValueError, match="no halves"):
        batch_of([5]).halves()


def test_tokens_that_nothing_attends_to_are_read_and_masked() -> None:
    seen, unseen = TokenSequence((ids(5, 6, 9),), 1, 3), TokenSequence((ids(5, 6, 9),), 1, 3, unseen=2)
    batch, where = build_batch([seen, unseen, unseen], pad_id=0, per_token=True)
    padded = batch.padded()
    assert where == [0, 1, 1]
    assert padded["input_ids"].tolist() == [[5, 6, 9], [5, 6, 9]]
    assert padded["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.is_token.all()
    assert [half.unseen for half in batch.halves()] == [(0,), (2,)]
    assert all(half.per_token for half in batch.halves())
