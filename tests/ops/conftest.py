"""A real Prometheus that scrapes the real application while an external process takes and releases the GPU's memory."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ops.collector import TRACEPARENT, Collector
from tests.ops.files import ROOT, RULES_FILE
from tests.ops.simulated_app import SCHEDULE_S, free_port

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs: [{{job_name: ray, static_configs: [{{targets: ["{target}"]}}]}}]
"""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "prometheus: needs the Debian package prometheus (`make test-prometheus`)")


@dataclass
class Observed:
    """The Prometheus, the logs and the answers after the load."""

    prometheus: httpx.Client
    started_s: float
    logs: Path
    answers: list[httpx.Response] = field(default_factory=list)

    def get(self, path: str, **params: Any) -> Any:
        """Query Prometheus' API; an invalid query is an error."""
        answer = self.prometheus.get(path, params=params)
        assert answer.status_code == 200, f"{params}: {answer.text}"
        return answer.json()["data"]

    def series(self, query: str) -> list[dict[str, Any]]:
        """Return a query's series over the whole run, without those that have no number."""
        data = self.get("/api/v1/query_range", query=query, start=self.started_s, end=time.time(), step=2)
        return [series for series in data["result"] if any(value != "NaN" for _, value in series["values"])]


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install --no-install-recommends prometheus")
    return path


def wait_until(ready: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline_s, f"{what} within {timeout_s:g} s"
        time.sleep(0.5)


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector | None]:
    """The span collector; None if the exporter's package is not installed."""
    if find_spec("opentelemetry.exporter") is None or find_spec("opentelemetry.exporter.otlp") is None:
        yield None
        return
    with Collector() as collecting:
        yield collecting


@pytest.fixture(scope="session")
def application(collector: Collector | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of the application and its metrics, and the path of its logs."""
    tool("prometheus")  # skip before anything is started
    folder = tmp_path_factory.mktemp("simulated")
    tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "500"} if collector else {}
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.ops.simulated_app", folder],
            env={**os.environ, **tracing},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
        )
        assert process.stdout is not None
        lines = (line for line in process.stdout if line.startswith(b"{"))
        where = next(lines, None)
        assert where is not None, (folder / "errors").read_text()
        yield json.loads(where)
        process.communicate(timeout=90)  # closes its standard input, which ends it


@pytest.fixture(scope="session")
def observed(application: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """The application after a load through enough memory, shortage, offloading and return."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = folder / "prometheus.yaml"
    config.write_text(CONFIG.format(rules=RULES_FILE, target=application["metrics"]))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            with httpx.Client(base_url=f"http://{address}", timeout=30) as prometheus:
                wait_until(lambda: answers(prometheus, "/-/ready"), 30, "Prometheus was not ready")
                seen = Observed(prometheus, time.time(), Path(application["logs"]))
                load(application["url"], seen)
                yield seen
        finally:
            process.terminate()
            process.wait(timeout=30)


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def documents(turn: int) -> list[dict[str, str]]:
    """Two files, one of which names a function of the other: a graph with an edge, whatever the weights. Two pages, so
    that the models read pairs.
    """
    return [
        {"id": "tides.py", "text": f"def tide_table_{turn}(port):\n    return heights_of(port)\n"},
        {"id": "plan.py", "text": f"from tides import tide_table_{turn}\n\nprint(tide_table_{turn}('Brest'))\n"},
        {"id": "tides.md", "text": f"The tide table {turn} of a port lists the heights of high and low water.\n"},
        {"id": "plan.md", "text": f"A plan for plan {turn} begins with the tide table of the port.\n"},
    ]


def load(url: str, seen: Observed) -> None:
    """Send requests of several dialects until the schedule is over; every valid one must be answered."""
    with httpx.Client(base_url=url, timeout=120) as client:
        deadline_s = time.monotonic() + SCHEDULE_S + 12
        for turn in itertools.count():
            if time.monotonic() > deadline_s:
                break
            # New texts in each turn, so that the cache answers only the first text of a request.
            lines = [
                "the log",
                *(f"line {turn}.{n}: worker {n % 7} took {n} ms to answer a request" for n in range(700)),
            ]
            [gpu] = client.get("/v1/status").json()["gpus"]
            # Full batches only while memory is short; earlier ones would leave enough memory in the allocator's cache.
            texts = lines if gpu["external_bytes"] else lines[:4]
            seen.answers += [
                client.post("/v1/embeddings", json={"input": texts}, headers={"x-request-id": "embedding"}),
                client.post("/rerank", json={"query": "the log", "texts": lines[:2]}),
                client.post(
                    "/v1/relations",
                    json={"source": "a cat", "candidates": ["a dog", f"{turn} cats"], "min_relevance": 0},
                    headers={"x-request-id": "composed", "traceparent": TRACEPARENT, "cache-control": "no-store"},
                ),
            ]
            graph = {"documents": documents(turn), "threshold": 0, "include_unrelated": True}
            seen.answers.append(client.post("/v1/graph", json=graph))
            assert json.loads(seen.answers[-1].text.splitlines()[-1])["edges"] > 0
            too_long = client.post("/v1/embeddings", json={"input": " ".join(lines), "long_input": "error"})
            assert too_long.status_code == 400
    time.sleep(4)  # until the last values have been reported and scraped
