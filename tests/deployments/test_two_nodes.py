"""Two nodes with a GPU each: work of a node without room goes to the other node's GPU, and only then to the CPU.

While the CPU has much of it, a second CPU replica starts.
"""

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray

from tests.deployments.conftest import Client, Run, replica_processes
from trivet.cli.status import replicas_line
from trivet.simulation.ledger import Ledger, SimulatedGpu

pytestmark = pytest.mark.ray

NO_CACHE = {"cache-control": "no-store"}
GIB = 1024**3
GPU = SimulatedGpu(total_bytes=8 * GIB)
WAIT_S = 90.0


@pytest.fixture(scope="module")
def second_node(cluster: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another raylet on this machine, with another pretended GPU."""
    address = ray.get_runtime_context().gcs_address
    ray_program = Path(sys.executable).with_name("ray")
    command = [ray_program, "start", "--block", f"--address={address}", "--num-cpus=2", "--num-gpus=1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as node:
        until(lambda: len(live_nodes()) == 2, "the second node has not joined")
        yield node
        if node.poll() is None:
            node.terminate()
    until(lambda: len(live_nodes()) == 1, "the second node has not left")


@pytest.fixture(scope="module")
def client(second_node: subprocess.Popen[bytes], run_app: Run) -> Client:
    client = run_app(
        "two-nodes",
        device="simulated",
        gpu={"replicas": 2},
        cpu={"replicas": {"min": 1, "max": 2}, "threads": 1},
        vram={"dwell_s": 1, "probe_interval_s": 0.1, "offload_after_s": None},
    )
    until(lambda: len(gpus(client)) == 2 and all(gpu["ours_bytes"] for gpu in gpus(client)), "a GPU is missing")
    return client


def live_nodes() -> list[str]:
    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline_s, otherwise
        time.sleep(0.2)


def gpus(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/v1/status").json()["gpus"]
    return found


def embed(client: Client, *, text: str = "which node am I on?", timeout_s: float = 60) -> httpx.Response:
    answer = client.post("/v1/embeddings", json={"input": text}, headers=NO_CACHE, timeout=timeout_s)
    assert answer.status_code == 200, answer.text
    return answer


def on_gpu(client: Client) -> bool:
    return embed(client).headers["x-trivet-device"] == "simulated:0"


def gpu_of(node: str) -> Ledger:
    """Attach this process, as an external one, to the simulated GPU of a node."""
    ledgers = [
        Ledger(path, GPU, time.monotonic) for path in Path(tempfile.gettempdir()).glob(f"trivet-*-{node[:12]}-0.ledger")
    ]
    (ledger,) = (ledger for ledger in ledgers if ledger.view().rows)  # earlier applications of this node are gone
    ledger.attach("external")
    return ledger


def squeeze(ledger: Ledger) -> None:
    ledger.reserve("external", ledger.view().free_bytes - GIB // 16)


def embedder(client: Client) -> dict[str, Any]:
    model: dict[str, Any] = client.get("/v1/status").json()["models"]["embedder"]
    return model


@contextmanager
def callers(client: Client, count: int) -> Iterator[None]:
    """Run concurrent callers, whose requests must all succeed, until the block ends.

    Their texts are long and all different, so that the requests wait for the replica and not for Ray's proxy: what
    follows the load counts the requests that are open in the replica.
    """
    enough = threading.Event()

    def call(caller: int) -> None:
        for number in itertools.count():
            if enough.is_set():
                return
            embed(client, text=f"caller {caller}, text {number}: " + "which node am I on? " * 80)

    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(call, caller) for caller in range(count)]
        try:
            yield
        finally:
            enough.set()
            for caller in running:  # a failed caller is why the block failed, if it did
                caller.result()


def test_the_other_nodes_gpu_comes_before_the_cpu(client: Client) -> None:
    first, second = (gpu_of(node) for node in live_nodes())
    until(lambda: on_gpu(client), "no GPU answers")

    squeeze(first)
    until(lambda: min(gpu["free_bytes"] for gpu in gpus(client)) < GIB // 2, "the first GPU is not full")
    (squeezed,) = (row.pid for row in first.view().rows if row.model == "embedder")
    os.kill(squeezed, signal.SIGSTOP)  # it would never answer a request
    try:
        for _ in range(30):
            answer = embed(client, timeout_s=8)
            assert answer.headers["x-trivet-device"] == "simulated:0"
            assert "x-trivet-reroute-reason" not in answer.headers
    finally:
        os.kill(squeezed, signal.SIGCONT)

    squeeze(second)
    until(lambda: not on_gpu(client), "with both GPUs full the GPU still answers")
    assert "free, 500 MiB needed" in embed(client).headers["x-trivet-reroute-reason"]

    with callers(client, 12):
        until(lambda: replicas_line(embedder(client)) == "2 of 1 to 2 CPU replicas run", "the load starts no replica")
    assert len(replica_processes("two-nodes", "embedder-cpu")) == 2

    second.detach("external")
    until(lambda: on_gpu(client), "the second GPU has room again, but no request goes there")
    first.detach("external")
    first.close()
    second.close()


def test_the_first_node_serves_alone_when_the_second_is_lost(
    client: Client, second_node: subprocess.Popen[bytes]
) -> None:
    until(lambda: on_gpu(client), "no GPU answers")
    os.killpg(second_node.pid, signal.SIGKILL)

    def alone() -> bool:
        # An ingress replica may have been on that node. Ray's own proxy, which runs here, answers its requests with
        # 500; HAProxy would retry them (tests/chaos).
        answer = client.post("/v1/embeddings", json={"input": "who is left?"}, headers=NO_CACHE, timeout=60)
        assert answer.status_code == 200 or answer.text == "Internal Server Error", answer.text
        status = client.get("/v1/status")
        on_one_gpu = status.status_code == 200 and len(status.json()["gpus"]) == 1
        return on_one_gpu and answer.headers.get("x-trivet-device") == "simulated:0"

    until(alone, "the first node's GPU does not answer alone")
