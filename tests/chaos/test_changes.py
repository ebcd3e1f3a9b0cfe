"""Changes of a running service under load, as users make them: no accepted request is lost."""

import asyncio
import os
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bench.support.served import ROOT, Served, serve_file
from bench.support.servers import this_python
from tests.chaos.conftest import AFTER_S, BEFORE_S, Record, until, waiting_tokens
from tests.chaos.steady import steady_load

pytestmark = pytest.mark.chaos

ARGS: dict[str, Any] = {"device": "cpu", "serving": {"ingress_replicas": 2}}
MODELS = ("embedder-cpu", "reranker-cpu", "classifier-cpu")


def deploy(
    service: Served, args: Mapping[str, Any], tmp_path: Path, user_configs: Mapping[str, Any] | None = None
) -> None:
    """Run `serve deploy` with changed contents of the config file."""
    file = serve_file(args, int(service.url.rsplit(":", 1)[1]))
    file["applications"][0]["deployments"] = [
        {"name": name, "user_config": config} for name, config in (user_configs or {}).items()
    ]
    path = tmp_path / "serve_config.yaml"
    path.write_text(yaml.safe_dump(file), encoding="utf-8")
    serve = str(this_python().with_name("serve"))
    done = subprocess.run(
        [serve, "deploy", str(path), "-a", dashboard(service)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        env={**os.environ, "RAY_AUTH_MODE": "token"},  # the dashboard requires it
    )
    assert done.returncode == 0, done.stderr


def dashboard(service: Served) -> str:
    """Return the URL of this cluster's dashboard."""
    trivet, port = str(this_python().with_name("trivet")), service.url.rpartition(":")[2]
    asked = subprocess.run([trivet, "dashboard", "--port", port], capture_output=True, text=True, cwd=ROOT, check=False)
    assert asked.returncode == 0, asked.stderr
    return asked.stdout.strip()


def pids(service: Served, *roles: str) -> set[int]:
    return {process.pid for role in roles for process in service.processes(role)}


def embed(service: Served, text: str, timeout_s: float = 60, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{service.url}/v1/embeddings",
        json={"input": text},
        headers={"cache-control": "no-store", **headers},
        timeout=timeout_s,
    )


def test_user_config_changes_in_place(service: Served, record: Record, tmp_path: Path) -> None:
    before = pids(service, *MODELS)
    with steady_load(service.url) as report:
        time.sleep(BEFORE_S)
        deploy(service, ARGS, tmp_path, {"embedder-cpu": {"max_queued_tokens": 400_000}})
        time.sleep(6 + AFTER_S)
    row = record("user_config changed", report)
    assert row["failed"] == 0, row["failures"]
    assert pids(service, *MODELS) == before

    deploy(service, ARGS, tmp_path, {"embedder-cpu": {"max_queued_tokens": 1}})
    until(lambda: _some_are_refused(service), "refusal by the new limit")
    deploy(service, ARGS, tmp_path)
    service.wait_ready()


def _some_are_refused(service: Served) -> bool:
    """Send more concurrent requests than a queue of one token holds."""
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: embed(service, f"text {n} " * 400), range(12)))
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 429)
    return any(answer.status_code == 429 for answer in answers)


def test_args_change_rolls_the_replicas(service: Served, record: Record, tmp_path: Path) -> None:
    before = pids(service, *MODELS, "ingress")
    with steady_load(service.url) as report:
        time.sleep(BEFORE_S)
        deploy(service, ARGS | {"windows": {"overlap_tokens": 32}}, tmp_path)
        until(
            lambda: not pids(service, *MODELS, "ingress") & before and len(pids(service, *MODELS, "ingress")) == 5,
            "set of new replicas",
        )
        service.wait_ready()
        time.sleep(AFTER_S)
    row = record("args changed: every replica replaced", report)
    assert row["failed"] == 0, row["failures"]


def test_invalid_args_keep_the_old_replicas_serving(service: Served, tmp_path: Path) -> None:
    before = pids(service, *MODELS, "ingress")
    deploy(service, ARGS | {"nonsense": 1}, tmp_path)
    time.sleep(8)
    assert embed(service, "still the old ones?").status_code == 200
    assert pids(service, *MODELS, "ingress") == before


def test_work_past_its_deadline_is_not_started(service: Served) -> None:
    """More work than half a second allows: late requests get 408, and their sequences never run."""
    text = "a sentence of some length, which is said again and again. " * 400

    async def ask_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
            calls = [
                client.post(
                    "/v1/embeddings",
                    json={"input": f"{number} {text}"},
                    headers={"x-request-timeout-seconds": "0.5", "cache-control": "no-store"},
                )
                for number in range(64)
            ]
            return list(await asyncio.gather(*calls))

    started_s = time.monotonic()
    answers = asyncio.run(ask_all())
    took_s = time.monotonic() - started_s
    assert {answer.status_code for answer in answers} <= {200, 408}
    late = [answer for answer in answers if answer.status_code == 408]
    assert len(late) > 16, "the machine is too fast for this test"
    until(lambda: waiting_tokens(service) == 0, "empty queue", limit_s=5)
    assert took_s < 15
