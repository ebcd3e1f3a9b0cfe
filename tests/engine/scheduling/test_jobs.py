"""The usage of a job: tokens per input, for any number of windows and hypotheses."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trivet.engine.batch.token_batch import TokenSequence
from trivet.engine.scheduling.jobs import usage


def sequence(tokens: int) -> TokenSequence:
    return TokenSequence((np.ones(tokens, dtype=np.int32),), 1, tokens)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=6),
    st.integers(1, 3),
    st.lists(st.integers(1, 50), min_size=72, max_size=72),
)
def test_tokens_belong_to_the_input_whose_sequences_they_are_in(
    windows: list[int], hypotheses: int, lengths: list[int]
) -> None:
    per_input: list[list[int]] = []
    for count in windows:
        taken = sum(map(len, per_input))
        per_input.append(lengths[taken : taken + count * hypotheses])
    sequences = [sequence(tokens) for lengths_of_one in per_input for tokens in lengths_of_one]
    used = usage(sequences, windows, [False] * len(windows))
    assert used.input_tokens == tuple(map(sum, per_input))
    assert used.tokens == sum(r.tokens for r in sequences)
    assert used.sequences == len(sequences)
    assert used.sequences_per_window == hypotheses
