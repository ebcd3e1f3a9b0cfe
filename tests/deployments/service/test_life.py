"""`trivet serve` from its start to a violent end: one line of explanation, no process left, never another's answer."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from bench.support.ports import free_port
from bench.support.served import ROOT, Served, serve_file, served
from bench.support.servers import this_python
from deployments.service.processes import processes_in
from deployments.service.record import RecordFile, ServiceRecord, all_records
from trivet.api.key_ring import hash_key, new_key
from trivet.paths import cache_dir

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.hostile]

TRIVET = str(this_python().with_name("trivet"))


def record_of(service: Served) -> ServiceRecord:
    record = RecordFile(cache_dir(None), int(service.url.rpartition(":")[2])).read()
    assert record is not None
    return record


def left_of(record: ServiceRecord, limit_s: float) -> list[psutil.Process]:
    """Processes of a service that remain after that long."""
    deadline_s = time.monotonic() + limit_s
    while (left := processes_in(Path(record.folder))) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    return left


@pytest.mark.parametrize("role", ["ray gcs", "raylet"])
def test_a_half_dead_cluster_ends_as_a_whole_with_a_message(role: str) -> None:
    with served({"device": "cpu"}) as service:
        record = record_of(service)
        [lost] = service.processes(role)
        lost.kill()
        assert service.root.wait(30) == 1
        assert left_of(record, 15) == []
        assert "has ended: the service stops" in service.log.read_text(encoding="utf-8")
        kept = RecordFile(cache_dir(None), int(service.url.rpartition(":")[2])).logs
        assert f"its logs are kept in {kept}" in service.log.read_text(encoding="utf-8")
        assert list(kept.rglob("*ingress*.log"))
        shutil.rmtree(kept)
        assert not Path(record.folder).exists()
        assert record not in [found for _, found in all_records(cache_dir(None))]


def test_a_killed_trivet_serve_leaves_no_orphans_and_the_next_one_starts() -> None:
    with served({"device": "cpu"}) as service:
        record = record_of(service)
        for process in [*service.processes("serve run"), service.root]:  # so that nobody is left to clean up
            process.kill()
        assert processes_in(Path(record.folder))
    port = int(service.url.rpartition(":")[2])
    RecordFile(cache_dir(None), port).write(record)
    with served({"device": "cpu"}) as following:
        assert left_of(record, 1) == []
        assert "that a killed service had left" in following.log.read_text(encoding="utf-8")


def test_serve_run_does_not_outlive_trivet_serve() -> None:
    with served({"device": "cpu"}) as service:
        record = record_of(service)
        service.root.kill()
        assert left_of(record, 40) == []


@contextmanager
def started(arguments: list[str], **environment: str) -> Iterator["subprocess.Popen[str]"]:
    child = subprocess.Popen(
        [TRIVET, "serve", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        child.communicate(timeout=90)


def written(folder: Path, port: int, **changes: object) -> str:
    content = serve_file({"device": "cpu"}, port)
    content["http_options"] |= changes
    file = folder / f"{port}.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(file)


def one_line(output: str) -> str:
    lines = output.strip().splitlines()
    assert "Traceback" not in output
    return " ".join(line.strip() for line in lines)


def test_a_port_in_use_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with started([written(tmp_path, port)]) as child:
            output, _ = child.communicate(timeout=60)
    assert child.returncode == 1
    assert one_line(output).startswith(f"error: port {port} is in use")


def test_a_second_start_at_the_same_time_says_so(tmp_path: Path) -> None:
    file = written(tmp_path, free_port())
    with started([file]) as first:
        lock = RecordFile(cache_dir(None), int(Path(file).stem)).path
        deadline_s = time.monotonic() + 90
        while not lock.exists() and time.monotonic() < deadline_s:
            time.sleep(0.1)
        with started([file]) as second:
            output, _ = second.communicate(timeout=60)
        assert second.returncode == 1
        assert f"process {first.pid} serves on port" in one_line(output)
        assert "Trivet listens" not in output


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with started([str(tmp_path / "none.yaml")]) as child:
        output, _ = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "none.yaml" in one_line(output)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_while_starting_ends_quietly(tmp_path: Path, number: signal.Signals, code: int) -> None:
    port = free_port()
    with started([written(tmp_path, port)]) as child:
        file = RecordFile(cache_dir(None), port)
        deadline_s = time.monotonic() + 90
        while (record := file.read()) is None:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        time.sleep(3)
        child.send_signal(number)
        output, _ = child.communicate(timeout=90)
    assert child.returncode == code, output
    assert left_of(record, 5) == []
    assert file.read() is None


def test_two_services_never_answer_for_each_other(tmp_path: Path) -> None:
    """One asks for keys, the other does not. Without a key the first one answers nobody, whatever dies in it."""
    key = new_key()
    keys = tmp_path / "keys"
    keys.write_text(f"somebody {hash_key(key)}\n", encoding="utf-8")
    keyless = {"input": "hello"}
    answers: list[int] = []

    def ask(url: str) -> int | None:
        try:
            return httpx.post(f"{url}/v1/embeddings", json=keyless, timeout=10, trust_env=False).status_code
        except httpx.TransportError:
            return None

    with ExitStack() as stack:
        stack.enter_context(served({"device": "cpu"}))
        port = free_port()
        content = serve_file({"device": "cpu", "api": {"keys_file": str(keys)}}, port)
        file = tmp_path / "closed.yaml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        stack.enter_context(started([str(file)]))
        url = f"http://127.0.0.1:{port}"
        deadline_s = time.monotonic() + 120
        ready = False
        while not ready:  # also while it starts
            assert time.monotonic() < deadline_s
            answers += [status] if (status := ask(url)) is not None else []
            try:
                ready = httpx.get(f"{url}/readyz", timeout=10, trust_env=False).status_code == 200
            except httpx.TransportError:
                time.sleep(0.1)
        record = RecordFile(cache_dir(None), port).read()
        assert record is not None
        for _ in range(3):
            ingresses = [
                process for process in processes_in(Path(record.folder)) if "ingress" in " ".join(process.cmdline())
            ]
            assert ingresses
            for process in ingresses:
                process.kill()
            until_s = time.monotonic() + 8
            while time.monotonic() < until_s:
                answers += [status] if (status := ask(url)) is not None else []
        good = httpx.post(
            f"{url}/v1/embeddings",
            json=keyless,
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
            trust_env=False,
        )
    assert good.status_code == 200
    assert 401 in answers
    assert set(answers) <= {401, 503}
