"""What a killed service left is found by its record and its folder, and ended; nothing else is touched."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ray.serve._private import constants

from deployments.service.folder import folder_variables, keep_logs, logs_of, make_run_folder
from deployments.service.leftovers import clear, dead_services, living_members, remove_folder
from deployments.service.processes import end, processes_in
from deployments.service.record import ProcessId, RecordFile, ServiceRecord, all_records

GONE = ProcessId(1 << 22, 0.0)
"""Beyond the largest process id of Linux's default."""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = make_run_folder()
    yield made
    remove_folder(made)


@pytest.fixture
def sleepers(folder: Path) -> Iterator[list[psutil.Process]]:
    """One process that has a log open in the folder, one that names it, and one that has nothing to do with it."""
    sleep = "import time; time.sleep(60)"
    log = folder / "log"
    with log.open("w") as opened:
        running = [
            subprocess.Popen([sys.executable, "-c", sleep], stdout=opened),
            subprocess.Popen([sys.executable, "-c", sleep, f"{folder}/file"]),
            subprocess.Popen([sys.executable, "-c", sleep]),
        ]
    yield [psutil.Process(child.pid) for child in running]
    for child in running:
        child.kill()
        child.wait()


def record_of(folder: Path, owner: ProcessId = GONE) -> ServiceRecord:
    return ServiceRecord("http://127.0.0.1:8000", owner, str(folder), (8000, 8500))


def test_the_folder_is_private_and_short_enough_for_sockets(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(str(folder)) <= 30
    for value in folder_variables(folder).values():
        assert Path(value).is_relative_to(folder)


def test_no_file_of_haproxy_is_in_a_shared_folder(folder: Path) -> None:
    """Serve has a variable for each of its files that would be below /tmp/haproxy-serve; all of them are set."""
    source = Path(constants.__file__).read_text(encoding="utf-8")
    shared = set(re.findall(r'"(\w+)",\s*"/tmp/haproxy-serve', source))
    assert len(shared) >= 5
    assert {*shared, "RAY_TMPDIR"} == set(folder_variables(folder))


def test_a_long_temporary_folder_is_not_used_for_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    made = make_run_folder()
    assert made.parent == Path("/tmp")
    made.rmdir()


def test_processes_are_known_by_the_folder_they_use(folder: Path, sleepers: list[psutil.Process]) -> None:
    assert {process.pid for process in processes_in(folder)} == {sleepers[0].pid, sleepers[1].pid}


def test_a_dead_service_is_cleared_with_its_processes(
    folder: Path, sleepers: list[psutil.Process], tmp_path: Path
) -> None:
    file = RecordFile(tmp_path, 8000)
    file.write(record_of(folder).with_members([sleepers[0]]))
    [(found, record)] = dead_services(tmp_path)
    assert clear(found, record) == 2
    assert [process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in sleepers] == [
        False,
        False,
        True,
    ]
    assert not folder.exists()
    assert not list(all_records(tmp_path))


def test_a_link_leads_to_the_folder_as_long_as_the_service_has_one(folder: Path, tmp_path: Path) -> None:
    file = RecordFile(tmp_path, 8000)
    file.write(record_of(folder))
    file.write(record_of(folder))
    assert file.link.resolve() == folder
    file.remove()
    assert not file.link.is_symlink()


def test_the_logs_of_a_run_that_ended_by_itself_are_kept(folder: Path, tmp_path: Path) -> None:
    assert keep_logs(folder, tmp_path / "kept") is None
    logs = logs_of(folder)
    (logs / "serve").mkdir(parents=True)
    (logs / "serve" / "ingress.log").write_text("why")
    os.mkfifo(logs / "pipe")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "old.log").write_text("earlier")
    assert keep_logs(folder, tmp_path / "kept") == tmp_path / "kept"
    assert [path.name for path in (tmp_path / "kept").rglob("*.log")] == ["ingress.log"]


def test_a_running_service_is_left_alone(folder: Path, tmp_path: Path) -> None:
    RecordFile(tmp_path, 8000).write(record_of(folder, ProcessId.of(psutil.Process())))
    assert list(dead_services(tmp_path)) == []
    assert [record.ports for _, record in all_records(tmp_path)] == [(8000, 8500)]


def test_a_process_number_that_was_given_again_is_not_ours(folder: Path, sleepers: list[psutil.Process]) -> None:
    reused = ProcessId(sleepers[2].pid, sleepers[2].create_time() - 100)
    assert reused.find() is None
    record = ServiceRecord("http://127.0.0.1:8000", GONE, str(folder / "nothing"), (), (reused,))
    assert living_members(record) == []


def test_the_record_is_private_and_survives_damage(tmp_path: Path, folder: Path) -> None:
    file = RecordFile(tmp_path, 8000)
    file.write(record_of(folder))
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert file.read() == record_of(folder)
    whole = file.path.read_text()
    assert f'"pid": {GONE.pid}' in whole
    damaged = [
        '{"url": 1}',
        "[" * 100_000,
        whole[:-10],
        *(whole.replace(f'"pid": {GONE.pid}', f'"pid": {wrong}') for wrong in ('"me"', "-1", str(1 << 64), "null")),
    ]
    for text in damaged:
        file.path.write_text(text)
        assert file.read() is None
        assert list(all_records(tmp_path)) == []


def test_a_damaged_record_cannot_name_a_folder_to_remove(tmp_path: Path) -> None:
    kept = tmp_path / "home"
    kept.mkdir()
    link = tmp_path / "trivet-link"
    link.symlink_to(kept)
    for path in (kept, link, tmp_path):
        remove_folder(path)
    assert kept.is_dir()
    assert link.is_symlink()


def test_a_link_in_place_of_the_record_is_not_followed(tmp_path: Path, folder: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    file = RecordFile(tmp_path, 8000)
    file.path.parent.mkdir()
    file.path.with_suffix(f".{os.getpid()}.partial").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        file.write(record_of(folder))
    assert victim.read_text() == "kept"


def test_a_process_that_ignores_the_request_is_killed() -> None:
    stubborn = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    end([psutil.Process(stubborn.pid)], grace_s=0.2)
    assert not psutil.pid_exists(stubborn.pid)
    stubborn.wait(10)
    stubborn.stdout.close()
