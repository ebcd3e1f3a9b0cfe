"""Requests that a service has accepted and not answered yet."""

import re
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from bench.support.served import Served
from tests.chaos.conftest import one, until

INGRESS = re.compile(r"^\s*server SERVE_REPLICA_\S+ (\S+)", re.MULTILINE)


@contextmanager
def requests_under_way(service: Served, count: int = 16) -> Iterator[list[Future[int]]]:
    """Statuses to come of embeddings that wait in the service during the whole block: the model stands still in it.

    A request that is still on its way has not been accepted, and is nobody's to answer.
    """

    def ask(number: int) -> int:
        body = {"input": f"sentence number {number}"}
        headers = {"cache-control": "no-store"}
        return httpx.post(f"{service.url}/v1/embeddings", json=body, headers=headers, timeout=60).status_code

    # An ingress that came last asks the models who they are at its first request: that is to be over.
    until(lambda: len(ingresses(service)) == len(service.processes("ingress")), "ingress replicas")
    for ingress in ingresses(service):
        httpx.get(f"{ingress}/v1/status", timeout=10).raise_for_status()
    model = one(service, "embedder-cpu")
    with ThreadPoolExecutor(count) as pool:
        model.send_signal(signal.SIGSTOP)
        try:
            asked = [pool.submit(ask, number) for number in range(count)]
            until(lambda: accepted(service) == count, "requests under way")
            yield asked
        finally:
            with suppress(psutil.NoSuchProcess):  # the service may have ended in the block
                model.send_signal(signal.SIGCONT)


def accepted(service: Served) -> int:
    """Embeddings that the ingress replicas have and have not answered, in their own words.

    Not in HAProxy's: while one takes the place of another, two of them have some.
    """
    said = [httpx.get(f"{ingress}/v1/status", timeout=10).raise_for_status().json() for ingress in ingresses(service)]
    return sum(status["models"]["embedder"]["in_flight"] for status in said)


def ingresses(service: Served) -> list[str]:
    """Addresses of the replicas that HAProxy sends requests to."""
    configuration = ""
    for haproxy in service.processes("haproxy"):  # all have the same
        with suppress(psutil.NoSuchProcess, ValueError):  # one that ends has no command line any more
            command = haproxy.cmdline()
            configuration = Path(command[command.index("-f") + 1]).read_text(encoding="utf-8")
    return [f"http://{address}" for address in sorted(set(INGRESS.findall(configuration)))]
