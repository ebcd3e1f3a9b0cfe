"""`trivet stop` and `trivet doctor --clean` go by a service's own record, never by a program's name."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml
from typer.testing import CliRunner

from deployments.service.record import ProcessId, RecordFile, ServiceRecord
from deployments.service.stopping import stop_service
from trivet.cli import main
from trivet.errors import Unavailable

PORT = 54_321


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "trivet-abc"
    folder.mkdir()
    return folder


@pytest.fixture
def owner() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        yield child
        if child.poll() is None:
            child.kill()


def member_of(folder: Path) -> "subprocess.Popen[bytes]":
    """A process that has the folder in its command line, as Ray's have."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", f"{folder}/ray"])


def recorded(cache: Path, folder: Path, owner: ProcessId) -> RecordFile:
    file = RecordFile(cache, PORT)
    file.write(ServiceRecord(f"http://127.0.0.1:{PORT}", owner, str(folder), (PORT,)))
    return file


@pytest.fixture
def config(tmp_path: Path) -> str:
    args = {"serving": {"cache_dir": str(tmp_path / "cache")}}
    content = {
        "http_options": {"port": PORT},
        "applications": [{"name": "trivet", "import_path": "app:build", "args": args}],
    }
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(file)


def dead_owner() -> ProcessId:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        return ProcessId.of(psutil.Process(child.pid))


def test_a_running_service_gets_the_signal_of_an_ordinary_stop(
    config: str, tmp_path: Path, run_folder: Path, owner: "subprocess.Popen[bytes]"
) -> None:
    recorded(tmp_path / "cache", run_folder, ProcessId.of(psutil.Process(owner.pid)))
    result = CliRunner().invoke(main, ["stop", config])
    assert result.exit_code == 0, result.output
    assert f"stopped the service on port {PORT}" in result.output
    owner.wait(5)  # has ended; psutil has taken its exit code


def test_a_service_that_is_stopping_is_waited_for_and_not_asked_again(
    tmp_path: Path, run_folder: Path, owner: "subprocess.Popen[bytes]"
) -> None:
    file = recorded(tmp_path, run_folder, ProcessId.of(psutil.Process(owner.pid)))
    record = file.read()
    assert record is not None
    file.write(replace(record, is_stopping=True))
    with pytest.raises(Unavailable):
        stop_service(tmp_path, PORT, limit_s=0.1)
    assert owner.poll() is None
    owner.kill()
    owner.wait(5)


def test_a_process_with_the_same_number_but_another_birth_is_left_alone(
    config: str, tmp_path: Path, run_folder: Path
) -> None:
    recorded(tmp_path / "cache", run_folder, ProcessId(os.getpid(), created_s=1.0))
    result = CliRunner().invoke(main, ["stop", config])
    assert result.exit_code == 0, result.output
    assert "that had died" in result.output


def test_nothing_to_stop_is_no_error(config: str) -> None:
    result = CliRunner().invoke(main, ["stop", config])
    assert result.exit_code == 0
    assert f"no service of this user runs on port {PORT}" in result.output


def test_one_that_does_not_end_is_named(tmp_path: Path, run_folder: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        recorded(tmp_path, run_folder, ProcessId.of(psutil.Process(child.pid)))
        with pytest.raises(Unavailable, match=f"process {child.pid} has not ended within"):
            stop_service(tmp_path, PORT, limit_s=0.3)
        child.kill()


@pytest.mark.parametrize("command", [["doctor", "--clean"], ["stop"]])
def test_what_a_killed_service_has_left_is_cleared(
    config: str, tmp_path: Path, run_folder: Path, command: list[str]
) -> None:
    file = recorded(tmp_path / "cache", run_folder, dead_owner())
    with member_of(run_folder) as left, member_of(tmp_path / "trivet-of-another") as other:
        try:
            result = CliRunner().invoke(main, [*command, config])
            assert result.exit_code == 0, result.output
            left.wait(5)  # has ended; psutil has taken its exit code
            assert other.poll() is None
        finally:
            left.kill()
            other.kill()
    assert not run_folder.exists()
    assert file.read() is None


def test_a_running_service_is_not_cleaned_away(
    config: str, tmp_path: Path, run_folder: Path, owner: "subprocess.Popen[bytes]"
) -> None:
    file = recorded(tmp_path / "cache", run_folder, ProcessId.of(psutil.Process(owner.pid)))
    result = CliRunner().invoke(main, ["doctor", "--clean", config])
    assert "no killed service has left anything" in result.output
    assert owner.poll() is None
    assert file.read() is not None
