"""The disk store: survives restarts, stays within its size, forgets the oldest, and is private to its owner."""

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cache.entries import entry, fields_of, key
from trivet.cache.disk import FILE_NAME, TOUCH_AFTER_S, DiskStore

MIB = 1024**2


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


Open = Callable[..., DiskStore]


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Open]:
    stores: list[DiskStore] = []

    def open_store(limit_bytes: int = MIB) -> DiskStore:
        stores.append(DiskStore(tmp_path / "results", limit_bytes, clock))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def test_entries_survive_a_restart(opened: Open) -> None:
    store = opened(4 * MIB)
    kept = {key(number): entry(number, 384) for number in range(700)}
    store.put(kept)
    store.close()
    found = opened().get([*kept, key(999)])
    assert {k: fields_of(e) for k, e in found.entries.items()} == {k: fields_of(e) for k, e in kept.items()}
    assert (found.stale, found.damaged) == ([], 0)


def test_two_stores_on_one_file_see_each_others_entries(opened: Open) -> None:
    first, second = opened(), opened()
    first.put({key(1): entry(1)})
    second.put({key(2): entry(2)})
    assert set(first.get([key(1), key(2)]).entries) == set(second.get([key(1), key(2)]).entries) == {key(1), key(2)}


def test_the_file_stays_within_its_limit_and_keeps_the_newest(opened: Open, clock: Clock, tmp_path: Path) -> None:
    store = opened(MIB)
    for batch in range(40):
        clock.now_s += 1
        store.put({key(batch * 50 + n): entry(n, 384) for n in range(50)})
        assert store.used_bytes <= MIB
    newest = [key(39 * 50 + n) for n in range(50)]
    assert len(store.get(newest).entries) == 50
    assert store.get([key(n) for n in range(50)]).entries == {}
    store.close()
    assert (tmp_path / "results" / FILE_NAME).stat().st_size <= MIB + 256 * 1024


def test_more_than_all_of_it_is_left_out(opened: Open) -> None:
    store = opened(MIB)
    store.put({key(1): entry(1)})
    store.put({key(n): entry(n, 384) for n in range(10, 1000)})
    assert set(store.get([key(1), key(10)]).entries) == {key(1)}


def test_what_was_used_lately_outlives_what_was_not(opened: Open, clock: Clock) -> None:
    store = opened(MIB)
    store.put({key(n): entry(n, 384) for n in range(100)})
    clock.now_s += TOUCH_AFTER_S + 2
    found = store.get([key(3)])
    assert found.stale == [key(3)]
    store.touch(found.stale)
    assert store.get([key(3)]).stale == []
    for batch in range(1, 12):
        clock.now_s += 1
        store.put({key(batch * 1000 + n): entry(n, 384) for n in range(50)})
    assert set(store.get([key(3), key(4)]).entries) == {key(3)}


def test_a_damaged_entry_is_missing_and_can_be_written_again(opened: Open, tmp_path: Path) -> None:
    store = opened()
    kept = entry(5, 384)
    store.put({key(5): kept, key(6): entry(6)})
    store.close()
    file = tmp_path / "results" / FILE_NAME
    content = file.read_bytes()
    assert content.count(kept.values.tobytes()) == 1
    file.write_bytes(content.replace(kept.values.tobytes(), (kept.values + 1).tobytes()))
    store = opened()
    found = store.get([key(5), key(6)])
    assert (set(found.entries), found.damaged) == ({key(6)}, 1)
    store.put({key(5): kept})
    assert set(store.get([key(5)]).entries) == {key(5)}


def test_only_its_owner_can_read_it(opened: Open, tmp_path: Path) -> None:
    opened().put({key(1): entry(1)})
    files = list((tmp_path / "results").iterdir())
    assert len(files) == 4  # the store, its log, the log's index, and the lock of opening it
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def _write(folder: Path, start: int) -> None:
    store = DiskStore(folder, 8 * MIB)
    for number in range(start, start + 60, 6):
        store.put({key(n): entry(n, 64) for n in range(number, number + 6)})
    store.close()


@pytest.mark.slow
def test_processes_write_side_by_side(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, start)) for start in (0, 1000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = DiskStore(tmp_path, 8 * MIB)
    assert len(store.get([key(start + n) for start in (0, 1000) for n in range(60)]).entries) == 120
    store.close()
