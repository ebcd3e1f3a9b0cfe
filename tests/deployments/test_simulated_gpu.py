"""Both lanes with a simulated GPU: under memory pressure work moves to the CPU replica with a reason, and returns."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import ray
from ray import serve
from ray.util import list_named_actors

from deployments.nodes import this_node
from deployments.vram.actor import NAMESPACE, actor_name
from tests.deployments.conftest import Client, Run

pytestmark = pytest.mark.ray

NO_CACHE = {"cache-control": "no-store"}  # no lane computes a cached vector


@pytest.fixture(scope="module")
def client(run_app: Run) -> Client:
    return run_app(
        "simulated",
        device="simulated",
        simulated={"vram": "8GiB", "external": [[0, "0GiB"], [8, "7.8GiB"], [20, "0GiB"]]},
        vram={"dwell_s": 2, "probe_interval_s": 0.1, "offload_after_s": None},
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


def test_all_six_replicas_are_bound_and_work_is_rerouted_and_returns(client: Client) -> None:
    deployments = set(serve.status().applications["simulated"].deployments)
    models = {"embedder", "reranker", "classifier"}
    assert deployments == {"ingress", *models, *(f"{model}-cpu" for model in models)}

    on_gpu = embed_until(client, lambda answer: answer.headers["x-trivet-device"] == "simulated:0")
    assert "x-trivet-reroute-reason" not in on_gpu.headers
    ready = client.get("/readyz").json()
    assert set(ready["models"]["embedder"]["lanes"]) == {"gpu", "cpu"}

    squeezed = embed_until(client, lambda answer: "x-trivet-reroute-reason" in answer.headers)
    assert squeezed.headers["x-trivet-device"].startswith("cpu")
    assert "free, 500 MiB needed: moved to cpu" in squeezed.headers["x-trivet-reroute-reason"]
    vectors = [answer.json()["data"][0]["embedding"] for answer in (on_gpu, squeezed)]
    assert sum(a * b for a, b in zip(*vectors, strict=True)) == pytest.approx(1.0, abs=1e-3)

    returned = embed_until(client, lambda answer: answer.headers["x-trivet-device"] == "simulated:0")
    assert "x-trivet-reroute-reason" not in returned.headers


def test_a_killed_vram_actor_restarts_and_loses_no_request(client: Client) -> None:
    embed_until(client, lambda answer: answer.headers["x-trivet-device"] == "simulated:0")
    actor = ray.get_actor(actor_name("simulated", this_node()), namespace=NAMESPACE)
    killed = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
    with ThreadPoolExecutor() as others, load(client, others) as answered:
        os.kill(killed, signal.SIGKILL)
        # Every request is served in the meantime: first by the last decision, then conservatively by the CPU.
        embed_until(client, lambda answer: "x-trivet-reroute-reason" in answer.headers)
        embed_until(client, lambda answer: answer.headers["x-trivet-device"] == "simulated:0")
    assert ray.get(actor.__ray_call__.remote(lambda _: os.getpid())) != killed
    assert len(answered) > 50
    assert set(answered) == {200}


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
