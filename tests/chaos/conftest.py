"""Services started as users start them, faults injected under load, and the table of results."""

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
    """Rows by fault, which are merged into the file in TRIVET_CHAOS_RESULTS."""
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
        assert table[fault]["answered"] >= LEAST_ANSWERED, "too few requests for a meaningful result"
        print(fault, table[fault])  # noqa: T201 - seen with -s or on failure
        return table[fault]

    return write


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest) -> Iterator[Served]:
    """The module's service, with its `ARGS`."""
    with served(request.module.ARGS) as running:
        yield running


def one(service: Served, role: str) -> psutil.Process:
    """Return the oldest process of a role."""
    found = sorted(service.processes(role), key=lambda process: process.pid)
    assert found, f"no process is {role}: {sorted({m.role for m in service.memory()})}"
    return found[0]


def killed_under_load(service: Served, role: str) -> Report:
    """Kill one process of a role under load; return when another has replaced it and all lanes are ready."""
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
    """Freeze one process of a role for `FROZEN_S` under load; return when all lanes are ready again."""
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
    """Wait until `condition` holds."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, f"no {what} after {limit_s:g} s"
        time.sleep(0.1)


def waiting_tokens(service: Served) -> int:
    """Return the queued tokens of all lanes; the status can be a second old."""
    answer = httpx.get(f"{service.url}/v1/status", timeout=10)
    models = answer.raise_for_status().json()["models"].values()
    return sum(lane["waiting_tokens"] for model in models for lane in model["lanes"].values())
