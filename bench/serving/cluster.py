"""Measures a service of 1 to 4 nodes on one machine: `python -m bench.serving.cluster`.

Every node is a raylet with one simulated GPU; forwards take a fixed time instead of computing (`bench.serving.timed`).
So the measurement shows how requests spread over nodes and what Ray and Trivet cost per node, not how fast a model is.
Writes bench/results/cluster.json.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.load.raw_client import post, run_raw_loop
from bench.serving.compare import NO_STORE, TUNED, cpu_s, environment, started
from bench.serving.timed import BATCH_TOKENS, FORWARD_S
from bench.support.machine import describe_machine
from bench.support.ports import free_port

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "cluster.json"
NODES = (1, 2, 3, 4)
CLIENTS_PER_NODE = 24
SETTLE_S, IDLE_S, LOAD_S = 8.0, 15.0, 15.0
INGRESSES = 2

# About 14 tokens; 16 of them fill a forward.
TEXTS = [f"the quiet river number {number} runs past the old mill at noon" for number in range(500)]


def main() -> None:
    """Measure every size in turn and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, action="append", help="repeatable; 1 to 4 when not given")
    parser.add_argument("--serve", type=int, help="serve with so many nodes until stdin is closed; used by itself")
    parser.add_argument("--port", type=int)
    args = parser.parse_args()
    if args.serve is not None:
        serve_nodes(args.serve, args.port)
        return
    rows = {}
    for nodes in args.nodes or NODES:
        rows[str(nodes)] = measured(nodes)
        sys.stderr.write(f"{nodes}: {json.dumps(rows[str(nodes)])}\n")
    result = {"machine": describe_machine(), "forward_s": FORWARD_S, "batch_tokens": BATCH_TOKENS, "nodes": rows}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def serve_nodes(nodes: int, port: int) -> None:
    """Start a cluster of so many nodes and the service, print `ready`, and stop both when stdin is closed."""
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster
    from ray.serve.schema import LoggingConfig

    from bench.serving import timed
    from trivet.config import AppConfig

    config = AppConfig.model_validate(
        {"device": "simulated", "gpu": {"replicas": nodes}, "serving": {"ingress_replicas": INGRESSES}}
    )
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=2, num_gpus=1)
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    try:
        serve.start(
            proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port, "request_timeout_s": 310}
        )
        logging_config = LoggingConfig(encoding="JSON", enable_access_log=False)
        serve.run(timed.build(config), name="bench", logging_config=logging_config)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
        serve.shutdown()
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def running(nodes: int) -> Iterator[tuple[int, psutil.Process]]:
    """Serve in another process with Trivet's variables; yield the port and that process."""
    port = free_port()
    command = [sys.executable, "-m", "bench.serving.cluster", "--serve", str(nodes), "--port", str(port)]
    with tempfile.TemporaryDirectory(prefix="trivet-") as folder:
        variables = {name: value for name, value in environment(TUNED, Path(folder)).items() if name != "RAY_ADDRESS"}
        with started(command, variables, f"a service of {nodes} nodes") as process:
            yield port, process


def measured(nodes: int) -> dict[str, Any]:
    """Measure one size: idle first, then under a closed loop of clients."""
    requests = [post("/v1/embeddings", {"input": text}, headers=NO_STORE) for text in TEXTS]
    with running(nodes) as (port, root):
        wait_until_all_serve(f"http://127.0.0.1:{port}", nodes)
        time.sleep(SETTLE_S)
        idle = used(root, IDLE_S)
        before = cpu_s(root)
        loop = asyncio.run(run_raw_loop(port, requests, clients=CLIENTS_PER_NODE * nodes, duration_s=LOAD_S))
        loaded = {role: after - before.get(role, 0.0) for role, after in cpu_s(root).items()}
    return {
        "requests_per_s": round(loop.requests_per_s, 1),
        "limit_per_s": round(nodes * 16 / FORWARD_S, 1),
        "p50_ms": round(loop.percentile_ms(50)),
        "p99_ms": round(loop.percentile_ms(99)),
        "other_statuses": loop.other_statuses,
        "idle_cpu_ms_per_s": in_ms(idle, IDLE_S),
        "ingress_cpu_ms_per_request": round(1e3 * loaded.get("ingress", 0.0) / max(1, len(loop.latencies_s)), 2),
    }


def wait_until_all_serve(url: str, nodes: int) -> None:
    """Wait until every node's GPU has the three models."""
    until_s = time.monotonic() + 180
    while True:
        gpus = httpx.get(f"{url}/v1/status", timeout=30).json()["gpus"]
        if len(gpus) == nodes and all(len(gpu["ours_bytes"]) == 3 for gpu in gpus):
            return
        if time.monotonic() > until_s:
            raise RuntimeError(f"not all of {nodes} GPUs serve: {gpus}")
        time.sleep(0.5)


def used(root: psutil.Process, seconds: float) -> dict[str, float]:
    """Processor seconds of each part of the service during a pause."""
    before = cpu_s(root)
    time.sleep(seconds)
    return {role: after - before.get(role, 0.0) for role, after in cpu_s(root).items()}


def in_ms(cpu: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Milliseconds of processor time per second, of the parts that use any, the largest first."""
    shares = {role: round(1e3 * value / seconds, 1) for role, value in cpu.items()}
    return dict(sorted(((role, value) for role, value in shares.items() if value >= 1), key=lambda one: -one[1]))


if __name__ == "__main__":
    main()
