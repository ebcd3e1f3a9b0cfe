"""Each layout's cost is the size of the arrays that a batch becomes, and its running estimate is close to it."""

from hypothesis import given
from hypothesis import strategies as st

from tests.engine.batch.test_token_batch import batch_of
from trivet.engine.batch.layout import BINNED, FLAT, PADDED

lengths = st.lists(st.integers(1, 300), min_size=1, max_size=12)


@given(lengths)
def test_cost_is_what_a_forward_computes(given_lengths: list[int]) -> None:
    batch = batch_of(given_lengths)
    assert PADDED.cost(given_lengths) == batch.padded()["input_ids"].size
    assert BINNED.cost(given_lengths) == batch.binned()["input_ids"].size
    assert FLAT.cost(given_lengths) == batch.ids.size


@given(lengths)
def test_a_growing_batch_costs_what_it_is_estimated_to(given_lengths: list[int]) -> None:
    summary = (len(given_lengths), max(given_lengths), sum(given_lengths))
    for layout in (PADDED, FLAT):
        assert layout.filled(*summary) == layout.cost(given_lengths)
    assert BINNED.filled(*summary) <= BINNED.cost(given_lengths)


def test_only_padding_makes_lengths_matter() -> None:
    assert not PADDED.mixes_lengths
    assert BINNED.mixes_lengths
    assert FLAT.mixes_lengths
