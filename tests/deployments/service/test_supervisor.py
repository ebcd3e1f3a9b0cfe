"""What the supervisor writes about a service is less than the service: where it cannot, the service goes on."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.service.folder import logs_of, make_run_folder
from deployments.service.record import RecordFile
from deployments.service.supervisor import Supervisor

PORT = 54_322


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    supervisor = Supervisor("", f"http://127.0.0.1:{PORT}", PORT, (), tmp_path / "cache")
    supervisor._folder = make_run_folder()
    return supervisor


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_the_record_and_not_the_service(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("json.dump", full)
        for _ in range(3):
            assert supervisor.check() is None
    assert [record.message for record in caplog.records] == [
        "the record of this service stays as it was: [Errno 28] No space left on device"
    ]
    assert list((supervisor.cache_dir / "services").iterdir()) == []
    supervisor.check()
    assert RecordFile(supervisor.cache_dir, PORT).read() is not None
    supervisor.end()


def test_logs_that_cannot_be_kept_do_not_keep_the_service_running(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logs_of(supervisor.folder).mkdir(parents=True)
    folder = supervisor.folder
    monkeypatch.setattr("shutil.copytree", full)
    assert supervisor.fail() is None
    assert "No space left" in caplog.text
    assert not folder.exists()


def test_a_start_that_fails_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor("", f"http://127.0.0.1:{PORT}", PORT, (), tmp_path / "cache")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        monkeypatch.setattr(Supervisor, "_run", lambda _: child)
        monkeypatch.setattr("json.dump", full)
        with pytest.raises(OSError, match="No space left"):
            supervisor.start({}, programs=tmp_path, home=tmp_path)
        assert child.poll() is not None
    assert not supervisor.folder.exists()
