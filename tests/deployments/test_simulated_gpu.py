"""Two simulated GPUs: work moves from a full or lost one to the other, and to the CPU only if both are full.

If the CPU replica is down as well, a full GPU answers. An idle replica returns unused memory to a full GPU.
"""

import os
import signal
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
from ray import serve
from ray.util import list_named_actors

from deployments.nodes import this_node
from deployments.vram.actor import NAMESPACE, actor_name
from tests.deployments.conftest import Client, Run, replica_processes
from trivet.simulation.ledger import Ledger, SimulatedGpu
from trivet.vram.trim import LEAST_BYTES

pytestmark = pytest.mark.ray

GIB = 1024**3
NO_CACHE = {"cache-control": "no-store"}  # no lane computes a cached vector


@pytest.fixture(scope="module")
def client(run_app: Run) -> Client:
    return run_app(
        "simulated",
        device="simulated",
        gpu={"replicas": 2},
        simulated={"gpus": [{"vram": "8GiB", "external": [[0, "0GiB"], [8, "7.8GiB"], [20, "0GiB"]]}] * 2},
        vram={"dwell_s": 2, "probe_interval_s": 0.1, "offload_after_s": None, "trim_after_s": 1},
    )


def embed_until(client: Client, wanted: Callable[[httpx.Response], bool], timeout_s: float = 60) -> httpx.Response:
    """Send requests, all of which must succeed, until one is answered as wanted."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        answer = client.post("/v1/embeddings", json={"input": "which lane am I on?"}, headers=NO_CACHE)
        assert answer.status_code == 200, answer.text
        if wanted(answer):
            return answer
        assert time.monotonic() < deadline_s, f"still {dict(answer.headers)}"


def on_a_gpu(answer: httpx.Response) -> bool:
    return answer.headers["x-trivet-device"].startswith("simulated:")


def on_both_gpus(client: Client) -> None:
    for gpu in ("simulated:0", "simulated:1"):
        embed_until(client, lambda answer, gpu=gpu: answer.headers["x-trivet-device"] == gpu, timeout_s=120)  # type: ignore[misc]


def gpu_state(client: Client, uuid: str) -> dict[str, Any]:
    (gpu,) = (gpu for gpu in client.get("/v1/status").json()["gpus"] if gpu["uuid"] == uuid)
    return dict(gpu)


def ledger_of(index: int) -> Ledger:
    """Open the ledger of a GPU of the module's service, the last that was started."""
    paths = Path(tempfile.gettempdir()).glob(f"trivet-*-{this_node()[:12]}-{index}.ledger")
    newest = max(paths, key=lambda path: path.stat().st_mtime_ns)
    return Ledger(newest, SimulatedGpu(total_bytes=8 * GIB), time.monotonic)


