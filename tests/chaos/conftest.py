"""Services that are started as users start them, faults done to them under load, and the table of what came of it."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from bench.load.http import Report
from bench.support.served import Served, served
from tests.chaos.steady import row, steady_load

BEFORE_S = 3.0
FROZEN_S = 20
AFTER_S = 4.0
RECOVERY_LIMIT_S = 90.0
LEAST_ANSWERED = 20

Record = Callable[[str, Report], dict[str, Any]]
Table = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    """Rows by fault; merged into the file that TRIVET_CHAOS_RESULTS names."""
    rows: Table = {}
    yield rows
    path = os.environ.get("TRIVET_CHAOS_RESULTS")
    if path and rows:
        file = Path(path)
        earlier = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        file.write_text(json.dumps(earlier | rows, indent=1) + "\n", encoding="utf-8")


@pytest.fixture
def record(table: Table) -> Record:
    def write(fault: str, report: Report) -> dict[str, Any]:
        table[fault] = row(report)
        assert table[fault]["answered"] >= LEAST_ANSWERED, "too little was asked to tell anything"
        print(fault, table[fault])  # noqa: T201 - seen with -s or on failure
        return table[fault]

    return write


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest) -> Iterator[Served]:
    """The module's service, with its `ARGS`."""
    with served(request.module.ARGS) as running:
        yield running


def one(service: Served, role: str) -> psutil.Process:
    """A process of that role, the oldest."""
    found = sorted(service.processes(role), key=lambda process: process.pid)
    assert found, f"no process is {role}: {sorted({m.role for m in service.memory()})}"
    return found[0]


def killed_under_load(service: Served, role: str) -> Report:
    """kill -9 one process of that role under load; ends when another has its place and all lanes are ready."""
    with steady_load(service.url) as report:
        time.sleep(BEFORE_S)
        before = {process.pid for process in service.processes(role)}
        victim = one(service, role)
        victim.kill()
        until(lambda: len({p.pid for p in service.processes(role)} - {victim.pid}) >= len(before), f"a new {role}")
        service.wait_ready(RECOVERY_LIMIT_S)
        time.sleep(AFTER_S)
    return report


def frozen_under_load(service: Served, role: str) -> Report:
    """SIGSTOP one process of that role for `FROZEN_S` under load; ends when all lanes are ready again."""
    with steady_load(service.url) as report:
        time.sleep(BEFORE_S)
        frozen = one(service, role)
        frozen.send_signal(signal.SIGSTOP)
        time.sleep(FROZEN_S)
        frozen.send_signal(signal.SIGCONT)
        service.wait_ready()
        time.sleep(AFTER_S)
    return report


def until(condition: Callable[[], bool], what: str, limit_s: float = RECOVERY_LIMIT_S) -> None:
    """Wait for it."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, f"no {what} after {limit_s:g} s"
        time.sleep(0.1)


def waiting_tokens(service: Served) -> int:
    """What all lanes have queued, in their own words; /status may be a second old."""
    answer = httpx.get(f"{service.url}/v1/status", timeout=10)
    models = answer.raise_for_status().json()["models"].values()
    return sum(lane["waiting_tokens"] for model in models for lane in model["lanes"].values())
