"""Bins hold every sequence once, in widths of few sizes, and are the cheapest there are."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.engine.batch.layout import WIDEST, Bins, pack, round_up

lengths = st.lists(st.integers(1, 600), min_size=1, max_size=40).map(tuple)


@given(lengths)
def test_every_sequence_lies_in_one_bin_that_holds_it(given_lengths: tuple[int, ...]) -> None:
    bins = pack(given_lengths)
    assert sorted(index for one in bins.sequences for index in one) == list(range(len(given_lengths)))
    assert all(sum(given_lengths[index] for index in one) <= bins.width for one in bins.sequences)


@given(lengths)
def test_widths_are_few_and_no_wider_than_they_need_be(given_lengths: tuple[int, ...]) -> None:
    width = pack(given_lengths).width
    assert width % (16 if width <= 64 else 32 if width <= 128 else 64) == 0
    assert round_up(max(given_lengths)) <= width <= max(round_up(max(given_lengths)), WIDEST)
    assert width <= max(round_up(max(given_lengths)), round_up(sum(given_lengths)))


def test_one_sequence_has_a_bin_of_its_size() -> None:
    assert pack((30,)) == Bins(32, ((0,),))
    assert pack((33,)) == Bins(48, ((0,),))
    assert pack((65,)) == Bins(96, ((0,),))
    assert pack((129,)) == Bins(192, ((0,),))
    assert pack((8000,)) == Bins(8000, ((0,),))


def test_sequences_of_one_length_are_not_put_into_wide_bins() -> None:
    assert pack((128,) * 8) == Bins(128, tuple((n,) for n in range(8)))  # attention would cost more, and save nothing


def test_ragged_sequences_share_bins() -> None:
    bins = pack((200, 56, 150, 100, 6))
    assert bins == Bins(256, ((0, 1), (2, 3, 4)))


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_little_is_computed_in_vain(seed: int) -> None:
    rng = random.Random(seed)
    useful = computed = 0
    for _ in range(50):
        batch = [min(500, max(5, round(rng.lognormvariate(4.79, 0.8)))) for _ in range(4)]  # median 120
        while sum(batch) > 1024:
            batch.pop()
        bins = pack(tuple(batch))
        useful, computed = useful + sum(batch), computed + bins.tokens
    assert computed / useful <= 1.25, "four sequences at a time"
