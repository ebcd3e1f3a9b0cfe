"""Starts Trivet in this process for a measurement, on free loopback ports, and stops it again."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import ray
from ray import serve

import app
from trivet.config import AppConfig

APP_NAME = "bench"


def free_port() -> int:
    """Return a TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def service(args: dict[str, Any]) -> Iterator[str]:
    """Run a service with these `args` during the block, and yield its base URL."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    port = free_port()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port, "request_timeout_s": 310})
        serve.run(app.build(AppConfig.model_validate(args)), name=APP_NAME)
        yield f"http://127.0.0.1:{port}"
        serve.delete(APP_NAME)
    finally:
        serve.shutdown()
        ray.shutdown()
