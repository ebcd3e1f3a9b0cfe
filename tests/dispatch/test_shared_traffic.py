"""The traffic of several processes that serve as one: sums of all of them, also after one was killed."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trivet.dispatch.reroute_log import MAX_REASON_BYTES, MAX_REROUTES, Reroute, merged
from trivet.dispatch.shared_blocks import SharedBlocks, open_blocks
from trivet.dispatch.traffic import BLOCK_BYTES, Traffic

NOW_S = 1000.0

Open = Callable[[], Traffic]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the traffic of a further process of one service. Two of one process exclude each other as two would."""
    opened: list[SharedBlocks] = []

    def open_traffic() -> Traffic:
        opened.append(SharedBlocks(tmp_path / "shared", BLOCK_BYTES))
        return Traffic(lambda: NOW_S, lambda: NOW_S, opened[-1])

    yield open_traffic
    for blocks in opened:
        blocks.close()


def calls_of(traffic: Traffic) -> tuple[int, int]:
    embedder = traffic.models["embedder"]
    return embedder.rolling.summary().calls, embedder.in_flight


def test_each_process_reads_the_sum_at_once(opened: Open) -> None:
    first, second = opened(), opened()
    readings = []
    for number in range(10):
        writer, reader = (first, second) if number % 2 else (second, first)
        writer.models["embedder"].rolling.answered(0.01, tokens=3, rerouted=False)
        readings.append(reader.models["embedder"].rolling.summary().calls)
    assert readings == list(range(1, 11))
    assert first.models["embedder"].rolling.summary() == second.models["embedder"].rolling.summary()
    assert first.models["embedder"].rolling.summary().tokens == 30
    assert calls_of(opened()) == (10, 0), "a process that starts later reads the others' counts"
    assert first.models["reranker"].rolling.summary().calls == 0


def test_calls_in_flight_are_those_of_all_processes(opened: Open) -> None:
    first, second = opened(), opened()
    first.models["embedder"].begin()
    second.models["embedder"].begin()
    second.models["embedder"].begin()
    assert first.models["embedder"].in_flight == second.models["embedder"].in_flight == 3
    second.models["embedder"].end()
    assert first.models["embedder"].in_flight == 2


def _count_and_be_killed(folder: Path) -> None:
    traffic = Traffic(lambda: NOW_S, lambda: NOW_S, SharedBlocks(folder, BLOCK_BYTES))
    traffic.models["embedder"].begin()
    traffic.models["embedder"].rolling.answered(0.01, tokens=1, rerouted=True)
    traffic.reroutes.add("embedder", "no room")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_leaves_its_counts_but_nothing_in_flight(opened: Open, tmp_path: Path) -> None:
    survivor = opened()
    survivor.models["embedder"].begin()
    killed = multiprocessing.get_context("fork").Process(target=_count_and_be_killed, args=(tmp_path / "shared",))
    killed.start()
    killed.join(30)
    assert killed.exitcode == -signal.SIGKILL
    assert calls_of(survivor) == (1, 1)
    assert [entry.requests for entry in survivor.reroutes.newest_first()] == [1]

    successor = opened()
    assert len(list((tmp_path / "shared").iterdir())) == 2, "it takes the block over"
    assert calls_of(survivor) == calls_of(successor) == (1, 1)
    successor.models["embedder"].rolling.answered(0.01, tokens=1, rerouted=False)
    successor.reroutes.add("embedder", "no room")
    assert calls_of(survivor) == (2, 1)
    assert [entry.requests for entry in survivor.reroutes.newest_first()] == [2]


def test_a_process_that_ends_gives_its_block_up(tmp_path: Path) -> None:
    first, second = SharedBlocks(tmp_path, 64), SharedBlocks(tmp_path, 64)
    assert [block.alive for block in first.all()] == [True, True]
    second.close()
    assert [block.alive for block in first.all()] == [True, False]
    assert [first.is_alive(number) for number in (0, 1, 7)] == [True, False, False]
    assert SharedBlocks(tmp_path, 64).number == 1


def test_blocks_of_another_size_are_left_alone(tmp_path: Path) -> None:
    small, large = SharedBlocks(tmp_path, 64), SharedBlocks(tmp_path, 128)
    small.words[0] = 5
    assert (large.number, large.words[0]) == (0, 0)
    assert len(list(large.all())) == 1


def test_a_process_alone_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    alone = Traffic(lambda: NOW_S, lambda: NOW_S)
    alone.models["embedder"].rolling.answered(0.01, tokens=1, rerouted=False)
    alone.models["embedder"].begin()
    assert calls_of(alone) == (1, 1)
    assert list(tmp_path.iterdir()) == []


def test_only_this_user_can_read_the_blocks(opened: Open, tmp_path: Path) -> None:
    opened()
    [file] = (tmp_path / "shared").iterdir()
    assert (file.parent.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def entry(reason: str, requests: int, first_at_s: float, last_at_s: float) -> Reroute:
    return Reroute("embedder", reason, requests, first_at_s, last_at_s)


def test_equal_reroutes_of_two_processes_are_one_entry_until_another_reason_comes_between() -> None:
    one, other = [entry("full", 2, 1, 4), entry("full", 1, 9, 9)], [entry("full", 3, 2, 5), entry("lost", 1, 7, 7)]
    expected = [entry("full", 1, 9, 9), entry("lost", 1, 7, 7), entry("full", 5, 1, 5)]
    assert merged([*one, *other]) == merged([*other, *one]) == expected


def test_merged_entries_are_bounded() -> None:
    assert len(merged(entry(str(number), 1, number, number) for number in range(3 * MAX_REROUTES))) == MAX_REROUTES


def test_a_long_reason_is_cut_visibly(opened: Open) -> None:
    traffic = opened()
    traffic.reroutes.add("embedder", "é" * MAX_REASON_BYTES)
    [cut] = traffic.reroutes.newest_first()
    assert cut.reason.endswith("é…")
    assert len(cut.reason.encode()) <= MAX_REASON_BYTES


def test_without_a_folder_to_write_to_a_process_serves_alone_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    blocks = open_blocks(tmp_path / "file" / "shared", 64)
    assert (blocks.number, blocks.folder) == (0, None)
    assert "of this process alone" in caplog.text
