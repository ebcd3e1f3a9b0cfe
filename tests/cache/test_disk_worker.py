"""The disk worker: a slow, full or broken disk costs only hits; each failure is counted, each kind logged once."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cache.entries import entry, key
from tests.support.memory_sink import MemorySink
from trivet.cache.disk import FILE_NAME, DiskStore, Found
from trivet.cache.disk_worker import MAX_WAITING, DiskWorker
from trivet.cache.entry import Entry
from trivet.cache.store import MemoryStore, ResultStore
from trivet.metrics import CACHE_DISK_FAILURES

MIB = 1024**2


@asynccontextmanager
async def worker_on(folder: Path, sink: MemorySink, limit_bytes: int = MIB) -> AsyncIterator[DiskWorker]:
    worker = DiskWorker(lambda: DiskStore(folder, limit_bytes), sink)
    yield worker
    await worker.close()


def failures(sink: MemorySink, kind: str) -> float:
    return sink.value(CACHE_DISK_FAILURES, error=kind)


async def test_what_is_put_is_found_after_a_restart(tmp_path: Path) -> None:
    sink = MemorySink()
    async with worker_on(tmp_path, sink) as worker:
        worker.put({key(1): entry(1)})
        assert set(await worker.get([key(1), key(2)])) == {key(1)}
    async with worker_on(tmp_path, sink) as worker:
        assert set(await worker.get([key(1)])) == {key(1)}
    assert sink.touched() == frozenset()


async def test_entries_found_on_disk_are_stored_in_memory(tmp_path: Path) -> None:
    async with worker_on(tmp_path, MemorySink()) as worker:
        worker.put({key(1): entry(1)})
        memory = MemoryStore(MIB)
        assert set(await ResultStore(memory, worker).get([key(1), key(2)])) == {key(1)}
        assert set(memory.get([key(1)])) == {key(1)}


async def test_a_file_that_is_no_store_is_logged_once_and_left_unchanged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"something else" * 1000)
    sink = MemorySink()
    async with worker_on(tmp_path, sink) as worker:
        assert await worker.get([key(1)]) == {}
        worker.put({key(1): entry(1)})
        assert await worker.get([key(1)]) == {}
    assert failures(sink, "DatabaseError") == 1  # not asked again
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "until the next start" in record.getMessage()
    assert (tmp_path / FILE_NAME).read_bytes().startswith(b"something else")


async def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    sink = MemorySink()
    async with worker_on(tmp_path / "file" / "results", sink) as worker:
        assert await worker.get([key(1)]) == {}
    assert failures(sink, "NotADirectoryError") == 1


class FullStore(DiskStore):
    """Cannot grow by a page, as on a full disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, MIB)
        self.put({key(1): entry(1)})
        self._db.execute(f"PRAGMA max_page_count = {self._pragma('page_count')}")


async def test_a_full_disk_is_read_but_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = MemorySink()
    worker = DiskWorker(lambda: FullStore(tmp_path), sink)
    for number in range(2, 5):
        worker.put({key(number): entry(number, 5000)})
    assert set(await worker.get([key(number) for number in range(5)])) == {key(1)}
    await worker.close()
    assert failures(sink, "OperationalError") == 3
    assert [record.getMessage() for record in caplog.records] == [
        "the disk cache failed (OperationalError: database or disk is full); requests are served without it"
    ]


class HungStore(DiskStore):
    """Reads wait for `gate`."""

    def __init__(self, folder: Path, gate: threading.Event) -> None:
        super().__init__(folder, MIB)
        self._gate = gate

    def get(self, keys: Sequence[bytes]) -> Found:
        self._gate.wait(timeout=30)
        return super().get(keys)


@pytest.mark.slow
async def test_a_disk_that_hangs_is_not_waited_for_nor_queued_up_for(tmp_path: Path) -> None:
    sink, gate = MemorySink(), threading.Event()
    worker = DiskWorker(lambda: HungStore(tmp_path, gate), sink)
    assert await worker.get([key(1)]) == {}
    assert failures(sink, "slow") == 1
    for number in range(MAX_WAITING + 10):
        worker.put({key(number): entry(number)})
    # The hung read takes one place; writes beyond the limit are skipped.
    assert failures(sink, "behind") == 11
    gate.set()
    await worker.close()
    store = DiskStore(tmp_path, MIB)
    assert len(store.get([key(n) for n in range(MAX_WAITING + 10)]).entries) == MAX_WAITING - 1
    store.close()


@pytest.mark.slow
async def test_a_locked_file_costs_a_write_and_no_more(tmp_path: Path) -> None:
    sink = MemorySink()
    async with worker_on(tmp_path, sink) as worker:
        worker.put({key(1): entry(1)})
        assert set(await worker.get([key(1)])) == {key(1)}
        other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        worker.put({key(2): entry(2)})
        await asyncio.to_thread(worker._thread.submit(lambda: None).result)
        other.rollback()
        other.close()
        worker.put({key(3): entry(3)})
        assert set(await worker.get([key(1), key(2), key(3)])) == {key(1), key(3)}
    assert failures(sink, "OperationalError") == 1


async def test_another_process_finds_what_was_waited_for(tmp_path: Path) -> None:
    sink = MemorySink()
    async with worker_on(tmp_path, sink) as worker:
        await ResultStore(MemoryStore(MIB), worker, shared=True).put({key(1): entry(1)})
        other = DiskStore(tmp_path, MIB, durable=False)
        assert set(other.get([key(1)]).entries) == {key(1)}
        other.close()
    assert sink.touched() == frozenset()


class SlowStore(DiskStore):
    """Writes wait for `gate`."""

    def __init__(self, folder: Path, gate: threading.Event) -> None:
        super().__init__(folder, MIB)
        self._gate = gate

    def put(self, entries: Mapping[bytes, Entry]) -> None:
        self._gate.wait(timeout=30)
        super().put(entries)


async def test_a_slow_write_is_not_waited_for_and_not_lost(tmp_path: Path) -> None:
    sink, gate = MemorySink(), threading.Event()
    worker = DiskWorker(lambda: SlowStore(tmp_path, gate), sink)
    await worker.put_and_wait({key(1): entry(1)})
    assert failures(sink, "slow") == 1
    leaving = asyncio.create_task(worker.put_and_wait({key(2): entry(2)}))
    await asyncio.sleep(0)
    leaving.cancel()
    gate.set()
    assert set(await worker.get([key(1), key(2)])) == {key(1), key(2)}
    await worker.close()


async def test_a_closed_worker_is_empty(tmp_path: Path) -> None:
    async with worker_on(tmp_path, MemorySink()) as worker:
        worker.put({key(1): entry(1)})
    assert await worker.get([key(1)]) == {}
