"""Small pieces come in groups under the limit, divided where it is cheapest."""

from hypothesis import given
from hypothesis import strategies as st

from trivet.passages.fill import Item, groups


def items(tokens: list[int], blank_before: set[int] = frozenset(), tearing: set[int] = frozenset()) -> list[Item]:  # type: ignore[assignment]
    return [
        Item(index, index + 1, count, (index in tearing, 0, index not in blank_before))
        for index, count in enumerate(tokens)
    ]


@given(
    st.lists(st.integers(1, 60), max_size=80),
    st.integers(16, 100),
    st.sets(st.integers(0, 80)),
    st.sets(st.integers(0, 80)),
)
def test_all_are_in_a_group_and_none_is_over_the_limit(
    tokens: list[int], limit: int, blank: set[int], tearing: set[int]
) -> None:
    found = list(groups(items(tokens, blank, tearing), limit))
    assert [index for start, stop in found for index in range(start, stop)] == list(range(len(tokens)))
    assert all(sum(tokens[start:stop]) <= limit or stop - start == 1 for start, stop in found)


def test_a_group_ends_at_a_blank_line_between_half_the_limit_and_all_of_it() -> None:
    assert list(groups(items([10] * 30, {3, 7}), 100))[:2] == [(0, 7), (7, 17)]


def test_the_last_two_groups_share_what_is_left() -> None:
    assert list(groups(items([10] * 11), 100)) == [(0, 6), (6, 11)]


def test_nothing_is_torn_where_a_short_group_avoids_it() -> None:
    assert next(groups(items([10] * 30, tearing=set(range(2, 30))), 100)) == (0, 1)
