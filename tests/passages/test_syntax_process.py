"""The process that parses: what no parser survives harms nothing but that process."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.passages import counters
from tests.passages.test_properties import check
from trivet.errors import ConfigError
from trivet.passages import passages_of
from trivet.passages.syntax.process import SyntaxProcess

CODE = "def f(a):\n    return a\n\n\ndef g(a):\n    return a\n"


@pytest.fixture
def reader() -> Iterator[SyntaxProcess]:
    reader = SyntaxProcess()
    yield reader
    reader.close()


def pid_of(reader: SyntaxProcess) -> int:
    assert reader._process is not None
    return reader._process.pid


def test_it_is_started_once_and_again_after_it_died(reader: SyntaxProcess) -> None:
    first = reader.block(CODE, "python", 16)
    assert first is not None
    assert [block.title for block in first.blocks] == ["def f(a)", "def g(a)"]
    pid = pid_of(reader)
    assert reader.block(CODE, "python", 16) == first
    assert pid_of(reader) == pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert reader.block(CODE, "python", 16) == first
    assert pid_of(reader) != pid


def test_it_ends_when_it_is_closed(reader: SyntaxProcess) -> None:
    reader.block(CODE, "python", 16)
    pid = pid_of(reader)
    reader.close()
    assert not Path(f"/proc/{pid}").exists()
    assert reader.block(CODE, "python", 16) is not None, "and is started again when it is needed again"


@pytest.mark.slow
def test_a_text_that_takes_all_memory_is_divided_by_its_lines(reader: SyntaxProcess) -> None:
    text = "class A {\n  int a = b;\n}\n" + "x=>" * 4000  # needs gigabytes
    assert reader.block(text, "java", 16) is None
    passages = passages_of(text, counters.words, 40, path="A.java", code_reader=reader)
    check(text, passages, counters.words, 40)
    assert {passage.kind for passage in passages} == {"lines"}
    assert reader.block(CODE, "python", 16) is not None


@pytest.mark.slow
def test_a_text_that_takes_all_time_is_stopped(reader: SyntaxProcess) -> None:
    reader.block(CODE, "python", 16)
    pid = pid_of(reader)
    began_s = os.times().children_user
    assert reader.block("\0" * 60_000, "bash", 16) is None  # half a minute without a limit
    assert os.times().children_user - began_s < 8
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.slow
def test_one_that_hangs_is_ended_by_the_deadline(reader: SyntaxProcess) -> None:
    reader.block(CODE, "python", 16)
    reader._deadline_s = 0.5
    os.kill(pid_of(reader), signal.SIGSTOP)
    assert reader.block(CODE, "python", 16) is None


def test_a_parser_that_does_not_start_is_an_error_that_says_so(
    reader: SyntaxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2])])  # trivet, but none of its dependencies
    monkeypatch.setattr(sys, "executable", sys._base_executable)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"the parser did not start \(exit code 1\)"):
        reader.block(CODE, "python", 16)


def test_threads_take_turns(reader: SyntaxProcess) -> None:
    found: list[object] = []

    def ask() -> None:
        found.append(reader.block(CODE, "python", 16))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({str(block) for block in found}) == 1
    assert found[0] is not None


def test_it_ends_with_the_process_that_started_it() -> None:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of the test's own process may run in it
        reader = SyntaxProcess()
        reader.block(CODE, "python", 16)
        os.write(write_end, str(pid_of(reader)).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(write_end)
    with os.fdopen(read_end) as said:
        pid = int(said.read())
    os.waitpid(child, 0)
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            return
        time.sleep(0.05)
    pytest.fail("the parser outlived its parent")


def test_a_fork_starts_its_own(reader: SyntaxProcess) -> None:
    reader.block(CODE, "python", 16)
    pid = pid_of(reader)
    child = os.fork()
    if child == 0:
        other = reader.block(CODE, "python", 16) is not None and pid_of(reader) != pid
        reader.close()
        os._exit(0 if other else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert reader.block(CODE, "python", 16) is not None
    assert pid_of(reader) == pid
