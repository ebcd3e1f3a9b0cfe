"""One Ray cluster with a pretended GPU, on free ports, and one service of the starters, for all tests here."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest
import ray
from ray import serve
from ray.serve.schema import LoggingConfig

import app
from deployments.service.host_memory import role_of
from trivet.config import AppConfig

Client = httpx.Client
Run = Callable[..., Client]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def replica_processes(app_name: str, deployment: str) -> list[psutil.Process]:
    """Return the processes of a deployment's replicas, on all nodes that this process started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            command = process.cmdline()
            if f"ServeReplica:{app_name}:" in " ".join(command) and role_of(command) == deployment:
                found.append(process)
    return found


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The base URL of Serve on a new cluster."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray spells this one in lower case. With its default of 10 s the tests would wait longer.
    os.environ["RAY_metrics_report_interval_ms"] = "1000"  # noqa: SIM112
    # With its default of 5 s Serve kills its proxy again and again while it starts on a busy machine.
    os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "60"
    port = free_port()
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,  # pretended: placement works as with a GPU, but there is no CUDA
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
    )
    serve.start(
        proxy_location="HeadOnly",  # nodes that tests add are on this machine, and would use the same port
        http_options={"host": "127.0.0.1", "port": port, "request_timeout_s": 310},
    )
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


STARTERS = "starters"
"""Name and route prefix of the shared application."""


@pytest.fixture(scope="session")
def starters(cluster: str) -> Iterator[Client]:
    """The starter models on the CPU, with the shipped file's logging: one application for several files.

    It is deleted when the session ends, with the cluster.
    """
    config = AppConfig.model_validate({"device": "cpu", "serving": {"ingress_replicas": 1}})
    logging_config = LoggingConfig(encoding="JSON", enable_access_log=False)
    serve.run(app.build(config), name=STARTERS, route_prefix=f"/{STARTERS}", logging_config=logging_config)
    with httpx.Client(base_url=f"{cluster}/{STARTERS}", timeout=310) as client:
        yield client


@pytest.fixture(scope="module")
def run_app(cluster: str) -> Iterator[Run]:
    """Deploys an application with the given args, and deletes it after the module; `starters` is there already."""
    deployed: list[str] = []
    clients: list[Client] = []

    def run(name: str, **args: Any) -> Client:
        # One ingress, so that all requests of a test share its cache and counts.
        args["serving"] = {"ingress_replicas": 1, **args.get("serving", {})}
        serve.run(app.build(AppConfig.model_validate(args)), name=name, route_prefix=f"/{name}")
        deployed.append(name)
        client = httpx.Client(base_url=f"{cluster}/{name}", timeout=310)
        clients.append(client)
        return client

    yield run
    for client in clients:
        client.close()
    for name in deployed:
        serve.delete(name)