@contextmanager
def full(ledger: Ledger, left_bytes: int = GIB // 16) -> Iterator[None]:
    """Let another process take the GPU's memory but for `left_bytes`, until the block ends."""
    ledger.attach("external")
    try:
        ledger.reserve("external", ledger.view().free_bytes - left_bytes)
        yield
    finally:
        ledger.detach("external")
        ledger.close()


def test_all_lanes_are_bound_and_work_is_rerouted_and_returns(client: Client) -> None:
    deployments = set(serve.status().applications["simulated"].deployments)
    models = {"embedder", "reranker", "classifier"}
    assert deployments == {"ingress", *models, *(f"{model}-cpu" for model in models)}

    on_gpu = embed_until(client, on_a_gpu)
    assert "x-trivet-reroute-reason" not in on_gpu.headers
    ready = client.get("/readyz").json()
    assert set(ready["models"]["embedder"]["lanes"]) == {"gpu", "cpu"}

    squeezed = embed_until(client, lambda answer: "x-trivet-reroute-reason" in answer.headers)
    assert squeezed.headers["x-trivet-device"].startswith("cpu")
    assert "free, 500 MiB needed: moved to cpu" in squeezed.headers["x-trivet-reroute-reason"]
    vectors = [answer.json()["data"][0]["embedding"] for answer in (on_gpu, squeezed)]
    assert sum(a * b for a, b in zip(*vectors, strict=True)) == pytest.approx(1.0, abs=1e-3)

    returned = embed_until(client, on_a_gpu)
    assert "x-trivet-reroute-reason" not in returned.headers


def test_a_killed_vram_actor_restarts_and_loses_no_request(client: Client) -> None:
    embed_until(client, on_a_gpu)
    actor = ray.get_actor(actor_name("simulated", this_node()), namespace=NAMESPACE)
    killed = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
    with ThreadPoolExecutor() as others, load(client, others) as answered:
        os.kill(killed, signal.SIGKILL)
        # Every request is served in the meantime: first by the last decision, then conservatively by the CPU.
        embed_until(client, lambda answer: "x-trivet-reroute-reason" in answer.headers)
        embed_until(client, on_a_gpu)
    assert ray.get(actor.__ray_call__.remote(lambda _: os.getpid())) != killed
    assert len(answered) > 10  # how many depends on how soon the actor is back
    assert set(answered) == {200}


def test_a_full_gpu_hands_its_work_to_the_other_gpu_and_none_to_the_cpu(client: Client) -> None:
    on_both_gpus(client)
    with full(ledger_of(0)):
        embed_until(client, lambda _: gpu_state(client, "simulated:0")["free_bytes"] < GIB // 2)
        for _ in range(20):
            answer = client.post("/v1/embeddings", json={"input": "which GPU am I on?"}, headers=NO_CACHE)
            assert answer.headers["x-trivet-device"] == "simulated:1"
            assert "x-trivet-reroute-reason" not in answer.headers
    on_both_gpus(client)


def test_a_full_gpu_answers_while_the_cpu_replica_is_down(client: Client) -> None:
    on_both_gpus(client)
    with full(ledger_of(0)), full(ledger_of(1)):
        embed_until(client, lambda answer: answer.headers["x-trivet-device"].startswith("cpu"))
        (replica,) = replica_processes("simulated", "embedder-cpu")
        replica.kill()
        answer = embed_until(client, on_a_gpu)
        reason = answer.headers["x-trivet-reroute-reason"]
        assert "500 MiB needed: moved to cpu" in reason
        assert reason.endswith("no cpu replica is running: the gpu answers all the same")
        embed_until(client, lambda answer: answer.headers["x-trivet-device"].startswith("cpu"))
    on_both_gpus(client)


def test_an_idle_replica_returns_its_unused_memory_to_a_full_gpu(client: Client) -> None:
    on_both_gpus(client)
    ledger = ledger_of(0)

    def held_bytes() -> int:
        return next(row.held_bytes - row.weights_bytes for row in ledger.view().rows if row.model == "embedder")

    deadline_s = time.monotonic() + 60
    while held_bytes() < LEAST_BYTES:
        assert time.monotonic() < deadline_s, "its forwards leave too little unused memory"
        long = [f"{'a long text ' * 160} {number}" for number in range(16)]
        assert client.post("/v1/embeddings", json={"input": long}, headers=NO_CACHE).status_code == 200
    with full(ledger, left_bytes=GIB * 3 // 4):
        deadline_s = time.monotonic() + 30
        while held_bytes() > 0:
            assert time.monotonic() < deadline_s, "it keeps its memory"
            time.sleep(0.1)
    on_both_gpus(client)


def test_a_lost_gpu_fails_no_request_and_is_used_again_when_it_is_back(client: Client) -> None:
    on_both_gpus(client)
    path = ledger_of(0).path
    lost = path.with_name(f"{path.name}.lost")
    lost.touch()
    try:
        with ThreadPoolExecutor() as others, load(client, others) as answered:
            embed_until(client, lambda _: gpu_state(client, "simulated:0")["unknown_reason"] is not None)
            embed_until(client, lambda answer: answer.headers["x-trivet-device"] == "simulated:1")
            time.sleep(4)  # longer than Serve needs to see that a replica has lost its GPU
        assert len(answered) > 20
        assert set(answered) == {200}
    finally:
        lost.unlink()
    on_both_gpus(client)


def test_the_actor_exits_after_its_application(client: Client) -> None:
    """The last test of this module: it deletes the application."""
    name = actor_name("simulated", this_node())
    ray.get_actor(name, namespace=NAMESPACE)
    serve.delete("simulated")
    deadline_s = time.monotonic() + 120
    while exists(name):
        assert time.monotonic() < deadline_s, "the actor has outlived its application"
        time.sleep(0.5)


def exists(name: str) -> bool:
    return any(actor["name"] == name for actor in list_named_actors(all_namespaces=True))


@contextmanager
def load(client: Client, pool: ThreadPoolExecutor) -> Iterator[list[int]]:
    """Run four concurrent callers of all three models until the block ends; yield the statuses of their answers."""
    calls = [
        ("/v1/embeddings", {"input": ["one", "two words"]}),
        ("/v1/rerank", {"query": "one", "documents": ["two", "three"]}),
        ("/v1/relations", {"source": "one", "candidates": ["two"]}),
        ("/v1/embeddings", {"input": "a few words more, for a longer sequence"}),
    ]
    answered: list[int] = []
    enough = threading.Event()

    def call(path: str, body: dict[str, Any]) -> None:
        while not enough.is_set():
            answered.append(client.post(path, json=body, headers=NO_CACHE).status_code)

    callers = [pool.submit(call, path, body) for path, body in calls]
    try:
        yield answered
    finally:
        enough.set()
    for caller in callers:
        caller.result()
