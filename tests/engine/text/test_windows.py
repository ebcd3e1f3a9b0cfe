"""Windows cover everything, never exceed their room, and overlap as asked."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.engine.text.windows import pair_spans, window_spans

lengths = st.integers(0, 5000)
rooms = st.integers(1, 600)
overlaps = st.integers(0, 200)


@given(lengths, rooms, overlaps)
def test_windows_cover_every_token_in_order(length: int, room: int, overlap: int) -> None:
    spans = window_spans(length, room, overlap)
    covered = set().union(*(range(start, end) for start, end in spans))
    assert covered == set(range(length))
    assert spans == sorted(spans)


@given(lengths, rooms, overlaps)
def test_no_window_exceeds_its_room(length: int, room: int, overlap: int) -> None:
    assert all(end - start <= room for start, end in window_spans(length, room, overlap))


@given(lengths, rooms, overlaps)
def test_windows_are_equally_long_and_neighbours_overlap(length: int, room: int, overlap: int) -> None:
    spans = window_spans(length, room, overlap)
    assert len({end - start for start, end in spans}) == 1
    for (_, end), (start, _) in pairwise(spans):
        assert end - start >= min(overlap, room // 2)


@given(lengths, rooms, overlaps)
def test_one_window_fewer_would_not_do(length: int, room: int, overlap: int) -> None:
    count = len(window_spans(length, room, overlap))
    if count > 1:
        effective = min(overlap, room // 2)
        assert (count - 1) * room - (count - 2) * effective < length


def test_a_text_that_fits_is_one_window_as_it_is() -> None:
    assert window_spans(512, 512, 64) == [(0, 512)]
    assert window_spans(0, 512, 64) == [(0, 0)]


def test_a_window_without_room_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        window_spans(10, 0, 0)


@given(st.integers(0, 800), st.integers(0, 800), st.integers(16, 300), overlaps)
def test_pair_windows_fit_and_every_token_of_one_meets_every_token_of_the_other(
    first: int, second: int, room: int, overlap: int
) -> None:
    firsts, seconds = pair_spans(first, second, room, overlap)
    assert max(b - a for a, b in firsts) + max(d - c for c, d in seconds) <= room
    assert set().union(*(range(a, b) for a, b in firsts)) == set(range(first))
    assert set().union(*(range(c, d) for c, d in seconds)) == set(range(second))


def test_the_short_text_of_a_pair_stays_whole() -> None:
    assert pair_spans(20, 1000, 120, 10)[0] == [(0, 20)]


@given(st.integers(0, 800), st.integers(0, 800), st.integers(16, 300))
def test_a_pair_that_is_cut_fills_the_room_and_loses_nothing_that_fits(first: int, second: int, room: int) -> None:
    [(start, first_kept)], [(other_start, second_kept)] = pair_spans(first, second, room, 0, cut=True)
    assert start == other_start == 0
    assert room - 1 <= first_kept + second_kept <= room or (first_kept, second_kept) == (first, second)
    assert first_kept >= min(first, room // 2)
    assert second_kept >= min(second, room // 2)
