"""The memory store: bounded by bytes, with all that an entry costs; the least recently used goes first."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cache.entries import entry, fields_of, key
from trivet.cache.entry import OVERHEAD_BYTES, Entry, compact_copy
from trivet.cache.store import MemoryStore

SIZE = entry().size_bytes


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 400)), max_size=40), st.integers(0, 5000))
def test_it_never_holds_more_than_its_limit(puts: list[tuple[int, int]], limit: int) -> None:
    store = MemoryStore(limit)
    for number, width in puts:
        store.put({key(number): entry(number, width)})
        held = store.get(key(n) for n in range(10))
        assert sum(e.size_bytes for e in held.values()) == store.size_bytes <= limit


def test_the_least_recently_used_makes_room() -> None:
    store = MemoryStore(2 * SIZE)
    store.put({key(1): entry(1), key(2): entry(2)})
    store.get([key(1)])
    store.put({key(3): entry(3)})
    assert set(store.get([key(1), key(2), key(3)])) == {key(1), key(3)}


def test_an_entry_comes_back_as_it_was() -> None:
    store = MemoryStore(SIZE)
    kept = entry(7)
    store.put({key(7): kept})
    assert fields_of(store.get([key(7)])[key(7)]) == fields_of(kept)


@pytest.mark.parametrize("width", [4, 384])
def test_an_entry_is_charged_for_all_that_it_costs(width: int) -> None:
    count = 2000
    batch = np.zeros((count, width), dtype=np.float32)
    store = MemoryStore(1 << 30)
    device = "cpu (fake)"
    tracemalloc.start()
    for number in range(count):
        store.put({key(number): Entry(compact_copy(batch[number]), 1, 1, False, 1, "cpu", device)})
    measured, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert measured <= store.size_bytes <= measured + count * OVERHEAD_BYTES // 2


def test_values_are_no_view_of_their_batch() -> None:
    batch = np.zeros((4, 3), dtype=np.float32)
    values = compact_copy(batch[1])
    batch += 1
    assert values.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        values += 1
