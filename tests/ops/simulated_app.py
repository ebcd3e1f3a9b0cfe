"""The application on a simulated GPU, with small models of random weights, in a separate Ray cluster.

`python -m tests.ops.simulated_app FOLDER` prints one line of JSON with the addresses, and runs until its standard input
is closed. It is a separate process because a process can have only one Ray cluster.
"""

import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from tests.support.checkpoints import Kind, write_checkpoint
from tests.vram.ollama_server import GIB, OllamaServer

MODELS: dict[str, Kind] = {
    "embedder": "nomic-embed-text-v2-moe",
    "reranker": "bge-reranker-base",
    "classifier": "ModernBERT-large-zeroshot-v2.0",
}

TRACING = {"enabled": True, "exporter_import_path": "deployments.observability.tracing:otlp", "sampling_ratio": 1.0}

SCHEDULE_S = 36.0
"""When the external process has released its memory again."""

SETTINGS: dict[str, Any] = {
    "device": "simulated",
    "cpu": {"precision": "fp32", "threads": 1},
    # First everything fits; then half a batch of the embedder fits, but no full one; then nothing.
    "simulated": {"vram": "8GiB", "external": [[0, "0GiB"], [8, "6810MiB"], [20, "7.9GiB"], [SCHEDULE_S, "0GiB"]]},
    "vram": {
        "reroute_below": "10MiB",
        "resume_above": "20MiB",
        "dwell_s": 1,
        "probe_interval_s": 0.1,
        "offload_after_s": 4,
    },
}


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main(folder: Path) -> None:
    """Start the application, print its addresses, and stop it when stdin is closed."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_metrics_report_interval_ms="1000")
    import ray
    from ray import serve
    from ray.serve.schema import LoggingConfig

    import app
    from trivet.config import AppConfig

    models = {task: {"model": str(write_checkpoint(kind, "tiny", folder / kind))} for task, kind in MODELS.items()}
    port = free_port()
    ollama = OllamaServer()
    ollama.load("mistral:7b", 5 * GIB, "2099-01-01T00:00:00Z")
    threading.Thread(target=ollama.serve_forever, daemon=True).start()
    settings = {**SETTINGS, "vram": {**SETTINGS["vram"], "ollama_hosts": [ollama.url]}}
    # Without a dashboard, and without log lines on this process's output.
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        serve.start(
            http_options={"host": "127.0.0.1", "port": port, "request_timeout_s": 310},
            tracing_config=TRACING if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ else None,
        )
        config = AppConfig.model_validate({**settings, **models})
        serve.run(app.build(config), logging_config=LoggingConfig(encoding="JSON", enable_access_log=False))
        [node] = ray.nodes()
        where = {
            "url": f"http://127.0.0.1:{port}",
            "metrics": f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}",
            "logs": str(Path("/tmp/ray", ray.get_runtime_context().get_session_name(), "logs", "serve")),
        }
        sys.stdout.write(json.dumps(where) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
        serve.shutdown()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
